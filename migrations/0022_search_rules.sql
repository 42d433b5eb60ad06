-- What the shop decides about its searches (synonyms, pinned and buried items), and what visitors search for.

-- Lines that the shop adds to the shipped list of synonyms, or switches off in it.
create table search_synonym (
    synonym_id  bigint primary key generated always as identity,
    -- the line as lines are compared: folded words, the phrases of each side in alphabetical order
    synonym_key text not null unique,
    -- `a, b` (each for the other) or `a => b, c` (one way), as it was written
    line        text not null,
    -- false: the shipped line with this key is switched off
    is_active   boolean not null,
    constraint search_synonym_line_check check (char_length(line) between 1 and 500)
);

-- Items that the shop moves in the results of a query.
create table search_pin (
    -- the query as queries are compared: the stems of its words, in alphabetical order
    query_key text not null,
    item_id   bigint not null references item on delete cascade,
    -- the query as it was written
    query     text not null,
    -- the place from 1; null: after all other results
    position  integer,
    primary key (query_key, item_id),
    constraint search_pin_query_check check (char_length(query) between 1 and 512),
    constraint search_pin_position_check check (position between 1 and 1000)
);
create index search_pin_item_id_idx on search_pin (item_id);

-- The catalogue's change that means: these rules have changed, and no item. Numbers of items begin at 1.
create function search_rule_note() returns trigger language plpgsql set search_path from current as $$
begin
    -- Deleting an item also runs this for its pins, mostly without any.
    if exists (select from changed) then
        perform catalog_note(array[0::bigint]);
    end if;
    return null;
end $$;

create trigger search_synonym_note_inserted after insert on search_synonym referencing new table as changed
    for each statement execute function search_rule_note();
create trigger search_synonym_note_updated after update on search_synonym referencing new table as changed
    for each statement execute function search_rule_note();
create trigger search_synonym_note_deleted after delete on search_synonym referencing old table as changed
    for each statement execute function search_rule_note();
create trigger search_pin_note_inserted after insert on search_pin referencing new table as changed
    for each statement execute function search_rule_note();
create trigger search_pin_note_updated after update on search_pin referencing new table as changed
    for each statement execute function search_rule_note();
create trigger search_pin_note_deleted after delete on search_pin referencing old table as changed
    for each statement execute function search_rule_note();

-- How often a query was searched for, without anything of who searched.
create table search_query_count (
    -- in the brand's time zone
    day           date not null,
    -- folded, with single blanks; never one with what looks like an email address, a user name or a phone number
    query         text not null,
    searches      bigint not null,
    -- those of them that found no item
    found_nothing bigint not null,
    primary key (day, query),
    constraint search_query_count_query_check check (char_length(query) between 1 and 64 and query !~ '@'),
    constraint search_query_count_counts_check check (searches > 0 and found_nothing between 0 and searches)
);
