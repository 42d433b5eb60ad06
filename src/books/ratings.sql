-- The rating of an item is what its reviews and its imported rating give. $1: at most so many rows.
select format('item %s has the rating %s, and its reviews give %s', item_id, rating, expected)
from (select item_id, rating, item_rating(item_id, imported_rating) as expected from item) i
where rating is distinct from expected
order by item_id limit $1
