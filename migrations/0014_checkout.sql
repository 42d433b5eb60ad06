-- Rules of carts and checkouts: how many lines a cart has, how much of the stock an owner may hold, free orders, and a second QR code
-- for an order whose first one was not paid.

-- A cart has at most as many lines as an order. The lock lets concurrent additions to one cart see each other's lines.
create function cart_line_limit() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('brandgate:cart:' || current_schema() || ':' || new.owner, 0));
    if (select count(*) from cart_line where owner = new.owner and item_id <> new.item_id) >= 200 then
        raise exception 'the cart of % is full', new.owner
            using errcode = 'check_violation', constraint = 'cart_line_count_check', table = 'cart_line';
    end if;
    return new;
end $$;
create trigger cart_line_limit before insert on cart_line for each row execute function cart_line_limit();

-- An order of 0 roubles is completed without the bank.
alter table payment drop constraint payment_amount_check;
alter table payment add constraint payment_amount_check check (amount >= 0);

-- Whether a later payment of the same order took its place: its QR code had expired or was cancelled. Money for the old code still
-- completes the old payment.
alter table payment add column superseded boolean not null default false;
drop index payment_owner_site_order_id_key;
create unique index payment_owner_site_order_id_key on payment (owner, site_order_id) where not abandoned and not superseded;

create function payment_supersede() returns trigger language plpgsql as $$
begin
    update payment set superseded = true
    where owner = new.owner and site_order_id = new.site_order_id and not abandoned and not superseded
      and status in ('EXPIRED', 'CANCELLED');
    return new;
end $$;
create trigger payment_supersede before insert on payment for each row execute function payment_supersede();

-- the open payments, of which there are few
create index payment_holds_idx on payment (owner) where holds;

-- The units that the open payments of an owner hold. They count as available to that owner.
create function units_held_by(of_owner text) returns table (item_id bigint, quantity integer) language sql stable
begin atomic
    select l.item_id, sum(l.quantity)::integer
    from payment p join payment_line l using (payment_id)
    where p.holds and p.owner = of_owner
    group by l.item_id;
end;

-- The units that open payments of visitors hold: of owners without a session.
create view units_held_by_visitors as
select l.item_id, sum(l.quantity)::integer as quantity
from payment p join payment_line l using (payment_id)
where p.holds and p.owner like 'visitor:%'
group by l.item_id;

-- Refuses what visitors hold together of these items when it is more than so many units and more than so many percent of the stock.
-- Called in the transaction that holds the units, which has locked their stock: concurrent checkouts see each other's units.
create function check_units_held_by_visitors(item_ids bigint[], max_units integer, max_percent integer) returns void
language plpgsql as $$
declare
    exceeded bigint;
begin
    select item_id into exceeded
    from units_held_by_visitors h join item_stock s using (item_id)
    where h.item_id = any (item_ids) and h.quantity > max_units and h.quantity::bigint * 100 > s.quantity::bigint * max_percent
    limit 1;
    if found then
        raise exception 'visitors hold too many units of item %', exceeded
            using errcode = 'check_violation', constraint = 'payment_line_visitors_check', table = 'payment_line';
    end if;
end $$;
