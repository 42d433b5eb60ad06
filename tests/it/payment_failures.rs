//! Payments while the bank, the database or the server fails: no order is lost, and no effect happens twice.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, Services, TestResponse, bank_key_of, eventually_async, merchant_of, request};

fn lamp(name: &str) -> Value {
    order(name, "20", &[(12, "20", Some(1))])
}

fn id_of(opened: &Value) -> String {
    opened["qrId"].as_str().unwrap_or_else(|| panic!("no qrId in {opened}")).to_owned()
}

async fn status_of(browser: &BrowserClient, qr_id: &str) -> String {
    let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
    status["paymentStatus"].as_str().expect("a text").to_owned()
}

async fn await_status(browser: &BrowserClient, qr_id: &str, wanted: &str) {
    eventually_async(wanted, 30, async || (status_of(browser, qr_id).await == wanted).then_some(())).await;
}

/// Waits for a status in the database, without polling the bank.
async fn await_stored(shop: &Shop, order: &str, wanted: &str) {
    let sql = format!("select count(*) from payment where site_order_id = '{order}' and status = '{wanted}'");
    eventually_async(&format!("{order} is {wanted}"), 30, async || (shop.count(&sql) == 1).then_some(())).await;
}

/// The body of a notification and its signature with `key`.
fn notification(order: &str, amount: &str, key: &str, merchant: &str) -> (String, String) {
    let date = "2026-02-28T15:01:00.000000+03:00";
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    mac.update(format!("{amount}|{merchant}|{order}|SUCCESS|{date}").as_bytes());
    let signature = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!(
        "{{\"transactionId\":1,\"qrId\":\"AD1\",\"sbpMerchantId\":\"{merchant}\",\"merchantId\":1,\"amount\":{amount},\
         \"currency\":\"RUB\",\"transactionDate\":\"{date}\",\"paymentStatus\":\"SUCCESS\",\"additionalInfo\":null,\
         \"order\":\"{order}\",\"createDate\":\"{date}\"}}"
    );
    (body, signature)
}

async fn notify(browser: &BrowserClient, (body, signature): (String, String)) -> TestResponse {
    let request = request("/payments/raiffeisen/notify").method("POST").header("x-api-signature-sha256", signature);
    browser.send(request.header("content-type", "text/plain").body(body)).await
}

#[tokio::test]
async fn notifications_complete_a_payment_once_even_repeated_or_late() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = id_of(&browser.post("/cart", &lamp("notified")).await.ok_json());
    let paid = shop.sandbox.bank_action(&qr_id, "pay", json!({"copies": 3, "amountText": "20.00", "wait": true})).await;
    assert_eq!(paid["status"], "PAID", "{paid}");
    await_stored(&shop, "notified", "COMPLETED").await;
    shop.sandbox.bank_action(&qr_id, "notify", json!({"copies": 2, "amountText": "20.0", "wait": true})).await;
    let (_, qr) = shop.sandbox.call(hyper::Method::GET, &format!("/bank/qrs/{qr_id}"), &Value::Null).await;
    assert_eq!(qr["notificationsAccepted"], 5, "{qr}");
    assert_eq!(shop.item(12).await["quantity"], 4, "sold once");
    // Expired for us and the bank, and paid afterwards.
    let late = id_of(&browser.post("/cart", &lamp("late")).await.ok_json());
    shop.sandbox.bank_action(&late, "expire", json!({})).await;
    await_status(&browser, &late, "EXPIRED").await;
    shop.sandbox.bank_action(&late, "pay", json!({"force": true, "keepStatus": true, "wait": true})).await;
    await_stored(&shop, "late", "COMPLETED").await;
    assert_eq!(shop.item(12).await["quantity"], 3);
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 0);
}

#[tokio::test]
async fn late_money_for_sold_units_needs_manual_settlement() {
    let shop = Shop::start();
    let (first, second) = (shop.browser(), shop.browser());
    let last = |name: &str| order(name, "7", &[(16, "7", Some(1))]);
    let late = id_of(&first.post("/cart", &last("late")).await.ok_json());
    shop.sandbox.bank_action(&late, "expire", json!({})).await;
    await_status(&first, &late, "EXPIRED").await;
    let sold = id_of(&second.post("/cart", &last("sold")).await.ok_json());
    shop.sandbox.bank_action(&late, "pay", json!({"force": true, "wait": true})).await;
    await_status(&first, &late, "COMPLETED").await;
    shop.sandbox.bank_action(&sold, "pay", json!({"notify": false})).await;
    await_status(&second, &sold, "COMPLETED").await;
    assert_eq!(shop.item(16).await["quantity"], 0);
    let listed = shop.site.run(&["payments", "list", "--brand", "dexar", "--to-settle"]).success();
    assert!(listed.contains("late") && !listed.contains("sold ") && listed.contains("TO SETTLE"), "{listed}");
    let id = listed.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a number").to_owned();
    assert!(
        shop.site.run(&["payments", "settle", "--brand", "dexar", &id, "--note", "x"]).success().contains("settled")
    );
    assert_eq!(shop.count("select count(*) from payment where to_settle"), 0);
}

#[tokio::test]
async fn forged_and_truncated_notifications_are_refused() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = id_of(&browser.post("/cart", &lamp("forged")).await.ok_json());
    let bank_order = shop.site.sql_as("dexar", "select bank_order_id from payment").expect("one");
    let (key, merchant) = (bank_key_of("dexar"), merchant_of("dexar"));
    let good = notification(&bank_order, "20", &key, &merchant);
    for (what, forged) in [
        ("another key", notification(&bank_order, "20", "guess", &merchant)),
        ("the other brand's", notification(&bank_order, "20", &bank_key_of("novo"), &merchant_of("novo"))),
        ("another amount", (good.0.replace("\"amount\":20", "\"amount\":2"), good.1.clone())),
        ("another order", (good.0.replace(&bank_order, "x"), good.1.clone())),
        ("no signature", (good.0.clone(), String::new())),
    ] {
        assert_eq!(notify(&browser, forged).await.error_code(401), "bad_signature", "{what}");
    }
    let half = (good.0[..good.0.len() / 2].to_owned(), good.1.clone());
    assert_eq!(notify(&browser, half).await.error_code(400), "bad_notification");
    // Signed with the bank's key, but its API reports no payment: only the API counts.
    assert_eq!(notify(&browser, good).await.status, 200);
    assert_eq!(status_of(&browser, &qr_id).await, "CREATED");
    assert_eq!(notify(&browser, notification("unknown", "20", &key, &merchant)).await.status, 200);
    assert_eq!(shop.item(12).await["quantity"], 4, "still held, not sold twice");
}

#[tokio::test]
async fn a_notification_during_the_registration_is_not_lost() {
    let shop = Shop::start();
    let browser = shop.browser();
    shop.sandbox.inject_bank_fault(json!({"call": "register", "how": "notify-first", "times": 1})).await;
    let opened = browser.post("/cart", &lamp("first")).await.ok_json();
    assert_eq!(opened["qrStatus"], "COMPLETED", "{opened}");
    await_status(&browser, &id_of(&opened), "COMPLETED").await;
    // Registered and paid, but the response to the registration was lost.
    shop.sandbox.inject_bank_fault(json!({"call": "register", "how": "lost", "times": 1})).await;
    let lost = browser.post("/cart", &lamp("lost")).await;
    assert!([502, 504].contains(&lost.status), "{lost:?}");
    let unseen = shop.sandbox.qrs().await[0]["qrId"].as_str().expect("registered").to_owned();
    shop.sandbox.bank_action(&unseen, "pay", json!({"wait": true})).await;
    await_stored(&shop, "lost", "COMPLETED").await;
    assert_eq!(id_of(&browser.post("/cart", &lamp("lost")).await.ok_json()), unseen);
}

#[tokio::test]
async fn the_same_order_succeeds_after_the_bank_has_failed() {
    let shop = Shop::start();
    let browser = shop.browser();
    for (number, failure) in [
        json!({"call": "register", "how": "500", "times": 1}),
        json!({"call": "register", "how": "html", "times": 1}),
        json!({"call": "register", "how": "empty", "times": 1}),
        json!({"call": "register", "how": "nonsense", "times": 1}),
        json!({"call": "register", "how": "error200", "times": 1}),
        json!({"call": "register", "how": "hang", "times": 1, "ms": 4_000}),
        json!({"call": "register", "how": "lost", "times": 1}),
    ]
    .into_iter()
    .enumerate()
    {
        let body = order(&format!("failing_{number}"), "3", &[(14, "3", Some(1))]);
        shop.sandbox.inject_bank_fault(failure.clone()).await;
        let failed = browser.post("/cart", &body).await;
        let code = failed.error_code(if failure["how"] == "hang" { 504 } else { 502 });
        assert!(["bad_gateway", "bank_timeout"].contains(&code.as_str()), "{failure}: {code}");
        let qr_id = id_of(&browser.post("/cart", &body).await.ok_json());
        assert_eq!(status_of(&browser, &qr_id).await, "CREATED", "{failure}");
        assert_eq!(id_of(&browser.post("/cart", &body).await.ok_json()), qr_id, "one code for one order");
    }
    let all = shop.site.run(&["payments", "list", "--brand", "dexar"]).success();
    let open = shop.count("select count(*) from payment where status in ('CREATED', 'WAITING')");
    assert_eq!(open, 1, "each replaced the one before:\n{all}");
    // A bank that responds after the poll's deadline: the client gets the last known status, the bank's is applied later.
    let qr_id = shop.site.sql_as("dexar", "select qr_id from payment where status = 'CREATED'").expect("one");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    shop.sandbox.inject_bank_fault(json!({"call": "*", "how": "slow", "times": 1, "ms": 1_800})).await;
    assert_eq!(status_of(&browser, &qr_id).await, "CREATED", "the response does not wait for the bank's");
    await_stored(&shop, "failing_6", "COMPLETED").await;
}

#[tokio::test]
async fn a_server_killed_during_registration_shows_one_code_and_charges_once() {
    let shop = Shop::start();
    let visitor = shop.browser();
    visitor.get("/cart").await;
    for (number, after_ms) in [0_u64, 5, 15, 30, 60, 120, 300].into_iter().enumerate() {
        // The bank is slow, so that the kill happens before, during and after its response.
        shop.sandbox.inject_bank_fault(json!({"call": "register", "how": "slow", "times": 1, "ms": 60})).await;
        let body = order(&format!("kill_{number}"), "3", &[(14, "3", Some(1))]);
        let gateway = shop.site.replica().start();
        let browser = visitor.at(gateway.client("dexar"));
        let post = browser.with_cookies(request("/cart").method("POST").header("content-type", "application/json"));
        let client = gateway.client("dexar");
        let posting = client.try_send(post.body(body.to_string()));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            gateway.kill();
        };
        let (seen, ()) = tokio::join!(posting, killing);
        let seen = seen.ok().filter(|answer| answer.status == 200).map(|answer| id_of(&answer.ok_json()));
        // The same order is safe to repeat on another instance.
        let qr_id = id_of(&visitor.post("/cart", &body).await.ok_json());
        assert!(
            seen.is_none_or(|seen| seen == qr_id),
            "two codes were shown for one order, killed after {after_ms} ms"
        );
        shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
        await_status(&visitor, &qr_id, "COMPLETED").await;
        let paid = shop.sandbox.qrs().await;
        assert_eq!(paid.iter().filter(|qr| qr["status"] == "PAID").count(), number + 1, "one charge per order");
    }
    assert_eq!(shop.count("select count(*) from payment where status = 'COMPLETED'"), 7);
}

#[tokio::test]
async fn concurrent_polls_and_notifications_complete_an_order_once() {
    let shop = Shop::start();
    let workers = shop.site.start_workers();
    let browser = shop.browser();
    browser.add_to_cart(12, 3).await;
    let other = shop.site.replica().start();
    for round in 1..=3_u64 {
        let qr_id = id_of(&browser.post("/cart", &lamp(&format!("race_{round}"))).await.ok_json());
        let pay = shop.sandbox.bank_action(&qr_id, "pay", json!({"copies": 4, "wait": true}));
        let poll = |client| {
            let (browser, qr_id) = (browser.at(client), qr_id.clone());
            async move { await_status(&browser, &qr_id, "COMPLETED").await }
        };
        tokio::join!(pay, poll(shop.gateway.client("dexar")), poll(other.client("dexar")), poll(other.client("dexar")));
        assert_eq!(shop.item(12).await["quantity"], 5 - round, "one unit per order");
        assert_eq!(shop.count("select held from item_stock where item_id = 12"), 0);
    }
    assert_eq!(browser.cart().await, [], "three were in the cart, three were bought");
    workers.terminate();
    assert!(workers.await_exit().success());
}

#[tokio::test]
async fn payments_that_no_client_polls_are_polled_by_the_worker() {
    let shop = Shop::with_config("[payments]\nqr_lifetime_s = 3\nfollow_s = 3600\nlongest_pause_s = 1\n");
    let browser = shop.browser();
    let paid = id_of(&browser.post("/cart", &order("paid", "3", &[(14, "3", Some(1))])).await.ok_json());
    browser.post("/cart", &lamp("unpolled")).await.ok_json();
    shop.sandbox.bank_action(&paid, "pay", json!({"notify": false})).await;
    let workers = shop.site.start_workers();
    await_stored(&shop, "paid", "COMPLETED").await;
    await_stored(&shop, "unpolled", "EXPIRED").await;
    assert_eq!(shop.item(12).await["quantity"], 5, "its unit is released");
    // Money that arrives after the expiry, without a notification, is found by polling.
    let late = shop.site.sql_as("dexar", "select qr_id from payment where site_order_id = 'unpolled'").expect("one");
    shop.sandbox.bank_action(&late, "pay", json!({"force": true, "keepStatus": true, "notify": false})).await;
    await_stored(&shop, "unpolled", "COMPLETED").await;
    assert!(!workers.log().contains("ERROR"), "{}", workers.log());
}

#[tokio::test]
async fn a_database_restart_during_checkout_loses_no_order() {
    let services = Services::dedicated("payments-pg");
    let shop = Shop::on(services.clone(), "");
    let browser = shop.browser();
    browser.get("/cart").await;
    let qr_id = id_of(&browser.post("/cart", &lamp("before")).await.ok_json());
    shop.sandbox.inject_bank_fault(json!({"call": "register", "how": "slow", "times": 1, "ms": 800})).await;
    let body = order("during", "3", &[(14, "3", Some(1))]);
    let posting = browser.post("/cart", &body);
    let stopping = async {
        eventually_async("the registration has reached the bank", 20, async || {
            (shop.sandbox.bank_calls().await["register"] == 2).then_some(())
        })
        .await;
        services.stop("pg");
    };
    let (during, ()) = tokio::join!(posting, stopping);
    assert!([200, 503].contains(&during.status), "{during:?}");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": true})).await;
    let polled = browser.get(&format!("/qr/payment/{qr_id}")).await;
    assert_eq!(polled.error_code(503), "unavailable");
    services.restart("pg");
    eventually_async("the server recovers", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.status == 200).then_some(())
    })
    .await;
    await_status(&browser, &qr_id, "COMPLETED").await;
    let again = browser.post("/cart", &body).await.ok_json();
    assert_eq!(status_of(&browser, &id_of(&again)).await, "CREATED", "the interrupted order continues");
}

#[tokio::test]
async fn partial_refunds_never_exceed_the_payment() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = id_of(&browser.post("/cart", &order("back", "180.90", &[(11, "90.45", Some(2))])).await.ok_json());
    let refund = |more: &[&str]| shop.site.run(&[&["payments", "refund", "--brand", "dexar", "1"], more].concat());
    assert!(refund(&[]).failure(1).contains("was not paid"));
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    await_status(&browser, &qr_id, "COMPLETED").await;
    assert!(refund(&["--amount", "200"]).failure(1).contains("180.9 of 180.9 RUB"));
    refund(&["--amount", "80.90"]).success();
    shop.sandbox.inject_bank_fault(json!({"call": "refund", "how": "lost", "times": 1})).await;
    assert!(refund(&["--amount", "50"]).failure(1).contains("the bank"));
    let again = refund(&["--amount", "50"]).success();
    assert!(again.starts_with("dexar: refund of 50 RUB: "), "{again}");
    assert!(refund(&["--amount", "50"]).failure(1).contains("--again"), "repeating a refund needs a confirmation");
    refund(&[]).success();
    assert!(refund(&[]).failure(1).contains("0 of 180.9 RUB"));
    eventually_async("the bank completes the refunds", 20, async || {
        let shown = shop.site.run(&["payments", "show", "--brand", "dexar", "1"]).success();
        (shown.matches("RUB COMPLETED").count() == 3).then_some(())
    })
    .await;
    let (_, refunds) = shop.sandbox.call(hyper::Method::GET, "/bank/refunds", &Value::Null).await;
    let amounts: Vec<&Value> = refunds.as_array().expect("a list").iter().map(|refund| &refund["amount"]).collect();
    assert_eq!(amounts.len(), 3, "the refund whose response was lost was made once: {refunds}");
    let shown = shop.site.run(&["payments", "show", "--brand", "dexar", "1"]).success();
    assert!(shown.matches("refund ").count() == 3 && shown.contains("item           11 × 2"), "{shown}");
}

#[tokio::test]
async fn receipts_are_retried_until_the_cash_register_prints_them() {
    let fiscal = "[fiscal]\nfallback_email = \"receipts@dexar.example\"\nvat = \"vat20\"\nwait_s = 0\nfirst_retry_ms = 200\n\
                  longest_retry_ms = 500\n";
    let shop = Shop::with_config(fiscal);
    let workers = shop.site.start_workers();
    let browser = shop.browser();
    shop.sandbox.inject_bank_fault(json!({"call": "receipt", "how": "500", "times": 3})).await;
    let qr_id = id_of(&browser.post("/cart", &order("r", "180.90", &[(11, "90.45", Some(2))])).await.ok_json());
    shop.sandbox.bank_action(&qr_id, "pay", json!({"wait": true})).await;
    await_status(&browser, &qr_id, "COMPLETED").await;
    eventually_async("the receipt is done", 30, async || {
        (shop.count("select count(*) from receipt where status = 'DONE'") == 1).then_some(())
    })
    .await;
    let (_, receipts) = shop.sandbox.call(hyper::Method::GET, "/bank/receipts", &Value::Null).await;
    let text = receipts.to_string();
    assert_eq!(receipts.as_array().map(Vec::len), Some(1), "{text}");
    assert!(text.contains("receipts@dexar.example") && text.contains("Стул") && text.contains("180.9"), "{text}");
    assert!(workers.log().contains("failed to register or poll a receipt"), "failures are logged");
    // A receipt that the cash register fails to print needs manual action.
    let qr_id = id_of(&browser.post("/cart", &order("r2", "3", &[(14, "3", Some(1))])).await.ok_json());
    let number =
        shop.site.sql_as("dexar", "select bank_order_id from payment where site_order_id = 'r2'").expect("one");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"wait": true})).await;
    eventually_async("the cash register fails to print it", 30, async || {
        let (status, _) =
            shop.sandbox.call(hyper::Method::POST, &format!("/bank/receipts/{number}/fail"), &json!({})).await;
        (status == 200).then_some(())
    })
    .await;
    eventually_async("the failure is listed", 30, async || {
        let listed = shop.site.run(&["outbox", "list", "--brand", "dexar", "--failed"]).success();
        (listed.contains("receipt-2") && listed.contains("the cash register failed to print the receipt")).then_some(())
    })
    .await;
    assert!(shop.site.run(&["outbox", "retry", "--brand", "dexar", "receipt-1"]).failure(1).contains("is done"));
    shop.site.run(&["outbox", "retry", "--brand", "dexar", "receipt-2"]).success();
    eventually_async("both receipts are done", 30, async || {
        (shop.count("select count(*) from receipt where status = 'DONE'") == 2).then_some(())
    })
    .await;
}
