-- Updates the existing items of import_ready and adds them to import_changed. A field that a record does not mention
-- keeps its value, except, with $1 (the files are complete), pictures, descriptions and parameters; a row in which nothing differs is not rewritten, which keeps a repeated import free of writes.
with updated as (
    update item i
    set category_id = n.category_id, subcategory_id = n.subcategory_id, name = n.name,
        simple_description = n.simple_description, description = n.description,
        description_fields = n.description_fields, currency = n.currency, price = n.price, discount = n.discount,
        imported_rating = n.imported_rating, rating_count = n.rating_count,
        rating = case when n.is_reviewed then i.rating else n.imported_rating end,
        visible = n.visible, priority = n.priority, tags = n.tags, badges = n.badges, photos = n.photos,
        translations = n.translations, source = n.source, retired_at = n.retired_at, vat = n.vat
    from (
        select o.item_id,
               coalesce(r.category_id, o.category_id) as category_id,
               case when r.named_subcategory_id is not null then r.named_subcategory_id
                    when coalesce(r.category_id, o.category_id) = o.category_id then o.subcategory_id end as subcategory_id,
               coalesce(s.name, o.name) as name,
               coalesce(s.simple_description, case when not f.clears then o.simple_description end)
                   as simple_description,
               coalesce(s.description, case when f.clears then '' else o.description end) as description,
               coalesce(s.description_fields, case when f.clears then '[]' else o.description_fields end)
                   as description_fields,
               coalesce(s.currency, o.currency) as currency,
               coalesce(s.price, o.price) as price,
               coalesce(s.discount, o.discount) as discount,
               -- a rating equal to the one that is shown does not replace the imported one
               coalesce(nullif(s.rating, o.rating), o.imported_rating) as imported_rating,
               coalesce(s.rating_count, o.rating_count) as rating_count,
               exists (select from review v where v.item_id = o.item_id and v.owner is not null and not v.hidden)
                   as is_reviewed,
               coalesce(s.visible, o.visible or o.retired_at is not null) as visible,
               coalesce(s.priority, o.priority) as priority,
               coalesce(s.tags, o.tags) as tags,
               coalesce(s.badges, o.badges) as badges,
               coalesce(s.photos, case when f.clears then '[]' else o.photos end) as photos,
               r.source, s.retired_at,
               import_merge_translations(o.translations, s.translations) as translations,
               coalesce(s.vat, o.vat) as vat
        from import_ready r join import_item s using (row_no) join item o on o.item_id = r.item_id
             cross join lateral (select $1 and s.defect is null as clears) f
        where r.known and r.problem is null and not r.later_feed
    ) n
    where i.item_id = n.item_id
      and ((i.category_id, i.subcategory_id, i.name, i.simple_description, i.description, i.description_fields, i.currency,
           i.price, i.discount, i.imported_rating, i.rating_count, i.visible, i.priority, i.tags, i.badges,
           i.photos, i.translations, i.source, i.retired_at, i.vat)
          is distinct from
          (n.category_id, n.subcategory_id, n.name, n.simple_description, n.description, n.description_fields, n.currency,
           n.price, n.discount, n.imported_rating, n.rating_count, n.visible, n.priority, n.tags, n.badges,
           n.photos, n.translations, n.source, n.retired_at, n.vat))
    returning i.item_id
)
insert into import_changed select item_id from updated
