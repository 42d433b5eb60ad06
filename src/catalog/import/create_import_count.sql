-- The counts of import_ready that would change the stock, in the temporary table import_count. $1 is the moment that the file is of (or
-- null), and movements after $2 are subtracted. No row of item_stock is locked. One pass over import_ready, with two lookups by primary key
-- for each record.
create temporary table import_count on commit drop as
select r.item_id, r.final_id, r.row_no, s.quantity,
       -- an earlier file of this import has a count that is not applied yet
       case when s.available and p.item_id is not null then 'high' else s.remainings end as level,
       s.available and p.item_id is null as available,
       case when s.has_stock then $1::timestamptz end as as_of,
       s.has_stock and coalesce($1::timestamptz < greatest(t.as_of, p.as_of), false) as is_older
from import_ready r join import_item s using (row_no)
left join item_stock t on t.item_id = r.item_id
left join stock_count p on p.item_id = r.item_id
left join (select item_id, sum(quantity)::integer as moved from stock_movement where moved_at > $2::timestamptz
           group by item_id) m on m.item_id = r.item_id
where r.problem is null and not r.later_feed
  and case
          when s.has_stock then
              p.item_id is not null
              or (t.quantity, t.level) is distinct from
                 (case when s.quantity is not null then greatest(s.quantity + coalesce(m.moved, 0), 0) end, s.remainings)
          when s.available and p.item_id is not null then not p.available and (p.quantity = 0 or p.level = 'out')
          when s.available then t.quantity = 0 or t.level = 'out'
      end
