//! Rows that are spoiled one at a time, and how the check of the books names each.

/// A statement that spoils one row, what the check then says, and a statement that undoes it.
pub(crate) type Spoiled = (&'static str, &'static str, &'static str);

pub(crate) const SPOILED: [Spoiled; 15] = [
    (
        "update item_stock set held = held + 1 where item_id = 14",
        "item 14 holds 2 units, and open payments hold 1",
        "update item_stock set held = held - 1 where item_id = 14",
    ),
    (
        "insert into stock_count (item_id, quantity, available, counted_since) values (12, 5, true, now() - interval '2 hours')",
        "the count of item 12 that was imported at",
        "delete from stock_count",
    ),
    (
        "update item set rating = 1.5 where item_id = 12",
        "item 12 has the rating 1.5, and its reviews give 5.0",
        "update item set rating = 5 where item_id = 12",
    ),
    (
        "alter table category disable trigger category_derive_tree; update category set shown = false",
        "category 1 has the path {1} and shown = f, and its parents give {1} and t",
        "update category set shown = true; alter table category enable trigger category_derive_tree",
    ),
    (
        "update payment set amount = 39 where payment_id = 1",
        "payment 1 is over 39.00 RUB, and its lines cost 43.00",
        "update payment set amount = 43 where payment_id = 1",
    ),
    (
        "insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at, holds, look_at)
         values ('visitor:x', 'x', 'x', 'CREATED', 1, '127.0.0.1', now(), now(), false, now())",
        "payment 3 has no lines",
        "delete from payment where bank_order_id = 'x'",
    ),
    (
        "update payment set look_at = null where payment_id = 2",
        "payment 2 is CREATED and is not polled any more",
        "update payment set look_at = now() where payment_id = 2",
    ),
    (
        "update payment set expires_at = '2026-01-01T00:00:00Z' where payment_id = 2",
        "payment 2 is still open, and its QR code expired at 2026-01-01",
        "update payment set expires_at = now() where payment_id = 2",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r1', 1, 44, 'COMPLETED', now())",
        "payment 1 is over 43.00 RUB, and 44.00 were refunded",
        "delete from refund",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r4', 1, 2, 'COMPLETED', now());
         insert into refund_line (refund_id, item_id, position, amount, units) values ('r4', 12, 1, 1, 0)",
        "refund r4 of payment 1 is over 2.00 RUB, and its lines come to 1.00",
        "delete from refund_line; delete from refund",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r5', 1, 41, 'COMPLETED', now());
         insert into refund_line (refund_id, item_id, position, amount, units) values ('r5', 12, 1, 41, 0)",
        "payment 1 sold item 12 for 40.00 RUB, and 41.00 were refunded",
        "delete from refund_line; delete from refund",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r2', 1, 1, 'ASKED', now() - interval '2 days')",
        "refund r2 of payment 1 was requested at",
        "delete from refund",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r3', 2, 1, 'IN_PROGRESS', now())",
        "refund r3 is of payment 2, which is CREATED",
        "delete from refund",
    ),
    (
        "update mail_outbox set subject_key = 'payment:77'",
        "mail-1 is about payment:77, which does not exist",
        "update mail_outbox set subject_key = 'payment:1'",
    ),
    (
        "update mail_outbox set subject_key = 'payment:2'",
        "mail-1 is about payment 2, which is CREATED",
        "update mail_outbox set subject_key = 'payment:1'",
    ),
];

pub(crate) const SPOILED_MOVEMENTS: [Spoiled; 6] = [
    (
        "update stock_movement set quantity = -1",
        "item 12: payment 1 moved -2 units, and the stock was changed by -1",
        "update stock_movement set quantity = -2",
    ),
    (
        "insert into stock_movement (item_id, moved_at, quantity, cause) values (14, now(), -1, 'payment:2')",
        "item 14: payment 2 moved 0 units, and the stock was changed by -1",
        "delete from stock_movement where item_id = 14",
    ),
    (
        "update payment_line set taken = 0 where payment_id = 2",
        "item 14: payment 2 took 0 units and is CREATED",
        "update payment_line set taken = null where payment_id = 2",
    ),
    (
        "update payment_line set taken = 1 where payment_id = 1 and item_id = 12; update stock_movement set quantity = -1",
        "item 12: payment 1 sold 2 units, took 1 and lacked 0",
        "update payment_line set taken = 2 where payment_id = 1 and item_id = 12; update stock_movement set quantity = -2",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r6', 1, 20, 'COMPLETED', now());
         insert into refund_line (refund_id, item_id, position, amount, units, restocked) values ('r6', 12, 1, 20, 1, 1);
         insert into stock_movement (item_id, moved_at, quantity, cause) values (12, now(), 1, 'refund:r6')",
        "item 12: refund r6 returned 1 units, and it was to return none",
        "delete from stock_movement where cause = 'refund:r6'; delete from refund_line; delete from refund",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at, restock, restocked_at)
         values ('r7', 1, 1, 'COMPLETED', now(), true, now());
         insert into refund_line (refund_id, item_id, position, amount, units, restocked) values ('r7', 12, 1, 1, 3, 3);
         insert into stock_movement (item_id, moved_at, quantity, cause) values (12, now(), 3, 'refund:r7')",
        "item 12: 3 units of payment 1 went back into stock, and it took 2",
        "delete from stock_movement where cause = 'refund:r7'; delete from refund_line; delete from refund",
    ),
];

pub(crate) const SPOILED_SETTLEMENTS: [Spoiled; 4] = [
    (
        "update payment set to_settle = true where payment_id = 1",
        "payment 1 needs manual action, and nothing says why",
        "update payment set to_settle = false where payment_id = 1",
    ),
    (
        "update payment_line set short = 1 where payment_id = 1 and item_id = 12",
        "payment 1 lacked 1 units of item 12, and is neither marked nor settled",
        "update payment_line set short = 0 where payment_id = 1 and item_id = 12",
    ),
    (
        "insert into settlement (payment_id, note, settled_at) values (1, 'x', now())",
        "of payment 1 does not say what was settled",
        "delete from settlement",
    ),
    (
        "insert into settlement (payment_id, reason, note, settled_at) values (1, 'x', 'x', '2020-01-02T00:00:00Z')",
        "of payment 1 is of 2020-01-02 00:00:00+00, before the payment",
        "delete from settlement",
    ),
];

pub(crate) const SPOILED_UNKNOWN_MONEY: [Spoiled; 6] = [
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at) values ('u', 5, now() - interval '2 days')",
        "of 5.00 RUB is OPEN since",
        "delete from unknown_money",
    ),
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at)
         select bank_order_id, amount, now() - interval '2 hours' from payment where payment_id = 2",
        "is of the order of payment 2, which is CREATED",
        "delete from unknown_money",
    ),
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at, status) values ('u', 5, now(), 'REFUNDED')",
        "is REFUNDED and closed at no time",
        "delete from unknown_money",
    ),
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at, status, closed_at)
         select bank_order_id, amount, now(), 'REFUNDED', now() from payment where payment_id = 1",
        "was refunded, and payment 1 of the same order is COMPLETED without a refund",
        "delete from unknown_money",
    ),
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at, status, closed_at, payment_id)
         select bank_order_id, 42, now(), 'ATTACHED', now(), 1 from payment where payment_id = 1",
        "and payment 1 that it was attached to is 43.00 RUB of the order",
        "delete from unknown_money",
    ),
    (
        "insert into unknown_money (bank_order_id, amount, noticed_at, status, closed_at, payment_id)
         select bank_order_id, amount, now(), 'ATTACHED', now() - interval '2 hours', 2 from payment where payment_id = 2",
        "was attached to payment 2, which is CREATED",
        "delete from unknown_money",
    ),
];

pub(crate) const SPOILED_RECEIPTS: [Spoiled; 7] = [
    (
        "delete from receipt where payment_id = 2",
        "payment 2 was completed at",
        "insert into receipt (payment_id, number, next_try_at) values (2, 'x', now())",
    ),
    (
        "insert into receipt (payment_id, number, next_try_at) values (3, 'y', now())",
        "receipt-3 is of a payment that is CREATED",
        "delete from receipt where payment_id = 3",
    ),
    (
        "update receipt set next_try_at = now() - interval '2 days' where payment_id = 2",
        "receipt-2 is QUEUED and due since",
        "update receipt set next_try_at = now()",
    ),
    (
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r1', 1, 20, 'COMPLETED', now());
         insert into refund_line (refund_id, item_id, position, amount, units) values ('r1', 12, 1, 20, 1)",
        "refund r1 of payment 1 is COMPLETED and has no receipt",
        "insert into refund_receipt (refund_id, number, next_try_at) values ('r1', 'r1', now())",
    ),
    (
        "update refund_receipt set next_try_at = now() - interval '2 days'",
        "the receipt of refund r1 is QUEUED and due since",
        "update refund_receipt set next_try_at = now()",
    ),
    (
        "update refund set status = 'IN_PROGRESS'",
        "the receipt of refund r1 is of a refund that is IN_PROGRESS",
        "update refund set status = 'COMPLETED'",
    ),
    (
        "update refund set amount = 30",
        "refund r1 of payment 1 is over 30.00 RUB, and its lines come to 20.00",
        "update refund set amount = 20",
    ),
];
