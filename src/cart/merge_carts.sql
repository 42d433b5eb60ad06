-- Moves all lines of the cart $1 into the cart $2 at the time $3; returns nothing.
--
-- Quantities of an item in both carts add up, limited by its stock and by $4. An item that is hidden or sold out keeps the
-- larger quantity. It is one statement, so a line is always in exactly one of the carts; lines are inserted in the order of
-- their items, so concurrent merges do not deadlock. Both carts are found by the primary key (owner, item_id).
with moved as (
    delete from cart_line where owner = $1 returning item_id, quantity, added_at
)
insert into cart_line as c (owner, item_id, quantity, added_at, changed_at)
select $2, m.item_id, case when s.stock > 0 then least(m.quantity, s.stock) else m.quantity end, m.added_at, $3
from moved m left join item_stock i using (item_id),
     lateral (select item_left(i.quantity, i.held, i.level) as stock) s
order by m.item_id
on conflict (owner, item_id) do update
set changed_at = excluded.changed_at,
    quantity = (
        select case when s.stock > 0 then least(c.quantity + excluded.quantity, s.stock, $4)
                    else greatest(c.quantity, excluded.quantity) end
        from (select c.item_id) l left join item_stock i using (item_id),
             lateral (select item_left(i.quantity, i.held, i.level) as stock) s
    )
