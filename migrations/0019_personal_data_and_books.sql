-- The removal of personal data, and the check of the books.

-- null: the client's address was removed, because its retention has ended or the person was erased
alter table payment alter column address drop not null;
create index payment_address_idx on payment (created_at) where address is not null;

-- What stands in place of a recipient that was removed.
create function mail_erased_recipient(of_mail_id bigint) returns text language sql immutable parallel safe
return 'erased-' || of_mail_id || '@erased.invalid';
create index mail_outbox_body_idx on mail_outbox (sent_at) where status = 'SENT' and body_text <> '';
create index mail_outbox_recipient_idx on mail_outbox (sent_at)
    where status = 'SENT' and recipient <> mail_erased_recipient(mail_id);

-- Exports and erasures of a person's data (152-FZ). Rows are added and never changed, and hold nothing of the person.
create table person_record (
    record_id   bigint primary key generated always as identity,
    action      text not null constraint person_record_action_check check (action in ('export', 'erase')),
    -- the account that ran the command
    operator    text not null constraint person_record_operator_check check (operator <> '' and length(operator) <= 100),
    note        text constraint person_record_note_check check (note <> '' and length(note) <= 200),
    -- how many rows of each kind were changed
    removed     jsonb,
    recorded_at timestamptz not null
);

-- The start of the last check of the books: one row, or none. The instance that moves it runs the check.
create table books_run (
    only_row   boolean primary key default true constraint books_run_only_row_check check (only_row),
    started_at timestamptz not null
);

-- The results of the last check of the books.
create table book_check (
    book       text primary key,
    -- rows that disagree
    errors     bigint not null constraint book_check_errors_check check (errors >= 0),
    checked_at timestamptz not null
);
