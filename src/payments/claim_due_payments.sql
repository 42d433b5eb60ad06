-- Claims payments that are due for polling at $1, or whose clock was wrong: no right one schedules a poll after $4. They were last polled
-- before $2, unless another payment has paid their order; no other worker claims them before $3. Returns them with what to poll, and
-- whether another payment has paid their order: its buyer's page may poll the code all the time.
with due as (
    select p.payment_id, exists (
        select from payment o
        where o.owner = p.owner and o.site_order_id = p.site_order_id and o.status = 'COMPLETED' and o.payment_id <> p.payment_id
    ) as is_order_paid
    from payment p
    where (p.look_at <= $1 or p.look_at > $4)
      and (p.looked_at is null or p.looked_at < $2 or p.looked_at > $1::timestamptz + interval '1 minute' or exists (
          select from payment o
          where o.owner = p.owner and o.site_order_id = p.site_order_id and o.status = 'COMPLETED' and o.payment_id <> p.payment_id
      ))
    order by p.look_at limit 50 for update of p skip locked
), claimed as (
    update payment p
    set look_at = $3, looked_at = $1, looks = looks + 1, asked_of_money = not asked_of_money from due
    where p.payment_id = due.payment_id returning p.payment_id, p.asked_of_money, due.is_order_paid
)
select s.*, claimed.asked_of_money as poll_target, claimed.is_order_paid
from payment_sheet s join claimed using (payment_id)
