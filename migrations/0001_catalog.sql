-- Regions and the catalogue of one brand. Runs as the brand's role, whose search_path is the brand's schema: no name here
-- carries a schema. Money is numeric, times are timestamptz, ids that the API shows are at most 2^53 - 1 (JavaScript).

-- Where the shop sells. `region_id` is what the X-Region header carries.
create table region (
    region_id    text primary key
                 constraint region_region_id_check check (region_id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    city         text not null constraint region_city_check check (city <> ''),
    country      text not null constraint region_country_check check (country <> ''),
    -- ISO 3166-1 alpha-2
    country_code text not null constraint region_country_code_check check (country_code ~ '^[A-Z]{2}$'),
    -- IANA name
    timezone     text,
    -- the order in which the import named them, which is the order they are listed in
    position     integer not null,
    -- {"en": {"city": …, "country": …}, "hy": …}
    translations jsonb not null default '{}'
                 constraint region_translations_check check (jsonb_typeof(translations) = 'object')
);

-- The tree of categories. A top-level category has no parent.
create table category (
    category_id  bigint primary key
                 constraint category_category_id_check check (category_id between 1 and 9007199254740991),
    -- BackOffice's id: cat_…, sub_…
    id           text not null constraint category_id_key unique
                 constraint category_id_check check (id <> '' and length(id) <= 200),
    parent_id    bigint constraint category_parent_id_fkey references category deferrable initially deferred
                 constraint category_parent_id_check check (parent_id <> category_id),
    name         text not null constraint category_name_check check (name <> ''),
    icon         text,
    wide_banner  text,
    -- BackOffice's project
    project_id   text,
    -- higher comes first
    priority     integer not null default 0,
    visible      boolean not null default true,
    -- {"en": {"name": …}, "hy": …}
    translations jsonb not null default '{}'
                 constraint category_translations_check check (jsonb_typeof(translations) = 'object'),
    -- Kept by the trigger below: the ids from the top-level category down to this one, and whether all of them are visible.
    path         bigint[] not null default '{}'
                 constraint category_path_check check (cardinality(path) <= 20),
    shown        boolean not null default false
);
create index category_parent_id_idx on category (parent_id);
create index category_path_idx on category using gin (path);

-- A category with no row here is available everywhere.
create table category_region (
    category_id bigint not null constraint category_region_category_id_fkey references category on delete cascade,
    region_id   text not null constraint category_region_region_id_fkey references region,
    constraint category_region_pkey primary key (category_id, region_id)
);
create index category_region_region_id_idx on category_region (region_id);

-- Whoever changes the tree, path and shown follow in the same statement. A cycle has no top and is refused.
create function category_derive_tree() returns trigger language plpgsql as $$
begin
    with recursive tree as (
        select category_id, array[category_id] as path, visible as shown from category where parent_id is null
        union all
        select c.category_id, t.path || c.category_id, t.shown and c.visible
        from category c join tree t on c.parent_id = t.category_id
    )
    update category c set path = t.path, shown = t.shown
    from tree t
    where c.category_id = t.category_id and (c.path, c.shown) is distinct from (t.path, t.shown);

    if exists (
        with recursive tree as (
            select category_id from category where parent_id is null
            union all
            select c.category_id from category c join tree t on c.parent_id = t.category_id
        )
        select from category c where not exists (select from tree t where t.category_id = c.category_id)
    ) then
        raise exception 'a category is below itself, or below one that does not exist'
            using errcode = 'check_violation', constraint = 'category_parent_id_cycle_check', table = 'category';
    end if;
    return null;
end $$;
create trigger category_derive_tree
    after insert or delete or update of parent_id, visible on category
    for each statement execute function category_derive_tree();

-- What an item is found by, in the stemming of each language. Weights: A names, B tags, C the rest.
create function item_search_vector(
    name text, simple_description text, description text, tags text[], description_fields jsonb, translations jsonb
) returns tsvector language sql immutable parallel safe
return setweight(to_tsvector('russian'::regconfig, coalesce(name, '')), 'A')
    || setweight(to_tsvector('russian'::regconfig, coalesce(array_to_string(tags, ' '), '')), 'B')
    || setweight(to_tsvector('russian'::regconfig,
           coalesce(simple_description, '') || ' ' || coalesce(description, '')), 'C')
    || setweight(jsonb_to_tsvector('russian'::regconfig, coalesce(description_fields, '[]'), '["string"]'), 'C')
    || setweight(to_tsvector('english'::regconfig, coalesce(translations #>> '{en,name}', '')), 'A')
    || setweight(jsonb_to_tsvector('english'::regconfig, coalesce(translations -> 'en', '{}'), '["string"]'), 'C')
    || setweight(to_tsvector('armenian'::regconfig, coalesce(translations #>> '{hy,name}', '')), 'A')
    || setweight(jsonb_to_tsvector('armenian'::regconfig, coalesce(translations -> 'hy', '{}'), '["string"]'), 'C');

-- What is sold.
create table item (
    item_id            bigint primary key
                       constraint item_item_id_check check (item_id between 1 and 9007199254740991),
    -- BackOffice's id: item_…
    id                 text not null constraint item_id_key unique
                       constraint item_id_check check (id <> '' and length(id) <= 200),
    -- the category that the shop's data names, and the subcategory where it names one as well
    category_id        bigint not null constraint item_category_id_fkey references category,
    subcategory_id     bigint constraint item_subcategory_id_fkey references category,
    -- where the item hangs in the tree
    node_id            bigint not null generated always as (coalesce(subcategory_id, category_id)) stored,
    name               text not null constraint item_name_check check (name <> ''),
    simple_description text,
    description        text not null default '',
    -- [{"key": …, "value": …}]
    description_fields jsonb not null default '[]'
                       constraint item_description_fields_check check (jsonb_typeof(description_fields) = 'array'),
    -- ISO 4217
    currency           text not null default 'RUB' constraint item_currency_check check (currency ~ '^[A-Z]{3}$'),
    -- list price, before the discount
    price              numeric(14, 2) not null constraint item_price_check check (price >= 0),
    -- percent
    discount           numeric(5, 2) not null default 0 constraint item_discount_check check (discount between 0 and 100),
    -- pieces in stock; null where nobody counts them, and then `remainings` says what is known
    quantity           integer constraint item_quantity_check check (quantity >= 0),
    remainings         text constraint item_remainings_check check (remainings in ('high', 'medium', 'low', 'out')),
    rating             numeric(2, 1) not null default 0 constraint item_rating_check check (rating between 0 and 5),
    visible            boolean not null default true,
    -- higher comes first
    priority           integer not null default 0,
    tags               text[] not null default '{}',
    badges             text[] not null default '{}',
    -- [{"url": …, "photo"?, "video"?, "type"?}]
    photos             jsonb not null default '[]'
                       constraint item_photos_check check (jsonb_typeof(photos) = 'array'),
    -- newest first: [{"question", "answer", "upvotes", "downvotes"}]
    questions          jsonb not null default '[]'
                       constraint item_questions_check check (jsonb_typeof(questions) = 'array'),
    -- {"en": {"name"?, "simpleDescription"?, "description"?: fields or text}, "hy": …}
    translations       jsonb not null default '{}'
                       constraint item_translations_check check (jsonb_typeof(translations) = 'object'),
    search             tsvector not null generated always as (
                           item_search_vector(name, simple_description, description, tags, description_fields, translations)
                       ) stored
);
-- Nobody asks where these columns have which values, so ANALYZE need not read them.
alter table item
    alter column simple_description set statistics 0,
    alter column description set statistics 0,
    alter column description_fields set statistics 0,
    alter column photos set statistics 0,
    alter column questions set statistics 0,
    alter column translations set statistics 0;
-- the order of a category's page
create index item_node_id_idx on item (node_id, priority desc, item_id) where visible;
create index item_category_id_idx on item (category_id);
create index item_subcategory_id_idx on item (subcategory_id) where subcategory_id is not null;
create index item_search_idx on item using gin (search);

-- An item with no row here is available everywhere.
create table item_region (
    item_id   bigint not null constraint item_region_item_id_fkey references item on delete cascade,
    region_id text not null constraint item_region_region_id_fkey references region,
    constraint item_region_pkey primary key (item_id, region_id)
);
create index item_region_region_id_idx on item_region (region_id);

-- What buyers say of an item.
create table review (
    review_id  bigint primary key generated always as identity,
    -- the `id` of a comment, cmt_…, its own within the item; the same after every import
    id         text not null constraint review_id_check check (id <> ''),
    item_id    bigint not null constraint review_item_id_fkey references item on delete cascade,
    -- stars; a BackOffice comment may have none
    rating     smallint constraint review_rating_check check (rating between 1 and 5),
    content    text not null,
    -- a pseudonym, never an account
    author     text,
    -- the shop's reply
    answer     text,
    created_at timestamptz,
    constraint review_item_id_id_key unique (item_id, id)
);
create index review_item_id_idx on review (item_id, created_at desc nulls last, review_id desc);

-- Which items a visitor may see, and what they are found by: visible itself, and every category above it. Whatever shows an
-- item goes through this view, so that the rule stands once.
create view listed_item as
select i.item_id, i.id, i.name, i.priority, i.search,
       n.path as node_path,
       -- empty: available everywhere
       array(select r.region_id from item_region r where r.item_id = i.item_id) as regions
from item i join category n on n.category_id = i.node_id
where i.visible and n.shown;

-- How an item is shown in a list. Says nothing of whether it may be: join it to listed_item.
create view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       i.quantity, i.remainings, i.rating, i.priority, i.tags, i.badges, i.photos, i.questions, i.translations,
       -- the three newest
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews
from item i join category n on n.category_id = i.node_id;

-- Translations grow language by language and field by field: what the newer word is silent about stays.
create function import_merge_translations(older jsonb, newer jsonb) returns jsonb language sql immutable parallel safe
return case when newer is null then older else (
    select coalesce(jsonb_object_agg(l.language, coalesce(older -> l.language, '{}') || coalesce(newer -> l.language, '{}')), '{}')
    from (select jsonb_object_keys(older) as language union select jsonb_object_keys(newer)) l
) end;
