-- What the shop offers the owner $2 of the items $1 in the region $3, in the order of $1; an unknown item has no name. Free orders count
-- since $4.
with free as (
    select l.item_id, sum(l.quantity)::integer as quantity
    from payment p join payment_line l using (payment_id)
    where p.owner = $2 and p.amount = 0 and p.created_at > $4 and p.status in ('CREATED', 'WAITING', 'COMPLETED')
    group by l.item_id
)
select i.item_id, i.name, i.price, i.discount, i.sale_price, i.min_quantity, i.step_quantity, i.currency,
       s.quantity as stock, c.quantity as in_cart,
       item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) as available,
       coalesce(visitors.quantity, 0) - case when $2 like 'visitor:%' then coalesce(own.quantity, 0) else 0 end
           as held_by_visitors,
       coalesce(free.quantity, 0) as free_units,
       l.item_id is not null as is_listed,
       l.item_id is not null and (l.regions = '{}' or $3::text is null or $3 = any (l.regions)) as is_in_region
from unnest($1::bigint[]) with ordinality w (item_id, position)
left join item i using (item_id) left join listed_item l using (item_id)
left join item_stock s using (item_id)
left join units_held_by($2) own using (item_id) left join units_held_by_visitors visitors using (item_id)
left join free using (item_id)
left join cart_line c on c.owner = $2 and c.item_id = w.item_id
order by w.position
