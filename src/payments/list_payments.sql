-- Payments, newest first. $1: only open ones, $2: only those to settle, $3: begun since, $4: the front end's order id, $5: the Telegram
-- user's id or name, $6: with this item, $7: status, $8: at most so many. null: any.
select p.*
from payment_sheet p
where (not $1 or p.status in ('CREATED', 'WAITING'))
  and (not $2 or p.to_settle)
  and ($3::timestamptz is null or p.created_at >= $3)
  and ($4::text is null or p.site_order_id = $4)
  and ($5::text is null or p.owner = 'user:' || $5 or p.site_user_id in ($5, 'tg_' || $5)
       or lower(p.telegram_username) in (lower($5), '@' || lower($5)))
  and ($6::bigint is null or exists (
      select from payment_line l where l.payment_id = p.payment_id and l.item_id = $6
  ))
  and ($7::text is null or p.status = $7)
order by p.payment_id desc limit $8
