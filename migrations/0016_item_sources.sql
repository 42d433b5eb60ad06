-- Where items come from, and which of them their source no longer has. And a search vector that no text makes fail.

alter table item
    -- the source of imports that has the item; '' is the brand's own
    add column source text not null default '',
    -- when an import hid the item because its source no longer has it; null: no import did
    add column retired_at timestamptz;
-- Every row has the default: no scan, and so no long lock.
alter table item add constraint item_source_check check (source ~ '^([a-z0-9][a-z0-9_-]{0,63})?$') not valid;
-- what a complete import of a source compares its files with
create index item_source_idx on item (source, item_id) where visible;
-- what prune deletes, and the categories that have nothing else
create index item_retired_at_idx on item (retired_at) where retired_at is not null;
create index item_retired_node_idx on item (node_id) where retired_at is not null;

-- The same vector as before. Of an item whose texts are too long for a tsvector (1 MB), only the beginnings of its names and its tags
-- are found: an import of many items must not fail for one of them.
create or replace function item_search_vector(
    name text, simple_description text, description text, tags text[], description_fields jsonb, translations jsonb
) returns tsvector language plpgsql immutable parallel restricted as $$
begin
    return setweight(to_tsvector('russian'::regconfig, coalesce(name, '')), 'A')
        || setweight(to_tsvector('russian'::regconfig, coalesce(array_to_string(tags, ' '), '')), 'B')
        || setweight(to_tsvector('russian'::regconfig,
               coalesce(simple_description, '') || ' ' || coalesce(description, '')), 'C')
        || setweight(jsonb_to_tsvector('russian'::regconfig, coalesce(description_fields, '[]'), '["string"]'), 'C')
        || setweight(to_tsvector('english'::regconfig, coalesce(translations #>> '{en,name}', '')), 'A')
        || setweight(jsonb_to_tsvector('english'::regconfig, coalesce(translations -> 'en', '{}'), '["string"]'), 'C')
        || setweight(to_tsvector('armenian'::regconfig, coalesce(translations #>> '{hy,name}', '')), 'A')
        || setweight(jsonb_to_tsvector('armenian'::regconfig, coalesce(translations -> 'hy', '{}'), '["string"]'), 'C');
exception when program_limit_exceeded then
    return setweight(to_tsvector('russian'::regconfig, left(coalesce(name, ''), 1000)), 'A')
        || setweight(to_tsvector('russian'::regconfig, left(coalesce(array_to_string(tags, ' '), ''), 10000)), 'B')
        || setweight(to_tsvector('english'::regconfig, left(coalesce(translations #>> '{en,name}', ''), 1000)), 'A')
        || setweight(to_tsvector('armenian'::regconfig, left(coalesce(translations #>> '{hy,name}', ''), 1000)), 'A');
end $$;
