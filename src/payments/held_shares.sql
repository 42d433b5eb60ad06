-- The mean share of an item's stock that open payments hold: those of users with a session, and those of visitors. Items that are sold
-- out, or whose stock is not counted, do not count.
with held as (
    select p.owner like 'visitor:%' as is_visitor, l.item_id, sum(l.quantity) as quantity
    from payment p join payment_line l using (payment_id)
    where p.holds group by 1, 2
), shares as (
    select h.is_visitor, least(h.quantity::float8 / s.quantity, 1) as share
    from held h join item_stock s using (item_id) where s.quantity > 0
)
select coalesce(sum(share) filter (where not is_visitor), 0) / greatest(max(n.items), 1) as users,
       coalesce(sum(share) filter (where is_visitor), 0) / greatest(max(n.items), 1) as visitors
from (select count(*) as items from item_stock where quantity > 0) n left join shares on true
