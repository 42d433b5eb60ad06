-- Adds $3 units of the item $2 (null: as few as it is sold in) to the cart $1 at the time $4, in the region $5; a line has at most $6
-- units. Returns no row for an item that is not listed, otherwise what was found of it, the quantity that was wanted, and whether the line
-- was written.
with found as (
    select i.item_id, i.currency, i.min_quantity, i.step_quantity,
           item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) as available,
           l.regions = '{}' or $5::text is null or $5 = any (l.regions) as is_in_region,
           coalesce(c.quantity, 0) as in_cart
    from item i join listed_item l using (item_id) left join item_stock s using (item_id)
    left join units_held_by($1) own using (item_id) left join cart_line c on c.owner = $1 and c.item_id = i.item_id
    where i.item_id = $2
), line as (
    insert into cart_line (owner, item_id, quantity, added_at, changed_at)
    select $1, item_id, n.quantity, $4, $4
    from found cross join lateral (
        select coalesce($3::integer, item_next_quantity(in_cart, min_quantity, step_quantity) - in_cart) as quantity
    ) n
    where n.quantity <= available and is_in_region and currency = 'RUB'
      and item_sells(in_cart + n.quantity, min_quantity, step_quantity)
    on conflict (owner, item_id) do update
    set quantity = coalesce(cart_line.quantity + $3, (
            select item_next_quantity(cart_line.quantity, f.min_quantity, f.step_quantity) from found f
        )), changed_at = excluded.changed_at
    where exists (
        select from found f cross join lateral (
            select coalesce(cart_line.quantity + $3,
                            item_next_quantity(cart_line.quantity, f.min_quantity, f.step_quantity)) as quantity
        ) n
        where n.quantity <= least(f.available, $6) and item_sells(n.quantity, f.min_quantity, f.step_quantity)
    )
    returning 1
)
select f.currency, f.available, f.is_in_region, f.min_quantity, f.step_quantity,
       coalesce(f.in_cart + $3::integer, item_next_quantity(f.in_cart, f.min_quantity, f.step_quantity)) as wanted,
       exists (select from line) as written
from found f
