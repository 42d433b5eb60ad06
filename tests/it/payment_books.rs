//! Books of the payments: double payments, refunds, receipts (54-FZ) and money without an order.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, CommandOutput, eventually, eventually_async};

/// Workers that find and send receipts within a second.
const FISCAL: &str = "[fiscal]\nfallback_email = \"receipts@dexar.example\"\nvat = \"vat22\"\nwait_s = 0\nfirst_retry_ms = 200\n\
                      longest_retry_ms = 500\n";

fn id_of(opened: &Value) -> String {
    opened["qrId"].as_str().unwrap_or_else(|| panic!("no qrId in {opened}")).to_owned()
}

fn chairs(name: &str) -> Value {
    order(name, "180.90", &[(11, "90.45", Some(2))])
}

fn lamp(name: &str) -> Value {
    order(name, "20", &[(12, "20", Some(1))])
}

async fn open(browser: &BrowserClient, body: &Value) -> String {
    id_of(&browser.post("/cart", body).await.ok_json())
}

async fn await_status(browser: &BrowserClient, qr_id: &str, wanted: &str) {
    eventually_async(wanted, 30, async || {
        let payment = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (payment["paymentStatus"] == wanted).then_some(())
    })
    .await;
}

async fn pay(shop: &Shop, browser: &BrowserClient, qr_id: &str) {
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    await_status(browser, qr_id, "COMPLETED").await;
}

/// Pays a code that is closed: only the notification tells.
async fn pay_late(shop: &Shop, browser: &BrowserClient, qr_id: &str) {
    shop.sandbox.bank_action(qr_id, "pay", json!({"force": true, "wait": true})).await;
    await_status(browser, qr_id, "COMPLETED").await;
}

async fn expire(shop: &Shop, browser: &BrowserClient, qr_id: &str) {
    shop.sandbox.bank_action(qr_id, "expire", json!({})).await;
    await_status(browser, qr_id, "EXPIRED").await;
}

fn text_of(shop: &Shop, sql: &str) -> String {
    shop.site.sql_as("dexar", sql).expect("the statement runs").trim().to_owned()
}

/// The units of an item that are not held.
fn left(shop: &Shop, item: u64) -> i64 {
    shop.count(&format!("select quantity - held from item_stock where item_id = {item}"))
}

async fn receipts(shop: &Shop) -> Vec<Value> {
    let (_, receipts) = shop.sandbox.call(hyper::Method::GET, "/bank/receipts", &Value::Null).await;
    receipts.as_array().expect("a list").clone()
}

async fn await_count(shop: &Shop, what: &str, sql: &str, count: i64) {
    eventually(what, 30, || (shop.count(sql) == count).then_some(()));
}

const DONE: &str = "select count(*) from receipt where status = 'DONE'";

fn payments(shop: &Shop, arguments: &[&str]) -> CommandOutput {
    let (first, rest) = arguments.split_first().expect("a command");
    shop.site.run(&[&["payments", first, "--brand", "dexar"], rest].concat())
}

#[tokio::test]
async fn an_order_that_is_paid_twice_is_flagged_whichever_money_comes_first() {
    let shop = Shop::start();
    let browser = shop.browser();
    let first = open(&browser, &lamp("first")).await;
    expire(&shop, &browser, &first).await;
    let second = open(&browser, &lamp("second")).await;
    pay(&shop, &browser, &second).await;
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 0);
    pay_late(&shop, &browser, &first).await;
    let remark =
        |order: &str| text_of(&shop, &format!("select to_settle, remark from payment where site_order_id = '{order}'"));
    assert_eq!(
        remark("first"),
        "t|paid after it had expired; payment 2 (order second) also paid for item 12: it may be a double payment"
    );
    assert_eq!(remark("second"), "f|payment 1 (order first) for item 12 was paid late too: it may be a double payment");
    assert!(shop.gateway.log().contains("payment needs manual settlement"), "an ERROR is logged");
    // The late money comes first, then that of the code that replaced the expired one.
    let third = open(&browser, &lamp("third")).await;
    expire(&shop, &browser, &third).await;
    let fourth = open(&browser, &lamp("fourth")).await;
    pay_late(&shop, &browser, &third).await;
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 1, "there are units for the late money");
    pay(&shop, &browser, &fourth).await;
    assert!(remark("fourth").starts_with("t|payment 3 (order third)"), "{}", remark("fourth"));
    assert!(remark("third").starts_with("f|payment 4 (order fourth)"), "{}", remark("third"));
    // Two orders of one item, one after the other, are no double payment; neither are those of two visitors.
    let other = shop.browser();
    let fifth = open(&other, &lamp("fifth")).await;
    pay(&shop, &other, &fifth).await;
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 2);
    shop.site.run(&["check", "--books"]).success();
}

#[tokio::test]
async fn late_money_for_an_order_cancels_its_newer_code() {
    let shop = Shop::start();
    let _workers = shop.site.start_workers();
    let browser = shop.browser();
    let first = open(&browser, &lamp("same")).await;
    expire(&shop, &browser, &first).await;
    let second = open(&browser, &lamp("same")).await;
    // Another order of the same item may be meant: its code stays.
    let other = open(&browser, &order("another", "3", &[(14, "3", None)])).await;
    assert_ne!(first, second);
    pay_late(&shop, &browser, &first).await;
    await_status(&browser, &second, "CANCELLED").await;
    let codes = shop.sandbox.qrs().await;
    let at_bank = |qr_id: &str| codes.iter().find(|qr| qr["qrId"] == qr_id).map(|qr| qr["status"].clone());
    assert_eq!((at_bank(&second), at_bank(&other)), (Some(json!("CANCELLED")), Some(json!("NEW"))), "{codes:?}");
    assert_eq!((left(&shop, 12), shop.count("select count(*) from payment where to_settle")), (4, 0));
    assert_eq!(browser.post("/cart", &lamp("same")).await.ok_json()["qrStatus"], "COMPLETED", "the order is paid");
    shop.site.run(&["check", "--books"]).success();
}

#[tokio::test]
async fn late_money_for_missing_units_says_so_and_the_settlement_keeps_its_note() {
    let shop = Shop::start();
    let (late, other) = (shop.browser(), shop.browser());
    let last = |name: &str| order(name, "7", &[(16, "7", Some(1))]);
    let first = open(&late, &last("late")).await;
    expire(&shop, &late, &first).await;
    let sold = open(&other, &last("sold")).await;
    pay(&shop, &other, &sold).await;
    pay_late(&shop, &late, &first).await;
    let listed = payments(&shop, &["list", "--to-settle"]).success();
    assert!(listed.contains("TO SETTLE: paid after it had expired; not enough units are in stock"), "{listed}");
    payments(&shop, &["settle", "1"]).failure(2);
    payments(&shop, &["settle", "1", "--note", " "]).failure(2);
    assert_eq!(
        payments(&shop, &["settle", "1", "--note", "refunded by hand"]).success(),
        "dexar: payment 1 is settled\n"
    );
    assert_eq!(
        payments(&shop, &["settle", "1", "--note", "again"]).success(),
        "dexar: payment 1 has nothing to settle\n"
    );
    let shown = payments(&shop, &["show", "1"]).success();
    assert!(shown.contains("refunded by hand") && shown.contains("because: paid after it had expired"), "{shown}");
    assert!(!shown.contains("TO SETTLE") && !shown.contains("again"), "{shown}");
    shop.site.run(&["check", "--books"]).success();
}

#[tokio::test]
async fn refunds_have_receipts_of_what_was_refunded() {
    let shop = Shop::with_config(&format!("{FISCAL}[payments]\nrefund_poll_s = 1\n"));
    let vat = "{\"itemID\":12,\"vat\":\"vat10\"}\n{\"itemID\":14,\"vat\":\"VAT0\"}";
    shop.site.import_text("dexar", "vat.jsonl", vat, &[]).success();
    let _workers = shop.site.start_workers();
    let browser = shop.browser();
    let lines = [(11, "90.45", Some(2)), (12, "20", Some(2))];
    let qr_id = open(&browser, &order("mixed", "220.90", &lines)).await;
    pay(&shop, &browser, &qr_id).await;
    await_count(&shop, "the receipt is done", DONE, 1).await;
    let sold = &receipts(&shop).await[0];
    let rates: Vec<&Value> = sold["items"].as_array().expect("items").iter().map(|item| &item["vatType"]).collect();
    assert_eq!(rates, ["vat22", "vat10"], "the item's, else the brand's: {sold}");
    // Returned units, a part of the price, and the rest.
    payments(&shop, &["refund", "1", "--item", "12", "--restock"]).success();
    let listed = payments(&shop, &["list"]).success();
    assert!(listed.contains("COMPLETED, partly refunded"), "{listed}");
    assert_eq!(left(&shop, 12), 4, "one of two units is back");
    payments(&shop, &["refund", "1", "--amount", "100.01"]).success();
    payments(&shop, &["refund", "1", "--amount", "10", "--restock"]).failure(1);
    payments(&shop, &["refund", "1", "--restock"]).success();
    assert_eq!(left(&shop, 12), 5);
    assert_eq!(left(&shop, 11), 2000, "each unit went back once");
    let refunded = "select count(*) from refund_receipt where status = 'DONE'";
    await_count(&shop, "the receipts of the refunds are done", refunded, 3).await;
    let receipts = receipts(&shop).await;
    let of_refunds: Vec<&Value> = receipts.iter().filter(|receipt| receipt["receiptType"] == "REFUND").collect();
    let mut totals: Vec<String> = of_refunds.iter().map(|receipt| receipt["total"].to_string()).collect();
    totals.sort();
    assert_eq!(totals, ["100.01", "100.89", "20"]);
    let of_lamp = of_refunds.iter().find(|receipt| receipt["total"] == 20).expect("the lamp's");
    let item = &of_lamp["items"][0];
    assert_eq!(
        (&item["name"], &item["quantity"], &item["vatType"]),
        (&json!("Лампа"), &json!(1), &json!("vat10")),
        "{item}"
    );
    let listed = payments(&shop, &["list", "--json"]).success();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["refunded"], json!(220.9), "{listed}");
    assert!(payments(&shop, &["list"]).success().contains("COMPLETED, refunded"));
    // A mail about the order says so.
    let mail = json!({"email": "a@example.com", "telegramUserId": "42", "items": [{"itemID": 11}, {"itemID": 12}]});
    browser.post("/purchase-email", &mail).await.ok_json();
    let mails = shop.sandbox.await_emails(1).await;
    let text = mails[0]["text"].as_str().expect("a text").replace('\u{a0}', " ");
    assert!(text.contains("Возвращено: 220,90 ₽"), "{text}");
    shop.site.run(&["check", "--books"]).success();
}

#[tokio::test]
async fn a_refund_that_the_database_lost_is_found_at_the_bank() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = open(&browser, &chairs("lost")).await;
    pay(&shop, &browser, &qr_id).await;
    payments(&shop, &["refund", "1", "--amount", "50"]).success();
    // The standby that was promoted had not received the refund.
    shop.site
        .sql_as("dexar", "delete from refund_receipt; delete from refund_line; delete from refund")
        .expect("deleted");
    let again = payments(&shop, &["refund", "1", "--amount", "50"]).failure(1);
    assert!(again.contains("--again"), "{again}");
    assert!(payments(&shop, &["show", "1"]).success().contains("found at the bank"));
    payments(&shop, &["refund", "1"]).success();
    let (_, refunds) = shop.sandbox.call(hyper::Method::GET, "/bank/refunds", &Value::Null).await;
    let amounts: Vec<String> =
        refunds.as_array().expect("a list").iter().map(|refund| refund["amount"].to_string()).collect();
    assert_eq!(amounts, ["50", "130.9"], "{refunds}");
    let order = text_of(&shop, "select bank_order_id from payment");
    assert_eq!(refunds[0]["refundId"], json!(format!("{order}-r1")));
    assert_eq!(
        text_of(&shop, "select string_agg(refund_id, ',' order by ordinal) from refund"),
        format!("{order}-r1,{order}-r2")
    );
    // A bank that cannot say what it has refunded gets no refund.
    shop.site
        .sql_as("dexar", "delete from refund_receipt; delete from refund_line; delete from refund")
        .expect("deleted");
    shop.sandbox.inject_bank_fault(json!({"call": "refund-info", "how": "500", "times": 1})).await;
    payments(&shop, &["refund", "1"]).failure(1);
    assert!(payments(&shop, &["refund", "1"]).failure(1).contains("0 of 180.9 RUB"));
}

#[tokio::test]
async fn receipts_whose_answer_is_lost_are_done_and_refused_ones_are_final() {
    let shop = Shop::with_config(FISCAL);
    let workers = shop.site.start_workers();
    let browser = shop.browser();
    shop.sandbox.inject_bank_fault(json!({"call": "receipt-register", "how": "lost", "times": 1})).await;
    let qr_id = open(&browser, &lamp("lost")).await;
    pay(&shop, &browser, &qr_id).await;
    await_count(&shop, "the receipt is done", DONE, 1).await;
    assert_eq!(receipts(&shop).await.len(), 1);
    let temporary = json!({"call": "receipt-register", "how": "refused", "code": "TOKEN_REQUEST_FAILED", "status": 500, "times": 2});
    shop.sandbox.inject_bank_fault(temporary).await;
    let qr_id = open(&browser, &lamp("temporary")).await;
    pay(&shop, &browser, &qr_id).await;
    await_count(&shop, "the receipt is done", DONE, 2).await;
    let refused = json!({"call": "receipt-save", "how": "refused", "code": "RECEIPT_VALIDATION_FAILED", "times": 1});
    shop.sandbox.inject_bank_fault(refused).await;
    let qr_id = open(&browser, &lamp("refused")).await;
    pay(&shop, &browser, &qr_id).await;
    await_count(&shop, "it failed", "select count(*) from receipt where status = 'FAILED'", 1).await;
    let listed = shop.site.run(&["outbox", "list", "--brand", "dexar", "--failed"]).success();
    assert!(listed.contains("RECEIPT_VALIDATION_FAILED") && listed.contains("Причина: client.email"), "{listed}");
    assert!(workers.log().contains("receipt failed and needs manual action"));
    shop.site.run(&["outbox", "retry", "--brand", "dexar", "receipt-3"]).success();
    await_count(&shop, "the receipts are done", DONE, 3).await;
}

#[tokio::test]
async fn payments_completed_without_the_fiscal_section_get_a_receipt() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = open(&browser, &lamp("queued")).await;
    pay(&shop, &browser, &qr_id).await;
    assert_eq!(text_of(&shop, "select status, without_section from receipt"), "QUEUED|t");
    assert!(
        shop.gateway.metrics().contains("brandgate_queue_waiting{brand=\"dexar\",queue=\"receipts\"} 0"),
        "not its job"
    );
    // Completed by an older version, which queued nothing.
    let qr_id = open(&browser, &lamp("forgotten")).await;
    pay(&shop, &browser, &qr_id).await;
    shop.site.sql_as("dexar", "delete from receipt where payment_id = 2").expect("deleted");
    let mut site = shop.site.replica();
    site.change_brand("dexar", |file| FISCAL.clone_into(&mut file.more));
    let workers = site.start_workers();
    await_count(&shop, "both receipts are done", DONE, 2).await;
    assert!(workers.log().contains("queued a receipt that was missing"));
}

#[tokio::test]
async fn receipts_of_a_brand_without_the_fiscal_section_are_dropped() {
    let shop = Shop::start();
    let browser = shop.browser();
    for name in ["old", "new"] {
        let qr_id = open(&browser, &lamp(name)).await;
        pay(&shop, &browser, &qr_id).await;
    }
    let aged = "update receipt set next_try_at = next_try_at - interval '25 hours' where payment_id = 1";
    shop.site.sql_as("dexar", aged).expect("aged");
    let _workers = shop.site.start_workers();
    await_count(&shop, "the old receipt is dropped", "select count(*) from receipt", 1).await;
    assert_eq!(text_of(&shop, "select payment_id from receipt"), "2");
}

#[tokio::test]
async fn money_without_an_order_is_kept_attached_or_refunded() {
    let shop = Shop::start();
    let browser = shop.browser();
    let forget = "delete from payment where site_order_id = 'gone'";
    for amount in [1, 2] {
        let body = order("gone", &(20 * amount).to_string(), &[(12, "20", Some(amount))]);
        let qr_id = open(&shop.browser(), &body).await;
        // A failover loses the order after its code was shown.
        shop.site.sql_as("dexar", forget).expect("deleted");
        let paid = shop.sandbox.bank_action(&qr_id, "pay", json!({"copies": 2, "wait": true})).await;
        assert_eq!(paid["notificationsAccepted"], 2, "{paid}");
    }
    let unknown = |arguments: &[&str]| {
        let (first, rest) = arguments.split_first().expect("a command");
        shop.site.run(&[&["payments", "unknown", first, "--brand", "dexar"], rest].concat())
    };
    let listed = unknown(&["list"]).success();
    assert_eq!(listed.lines().count(), 3, "each is kept once: {listed}");
    assert_eq!(listed.matches("OPEN").count(), 2, "{listed}");
    assert!(shop.gateway.log().contains("received money for an order that the database does not have"));
    assert!(shop.gateway.metrics().contains("brandgate_payments{brand=\"dexar\",state=\"unknown\"} 2"));
    // The buyer had ordered again, and that code has expired.
    let again = open(&browser, &lamp("again")).await;
    let id = text_of(&shop, "select payment_id from payment");
    assert!(unknown(&["attach", "1", "--payment", &id, "--note", "x"]).failure(1).contains("can still be paid"));
    expire(&shop, &browser, &again).await;
    assert!(unknown(&["attach", "2", "--payment", &id, "--note", "x"]).failure(1).contains("amounts differ"));
    let before = left(&shop, 12);
    let attached = unknown(&["attach", "1", "--payment", &id, "--note", "the buyer sent the bank's receipt"]).success();
    assert_eq!(attached, format!("dexar: payment {id} is COMPLETED\n"));
    assert_eq!(left(&shop, 12), before - 1, "with all effects");
    assert!(
        unknown(&["attach", "1", "--payment", &id, "--note", "x"]).failure(1).contains("attached or refunded before")
    );
    payments(&shop, &["refund", &id]).success();
    // The other one is refunded, although the first answer is lost.
    shop.sandbox.inject_bank_fault(json!({"call": "refund", "how": "lost", "times": 1})).await;
    unknown(&["refund", "2", "--note", "no such buyer"]).failure(1);
    unknown(&["refund", "2", "--note", "no such buyer"]).success();
    let (_, refunds) = shop.sandbox.call(hyper::Method::GET, "/bank/refunds", &Value::Null).await;
    assert_eq!(refunds.as_array().map(Vec::len), Some(2), "{refunds}");
    eventually_async("the bank has refunded", 30, async || {
        let (_, refunds) = shop.sandbox.call(hyper::Method::GET, "/bank/refunds", &Value::Null).await;
        refunds.as_array()?.iter().all(|refund| refund["refundStatus"] == "COMPLETED").then_some(())
    })
    .await;
    let _workers = shop.site.start_workers();
    await_count(&shop, "the refund is known", "select count(*) from unknown_money where status = 'REFUNDED'", 1).await;
    assert_eq!(unknown(&["list"]).success().lines().count(), 1);
    assert!(unknown(&["list", "--all"]).success().contains("no such buyer"));
}
