-- Writes the counts of the items $1 into item_stock, whose rows are locked. A statement of its own: it has to see every movement that was
-- committed before the rows were locked. Every row is found by its primary key, the movements by the index on item_id.
update item_stock s
set quantity = case when c.available then nullif(s.quantity, 0) else c.quantity end,
    level = case when not c.available then c.level when s.quantity = 0 or s.level = 'out' then 'high' else s.level end,
    as_of = case when c.available then s.as_of else c.as_of end,
    counted_at = clock_timestamp()
from (
    select c.item_id, c.level, c.available, c.as_of,
           case when c.quantity is not null then greatest(c.quantity + coalesce((
               select sum(m.quantity)::integer from stock_movement m where m.item_id = c.item_id and m.moved_at > c.counted_since
           ), 0), 0) end as quantity
    from stock_count c where c.item_id = any ($1)
) c
where s.item_id = c.item_id
