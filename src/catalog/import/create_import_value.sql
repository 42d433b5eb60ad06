-- The view import_value: for each record of import_ready whose item exists, the values that the item gets, and whether it differs from
-- them: a row in which nothing differs is not rewritten, which keeps a repeated import free of writes. A field that a record does not
-- mention keeps its value, except pictures, descriptions, parameters and what belongs to them where the record clears them. Evaluated twice, to lock the items
-- that differ and to update them.
create temporary view import_value as
select n.*,
       (o.category_id, o.subcategory_id, o.name, o.simple_description, o.description, o.description_fields, o.currency, o.price,
        o.discount, o.imported_rating, o.rating_count, o.visible, o.priority, o.tags, o.badges, o.photos, o.translations, o.source,
        o.retired_at, o.vat, o.sale_price, o.min_quantity, o.step_quantity, o.purchase_price, o.attributes)
       is distinct from
       (n.category_id, n.subcategory_id, n.name, n.simple_description, n.description, n.description_fields, n.currency, n.price,
        n.discount, n.imported_rating, n.rating_count, n.visible, n.priority, n.tags, n.badges, n.photos, n.translations, n.source,
        n.retired_at, n.vat, n.sale_price, n.min_quantity, n.step_quantity, n.purchase_price, n.attributes) as differs
from import_ready r join import_item s using (row_no) join item o on o.item_id = r.item_id
cross join lateral (
    select o.item_id,
           coalesce(r.category_id, o.category_id) as category_id,
           case when r.named_subcategory_id is not null then r.named_subcategory_id
                when coalesce(r.category_id, o.category_id) = o.category_id then o.subcategory_id end as subcategory_id,
           coalesce(s.name, o.name) as name,
           coalesce(s.simple_description, case when not r.clears then o.simple_description end) as simple_description,
           coalesce(s.description, case when r.clears then '' else o.description end) as description,
           coalesce(s.description_fields, case when r.clears then '[]' else o.description_fields end) as description_fields,
           coalesce(s.currency, o.currency) as currency,
           coalesce(s.price, o.price) as price,
           coalesce(s.discount, o.discount) as discount,
           -- a sale price belongs to the price and the discount that it came with
           case when s.price is null and s.discount is null then o.sale_price else s.sale_price end as sale_price,
           coalesce(s.min_quantity, case when not r.clears then o.min_quantity end) as min_quantity,
           coalesce(s.step_quantity, case when not r.clears then o.step_quantity end) as step_quantity,
           coalesce(s.purchase_price, case when not r.clears then o.purchase_price end) as purchase_price,
           case when r.clears then coalesce(s.attributes, '{}') else o.attributes || coalesce(s.attributes, '{}') end
               as attributes,
           -- a rating equal to the one that is shown does not replace the imported one
           coalesce(nullif(s.rating, o.rating), o.imported_rating) as imported_rating,
           coalesce(s.rating_count, o.rating_count) as rating_count,
           exists (select from review v where v.item_id = o.item_id and v.owner is not null and not v.hidden)
               as is_reviewed,
           coalesce(s.visible, o.visible or o.retired_at is not null) as visible,
           coalesce(s.priority, o.priority) as priority,
           coalesce(s.tags, o.tags) as tags,
           coalesce(s.badges, o.badges) as badges,
           coalesce(s.photos, case when r.clears then '[]' else o.photos end) as photos,
           r.source, s.retired_at,
           import_merge_translations(o.translations, s.translations) as translations,
           coalesce(s.vat, o.vat) as vat
) n
where r.known and r.problem is null and not r.later_feed
