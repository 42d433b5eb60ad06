-- Updates of the bot that were received and are not handled yet. The bot confirms an update to Telegram with the next getUpdates,
-- for all chats at once; here each one waits until its own chat has been answered.
create table telegram_update (
    bot         text not null,
    -- Telegram's number
    update_id   bigint not null,
    -- the members that the bot uses, as JSON; text, because jsonb accepts no NUL character
    body        text not null,
    received_at timestamptz not null default now(),
    primary key (bot, update_id)
);
