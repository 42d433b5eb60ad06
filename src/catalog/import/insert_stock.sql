-- Inserts the stock of the new items of import_ready; a row that exists, of an item that returns, is changed by a count. $1 is the
-- moment that the file is of (or null), and movements after $2 are subtracted. One pass over import_ready and one over the movements.
insert into item_stock (item_id, quantity, level, as_of, counted_at)
select r.item_id, case when s.quantity is not null then greatest(s.quantity + coalesce(m.moved, 0), 0) end,
       coalesce(s.remainings, case when s.available then 'high' end),
       case when s.has_stock then $1::timestamptz end, case when s.has_stock or s.available then clock_timestamp() end
from import_ready r join import_item s using (row_no)
left join (select item_id, sum(quantity)::integer as moved from stock_movement where moved_at > $2::timestamptz group by item_id) m
     on m.item_id = r.item_id
where not r.known and r.problem is null and not r.later_feed
on conflict do nothing
