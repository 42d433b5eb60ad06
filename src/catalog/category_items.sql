-- Returns a page ($4 rows after the first $5) of the visible items in the category with number $1 or id $2 and in its
-- descendants, in region $3 (null: anywhere), as rows of item_card in display order. No row at all: there is no such
-- category. One row of nulls: the page is empty. is_truncated: rows may be missing at the end of the page.
--
-- Fast because nothing is sorted but what is read: item_node_id_idx returns the first items of each category in display
-- order. Reading $4 + $5 of each would be too many in a tree of many categories, so $6 times the even share (plus 8) is
-- read of each; null reads $4 + $5. Up to the cutoff, which is the first of the last items read of the categories that
-- may have more, no item is missing; items after the cutoff are not returned.
--
-- Visibility is that of the view listed_item, evaluated once per category instead of once per item.
with root as materialized (select category_id from category where (category_id = $1 or id = $2) and shown),
     node as materialized (
         select n.category_id from category n join root on n.path @> array[root.category_id] where n.shown
     ),
     quota as materialized (
         select least($4::bigint + $5::bigint, $6::bigint * ($4 + $5) / greatest(count(*), 1) + 8) as items_per_node from node
     ),
     cutoff as materialized (
         select l.priority, l.item_id
         from node n cross join quota q cross join lateral (
             select i.priority, i.item_id from item i
             where i.visible and i.node_id = n.category_id
               and ($3::text is null or coalesce(
                   (select bool_or(r.region_id = $3) from item_region r where r.item_id = i.item_id), true))
             order by i.priority desc, i.item_id limit 1 offset q.items_per_node - 1
         ) l
         where q.items_per_node < $4 + $5 order by l.priority desc, l.item_id limit 1
     )
select v.*, exists (select from cutoff) as is_truncated
from root
left join cutoff c on true
left join lateral (
    select i.item_id, i.priority
    from node n cross join lateral (
        select i.item_id, i.priority from item i
        where i.visible and i.node_id = n.category_id
          and ($3::text is null or coalesce(
              (select bool_or(r.region_id = $3) from item_region r where r.item_id = i.item_id), true))
        order by i.priority desc, i.item_id limit (select items_per_node from quota)
    ) i
    where c.priority is null or i.priority > c.priority or (i.priority = c.priority and i.item_id <= c.item_id)
    order by i.priority desc, i.item_id limit $4 offset $5
) p on true
left join item_card v on v.item_id = p.item_id
order by p.priority desc, p.item_id
