-- Returns every item as the text of a JSON object, with its regions and all its reviews in both spellings, in the order
-- of their numbers. Streamed: the primary key gives the order, and each item's reviews and regions are index lookups,
-- so no sort needs memory.
select jsonb_strip_nulls(jsonb_build_object(
           'itemID', i.item_id, 'id', i.id, 'categoryID', i.category_id, 'subcategoryId', s.id, 'name', i.name,
           'simpleDescription', i.simple_description, 'description', i.description,
           'descriptionFields', i.description_fields, 'currency', i.currency, 'price', trim_scale(i.price),
           'discount', trim_scale(i.discount), 'salePrice', trim_scale(i.sale_price),
           'minQuantity', i.min_quantity, 'stepQuantity', i.step_quantity,
           'purchasePrice', trim_scale(i.purchase_price), 'attributes', nullif(i.attributes, '{}'), 'quantity', t.quantity, 'remainings', t.level, 'vat', i.vat,
           'rating', trim_scale(i.rating), 'ratingCount', nullif(i.rating_count, 0), 'visible', i.visible,
           'priority', i.priority, 'tags', i.tags, 'badges', i.badges, 'photos', i.photos,
           'questions', coalesce(q.questions, '[]'), 'translations', i.translations,
           'source', nullif(i.source, ''),
           'retiredAt', to_char(i.retired_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'regions', array(select region_id from item_region r where r.item_id = i.item_id order by 1),
           'comments', coalesce(r.comments, '[]'), 'callbacks', coalesce(r.callbacks, '[]')
       ))::text
from item i
left join category s on s.category_id = i.subcategory_id
left join item_stock t on t.item_id = i.item_id
left join lateral (
    select jsonb_agg(jsonb_build_object(
               'id', r.id, 'text', r.content, 'author', r.author, 'stars', r.rating,
               'createdAt', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'visible', case when r.hidden then false end
           ) order by r.review_id) as comments,
           jsonb_agg(jsonb_build_object(
               'content', r.content, 'userID', r.author, 'rating', r.rating, 'answer', r.answer,
               'timestamp', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
               'visible', case when r.hidden then false end
           ) order by r.review_id) as callbacks
    from review r where r.item_id = i.item_id
) r on true
left join lateral (
    select jsonb_agg(jsonb_build_object(
               'question', q.content, 'answer', q.answer, 'upvotes', q.upvotes, 'downvotes', q.downvotes,
               'visible', case when not q.shown then false end
           ) order by q.asked_at desc nulls last, q.question_id desc) as questions
    from question q where q.item_id = i.item_id
) q on true
order by i.item_id
