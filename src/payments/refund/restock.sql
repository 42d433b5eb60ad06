-- Puts the units of refund $1 back into stock and returns their items. Units that were short when they were paid for were never
-- taken, so they do not go back.
with returned as (
    select l.item_id,
           least(r.units, l.quantity - l.short - coalesce((
               select sum(o.units) from refund_line o join refund f using (refund_id)
               where f.payment_id = l.payment_id and o.item_id = l.item_id and f.restocked_at is not null and f.refund_id <> $1
           ), 0)) as units
    from refund_line r join refund using (refund_id)
    join payment_line l on l.payment_id = refund.payment_id and l.item_id = r.item_id
    where r.refund_id = $1
), locked as materialized (
    -- in ascending order, as everywhere
    select s.item_id from item_stock s where s.item_id in (select item_id from returned) order by s.item_id for update
)
update item_stock s set quantity = s.quantity + returned.units
from returned join locked using (item_id)
where s.item_id = returned.item_id and returned.units > 0 and s.quantity is not null
returning s.item_id
