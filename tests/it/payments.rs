//! Payments: prices, QR codes, statuses, and their effects on the stock and the cart.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, TestResponse, bot_token_of, eventually_async};

/// The response to a front end that polls a payment.
async fn status(browser: &BrowserClient, qr_id: &str) -> Value {
    browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn a_paid_order_is_completed_with_all_its_effects() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.add_to_cart(11, 2).await;
    browser.add_to_cart(12, 1).await;
    // 100.50 minus 10 % is 90.45 a unit.
    let body = order("order_1", "180.90", &[(11, "100.50", None)]);
    let answer = browser.post("/cart", &body).await;
    let opened = answer.ok_json();
    let qr_id = text(&opened, "qrId").to_owned();
    assert_eq!((text(&opened, "qrStatus"), opened.as_object().expect("an object").len()), ("CREATED", 6));
    assert_eq!(opened["amount"], json!(180.9));
    assert!(text(&opened, "payload").starts_with(&format!("https://qr.nspk.ru/{qr_id}?type=02&")), "{opened}");
    assert!(text(&opened, "payload").contains("&sum=18090&"), "the bank registered 180.90: {opened}");
    assert!(text(&opened, "qrUrl").contains(&qr_id));
    let expires: jiff::Timestamp = text(&opened, "qrExpirationDate").parse().expect("RFC 3339");
    assert!((880..=900).contains(&expires.duration_since(jiff::Timestamp::now()).as_secs()), "{opened}");

    let created = status(&browser, &qr_id).await;
    assert_eq!(
        created,
        json!({"additionalInfo": "", "paymentPurpose": "Order #order_1", "amount": 180.9, "code": "SUCCESS",
               "createDate": created["createDate"], "currency": "RUB", "order": "order_1", "paymentStatus": "CREATED",
               "qrId": qr_id, "qrExpirationDate": opened["qrExpirationDate"], "phoneNumber": ""})
    );
    assert_eq!(shop.item(11).await["quantity"], 1998, "two units are held");
    shop.sandbox.bank_action(&qr_id, "progress", json!({})).await;
    eventually_async("the payment is in progress", 20, async || {
        (status(&browser, &qr_id).await["paymentStatus"] == "WAITING").then_some(())
    })
    .await;
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    let paid = eventually_async("the payment is completed", 20, async || {
        let status = status(&browser, &qr_id).await;
        (status["paymentStatus"] == "COMPLETED").then_some(status)
    })
    .await;
    assert!(paid["transactionId"].is_i64() && text(&paid, "transactionDate").ends_with('Z'), "{paid}");
    assert_eq!(shop.item(11).await["quantity"], 1998, "the held units are sold");
    assert_eq!(browser.cart().await, [(12, 1)], "bought items are removed from the cart");
    assert_eq!(shop.count("select held from item_stock where item_id = 11"), 0);
    // Repeating the order returns the same payment, also after its completion.
    assert_eq!(browser.post("/cart", &body).await.ok_json()["qrId"], qr_id);
    assert_eq!(shop.sandbox.qrs().await.len(), 1);
}

#[tokio::test]
async fn amounts_that_differ_from_the_catalogue_are_refused() {
    let shop = Shop::start();
    let browser = shop.browser();
    let refused = |answer: TestResponse, status: u16| {
        (answer.error_code(status), serde_json::from_slice(&answer.body).expect("JSON"))
    };
    for amount in ["1", "180.87", "180.93", "201", "-180.90", "999999999999999"] {
        let body = order("o", amount, &[(11, "100.50", Some(2))]);
        let answer = browser.post("/cart", &body).await;
        if amount.starts_with('-') {
            assert_eq!(answer.error_code(400), "bad_amount");
            continue;
        }
        let (code, body): (String, Value) = refused(answer, 422);
        assert_eq!((code.as_str(), &body["amount"]), ("amount_mismatch", &json!(180.9)), "{amount}");
    }
    for (item, status, code) in [
        ((11, "1", Some(2)), 422, "amount_mismatch"),
        ((99, "1", None), 404, "not_found"),
        ((13, "30", None), 409, "out_of_stock"),
        ((12, "20", Some(6)), 409, "out_of_stock"),
        ((15, "5", None), 409, "item_unavailable"),
    ] {
        let answer = browser.post("/cart", &order("o", "180.90", &[item])).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.error_code(status), code, "{item:?}");
        if code != "amount_mismatch" {
            assert_eq!(body["itemID"], item.0, "{body}");
        }
    }
    assert_eq!(shop.count("select count(*) from payment"), 0, "no payment is stored");
    assert_eq!(shop.sandbox.qrs().await.len(), 0, "no QR code is registered");
    // The sum 3 × 90.45 as JavaScript computes it.
    let body = order("o", "271.35000000000003", &[(11, "90.45", Some(3))]);
    browser.post("/cart", &body).await.ok_json();
}

#[tokio::test]
async fn malformed_orders_are_refused_and_not_stored() {
    let shop = Shop::start();
    let browser = shop.browser();
    let good = || order("o", "180.90", &[(11, "100.50", Some(2))]);
    let with = |name: &str, value: Value| {
        let mut body = good();
        body[name] = value;
        body
    };
    for (body, status, code) in [
        (with("amount", json!("180.90")), 400, "bad_amount"),
        (with("amount", json!(0)), 422, "amount_mismatch"),
        (with("currency", json!("USD")), 422, "currency_not_supported"),
        (with("siteorderID", json!("a/b")), 400, "bad_order_id"),
        (with("siteorderID", json!("x".repeat(41))), 400, "bad_order_id"),
        (with("siteorderID", Value::Null), 400, "bad_order_id"),
        (with("items", json!([])), 400, "bad_items"),
        (with("items", json!([{"itemID": 11, "quantity": -1}])), 400, "bad_quantity"),
        (with("redirectUrl", json!("https://evil.example/")), 422, "bad_redirect_url"),
        (with("redirectUrl", json!("https://dexarmarket.ru.evil.example/")), 422, "bad_redirect_url"),
        (with("itemID", json!(11)), 400, "bad_cart_body"),
    ] {
        assert_eq!(browser.post("/cart", &body).await.error_code(status), code, "{body}");
    }
    for qr_id in ["AD100000000000000000000000000000", &"A".repeat(4_096), "..%2f..", "%00"] {
        assert_eq!(browser.get(&format!("/qr/payment/{qr_id}")).await.error_code(404), "not_found", "{qr_id}");
    }
    assert_eq!(shop.count("select count(*) from payment"), 0);
    assert_eq!(shop.sandbox.bank_calls().await["register"], 0);
    browser.post("/cart", &with("redirectUrl", json!("https://dexarmarket.ru/orders/1"))).await.ok_json();
}

#[tokio::test]
async fn concurrent_requests_with_one_order_get_one_code() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.get("/cart").await;
    let body = order("order_8", "20", &[(12, "20", Some(1))]);
    let post = || async { browser.at(shop.gateway.client("dexar")).post("/cart", &body).await.ok_json() };
    let opened = futures_util::future::join_all((0..8).map(|_| post())).await;
    assert!(opened.iter().all(|one| *one == opened[0]), "{opened:?}");
    assert_eq!(shop.sandbox.qrs().await.len(), 1);
    assert_eq!(shop.count("select held from item_stock where item_id = 12"), 1);
    let other = order("order_8", "40", &[(12, "20", Some(2))]);
    assert_eq!(browser.post("/cart", &other).await.error_code(409), "order_changed");
    // The same order id of another owner is another order.
    let stranger = shop.browser().post("/cart", &body).await.ok_json();
    assert_ne!(stranger["qrId"], opened[0]["qrId"]);
}

#[tokio::test]
async fn the_last_unit_is_held_by_one_of_ten_visitors() {
    let shop = Shop::start();
    let body = order("last", "7", &[(16, "7", Some(1))]);
    let post = || async { shop.browser().post("/cart", &body).await };
    let answers = futures_util::future::join_all((0..10).map(|_| post())).await;
    let accepted: Vec<&TestResponse> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(accepted.len(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!((refused.error_code(409).as_str(), &body["left"]), ("out_of_stock", &json!(0)));
    }
    assert_eq!(shop.item(16).await["remainings"], "out");
    let qr_id = text(&accepted[0].ok_json(), "qrId").to_owned();
    shop.sandbox.bank_action(&qr_id, "expire", json!({})).await;
    eventually_async("the payment expires", 20, async || {
        (status(&shop.browser(), &qr_id).await["paymentStatus"] == "EXPIRED").then_some(())
    })
    .await;
    assert_eq!(shop.item(16).await["quantity"], 1, "the unit is released");
    shop.browser().post("/cart", &order("next", "7", &[(16, "7", Some(1))])).await.ok_json();
}

#[tokio::test]
async fn a_new_payment_cancels_an_older_one_of_the_same_item() {
    let shop = Shop::start();
    let browser = shop.browser();
    let first = browser.post("/cart", &order("first", "7", &[(16, "7", Some(1))])).await.ok_json();
    let second = browser.post("/cart", &order("second", "7", &[(16, "7", Some(1))])).await.ok_json();
    assert_ne!(first["qrId"], second["qrId"]);
    let of = |qr: &Value| text(qr, "qrId").to_owned();
    assert_eq!(status(&browser, &of(&first)).await["paymentStatus"], "CANCELLED");
    let at_bank: Vec<Value> = shop.sandbox.qrs().await;
    assert!(at_bank.iter().any(|qr| qr["qrId"] == first["qrId"] && qr["status"] == "CANCELLED"), "{at_bank:?}");
    // When the older payment turns out to be paid, the new order is refused and the older one named.
    shop.sandbox.bank_action(&of(&second), "pay", json!({"notify": false})).await;
    let third = browser.post("/cart", &order("third", "7", &[(16, "7", Some(1))])).await;
    let body: Value = serde_json::from_slice(&third.body).expect("JSON");
    assert_eq!((third.error_code(409).as_str(), &body["order"]), ("already_paid", &json!("second")));
    assert_eq!(status(&browser, &of(&second)).await["paymentStatus"], "COMPLETED");
}

#[tokio::test]
async fn open_payments_are_limited_per_owner_and_per_address() {
    let shop = Shop::with_config("[payments]\nopen_per_owner = 2\nopen_per_address = 3\n");
    let browser = shop.browser();
    browser.get("/cart").await;
    let pay = |name: &str, item: u64| order(name, if item == 11 { "90.45" } else { "20" }, &[(item, "20", Some(1))]);
    let pay = |name: &str, item: u64| {
        let mut body = pay(name, item);
        body["items"][0]["price"] = Value::Null;
        body
    };
    browser.post("/cart", &pay("a", 11)).await.ok_json();
    browser.post("/cart", &pay("b", 12)).await.ok_json();
    let mut fourteen = order("c", "3", &[(14, "3", Some(1))]);
    let refused = browser.post("/cart", &fourteen).await;
    assert_eq!(refused.error_code(429), "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    browser.post("/cart", &pay("a2", 11)).await.ok_json();
    let other = shop.browser();
    other.post("/cart", &fourteen).await.ok_json();
    fourteen["siteorderID"] = json!("d");
    assert_eq!(
        shop.browser().post("/cart", &fourteen).await.error_code(429),
        "too_many_requests",
        "three are open at the address"
    );
    let concurrent = Shop::with_config("[payments]\nopen_per_owner = 2\n");
    let (browser, items) = (concurrent.browser(), [11_u64, 12, 14, 16]);
    browser.get("/cart").await;
    let post = |item: u64| {
        let price =
            [("90.45", 11), ("20", 12), ("3", 14), ("7", 16)].iter().find(|(_, id)| *id == item).expect("known").0;
        let (browser, body) = (
            browser.at(concurrent.gateway.client("dexar")),
            order(&item.to_string(), price, &[(item, price, Some(1))]),
        );
        async move { browser.post("/cart", &body).await.status }
    };
    let mut statuses = futures_util::future::join_all(items.map(post)).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[tokio::test]
async fn a_login_moves_the_visitors_payments_to_the_user() {
    let shop = Shop::start();
    let browser = shop.browser();
    let body = order("mine", "20", &[(12, "20", Some(1))]);
    let opened = browser.post("/cart", &body).await.ok_json();
    let data = sign(json!({"id": 42, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
    // As the storefront does: with the cookies of the visitor and of the session.
    let request = crate::harness::request("/auth/telegram/callback").method("POST").origin("https://dexarmarket.ru");
    browser.send(request.header("content-type", "application/json").body(data.to_string())).await.ok_json();
    assert_eq!(browser.post("/cart", &body).await.ok_json(), opened, "the same order is the same payment");
    assert_eq!(shop.sandbox.qrs().await.len(), 1);
}

#[tokio::test]
async fn concurrent_polls_cost_the_bank_one_request() {
    let shop = Shop::start();
    let browser = shop.browser();
    let opened = browser.post("/cart", &order("o", "20", &[(12, "20", Some(1))])).await.ok_json();
    let qr_id = text(&opened, "qrId").to_owned();
    let other = shop.site.replica().start();
    let started_at = std::time::Instant::now();
    for _ in 0..5 {
        let poll = |number: usize| {
            let client = if number.is_multiple_of(2) { shop.gateway.client("dexar") } else { other.client("dexar") };
            let path = format!("/qr/payment/{qr_id}");
            async move { client.get(&path).await.status }
        };
        let statuses = futures_util::future::join_all((0..20).map(poll)).await;
        assert!(statuses.iter().all(|status| *status == 200));
    }
    let max_requests = 1 + started_at.elapsed().as_secs() / 2;
    let calls = shop.sandbox.bank_calls().await;
    let requests = calls["qr"][&qr_id].as_u64().unwrap_or(0) + calls["payment-info"][&qr_id].as_u64().unwrap_or(0);
    assert!((1..=max_requests).contains(&requests), "{requests} requests for 100 polls in {:?}", started_at.elapsed());
}

#[tokio::test]
async fn a_payment_is_unknown_to_other_brands() {
    let shop = Shop::start();
    let opened = shop.browser().post("/cart", &order("o", "20", &[(12, "20", Some(1))])).await.ok_json();
    let novo = BrowserClient::new(shop.gateway.client("novo"));
    assert_eq!(novo.get(&format!("/qr/payment/{}", text(&opened, "qrId"))).await.error_code(404), "not_found");
}
