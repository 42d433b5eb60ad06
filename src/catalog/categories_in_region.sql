-- Returns all shown categories in display order, each with the counts of the visible items directly in it: all, and
-- those available in region $1. An item or category without a list of regions is available everywhere. Two sequential
-- scans (item, item_region) with hash aggregation; the response is cached per region.
select c.category_id, c.id, c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.path,
       c.translations, coalesce(i.all_items,
           -- a category whose items are all retired is not one that never had any
           (select count(*) from item r where r.node_id = c.category_id and r.retired_at is not null)) as all_items,
       coalesce(i.available_items, 0) as available_items,
       (not exists (select from category_region r where r.category_id = c.category_id)
        or exists (select from category_region r where r.category_id = c.category_id and r.region_id = $1)
       ) as available
from category c
left join (select i.node_id, count(*) as all_items,
                  count(*) filter (where r.item_id is null or r.is_available) as available_items
           from item i
           left join (select item_id, bool_or(region_id = $1) as is_available from item_region
                      group by item_id) r using (item_id)
           where i.visible group by i.node_id) i on i.node_id = c.category_id
where c.shown order by c.priority desc, c.category_id
