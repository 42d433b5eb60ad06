-- The stock of the items, in rows of its own: a merge of texts and prices locks item, a payment locks item_stock, and neither waits for
-- the other.
--
-- A transaction that locks several rows of item_stock locks them by item_id in ascending order, and holds no other lock that a payment
-- waits for.
-- item.quantity, item.remainings and item.held are what the version before this one reads; nothing else writes them.

-- One row per item. It has no foreign key: the row of an item that an import has dropped stays while units of it are held, so that what
-- open payments hold is still known when they end or when the item returns.
create table item_stock (
    item_id    bigint primary key constraint item_stock_item_id_check check (item_id between 1 and 9007199254740991),
    -- units in stock, the held ones included; null where the number is not known, and then `level` says what is
    quantity   integer constraint item_stock_quantity_check check (quantity >= 0),
    level      text constraint item_stock_level_check check (level in ('high', 'medium', 'low', 'out')),
    -- units that open payments hold: always the sum of payment_line.quantity over the payments with `holds`. Only the triggers on
    -- payment_line and payment below write it
    held       integer not null default 0 constraint item_stock_held_check check (held >= 0),
    -- for which moment the source of the last count gave it; null: the source did not say
    as_of      timestamptz,
    -- when the last count was written, by an import; null: never
    counted_at timestamptz
) with (fillfactor = 80);

-- Every change of item_stock.quantity between two counts: sales (negative), returns and corrections. What was sold since the moment of a
-- count is subtracted from it. Written by a trigger on item_stock, whatever changes the quantity.
create table stock_movement (
    movement_id bigint primary key generated always as identity,
    item_id     bigint not null,
    moved_at    timestamptz not null,
    -- units, negative when they leave the stock
    quantity    integer not null constraint stock_movement_quantity_check check (quantity <> 0)
);
create index stock_movement_item_id_idx on stock_movement (item_id, moved_at);
create index stock_movement_moved_at_idx on stock_movement (moved_at);

-- Counts that an import has committed and that are not in item_stock yet. They are applied in small transactions, by the import itself or
-- after it was killed by the next one and by a background job.
create table stock_count (
    item_id       bigint primary key,
    -- the new item_stock.quantity and item_stock.level
    quantity      integer constraint stock_count_quantity_check check (quantity >= 0),
    level         text constraint stock_count_level_check check (level in ('high', 'medium', 'low', 'out')),
    -- the source says only that the item is available: changes an item that is out, and no other
    available     boolean not null,
    as_of         timestamptz,
    -- movements after this are subtracted: as_of, or when the import began
    counted_since timestamptz not null
);

-- The newest file of each source of imports that says which moment it is of.
create table import_source (
    -- '' is the source that is not named
    source      text not null,
    -- the region whose feed it is; '' for a file of all regions
    region_id   text not null default '',
    -- the moment that the file says it is of
    dated_at    timestamptz not null,
    imported_at timestamptz not null default now(),
    constraint import_source_pkey primary key (source, region_id)
);

-- Until the end of the migration no payment changes what is copied.
lock table item in share mode;
insert into item_stock (item_id, quantity, level, held)
select i.item_id, i.quantity, i.remainings, coalesce(h.held, 0)
from item i
left join (select l.item_id, sum(l.quantity)::integer as held from payment_line l join payment p using (payment_id)
           where p.holds group by l.item_id) h using (item_id);
insert into item_stock (item_id, level, held)
select l.item_id, 'out', sum(l.quantity)::integer
from payment_line l join payment p using (payment_id)
where p.holds and not exists (select from item i where i.item_id = l.item_id)
group by l.item_id;
insert into stock_movement (item_id, moved_at, quantity)
select l.item_id, p.completed_at, -l.quantity from payment_line l join payment p using (payment_id) where p.status = 'COMPLETED';
analyze item_stock, stock_movement;

create function item_stock_note_movement() returns trigger language plpgsql as $$
begin
    insert into stock_movement (item_id, moved_at, quantity)
    values (new.item_id, clock_timestamp(), new.quantity - old.quantity);
    return null;
end $$;
-- A new count comes with its time; every other change is a movement.
create trigger item_stock_note_movement after update of quantity on item_stock for each row
    when (old.quantity <> new.quantity and old.counted_at is not distinct from new.counted_at)
    execute function item_stock_note_movement();

-- A line holds its units in the statement that writes it, or is not written.
create or replace function payment_line_hold() returns trigger language plpgsql as $$
begin
    update item_stock s set held = s.held + new.quantity
    where s.item_id = new.item_id and item_left(s.quantity, s.held, s.level) >= new.quantity;
    if not found then
        -- an item of which nothing was ever said
        insert into item_stock (item_id, held) select i.item_id, new.quantity from item i where i.item_id = new.item_id
        on conflict do nothing;
        if not found then
            raise exception 'not enough units of item % are left', new.item_id
                using errcode = 'check_violation', constraint = 'payment_line_stock_check', table = 'payment_line';
        end if;
    end if;
    return new;
end $$;

-- The units of a payment's lines follow its status and its column `holds`, whatever changes them: a completed payment takes them from
-- the stock, one that only stops to hold releases them, and one that holds again needs all of them or fails. A payment that completes
-- without holding takes what others do not hold.
create function payment_move_stock() returns trigger language plpgsql as $$
declare
    moved bigint;
begin
    perform from item_stock
    where item_id in (select l.item_id from payment_line l where l.payment_id = new.payment_id)
    order by item_id for update;
    if new.status = 'COMPLETED' and old.status <> 'COMPLETED' then
        if old.holds then
            update item_stock s
            set held = greatest(s.held - l.quantity, 0),
                quantity = case when s.quantity is not null then greatest(s.quantity - l.quantity, 0) end
            from payment_line l where l.payment_id = new.payment_id and l.item_id = s.item_id;
        else
            update item_stock s set quantity = s.quantity - least(l.quantity, greatest(s.quantity - s.held, 0))
            from payment_line l
            where l.payment_id = new.payment_id and l.item_id = s.item_id and s.quantity is not null;
        end if;
    elsif old.holds then
        update item_stock s set held = greatest(s.held - l.quantity, 0)
        from payment_line l where l.payment_id = new.payment_id and l.item_id = s.item_id;
    else
        update item_stock s set held = s.held + l.quantity
        from payment_line l
        where l.payment_id = new.payment_id and l.item_id = s.item_id
          and item_left(s.quantity, s.held, s.level) >= l.quantity;
        get diagnostics moved = row_count;
        if moved < (select count(*) from payment_line l where l.payment_id = new.payment_id) then
            raise exception 'not enough units for payment % are left', new.payment_id
                using errcode = 'check_violation', constraint = 'payment_line_stock_check', table = 'payment';
        end if;
    end if;
    return null;
end $$;
create trigger payment_move_stock after update of status, holds on payment for each row
    when (old.holds <> new.holds or (new.status = 'COMPLETED' and old.status <> 'COMPLETED'))
    execute function payment_move_stock();

-- What the version before this one imports.
create function item_copy_stock() returns trigger language plpgsql as $$
begin
    insert into item_stock (item_id, quantity, level, counted_at)
    values (new.item_id, new.quantity, new.remainings, clock_timestamp())
    on conflict (item_id) do update
    set quantity = excluded.quantity, level = excluded.level, as_of = null, counted_at = excluded.counted_at;
    return null;
end $$;
create trigger item_copy_stock_inserted after insert on item for each row
    when (new.quantity is not null or new.remainings is not null) execute function item_copy_stock();
create trigger item_copy_stock_updated after update of remainings on item for each row
    when ((old.quantity, old.remainings) is distinct from (new.quantity, new.remainings)) execute function item_copy_stock();

-- The stock is shown with its item.
create function item_stock_note_updated() returns trigger language plpgsql set search_path from current as $$
declare
    item_ids bigint[];
begin
    item_ids := array(
        select n.item_id from newer n join older o using (item_id)
        where (n.quantity, n.level, n.held) is distinct from (o.quantity, o.level, o.held) limit 101
    );
    if cardinality(item_ids) > 0 then
        perform catalog_note(item_ids);
    end if;
    return null;
end $$;
create trigger item_stock_note_updated after update on item_stock referencing old table as older new table as newer
    for each statement execute function item_stock_note_updated();

create or replace view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       case when s.quantity is not null then item_left(s.quantity, s.held, s.level) end as quantity,
       s.level as remainings, i.rating, i.priority, i.tags, i.badges, i.photos, i.questions, i.translations,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id and not r.hidden
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews
from item i
join category n on n.category_id = i.node_id
left join item_stock s on s.item_id = i.item_id;

-- A line of a cart stays when an import drops its item, and counts again when the item returns. So an import that drops items waits for no
-- cart, and no cart waits for it. Last, because it excludes even readers until the migration ends.
alter table cart_line drop constraint cart_line_item_id_fkey;
