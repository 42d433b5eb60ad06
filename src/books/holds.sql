-- The stock holds the units of the payments that hold, and no others. $1: at most so many rows.
select format('item %s holds %s units, and open payments hold %s', item_id, coalesce(s.held, 0), coalesce(h.units, 0))
from item_stock s
full join (
    select l.item_id, sum(l.quantity) as units
    from payment p join payment_line l using (payment_id) where p.holds group by l.item_id
) h using (item_id)
where coalesce(s.held, 0) <> coalesce(h.units, 0)
order by item_id limit $1
