-- The books of the payments: VAT of what was sold, settlements, refunds by the line, their receipts, and money without an order.

-- The VAT rate of the item, as the bank's fiscal API names it. null: the brand's default.
alter table item add column vat text constraint item_vat_check
    check (vat in ('none', 'vat0', 'vat5', 'vat7', 'vat10', 'vat20', 'vat22', 'vat105', 'vat107', 'vat110', 'vat120', 'vat122'));

alter table payment_line
    -- the item's when the order was opened; null: the brand's default
    add column vat text constraint payment_line_vat_check
        check (vat in ('none', 'vat0', 'vat5', 'vat7', 'vat10', 'vat20', 'vat22', 'vat105', 'vat107', 'vat110', 'vat120', 'vat122')),
    -- units that were paid for and not in stock: none were taken, and none go back
    add column short integer not null default 0 constraint payment_line_short_check check (short between 0 and quantity);

create index payment_completed_at_idx on payment (completed_at) where status = 'COMPLETED';

-- How payments that needed manual action were settled. Rows are added and never changed.
create table settlement (
    settlement_id bigint primary key generated always as identity,
    payment_id    bigint not null constraint settlement_payment_id_fkey references payment,
    -- what had happened: the payment's remark
    reason        text,
    note          text not null constraint settlement_note_check check (note <> '' and length(note) <= 1000),
    settled_at    timestamptz not null
);
create index settlement_payment_id_idx on settlement (payment_id);

-- The payments of a user that stayed those of the visitor who logged in.
create index payment_owner_link_owner_idx on payment_owner_link (owner);

alter table refund
    -- 1, 2, … within the payment. refund_id is made of the bank's order id and this number; null in rows of an older version
    add column ordinal integer constraint refund_ordinal_check check (ordinal > 0),
    -- whether the units of its lines go back into stock, and when they did
    add column restock boolean not null default false,
    add column restocked_at timestamptz,
    -- whether the bank knew of it and the database did not
    add column found_at_bank boolean not null default false,
    -- the bank is asked about an open refund next; null: it was never asked
    add column next_poll_at timestamptz;
update refund r set ordinal = n.ordinal
from (select refund_id, row_number() over (partition by payment_id order by created_at, refund_id) as ordinal from refund) n
where r.refund_id = n.refund_id;
create unique index refund_payment_id_ordinal_key on refund (payment_id, ordinal);
create index refund_open_idx on refund (next_poll_at) where status in ('ASKED', 'IN_PROGRESS');

-- What a refund is for.
create table refund_line (
    refund_id text not null constraint refund_line_refund_id_fkey references refund,
    item_id   bigint not null,
    -- the order of the payment's lines
    position  integer not null,
    amount    numeric(14, 2) not null constraint refund_line_amount_check check (amount >= 0),
    -- units that were returned; 0: a part of the price
    units     integer not null constraint refund_line_units_check check (units between 0 and 999),
    constraint refund_line_pkey primary key (refund_id, item_id)
);

-- Receipts of completed refunds. Their columns are those of the table receipt, which has the receipts of payments.
create table refund_receipt (
    refund_id   text primary key constraint refund_receipt_refund_id_fkey references refund,
    number      text not null constraint refund_receipt_number_key unique,
    status      text not null default 'QUEUED' constraint refund_receipt_status_check
                check (status in ('QUEUED', 'REGISTERED', 'DONE', 'FAILED')),
    tries       integer not null default 0,
    next_try_at timestamptz not null,
    last_error  text,
    without_section boolean not null default false
);
create index refund_receipt_next_try_at_idx on refund_receipt (next_try_at) where status in ('QUEUED', 'REGISTERED');
create index refund_receipt_failed_idx on refund_receipt (refund_id) where status = 'FAILED';

-- Queued by an instance whose file has no section [fiscal]: dropped unless a worker that has the section registers it soon.
alter table receipt add column without_section boolean not null default false;

-- Money that the bank has notified for an order that is not in the database.
create table unknown_money (
    unknown_id       bigint primary key generated always as identity,
    bank_order_id    text not null constraint unknown_money_bank_order_id_key unique
                     constraint unknown_money_bank_order_id_check check (length(bank_order_id) between 1 and 100),
    -- not signed by the bank
    qr_id            text,
    amount           numeric(14, 2) not null constraint unknown_money_amount_check check (amount > 0),
    transaction_date timestamptz,
    noticed_at       timestamptz not null,
    -- OPEN; REFUNDING: the bank was asked to refund it
    status           text not null default 'OPEN' constraint unknown_money_status_check
                     check (status in ('OPEN', 'ATTACHED', 'REFUNDING', 'REFUNDED')),
    -- the payment that it was attached to, and the bank's order id that the payment had before
    payment_id       bigint constraint unknown_money_payment_id_fkey references payment,
    replaced_order_id text,
    note             text,
    closed_at        timestamptz
);
create index unknown_money_open_idx on unknown_money (unknown_id) where status in ('OPEN', 'REFUNDING');

-- What was refunded, or is being refunded, of each payment that has refunds.
create view payment_refunded as
select payment_id, sum(amount) as refunded from refund where status <> 'DECLINED' group by payment_id;
