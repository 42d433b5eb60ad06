-- Carts. A cart has no row of its own: it is its lines.

create table cart_line (
    -- who the cart belongs to: "visitor:" and the hash of the visitor's cookie
    owner      text not null constraint cart_line_owner_check check (owner <> '' and length(owner) <= 100),
    -- an item that the shop removes leaves the carts too
    item_id    bigint not null constraint cart_line_item_id_fkey references item on delete cascade,
    quantity   integer not null constraint cart_line_quantity_check check (quantity between 1 and 999),
    added_at   timestamptz not null,
    -- anonymous carts are forgotten some time after their last change
    changed_at timestamptz not null,
    constraint cart_line_pkey primary key (owner, item_id)
);
create index cart_line_item_id_idx on cart_line (item_id);
create index cart_line_changed_at_idx on cart_line (changed_at);
