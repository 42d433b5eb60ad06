-- The bot of the brand, and what only one instance at a time may do.

-- Who speaks for something that must have one voice, such as the bot: two pollers of one bot end each other's questions.
-- Times are the database server's, which all instances share.
create table lease (
    name       text primary key constraint lease_name_check check (name <> ''),
    -- random for each process that holds or held it
    holder     text not null constraint lease_holder_check check (holder <> ''),
    expires_at timestamptz not null
);

-- How far the bot's updates were handled. No row: nothing was yet.
create table telegram_progress (
    bot            text primary key,
    -- the `offset` of the next getUpdates: everything below is done with
    next_update_id bigint not null
);
