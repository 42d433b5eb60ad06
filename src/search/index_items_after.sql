-- Returns at most $2 listed items with a number above $1, in the order of their numbers, with what the search index needs.
-- Fast because item_pkey gives them in order; the reviews of item_card are not computed, because they are not selected.
select l.item_id, l.node_id, v.name, v.translations, v.tags, v.description_fields, v.simple_description, v.description,
       v.price, v.discount, v.sale_price, v.quantity, v.remainings, v.rating, v.priority, l.regions,
       i.attributes ->> 'keywords' as keywords
from listed_item l join item_card v using (item_id) join item i on i.item_id = l.item_id
where l.item_id > $1
order by l.item_id limit $2
