//! `brandgate check --books` and the nightly check: every row that disagrees with others is named and counted.

use brandgate::platform::postgres::Purpose;
use brandgate::tenant::brand::Brand;
use brandgate::{books, config};

use crate::harness::shop::{Shop, order};
use crate::harness::{eventually, eventually_async};

/// A shop with a paid order, its mail and a review.
async fn shop_with_books() -> Shop {
    let shop = Shop::start();
    let browser = shop.browser();
    let opened = browser.post("/cart", &order("paid", "40", &[(12, "20", Some(2))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code");
    shop.sandbox.bank_action(qr_id, "pay", serde_json::json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
    let mail = serde_json::json!({"email": "a@example.com", "items": [{"itemID": 12}]});
    browser.post("/purchase-email", &mail).await.ok_json();
    browser.post("/comment", &serde_json::json!({"itemID": 12, "rating": 5, "comment": "x"})).await.ok_json();
    browser.post("/cart", &order("open", "3", &[(14, "3", None)])).await.ok_json();
    shop
}

/// A statement that spoils one row, what the check then says, and a statement that undoes it.
const SPOILED: [(&str, &str, &str); 13] = [
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
        "payment 1 is over 39.00 RUB, and its lines cost 40.00",
        "update payment set amount = 40 where payment_id = 1",
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
        "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r1', 1, 41, 'COMPLETED', now())",
        "payment 1 is over 40.00 RUB, and 41.00 were refunded",
        "delete from refund",
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

#[tokio::test]
async fn every_row_that_disagrees_is_named() {
    let shop = shop_with_books().await;
    let check = || shop.site.run(&["check", "--books"]);
    let clean = check().success();
    for book in ["holds", "stock", "ratings", "categories", "payments", "refunds", "mails"] {
        let line = clean.lines().find(|line| line.starts_with("dexar") && line.contains(&format!(" {book} ")));
        assert!(line.is_some_and(|line| line.contains("no row disagrees")), "{book}: {clean}");
    }
    for (spoil, named, restore) in SPOILED {
        shop.site.sql_as("dexar", spoil).unwrap_or_else(|error| panic!("{spoil}: {error}"));
        let output = check().failure(1);
        assert!(output.contains(named), "{spoil}: {output}");
        assert_eq!(output.lines().filter(|line| line.contains(" ✗ ")).count(), 1, "{spoil}: {output}");
        shop.site.sql_as("dexar", restore).unwrap_or_else(|error| panic!("{restore}: {error}"));
        check().success();
    }
    assert!(check().success().lines().all(|line| !line.starts_with("dexar") || line.contains("no row disagrees")));
}

#[tokio::test]
async fn an_order_that_was_paid_twice_is_named_until_it_is_marked_or_refunded() {
    let shop = shop_with_books().await;
    let copy = "with second as (
                    insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at,
                                         completed_at, holds, abandoned)
                    select owner, site_order_id, 'second', status, amount, address, now(), expires_at, now(), false, true
                    from payment where payment_id = 1 returning payment_id)
                insert into payment_line (payment_id, item_id, position, name, list_price, price, quantity)
                select s.payment_id, 11, 1, 'x', 40, 40, 1 from second s";
    shop.site.sql_as("dexar", copy).expect("inserted");
    let output = shop.site.run(&["check", "--books"]).failure(1);
    assert!(output.contains("is the order paid, which payment 1 has paid before"), "{output}");
    let mark = |value: bool| {
        let mark = format!("update payment set to_settle = {value} where bank_order_id = 'second'");
        shop.site.sql_as("dexar", &mark).expect("updated");
    };
    mark(true);
    let output = shop.site.run(&["check", "--books"]);
    assert!(!output.stdout.contains("has paid before"), "{output:?}");
    mark(false);
    let refund = "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r', 1, 40, 'COMPLETED', now())";
    shop.site.sql_as("dexar", refund).expect("inserted");
    let output = shop.site.run(&["check", "--books"]);
    assert!(!output.stdout.contains("has paid before"), "{output:?}");
}

#[tokio::test]
async fn the_nightly_check_runs_once_and_feeds_a_metric() {
    let shop = shop_with_books().await;
    shop.site.sql_as("dexar", "update payment set amount = 39 where payment_id = 1").expect("updated");
    let series = |book: &str| {
        let name = format!("brandgate_book_errors{{brand=\"dexar\",book=\"{book}\"}}");
        shop.gateway.metrics().lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok())
    };
    assert_eq!(series("payments"), None, "before the first check");
    let first = shop.site.start_workers();
    let line = first.await_log("stored data disagrees");
    assert!(line.contains("ERROR") && line.contains("brandgate check --books"), "{line}");
    eventually("the metric", 30, || (series("payments") == Some(1.0)).then_some(()));
    assert_eq!(series("refunds"), Some(0.0));
    assert_eq!(series("receipts"), None, "the brand sends no receipts");
    first.terminate();
    // It is not repeated on the same day, by no instance, whatever it would find; the next night it is.
    let credentials = shop.site.directory.path().join("credentials");
    let config = config::load_file(&shop.site.brand_path("dexar"), Some(&credentials)).expect("a valid file");
    let brand = Brand::new(config, Purpose::Work).expect("a brand");
    brand.check_ready().await.expect("the database is ready");
    shop.site.sql_as("dexar", "update payment set amount = 40 where payment_id = 1").expect("updated");
    let errors = || shop.count("select errors from book_check where book = 'payments'");
    books::check_nightly(&brand).await.expect("checked or not due");
    assert_eq!(errors(), 1, "it was checked today");
    shop.site.sql_as("dexar", "update books_run set started_at = started_at - interval '1 day'").expect("updated");
    let runs = (0..8).map(|_| books::check_nightly(&brand));
    for run in futures_util::future::join_all(runs).await {
        run.expect("checked or not due");
    }
    assert_eq!(errors(), 0);
    assert_eq!(shop.count("select count(distinct checked_at) from book_check"), 1, "one of them has checked");
    // A check that fails is repeated.
    shop.site.sql_as("dexar", "update books_run set started_at = started_at - interval '1 day'").expect("updated");
    shop.site.sql_as("dexar", "alter table mail_outbox rename to mail_elsewhere").expect("renamed");
    books::check_nightly(&brand).await.expect_err("a table is missing");
    shop.site.sql_as("dexar", "alter table mail_elsewhere rename to mail_outbox").expect("renamed");
    shop.site.sql_as("dexar", "update payment set amount = 39 where payment_id = 1").expect("updated");
    books::check_nightly(&brand).await.expect("checked");
    assert_eq!(errors(), 1);
}
