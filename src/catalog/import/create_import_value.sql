-- The view import_value: for each record of import_ready whose item exists, the values that the item gets, and whether it differs from
-- them. A field that a record does not mention keeps its value. Evaluated twice, to lock the items that differ and to update them.
create temporary view import_value as
select n.*,
       (o.category_id, o.subcategory_id, o.name, o.simple_description, o.description, o.description_fields, o.currency, o.price,
        o.discount, o.imported_rating, o.visible, o.priority, o.tags, o.badges, o.photos, o.questions, o.translations)
       is distinct from
       (n.category_id, n.subcategory_id, n.name, n.simple_description, n.description, n.description_fields, n.currency, n.price,
        n.discount, n.imported_rating, n.visible, n.priority, n.tags, n.badges, n.photos, n.questions, n.translations) as differs
from import_ready r join import_item s using (row_no) join item o on o.item_id = r.item_id
cross join lateral (
    select o.item_id,
           coalesce(r.category_id, o.category_id) as category_id,
           case when r.named_subcategory_id is not null then r.named_subcategory_id
                when coalesce(r.category_id, o.category_id) = o.category_id then o.subcategory_id end as subcategory_id,
           coalesce(s.name, o.name) as name,
           coalesce(s.simple_description, o.simple_description) as simple_description,
           coalesce(s.description, o.description) as description,
           coalesce(s.description_fields, o.description_fields) as description_fields,
           coalesce(s.currency, o.currency) as currency,
           coalesce(s.price, o.price) as price,
           coalesce(s.discount, o.discount) as discount,
           -- a rating equal to the one that is shown does not replace the imported one
           coalesce(nullif(s.rating, o.rating), o.imported_rating) as imported_rating,
           exists (select from review v where v.item_id = o.item_id and v.owner is not null and not v.hidden)
               as is_reviewed,
           coalesce(s.visible, o.visible) as visible,
           coalesce(s.priority, o.priority) as priority,
           coalesce(s.tags, o.tags) as tags,
           coalesce(s.badges, o.badges) as badges,
           coalesce(s.photos, o.photos) as photos,
           coalesce(s.questions, o.questions) as questions,
           import_merge_translations(o.translations, s.translations) as translations
) n
where r.known and r.problem is null and not r.later_feed
