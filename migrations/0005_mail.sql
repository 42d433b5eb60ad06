-- Mails on their way out. Queued in the transaction of what they tell about; a worker hands them to the SMTP server.

create table mail_outbox (
    mail_id      bigint primary key generated always as identity,
    -- what the mail is about: "payment:" and a payment_id. One mail for each of these and address, for ever
    subject_key  text not null constraint mail_outbox_subject_key_check
                 check (subject_key <> '' and length(subject_key) <= 200),
    recipient    text not null constraint mail_outbox_recipient_check
                 check (recipient ~ '^[^[:cntrl:]]+@[^[:cntrl:]@]+$' and length(recipient) <= 254),
    -- with its angle brackets, chosen here and now: whatever goes wrong later, a mail that arrives twice can be told
    message_id   text not null constraint mail_outbox_message_id_key unique
                 constraint mail_outbox_message_id_check check (message_id ~ '^<[!-;=?-~]+@[!-;=?-~]+>$'),
    language     text not null constraint mail_outbox_language_check check (language in ('ru', 'en', 'hy')),
    -- one line: a header
    subject      text not null constraint mail_outbox_subject_check
                 check (subject !~ '[[:cntrl:]]' and length(subject) <= 500),
    body_text    text not null,
    body_html    text not null,
    -- also the mail's own date
    queued_at    timestamptz not null,
    -- FAILED: for good, a person looks at it
    status       text not null default 'QUEUED' constraint mail_outbox_status_check
                 check (status in ('QUEUED', 'SENT', 'FAILED')),
    -- conversations that were begun for it, since it was queued or put back by a person
    tries        integer not null default 0 constraint mail_outbox_tries_check check (tries >= 0),
    -- what giving up is counted from: when it was queued, or put back by a person
    tried_since  timestamptz not null,
    -- nobody touches it before
    next_try_at  timestamptz not null,
    -- somebody is sending it until then (the database server's time, which all instances share); also who that is: only
    -- the holder of exactly this lease writes the result
    leased_until timestamptz,
    sent_at      timestamptz,
    -- what went wrong last, in one line
    last_error   text,
    constraint mail_outbox_sent_at_check check ((status = 'SENT') = (sent_at is not null))
);
create unique index mail_outbox_subject_key_recipient_key on mail_outbox (subject_key, lower(recipient));
create index mail_outbox_next_try_at_idx on mail_outbox (next_try_at, mail_id) where status = 'QUEUED';
create index mail_outbox_failed_idx on mail_outbox (mail_id) where status = 'FAILED';
