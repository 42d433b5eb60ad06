-- Payments by SBP QR code, and the stock that they hold.

-- Pieces that open payments hold. What visitors are shown, and may buy, is the rest.
alter table item add column held integer not null default 0 constraint item_held_check check (held >= 0);

-- How many pieces a visitor may still have. Nobody counts an item without a quantity, unless its level says that it is out.
create function item_left(quantity integer, held integer, remainings text) returns integer
language sql immutable parallel safe
return case when quantity is not null then greatest(quantity - held, 0)
            when remainings = 'out' then 0
            else 1000000 end;

create or replace view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       case when i.quantity is not null then item_left(i.quantity, i.held, i.remainings) end as quantity,
       i.remainings, i.rating, i.priority, i.tags, i.badges, i.photos, i.questions, i.translations,
       -- the three newest
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews
from item i join category n on n.category_id = i.node_id;

-- An order and its payment. Written before the bank is asked for anything.
create table payment (
    payment_id        bigint primary key generated always as identity,
    -- "visitor:" and the hash of a cookie, or "user:" and a Telegram id; a login makes the one the other
    owner             text not null constraint payment_owner_check check (owner <> '' and length(owner) <= 100),
    -- the shop's own name for the order: the owner's idempotency key
    site_order_id     text not null
                      constraint payment_site_order_id_check check (site_order_id ~ '^[A-Za-z0-9_.-]{1,40}$'),
    -- the name that the bank is given: random, because site_order_id comes from a browser
    bank_order_id     text not null constraint payment_bank_order_id_key unique,
    status            text not null constraint payment_status_check
                      check (status in ('CREATED', 'WAITING', 'COMPLETED', 'EXPIRED', 'CANCELLED')),
    amount            numeric(14, 2) not null constraint payment_amount_check check (amount > 0),
    -- the client's address, for the limit on open payments
    address           inet not null,
    -- what the front end said of its user, as it said it
    site_user_id      text,
    telegram_username text,
    -- where the bank's app sends the payer back to
    redirect_url      text,
    created_at        timestamptz not null,
    expires_at        timestamptz not null,
    -- an instance asks the bank for a QR code until then; another takes over afterwards
    registering_until timestamptz,
    qr_id             text constraint payment_qr_id_key unique,
    payload           text,
    qr_url            text,
    -- the QR code that a notification named while we did not know it
    qr_id_told        text,
    -- the bank was asked last, and the worker asks next; null: there is nothing more to ask
    looked_at         timestamptz,
    look_at           timestamptz,
    looks             integer not null default 0,
    -- whether the pieces of its lines are in item.held
    holds             boolean not null default true,
    -- closed before anybody was shown a QR code: the order may be begun anew
    abandoned         boolean not null default false,
    transaction_id    bigint,
    transaction_date  timestamptz,
    completed_at      timestamptz,
    -- money for pieces that were gone when it came: a person of the shop settles it
    to_settle         boolean not null default false,
    -- what the bank said that somebody should know
    remark            text,
    constraint payment_completed_at_check check ((status = 'COMPLETED') = (completed_at is not null))
);
create unique index payment_owner_site_order_id_key on payment (owner, site_order_id) where not abandoned;
create index payment_open_owner_idx on payment (owner) where status in ('CREATED', 'WAITING');
create index payment_open_address_idx on payment (address) where status in ('CREATED', 'WAITING');
create index payment_look_at_idx on payment (look_at) where look_at is not null;
-- the mail after a payment, for a front end that sends no cookies
create index payment_site_user_id_idx on payment (site_user_id, completed_at) where status = 'COMPLETED';

-- What is paid for, as it was at that moment. The item may go, the line stays.
create table payment_line (
    payment_id bigint not null constraint payment_line_payment_id_fkey references payment on delete cascade,
    item_id    bigint not null,
    -- the order of the request
    position   integer not null,
    name       text not null,
    -- for one piece: before and after the discount
    list_price numeric(14, 2) not null,
    price      numeric(14, 2) not null constraint payment_line_price_check check (price >= 0),
    quantity   integer not null constraint payment_line_quantity_check check (quantity between 1 and 999),
    constraint payment_line_pkey primary key (payment_id, item_id)
);
create index payment_line_item_id_idx on payment_line (item_id);

-- A payment with the ids and quantities of its lines, in the order of the request.
create view payment_sheet as
select p.*,
       array(select l.item_id from payment_line l where l.payment_id = p.payment_id order by l.position) as item_ids,
       array(select l.quantity from payment_line l where l.payment_id = p.payment_id order by l.position) as quantities
from payment p;

-- A line holds its pieces in the statement that writes it, or is not written.
create function payment_line_hold() returns trigger language plpgsql as $$
begin
    update item i set held = held + new.quantity
    where i.item_id = new.item_id and item_left(i.quantity, i.held, i.remainings) >= new.quantity;
    if not found then
        raise exception 'not enough pieces of item % are left', new.item_id
            using errcode = 'check_violation', constraint = 'payment_line_stock_check', table = 'payment_line';
    end if;
    return new;
end $$;
create trigger payment_line_hold before insert on payment_line for each row execute function payment_line_hold();

-- Money given back, whole or in parts; refund_id is the bank's idempotency key.
create table refund (
    refund_id  text primary key,
    payment_id bigint not null constraint refund_payment_id_fkey references payment,
    amount     numeric(14, 2) not null constraint refund_amount_check check (amount > 0),
    status     text not null constraint refund_status_check
               check (status in ('ASKED', 'IN_PROGRESS', 'COMPLETED', 'DECLINED')),
    created_at timestamptz not null
);
create index refund_payment_id_idx on refund (payment_id);

-- Receipts (54-FZ) on their way to the bank's fiscal API. Queued in the transaction that completes the payment.
create table receipt (
    payment_id  bigint primary key constraint receipt_payment_id_fkey references payment,
    -- the bank's idempotency key
    number      text not null constraint receipt_number_key unique,
    -- the buyer's, when it became known in time
    email       text,
    status      text not null default 'QUEUED' constraint receipt_status_check
                check (status in ('QUEUED', 'REGISTERED', 'DONE', 'FAILED')),
    tries       integer not null default 0,
    -- nobody touches it before
    next_try_at timestamptz not null,
    last_error  text
);
create index receipt_next_try_at_idx on receipt (next_try_at) where status in ('QUEUED', 'REGISTERED');
