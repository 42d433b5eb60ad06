-- The staging table of item records, filled by COPY: one row per record in the order of the files, null where a record
-- does not mention the field. Temporary, so it is not logged, and it disappears with the connection.
create temporary table import_item (
    file_no integer not null,
    row_no bigint not null,
    number bigint,
    id text,
    hashed bigint not null,
    category_numbers bigint[],
    category_ids text[],
    subcategory text,
    name text,
    simple_description text,
    description text,
    description_fields jsonb,
    currency text,
    price numeric(14, 2),
    discount numeric(5, 2),
    has_stock boolean not null,
    available boolean not null,
    quantity integer,
    remainings text,
    rating numeric(2, 1),
    rating_count integer,
    visible boolean,
    priority integer,
    tags text[],
    badges text[],
    photos jsonb,
    questions jsonb,
    translations jsonb,
    regions text[],
    reviews jsonb,
    -- values that are not understood: a new item is rejected for them
    defect text,
    -- of an exported item: its source, and when an import hid it
    source text,
    retired_at timestamptz
)
