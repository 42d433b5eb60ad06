-- Sets the line of the item $2 in the cart $1 to $3 units at the time $4, in the region $5. Returns no row when there is no such line,
-- otherwise what was found of its item, and whether the line was written: always when its quantity does not grow.
with found as (
    select c.item_id, i.currency, i.min_quantity, i.step_quantity,
           case when l.item_id is null then 0
                else item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) end as available,
           l.item_id is null or l.regions = '{}' or $5::text is null or $5 = any (l.regions) as is_in_region
    from cart_line c join item i using (item_id) left join listed_item l using (item_id)
    left join item_stock s using (item_id)
    left join units_held_by($1) own using (item_id)
    where c.owner = $1 and c.item_id = $2
), line as (
    update cart_line c set quantity = $3, changed_at = $4 from found f
    where c.owner = $1 and c.item_id = f.item_id
      and ($3 <= c.quantity or ($3 <= f.available and f.is_in_region and f.currency = 'RUB'
                                  and item_sells($3, f.min_quantity, f.step_quantity)))
    returning 1
)
select f.currency, f.available, f.is_in_region, f.min_quantity, f.step_quantity, $3 as wanted,
       exists (select from line) as written
from found f
