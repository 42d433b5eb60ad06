-- Moves the lines of the cart $1 into the cart $2 at the time $3; returns nothing.
--
-- Quantities of an item in both carts add up, limited by the units that are available to the two owners and by $4; no line of $2
-- becomes smaller. A sum that is not sold at once is lowered to one that is. An item that is hidden or sold out keeps the larger quantity. When the cart $2 would have more than $5 lines, the
-- older ones of $1 that it has not stay where they are. It is one statement, so a line is always in exactly one of the carts; lines are
-- inserted in the order of their items, so concurrent merges do not deadlock.
with kept as (
    select item_id from cart_line where owner = $2
), fitting as (
    select item_id from cart_line where owner = $1
    order by item_id in (select item_id from kept) desc, added_at desc, item_id
    limit $5 - (select count(*) from kept where item_id not in (select item_id from cart_line where owner = $1))
), moved as (
    delete from cart_line where owner = $1 and item_id in (select item_id from fitting)
    returning item_id, quantity, added_at
), own as (
    select item_id, sum(quantity)::integer as quantity
    from (select * from units_held_by($1) union all select * from units_held_by($2)) held group by item_id
), stock as (
    select m.item_id, item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) as available,
           coalesce(i.min_quantity, i.step_quantity, 1) as smallest, coalesce(i.step_quantity, 1) as step
    from moved m join item i using (item_id) left join item_stock s using (item_id) left join own using (item_id)
)
insert into cart_line as c (owner, item_id, quantity, added_at, changed_at)
select $2, m.item_id, case when s.available > 0 then n.fitting - greatest(n.fitting - s.smallest, 0) % s.step else m.quantity end,
       m.added_at, $3
from moved m join stock s using (item_id) cross join lateral (select least(m.quantity, s.available) as fitting) n
order by m.item_id
on conflict (owner, item_id) do update
set changed_at = excluded.changed_at,
    quantity = (
        select case when s.available > 0
                    then greatest(c.quantity, n.fitting - greatest(n.fitting - s.smallest, 0) % s.step)
                    else greatest(c.quantity, excluded.quantity) end
        from stock s cross join lateral (select least(c.quantity + excluded.quantity, s.available, $4) as fitting) n
        where s.item_id = c.item_id
    )
