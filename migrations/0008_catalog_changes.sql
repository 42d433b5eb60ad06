-- What whoever remembers answers must forget: which items are shown differently, and since which transaction.

create table catalog_change (
    change_id  bigint primary key generated always as identity,
    -- the transaction that changed it. A reader goes on from the oldest transaction that was running when it last looked, so that
    -- one that commits late is not passed over.
    xact       bigint not null default pg_current_xact_id()::text::bigint,
    -- null: anything that is shown may be another
    item_id    bigint,
    changed_at timestamptz not null default now()
);
create index catalog_change_xact_idx on catalog_change (xact);
create index catalog_change_changed_at_idx on catalog_change (changed_at);

-- Notes changed items, or (null, or more than a reader would want to hear of one by one) everything, and wakes the readers. Who
-- listens is told nothing but that there is something to read.
create function catalog_note(item_ids bigint[]) returns void language plpgsql set search_path from current as $$
begin
    if item_ids is null or cardinality(item_ids) > 100 then
        insert into catalog_change (item_id) values (null);
    else
        insert into catalog_change (item_id) select unnest(item_ids);
    end if;
    perform pg_notify('catalog_change_' || current_schema(), '');
end $$;

-- Rows of these tables decide which items are listed, where, and in which order.
create function catalog_note_everything() returns trigger language plpgsql set search_path from current as $$
begin
    if tg_op = 'DELETE' then
        if exists (select from older) then
            perform catalog_note(null);
        end if;
    elsif exists (select from newer) then
        perform catalog_note(null);
    end if;
    return null;
end $$;

create trigger region_note_inserted after insert on region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger region_note_updated after update on region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger region_note_deleted after delete on region referencing old table as older
    for each statement execute function catalog_note_everything();
create trigger category_note_inserted after insert on category referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger category_note_updated after update on category referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger category_note_deleted after delete on category referencing old table as older
    for each statement execute function catalog_note_everything();
create trigger category_region_note_inserted after insert on category_region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger category_region_note_updated after update on category_region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger category_region_note_deleted after delete on category_region referencing old table as older
    for each statement execute function catalog_note_everything();
create trigger item_region_note_inserted after insert on item_region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger item_region_note_updated after update on item_region referencing new table as newer
    for each statement execute function catalog_note_everything();
create trigger item_region_note_deleted after delete on item_region referencing old table as older
    for each statement execute function catalog_note_everything();
create trigger item_note_deleted after delete on item referencing old table as older
    for each statement execute function catalog_note_everything();

-- An insert keeps no copy of its rows for this: an import has a million of them, and says nothing when it has none.
create function catalog_note_inserted() returns trigger language plpgsql set search_path from current as $$
begin
    perform catalog_note(null);
    return null;
end $$;
create trigger item_note_inserted after insert on item for each statement execute function catalog_note_inserted();

-- An item that is only shown differently (its price, its stock, its stars) touches what shows it. One that moves, hides, or is
-- found by other words touches every list.
create function catalog_note_updated() returns trigger language plpgsql set search_path from current as $$
declare
    item_ids bigint[];
    moved    boolean;
begin
    if not exists (select from newer) then
        return null;
    end if;
    if (select count(*) from (select from newer limit 101) n) > 100 then
        perform catalog_note(null);
        return null;
    end if;
    select array_agg(n.item_id),
           bool_or((n.item_id, n.id, n.node_id, n.visible, n.priority, n.name, n.search)
                   is distinct from (o.item_id, o.id, o.node_id, o.visible, o.priority, o.name, o.search))
    into item_ids, moved
    from newer n left join older o using (item_id);
    perform catalog_note(case when not moved then item_ids end);
    return null;
end $$;
create trigger item_note_updated after update on item referencing old table as older new table as newer
    for each statement execute function catalog_note_updated();

-- Reviews are shown with their item.
create function catalog_note_reviewed() returns trigger language plpgsql set search_path from current as $$
declare
    item_ids bigint[];
begin
    if tg_op = 'DELETE' then
        item_ids := array(select distinct item_id from older limit 101);
    else
        item_ids := array(select distinct item_id from newer limit 101);
    end if;
    if cardinality(item_ids) > 0 then
        perform catalog_note(item_ids);
    end if;
    return null;
end $$;
create trigger review_note_inserted after insert on review referencing new table as newer
    for each statement execute function catalog_note_reviewed();
create trigger review_note_updated after update on review referencing new table as newer
    for each statement execute function catalog_note_reviewed();
create trigger review_note_deleted after delete on review referencing old table as older
    for each statement execute function catalog_note_reviewed();
