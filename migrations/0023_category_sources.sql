-- Which source of imports a category belongs to, and what the source calls it.

alter table category
    -- the source of imports that the category came from; '' is the brand's own
    add column source        text not null default '',
    -- its number in the files of the source, where a category of another source has that number; null: category_id
    add column source_number bigint;
-- Every row has the defaults: no scan, and so no long lock.
alter table category
    add constraint category_source_check check (source ~ '^([a-z0-9][a-z0-9_-]{0,63})?$') not valid,
    add constraint category_source_number_check check (source_number >= 1) not valid;
create unique index category_source_number_idx on category (source, source_number) where source_number is not null;
