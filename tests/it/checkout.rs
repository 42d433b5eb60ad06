//! Checkout and cart of a buyer who comes back: own holds, cancelled and expired codes, free orders, regions, currencies.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, TestResponse, bot_token_of, eventually_async, request};

fn body_of(response: &TestResponse) -> Value {
    serde_json::from_slice(&response.body).expect("JSON")
}

fn id_of(opened: &Value) -> String {
    opened["qrId"].as_str().unwrap_or_else(|| panic!("no qrId in {opened}")).to_owned()
}

async fn log_in(browser: &BrowserClient, user_id: u64) {
    browser.get("/auth/session").await;
    let data = sign(json!({"id": user_id, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json();
}

async fn cancel(browser: &BrowserClient, qr_id: &str) -> TestResponse {
    browser.send(request(&format!("/qr/payment/{qr_id}")).method("DELETE")).await
}

async fn await_status(browser: &BrowserClient, qr_id: &str, status: &str) {
    eventually_async(&format!("the payment is {status}"), 30, async || {
        let payment = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (payment["paymentStatus"] == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_buyer_who_returns_to_the_cart_finds_it_as_it_was() {
    let shop = Shop::start();
    let (buyer, other) = (shop.browser(), shop.browser());
    log_in(&buyer, 5).await;
    buyer.add_to_cart(12, 5).await;
    let lamps = |name: &str| order(name, "100", &[(12, "20", None)]);
    buyer.post("/cart", &lamps("first")).await.ok_json();
    // All five lamps are held, by the buyer.
    assert_eq!(body_of(&buyer.get("/cart").await)[0]["remainings"], "low");
    let set = async |quantity: u64| buyer.write("PATCH", "/cart", &json!({"itemID": 12, "quantity": quantity})).await;
    for quantity in [4, 5, 1, 5] {
        set(quantity).await.ok_json();
    }
    assert_eq!(body_of(&set(6).await)["left"], 5);
    buyer.write("DELETE", "/cart", &json!([12])).await.ok_json();
    buyer.add_to_cart(12, 5).await;
    assert_eq!(buyer.post("/cart", &json!({"itemID": 12})).await.error_code(409), "out_of_stock");
    let refused = other.post("/cart", &json!({"itemID": 12})).await;
    assert_eq!((refused.error_code(409).as_str(), &body_of(&refused)["left"]), ("out_of_stock", &json!(0)));
    // A new payment replaces the older one and its units.
    buyer.post("/cart", &lamps("second")).await.ok_json();
    assert_eq!(shop.count("select held from item_stock where item_id = 12"), 5);
    assert_eq!(shop.count("select count(*) from payment where holds"), 1);
}

#[tokio::test]
async fn lowering_and_removing_always_succeed() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.add_to_cart(12, 5).await;
    shop.site.import_text("dexar", "less.jsonl", r#"{"itemID":12,"quantity":1}"#, &[]).success();
    let set = async |quantity: u64| browser.write("PATCH", "/cart", &json!({"itemID": 12, "quantity": quantity})).await;
    set(4).await.ok_json();
    assert_eq!(body_of(&set(5).await)["left"], 1);
    shop.site.import_text("dexar", "hide.jsonl", r#"{"itemID":12,"visible":false}"#, &[]).success();
    set(3).await.ok_json();
    assert_eq!(body_of(&set(4).await)["left"], 0);
    assert_eq!(browser.cart().await, [(12, 3)]);
    set(0).await.ok_json();
    assert_eq!(browser.cart().await, []);
}

#[tokio::test]
async fn a_login_makes_no_line_smaller() {
    let shop = Shop::start();
    let visitor = shop.browser();
    visitor.add_to_cart(12, 5).await;
    visitor.post("/cart", &order("held", "40", &[(12, "20", Some(2))])).await.ok_json();
    log_in(&visitor, 8).await;
    assert_eq!(visitor.cart().await, [(12, 5)], "the two units that are held are the buyer's own");
    // The user's line is larger than the stock by now.
    shop.site.import_text("dexar", "less.jsonl", r#"{"itemID":12,"quantity":3}"#, &[]).success();
    let second = shop.browser();
    second.add_to_cart(12, 1).await;
    let data = json!({"id": 8, "first_name": "A", "last_name": "B", "auth_date": now_s()});
    second.post("/auth/telegram/callback", &sign(data, &bot_token_of("dexar"))).await.ok_json();
    assert_eq!(second.cart().await, [(12, 5)]);
}

#[tokio::test]
async fn a_cart_has_at_most_as_many_lines_as_an_order() {
    let shop = Shop::start();
    let item = |id: u64| format!("{{\"itemID\":{id},\"categoryID\":1,\"name\":\"x\",\"price\":1,\"quantity\":9}}\n");
    shop.site.import_text("dexar", "many.jsonl", (1_000..1_400).map(item).collect::<String>(), &[]).success();
    let sql = |sql: &str| shop.site.sql_as("dexar", sql).expect("written");
    let fill = |owner: &str, from: u64, to: u64| {
        sql(&format!(
            "insert into cart_line select '{owner}', item_id, 1, now(), now() from item where item_id between {from} and {to}"
        ))
    };
    let browser = shop.browser();
    browser.add_to_cart(1_000, 1).await;
    let visitor = sql("select owner from cart_line");
    fill(visitor.trim(), 1_001, 1_198);
    // Two additions at once: one of them is the last line.
    let add = |id: u64| {
        let browser = browser.at(shop.gateway.client("dexar"));
        async move { browser.post("/cart", &json!({"itemID": id})).await }
    };
    let (one, two) = tokio::join!(add(1_198 + 1), add(1_198 + 2));
    let refused = if one.status == 200 {
        two
    } else {
        assert_eq!(two.status, 200);
        one
    };
    assert_eq!(refused.error_code(409), "cart_full");
    browser.add_to_cart(1_000, 1).await;
    assert_eq!(browser.cart().await.len(), 200);
    // What can be put in can be paid.
    let items: Vec<Value> = browser.cart().await.iter().map(|(id, _)| json!({"itemID": id, "price": 1})).collect();
    let body = json!({"amount": 201, "siteorderID": "all", "items": items});
    assert_eq!(browser.post("/cart", &body).await.ok_json()["amount"], 201);
    // A login moves what the user's cart has room for; the rest stays.
    fill("user:9", 1_101, 1_300);
    log_in(&browser, 9).await;
    assert_eq!(browser.cart().await.len(), 200);
    let left = "select count(*) from cart_line where owner like 'visitor:%'";
    assert_eq!(sql(left).trim(), "101", "those that the user's full cart has not");
}

#[tokio::test]
async fn items_of_other_regions_and_currencies_are_refused() {
    let shop = Shop::start();
    let more = r#"{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"itemID":21,"categoryID":1,"name":"Шпиль","price":10,"quantity":9,"regions":["spb"]}
{"itemID":22,"categoryID":1,"name":"Драм","price":10,"quantity":9,"currency":"AMD"}
"#;
    shop.site.import_text("dexar", "more.jsonl", more, &[]).success();
    let browser = shop.browser();
    let send = async |region: &str, method: &str, body: &Value| {
        let json = request("/cart").method(method).header("content-type", "application/json").body(body.to_string());
        browser.send(json.region(region)).await
    };
    let spire = json!({"itemID": 21});
    assert_eq!(send("moscow", "POST", &spire).await.error_code(409), "not_in_region");
    send("spb", "POST", &spire).await.ok_json();
    let more = json!({"itemID": 21, "quantity": 2});
    assert_eq!(send("moscow", "PATCH", &more).await.error_code(409), "not_in_region");
    send("spb", "PATCH", &more).await.ok_json();
    send("moscow", "PATCH", &json!({"itemID": 21, "quantity": 1})).await.ok_json();
    for (region, level) in [("moscow", "out"), ("spb", "low")] {
        let cart = browser.send(request("/cart").region(region)).await.ok_json();
        assert_eq!(cart[0]["remainings"], level, "{region}");
    }
    let paying = order("o", "10", &[(21, "10", None)]);
    let refused = send("moscow", "POST", &paying).await;
    assert_eq!((refused.error_code(409).as_str(), &body_of(&refused)["itemID"]), ("not_in_region", &json!(21)));
    send("spb", "POST", &paying).await.ok_json();
    assert_eq!(browser.post("/cart", &json!({"itemID": 22})).await.error_code(422), "currency_not_supported");
}

#[tokio::test]
async fn the_owner_cancels_an_open_payment() {
    let shop = Shop::start();
    let (buyer, stranger) = (shop.browser(), shop.browser());
    let last = |name: &str| order(name, "7", &[(16, "7", Some(1))]);
    let code = id_of(&buyer.post("/cart", &last("one")).await.ok_json());
    stranger.get("/cart").await;
    assert_eq!(cancel(&stranger, &code).await.error_code(404), "not_found");
    assert_eq!(cancel(&buyer, "AD1").await.error_code(404), "not_found");
    assert_eq!(shop.item(16).await["quantity"], 0);
    shop.sandbox.inject_bank_fault(json!({"call": "cancel", "how": "500", "times": 1})).await;
    assert!([502, 504].contains(&cancel(&buyer, &code).await.status));
    assert_eq!(shop.count("select count(*) from payment where holds"), 1, "the bank was asked first");
    for _ in 0..2 {
        assert_eq!(cancel(&buyer, &code).await.ok_json()["paymentStatus"], "CANCELLED");
    }
    assert_eq!(shop.item(16).await["quantity"], 1);
    assert!(shop.sandbox.qrs().await.iter().all(|qr| qr["status"] == "CANCELLED"));
    let paid = id_of(&buyer.post("/cart", &last("two")).await.ok_json());
    shop.sandbox.bank_action(&paid, "pay", json!({"notify": false})).await;
    let refused = cancel(&buyer, &paid).await;
    assert_eq!((refused.error_code(409).as_str(), &body_of(&refused)["order"]), ("already_paid", &json!("two")));
    await_status(&buyer, &paid, "COMPLETED").await;
    let waiting = id_of(&buyer.post("/cart", &order("three", "3", &[(14, "3", None)])).await.ok_json());
    shop.sandbox.bank_action(&waiting, "progress", json!({"notify": false})).await;
    assert_eq!(cancel(&buyer, &waiting).await.error_code(409), "payment_in_progress");
}

#[tokio::test]
async fn an_order_whose_code_expired_gets_another_one() {
    let shop = Shop::start();
    let buyer = shop.browser();
    let body = order("order", "7", &[(16, "7", Some(1))]);
    let first = id_of(&buyer.post("/cart", &body).await.ok_json());
    shop.sandbox.bank_action(&first, "expire", json!({})).await;
    await_status(&buyer, &first, "EXPIRED").await;
    let post = || {
        let browser = buyer.at(shop.gateway.client("dexar"));
        let body = &body;
        async move { browser.post("/cart", body).await.ok_json() }
    };
    let (one, two, three) = tokio::join!(post(), post(), post());
    let second = id_of(&one);
    assert!(second == id_of(&two) && second == id_of(&three) && second != first, "one living code");
    assert_eq!(shop.count("select count(*) from payment where site_order_id = 'order'"), 2);
    assert_eq!(shop.count("select count(*) from payment where holds"), 1);
    let other = order("order", "14", &[(16, "7", Some(2))]);
    assert_eq!(buyer.post("/cart", &other).await.error_code(409), "order_changed");
    // Money for the first code still arrives.
    shop.sandbox.bank_action(&first, "pay", json!({"force": true, "notify": true})).await;
    await_status(&buyer, &first, "COMPLETED").await;
    let answer = buyer.post("/cart", &body).await.ok_json();
    assert_eq!((&answer["qrId"], &answer["qrStatus"]), (&json!(first), &json!("COMPLETED")), "the order is paid");
    let paid = "select count(*) from payment where status = 'COMPLETED' and site_order_id = 'order' and superseded";
    assert_eq!(shop.count(paid), 1);
}

#[tokio::test]
async fn an_order_of_nothing_is_completed_without_the_bank() {
    let shop = Shop::start();
    let gifts = "{\"itemID\":31,\"categoryID\":1,\"name\":\"Подарок\",\"price\":50,\"discount\":100,\"quantity\":3}\n";
    shop.site.import_text("dexar", "gifts.jsonl", gifts, &[]).success();
    let gift = |name: &str, quantity| order(name, "0", &[(31, "50", Some(quantity))]);
    let buyer = shop.browser();
    buyer.add_to_cart(31, 1).await;
    assert_eq!(buyer.post("/cart", &gift("one", 1)).await.error_code(401), "login_required");
    log_in(&buyer, 11).await;
    let refused = buyer.post("/cart", &gift("two", 2)).await;
    assert_eq!((refused.error_code(409).as_str(), &body_of(&refused)["left"]), ("free_limit", &json!(1)));
    let post = || async { buyer.at(shop.gateway.client("dexar")).post("/cart", &gift("one", 1)).await.ok_json() };
    let (one, two) = tokio::join!(post(), post());
    assert_eq!(one["qrId"], two["qrId"]);
    let expected = json!({"qrId": one["qrId"], "qrStatus": "COMPLETED", "qrExpirationDate": one["qrExpirationDate"],
                          "payload": "", "qrUrl": "", "amount": 0});
    assert_eq!(post().await, expected);
    await_status(&buyer, &id_of(&one), "COMPLETED").await;
    assert_eq!((shop.item(31).await["quantity"].clone(), buyer.cart().await), (json!(2), vec![]));
    assert_eq!(shop.sandbox.bank_calls().await["register"], 0);
    assert_eq!(shop.count("select count(*) from receipt"), 0, "nothing was paid that a receipt would be about");
    let again = buyer.post("/cart", &gift("again", 1)).await;
    assert_eq!((again.error_code(409).as_str(), &body_of(&again)["left"]), ("free_limit", &json!(0)));
    shop.site.sql_as("dexar", "update payment set created_at = created_at - interval '25 hours'").expect("aged");
    buyer.post("/cart", &gift("tomorrow", 1)).await.ok_json();
}

#[tokio::test]
async fn an_item_that_an_order_names_twice_is_bought_as_often() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.add_to_cart(14, 9).await;
    let body = order("twice", "6", &[(14, "3", None), (14, "3", None)]);
    assert_eq!(browser.post("/cart", &body).await.ok_json()["amount"], 6, "one unit each, whatever the cart has");
    let body = order("five", "15", &[(14, "3", Some(2)), (14, "3", Some(3))]);
    assert_eq!(browser.post("/cart", &body).await.ok_json()["amount"], 15);
    assert_eq!(
        shop.count("select quantity from payment_line where payment_id = (select max(payment_id) from payment)"),
        5
    );
}
