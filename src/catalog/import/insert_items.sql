-- Inserts the new items of import_ready, with defaults for the fields that their records do not mention.
-- One pass over import_ready; the triggers and indexes of item are the cost.
insert into item (item_id, id, category_id, subcategory_id, name, simple_description, description, description_fields,
                  currency, price, discount, rating, imported_rating, rating_count, visible, priority, tags, badges, photos,
                  translations, source, retired_at, vat, sale_price, min_quantity, step_quantity, purchase_price, attributes)
select r.item_id, r.final_id, r.category_id, r.named_subcategory_id, s.name, s.simple_description,
       coalesce(s.description, ''), coalesce(s.description_fields, '[]'), coalesce(s.currency, 'RUB'), s.price,
       coalesce(s.discount, 0), coalesce(s.rating, 0), coalesce(s.rating, 0), coalesce(s.rating_count, 0),
       coalesce(s.visible, true), coalesce(s.priority, 0), coalesce(s.tags, '{}'), coalesce(s.badges, '{}'),
       coalesce(s.photos, '[]'), coalesce(s.translations, '{}'), r.source, s.retired_at, s.vat,
       s.sale_price, s.min_quantity, s.step_quantity, s.purchase_price, coalesce(s.attributes, '{}')
from import_ready r join import_item s using (row_no)
where not r.known and r.problem is null and not r.later_feed
