-- Adds $3 units of the item $2 to the cart $1 at the time $4, in the region $5; a line has at most $6 units. Returns no row for an item
-- that is not listed, otherwise what was found of it, and whether the line was written.
with found as (
    select i.item_id, i.currency, item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) as available,
           l.regions = '{}' or $5::text is null or $5 = any (l.regions) as is_in_region
    from item i join listed_item l using (item_id) left join item_stock s using (item_id)
    left join units_held_by($1) own using (item_id)
    where i.item_id = $2
), line as (
    insert into cart_line (owner, item_id, quantity, added_at, changed_at)
    select $1, item_id, $3, $4, $4 from found where $3 <= available and is_in_region and currency = 'RUB'
    on conflict (owner, item_id) do update
    set quantity = cart_line.quantity + excluded.quantity, changed_at = excluded.changed_at
    where cart_line.quantity + excluded.quantity <= least((select available from found), $6)
    returning 1
)
select f.currency, f.available, f.is_in_region, exists (select from line) as written from found f
