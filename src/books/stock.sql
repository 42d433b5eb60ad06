-- The counts of an import that has committed are applied soon. $1: at most so many rows.
select format('the count of item %s that was imported at %s is not applied', item_id, counted_since)
from stock_count where counted_since < now() - interval '1 hour'
order by item_id limit $1
