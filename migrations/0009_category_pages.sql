-- The same rule of what is listed; with the node, so that a page of a category takes the first items of each node below it from
-- item_node_id_idx instead of sorting all that there are.
create or replace view listed_item as
select i.item_id, i.id, i.name, i.priority, i.search, n.path as node_path,
       array(select r.region_id from item_region r where r.item_id = i.item_id) as regions,
       i.node_id
from item i
join category n on n.category_id = i.node_id
where i.visible and n.shown;
