-- Why stock moved, so that the check of the books compares every sale and return with the movements that it caused.

alter table stock_movement
    -- 'payment:' and the number of the payment that took the units, or 'refund:' and the id of the refund that returned them; null: neither,
    -- or a movement of an older version
    add column cause text;
-- Every row has the default: no scan, and so no long lock.
alter table stock_movement add constraint stock_movement_cause_check check (cause ~ '^(payment:[0-9]+|refund:.+)$') not valid;

-- units that the payment took from the stock; null: it is not completed, the stock was not counted, or an older version completed it
alter table payment_line add column taken integer;
alter table payment_line add constraint payment_line_taken_check check (taken between 0 and quantity) not valid;

-- units that went back into stock; null: none, the stock was not counted, or an older version returned them
alter table refund_line add column restocked integer;
alter table refund_line add constraint refund_line_restocked_check check (restocked between 0 and units) not valid;

-- The setting brandgate.stock_cause, local to the transaction, is the cause of what moves.
create or replace function item_stock_note_movement() returns trigger language plpgsql as $$
begin
    insert into stock_movement (item_id, moved_at, quantity, cause)
    values (new.item_id, clock_timestamp(), new.quantity - old.quantity, nullif(current_setting('brandgate.stock_cause', true), ''));
    return null;
end $$;

-- As before, and the lines keep what was taken.
create or replace function payment_move_stock() returns trigger language plpgsql as $$
declare
    moved bigint;
begin
    perform from item_stock
    where item_id in (select l.item_id from payment_line l where l.payment_id = new.payment_id)
    order by item_id for update;
    if new.status = 'COMPLETED' and old.status <> 'COMPLETED' then
        update payment_line l
        set taken = least(l.quantity, case when old.holds then s.quantity else greatest(s.quantity - s.held, 0) end)
        from item_stock s
        where l.payment_id = new.payment_id and s.item_id = l.item_id and s.quantity is not null;
        perform set_config('brandgate.stock_cause', 'payment:' || new.payment_id, true);
        update item_stock s
        set held = case when old.holds then greatest(s.held - l.quantity, 0) else s.held end,
            quantity = s.quantity - l.taken
        from payment_line l
        where l.payment_id = new.payment_id and l.item_id = s.item_id and (old.holds or s.quantity is not null);
        perform set_config('brandgate.stock_cause', '', true);
    elsif old.holds then
        update item_stock s set held = greatest(s.held - l.quantity, 0)
        from payment_line l where l.payment_id = new.payment_id and l.item_id = s.item_id;
    else
        update item_stock s set held = s.held + l.quantity
        from payment_line l
        where l.payment_id = new.payment_id and l.item_id = s.item_id
          and item_left(s.quantity, s.held, s.level) >= l.quantity;
        get diagnostics moved = row_count;
        if moved < (select count(*) from payment_line l where l.payment_id = new.payment_id) then
            raise exception 'not enough units for payment % are left', new.payment_id
                using errcode = 'check_violation', constraint = 'payment_line_stock_check', table = 'payment';
        end if;
    end if;
    return null;
end $$;
