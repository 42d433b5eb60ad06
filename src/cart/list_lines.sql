-- The lines of the cart $1 with their items, in the region $2.
select v.*, c.quantity as cart_quantity,
       case when s.quantity is not null
            then item_left(s.quantity, s.held - coalesce(own.quantity, 0), s.level) end as available,
       l.item_id is not null as is_visible,
       l.item_id is not null and (l.regions = '{}' or $2::text is null or $2 = any (l.regions)) as is_listed
from cart_line c join item_card v using (item_id) left join item_stock s using (item_id) left join listed_item l using (item_id)
left join units_held_by($1) own using (item_id)
where c.owner = $1 order by c.added_at, c.item_id
