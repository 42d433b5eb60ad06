-- Updates the items of import_target, which are locked, to the values of import_value.
update item i
set category_id = n.category_id, subcategory_id = n.subcategory_id, name = n.name,
    simple_description = n.simple_description, description = n.description,
    description_fields = n.description_fields, currency = n.currency, price = n.price, discount = n.discount,
    imported_rating = n.imported_rating, rating_count = n.rating_count,
    rating = case when n.is_reviewed then i.rating else n.imported_rating end,
    visible = n.visible, priority = n.priority, tags = n.tags, badges = n.badges, photos = n.photos,
    translations = n.translations, source = n.source, retired_at = n.retired_at, vat = n.vat,
    sale_price = n.sale_price, min_quantity = n.min_quantity, step_quantity = n.step_quantity,
    purchase_price = n.purchase_price, attributes = n.attributes
from import_value n
where i.item_id = n.item_id and n.item_id in (select item_id from import_target)
