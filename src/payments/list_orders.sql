-- The orders of an owner, newest first, in rows of a page, each with the number of all. Without orders on the page: one row, without
-- an order. Of the payments of one order, those that were paid and the newest count; of the order $2, the paid one comes first.
-- $1: owner, $2: order id or null, $3: now, $4: language, $5: limit, $6: offset.
with mine as (
    select p.payment_id, $2::text is not null and p.status = 'COMPLETED' as first
    from payment p
    where p.owner = $1 and ($2::text is null or p.site_order_id = $2) and (
        p.status = 'COMPLETED' or not p.abandoned and not exists (
            select from payment n
            where n.owner = p.owner and n.site_order_id = p.site_order_id and n.payment_id > p.payment_id and not n.abandoned
        )
    )
), page as (
    select payment_id from mine order by first desc, payment_id desc limit $5 offset $6
)
select (select count(*) from mine) as total, p.payment_id, p.site_order_id, p.status, p.fulfilment, p.amount, p.created_at,
       p.expires_at, coalesce(p.transaction_date, p.completed_at) as paid_at,
       case when p.status = 'WAITING' or p.status = 'CREATED' and p.expires_at > $3 then p.qr_id end as qr_id,
       l.*, r.*
from (select) one
left join page on true
left join payment p using (payment_id)
left join lateral (
    select array_agg(l.item_id order by l.position) as item_ids,
           array_agg(coalesce(nullif(i.translations #>> array[$4, 'name'], ''), l.name) order by l.position) as names,
           array_agg(l.list_price order by l.position) as list_prices,
           array_agg(l.price order by l.position) as prices,
           array_agg(l.quantity order by l.position) as quantities,
           bool_or(nullif(i.translations #>> array[$4, 'name'], '') is not null) as is_translated
    from payment_line l left join item i using (item_id) where l.payment_id = p.payment_id
) l on true
left join lateral (
    select array_agg(r.refund_id order by r.created_at, r.refund_id) as refund_ids,
           array_agg(r.amount order by r.created_at, r.refund_id) as refund_amounts,
           array_agg(r.status order by r.created_at, r.refund_id) as refund_statuses,
           array_agg(r.created_at order by r.created_at, r.refund_id) as refunded_at,
           array_agg(r.ordinal order by r.created_at, r.refund_id) as refund_ordinals,
           array_agg(r.found_at_bank order by r.created_at, r.refund_id) as refunds_found
    from refund r where r.payment_id = p.payment_id
) r on true
order by p.payment_id desc
