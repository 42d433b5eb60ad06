-- Where an order stands with the shop, next to how its payment stands. The back office moves it on; a buyer's order starts as NEW.
alter table payment add column fulfilment text not null default 'NEW'
    constraint payment_fulfilment_check check (fulfilment ~ '^[A-Z][A-Z_]{0,39}$');
