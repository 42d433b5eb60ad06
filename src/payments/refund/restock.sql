-- Puts the units of refund $1 back into stock and returns their items. Units that were short when they were paid for were never
-- taken, so they do not go back.
with cause as materialized (
    select set_config('brandgate.stock_cause', 'refund:' || $1::text, true)
), returned as (
    select l.item_id,
           least(r.units, coalesce(l.taken, l.quantity - l.short) - coalesce((
               select sum(coalesce(o.restocked, o.units)) from refund_line o join refund f using (refund_id)
               where f.payment_id = l.payment_id and o.item_id = l.item_id and f.restocked_at is not null and f.refund_id <> $1
           ), 0))::integer as units
    from refund_line r join refund using (refund_id)
    join payment_line l on l.payment_id = refund.payment_id and l.item_id = r.item_id
    where r.refund_id = $1
), locked as materialized (
    -- in ascending order, as everywhere
    select s.item_id from item_stock s
    where s.item_id in (select item_id from returned where units > 0) and s.quantity is not null
    order by s.item_id for update
), kept as (
    update refund_line r set restocked = returned.units
    from returned join locked using (item_id)
    where r.refund_id = $1 and r.item_id = returned.item_id
)
update item_stock s set quantity = s.quantity + returned.units
from returned join locked using (item_id) cross join cause
where s.item_id = returned.item_id
returning s.item_id
