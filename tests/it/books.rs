//! `brandgate check --books` and the nightly check: every row that disagrees with others is named and counted.

use brandgate::platform::postgres::Purpose;
use brandgate::tenant::brand::Brand;
use brandgate::{books, config};
use serde_json::Value;

use crate::book_errors::{
    SPOILED, SPOILED_MOVEMENTS, SPOILED_RECEIPTS, SPOILED_SETTLEMENTS, SPOILED_UNKNOWN_MONEY, Spoiled,
};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, eventually, eventually_async};

/// A receipt is due at once, and no worker sends it.
const FISCAL: &str = "[fiscal]\nfallback_email = \"receipts@dexar.example\"\nvat = \"vat22\"\nwait_s = 0\n";

async fn buy(shop: &Shop, browser: &BrowserClient, body: &Value) {
    let opened = browser.post("/cart", body).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code");
    shop.sandbox.bank_action(qr_id, "pay", serde_json::json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

/// A shop with a paid order of counted and uncounted items, its mail, an open order and a review.
async fn shop_with_books() -> Shop {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, &order("paid", "43", &[(12, "20", Some(2)), (14, "3", None)])).await;
    let mail = serde_json::json!({"email": "a@example.com", "items": [{"itemID": 12}, {"itemID": 14}]});
    browser.post("/purchase-email", &mail).await.ok_json();
    browser.post("/comment", &serde_json::json!({"itemID": 12, "rating": 5, "comment": "x"})).await.ok_json();
    browser.post("/cart", &order("open", "3", &[(14, "3", None)])).await.ok_json();
    shop
}

/// Each of these statements makes the check fail with one error, which names the row.
fn assert_named(shop: &Shop, spoiled: &[Spoiled]) {
    let check = || shop.site.run(&["check", "--books"]);
    for (spoil, named, restore) in spoiled {
        shop.site.sql_as("dexar", spoil).unwrap_or_else(|error| panic!("{spoil}: {error}"));
        let output = check().failure(1);
        assert!(output.contains(named), "{spoil}: {output}");
        assert_eq!(output.lines().filter(|line| line.contains(" ✗ ")).count(), 1, "{spoil}: {output}");
        shop.site.sql_as("dexar", restore).unwrap_or_else(|error| panic!("{restore}: {error}"));
        check().success();
    }
}

#[tokio::test]
async fn every_row_that_disagrees_is_named() {
    let shop = shop_with_books().await;
    let clean = shop.site.run(&["check", "--books"]).success();
    let books = [
        "holds",
        "stock",
        "movements",
        "ratings",
        "categories",
        "payments",
        "refunds",
        "settlements",
        "unknown money",
        "mails",
    ];
    for book in books {
        let line = clean.lines().find(|line| line.starts_with("dexar") && line.contains(&format!(" {book} ")));
        assert!(line.is_some_and(|line| line.contains("no row disagrees")), "{book}: {clean}");
    }
    assert_named(&shop, &SPOILED);
    assert_named(&shop, &SPOILED_MOVEMENTS);
    assert_named(&shop, &SPOILED_SETTLEMENTS);
    assert_named(&shop, &SPOILED_UNKNOWN_MONEY);
}

#[tokio::test]
async fn missing_and_late_receipts_are_named() {
    let shop = Shop::with_config(FISCAL);
    let browser = shop.browser();
    buy(&shop, &browser, &order("first", "40", &[(12, "20", Some(2))])).await;
    // Before the first receipt, the brand registered none.
    shop.site.sql_as("dexar", "delete from receipt").expect("deleted");
    assert!(shop.site.run(&["check", "--books"]).success().contains(" receipts "));
    shop.site
        .sql_as("dexar", "insert into receipt (payment_id, number, next_try_at) values (1, 'first', now())")
        .expect("inserted");
    buy(&shop, &browser, &order("second", "20", &[(12, "20", Some(1))])).await;
    browser.post("/cart", &order("open", "3", &[(14, "3", None)])).await.ok_json();
    assert_named(&shop, &SPOILED_RECEIPTS);
    // An order of 0 roubles has no receipt (54-FZ), and none is missed.
    shop.site
        .sql_as("dexar", "update payment_line set price = 0 where payment_id = 2; update payment set amount = 0 where payment_id = 2; \
                          delete from receipt where payment_id = 2")
        .expect("updated");
    shop.site.run(&["check", "--books"]).success();
}

#[tokio::test]
async fn a_movement_of_stock_names_the_sale_or_return_that_caused_it() {
    let shop = shop_with_books().await;
    let payments = |arguments: &[&str]| shop.site.run(&[&["payments"], arguments].concat());
    payments(&["refund", "1", "--brand", "dexar", "--item", "12", "--restock"]).success();
    payments(&["refund", "1", "--brand", "dexar", "--restock"]).success();
    shop.site.sql_as("dexar", "update item_stock set quantity = quantity + 7 where item_id = 16").expect("corrected");
    let movements = "select string_agg(concat_ws(' ', item_id, quantity, regexp_replace(cause, ':.*-', ':')), ', ' order by movement_id)
                     from stock_movement";
    assert_eq!(
        shop.site.sql_as("dexar", movements).expect("sql"),
        "12 -2 payment:1, 12 1 refund:r1, 12 1 refund:r2, 16 7",
        "the mug is not counted"
    );
    shop.site.run(&["check", "--books"]).success();
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
                select s.payment_id, 11, 1, 'x', 43, 43, 1 from second s";
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
    // Once it is settled, it stays so without a refund.
    assert_eq!(
        shop.count("update payment set remark = 'paid twice' where bank_order_id = 'second' returning payment_id"),
        3
    );
    shop.site.run(&["payments", "settle", "3", "--brand", "dexar", "--note", "the buyer wants both"]).success();
    let output = shop.site.run(&["check", "--books"]);
    assert!(!output.stdout.contains("has paid before"), "{output:?}");
    shop.site.sql_as("dexar", "delete from settlement").expect("deleted");
    assert!(shop.site.run(&["check", "--books"]).failure(1).contains("has paid before"));
    let refund = "insert into refund (refund_id, payment_id, amount, status, created_at) values ('r', 1, 43, 'COMPLETED', now())";
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
    shop.site.sql_as("dexar", "update payment set amount = 43 where payment_id = 1").expect("updated");
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
