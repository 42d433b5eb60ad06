//! `GET /orders` and `GET /orders/{id}`: whose orders, in which order, and what they say.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, bot_token_of, eventually_async, login, request};

/// Opens a payment and returns its QR code.
async fn open(browser: &BrowserClient, body: &Value) -> String {
    let opened = browser.post("/cart", body).await.ok_json();
    opened["qrId"].as_str().expect("a code").to_owned()
}

async fn pay(shop: &Shop, browser: &BrowserClient, qr_id: &str) {
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

/// Removes the members that hold a time, after checking that each is one.
fn without_times(order: &Value) -> Value {
    let mut order = order.clone();
    let refunds = order["refunds"].as_array().expect("a list").len();
    for index in 0..refunds {
        order["refunds"][index].as_object_mut().expect("an object").remove("createDate").expect("a time");
    }
    let members = order.as_object_mut().expect("an object");
    for name in ["createDate", "transactionDate", "qrExpirationDate"] {
        if let Some(time) = members.remove(name) {
            time.as_str().expect("a text").parse::<jiff::Timestamp>().unwrap_or_else(|_| panic!("{name}: {time}"));
        }
    }
    order
}

#[tokio::test]
async fn orders_are_listed_newest_first_with_all_that_the_buyer_may_know() {
    let shop = Shop::start();
    let browser = shop.browser();
    let paid = open(&browser, &order("bought", "130.45", &[(12, "20", Some(2)), (11, "90.45", Some(1))])).await;
    let refused = browser.post("/cart", &order("bought", "80.9", &[(12, "20", Some(2))])).await;
    assert_eq!(refused.error_code(409), "order_changed");
    pay(&shop, &browser, &paid).await;
    let id = shop.count("select payment_id from payment where site_order_id = 'bought'").to_string();
    shop.site.run(&["payments", "refund", "--brand", "dexar", &id, "--amount", "20"]).success();
    shop.site.sql_as("dexar", "update payment set fulfilment = 'SHIPPED'").expect("updated");
    let living = open(&browser, &order("waiting", "3", &[(14, "3", None)])).await;
    let expected = json!([
        {"order": "waiting", "number": id.parse::<i64>().expect("a number") + 1, "status": "CREATED", "fulfilment": "NEW",
         "amount": 3, "currency": "RUB", "qrId": living,
         "items": [{"itemID": 14, "name": "Кружка", "price": 3, "quantity": 1}], "refunds": []},
        {"order": "bought", "number": id.parse::<i64>().expect("a number"), "status": "COMPLETED", "fulfilment": "SHIPPED",
         "amount": 130.45, "currency": "RUB",
         "items": [{"itemID": 12, "name": "Լամպ", "price": 20, "quantity": 2},
                   {"itemID": 11, "name": "Стул", "price": 90.45, "quantity": 1}],
         "refunds": [{"amount": 20, "status": "IN_PROGRESS"}]}
    ]);
    let answer = browser.send(request("/orders").language("hy")).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-language"), Some("hy"));
    let page = answer.ok_json();
    assert_eq!((&page["total"], &page["count"], &page["skip"]), (&json!(2), &json!(50), &json!(0)));
    let listed: Vec<Value> = page["orders"].as_array().expect("a list").iter().map(without_times).collect();
    assert_eq!(json!(listed), expected);
    assert!(page["orders"][1]["transactionDate"].is_string() && page["orders"][0]["qrExpirationDate"].is_string());
    let one = browser.send(request("/orders/bought").language("hy")).await.ok_json();
    assert_eq!(one, page["orders"][1]);
    for (status, shown) in
        [("COMPLETED", json!("COMPLETED")), ("ASKED", json!("IN_PROGRESS")), ("DECLINED", Value::Null)]
    {
        shop.site.sql_as("dexar", &format!("update refund set status = '{status}'")).expect("updated");
        assert_eq!(browser.get("/orders/bought").await.ok_json()["refunds"][0]["status"], shown, "{status}");
    }
    let second = browser.get("/orders?count=1&skip=1").await.ok_json();
    assert_eq!(second["orders"].as_array().expect("a list").len(), 1);
    assert_eq!((&second["orders"][0]["order"], &second["total"]), (&json!("bought"), &json!(2)));
    let beyond = browser.get("/orders?skip=2").await.ok_json();
    assert_eq!(beyond, json!({"orders": [], "total": 2, "count": 50, "skip": 2}));
    for (query, code) in [("count=0", "bad_count"), ("skip=-1", "bad_skip"), ("count=1&count=2", "bad_query")] {
        assert_eq!(browser.get(&format!("/orders?{query}")).await.error_code(400), code);
    }
}

#[tokio::test]
async fn a_code_is_shown_only_while_it_can_be_paid() {
    let shop = Shop::start();
    let browser = shop.browser();
    let qr_id = open(&browser, &order("late", "3", &[(14, "3", None)])).await;
    assert_eq!(browser.get("/orders/late").await.ok_json()["qrId"], json!(qr_id));
    let expire = "update payment set expires_at = now() - interval '1 second'";
    shop.site.sql_as("dexar", expire).expect("updated");
    let order = browser.get("/orders/late").await.ok_json();
    assert_eq!((&order["qrId"], &order["qrExpirationDate"]), (&Value::Null, &Value::Null), "{order}");
    shop.site.sql_as("dexar", "update payment set status = 'WAITING'").expect("updated");
    let order = browser.get("/orders/late").await.ok_json();
    assert_eq!(order["qrId"], json!(qr_id), "the payer's bank has it: {order}");
    shop.site.sql_as("dexar", "update payment set status = 'CANCELLED', holds = false").expect("updated");
    let order = browser.get("/orders/late").await.ok_json();
    assert_eq!((&order["status"], &order["qrId"]), (&json!("CANCELLED"), &Value::Null), "{order}");
    // A second payment of the order takes the place of the first in the list, unless the first was paid.
    let copy = "insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at, abandoned, completed_at)
                select owner, site_order_id, 'second', 'EXPIRED', 7, address, now(), now(), true, null from payment";
    shop.site.sql_as("dexar", copy).expect("inserted");
    shop.site.sql_as("dexar", "update payment set abandoned = not abandoned").expect("updated");
    let listed = browser.get("/orders").await.ok_json();
    assert_eq!((&listed["total"], &listed["orders"][0]["amount"]), (&json!(1), &json!(7)), "{listed}");
    let pay_first = "update payment set status = 'COMPLETED', completed_at = now() where bank_order_id <> 'second'";
    shop.site.sql_as("dexar", pay_first).expect("updated");
    assert_eq!(browser.get("/orders/late").await.ok_json()["status"], "COMPLETED", "the paid one is the order");
    assert_eq!(browser.get("/orders").await.ok_json()["total"], 2, "both are listed");
    shop.site
        .sql_as("dexar", "update payment set abandoned = true, status = 'EXPIRED', completed_at = null")
        .expect("updated");
    assert_eq!(browser.get("/orders/late").await.error_code(404), "not_found", "nobody was shown its code");
}

#[tokio::test]
async fn orders_of_others_do_not_exist() {
    let shop = Shop::start();
    let browser = shop.browser();
    open(&browser, &order("mine", "3", &[(14, "3", None)])).await;
    let none = json!({"orders": [], "total": 0, "count": 50, "skip": 0});
    let stranger = shop.browser();
    stranger.get("/cart").await;
    // The cookie of one brand is none of the other's, whatever its name.
    let novo = BrowserClient::new(shop.gateway.client("novo"));
    let visitor = browser.cookie("__Host-dexar_visitor").expect("a cookie");
    novo.set_cookie("__Host-novo_visitor", &visitor);
    novo.set_cookie("__Host-dexar_visitor", &visitor);
    for other in [&stranger, &novo] {
        assert_eq!(other.get("/orders").await.ok_json(), none);
        assert_eq!(other.get("/orders/mine").await.error_code(404), "not_found");
    }
    let client = shop.gateway.client("dexar");
    let answer = client.get("/orders").await;
    assert_eq!(answer.header("set-cookie"), None, "reading issues no cookie");
    assert_eq!(answer.ok_json(), none);
    assert_eq!(client.get("/orders/mine").await.error_code(404), "not_found");
    for bad in ["%00", "a%20b", "%D0%B9", &"x".repeat(41)] {
        assert_eq!(browser.get(&format!("/orders/{bad}")).await.error_code(404), "not_found", "{bad}");
    }
    assert_eq!(browser.get("/orders/mine").await.ok_json()["order"], "mine");
}

#[tokio::test]
async fn a_login_takes_the_orders_along() {
    let shop = Shop::start();
    let browser = shop.browser();
    open(&browser, &order("visitors", "3", &[(14, "3", None)])).await;
    let log_in = async |browser: &BrowserClient, name: &str| {
        let data = json!({"id": 42, "first_name": name, "auth_date": login::now_s()});
        browser.post("/auth/telegram/callback", &login::sign(data, &bot_token_of("dexar"))).await.ok_json();
    };
    log_in(&browser, "Anna").await;
    let phone = shop.browser();
    log_in(&phone, "Anna on her phone").await;
    for device in [&browser, &phone] {
        let orders = device.get("/orders").await.ok_json();
        assert_eq!((&orders["total"], &orders["orders"][0]["order"]), (&json!(1), &json!("visitors")));
    }
    browser.post("/auth/logout", &json!({})).await.ok_json();
    assert_eq!(browser.get("/orders").await.ok_json()["total"], 0, "after logout, a new visitor");
}

#[tokio::test]
async fn the_operator_finds_payments_and_sees_what_was_bought() {
    let shop = Shop::start();
    let (anna, boris) = (shop.browser(), shop.browser());
    let paid = open(&anna, &order("order_a.1", "40", &[(12, "20", Some(2))])).await;
    pay(&shop, &anna, &paid).await;
    let mail = json!({"email": "anna@example.com", "items": [{"itemID": 12}]});
    anna.post("/purchase-email", &mail).await.ok_json();
    let mut of_boris = order("same", "3", &[(14, "3", None)]);
    of_boris["siteuserID"] = json!("43");
    of_boris["telegramUsername"] = json!("@Boris");
    open(&boris, &of_boris).await;
    open(&anna, &order("same", "3", &[(14, "3", None)])).await;

    let show = |reference: &str| shop.site.run(&["payments", "show", "--brand", "dexar", reference]);
    let by_order = show("order_a.1").success();
    for words in ["item           12 × 2, 20 RUB each: Лампа", "user           john_doe, tg_42", "fulfilment     NEW"]
    {
        assert!(by_order.contains(words), "{words}: {by_order}");
    }
    assert!(by_order.contains("email          anna@example.com, not sent"), "{by_order}");
    assert_eq!(show("1").success(), by_order, "the number that the email names");
    let bank_order_id =
        shop.site.sql_as("dexar", "select bank_order_id from payment where payment_id = 1").expect("sql");
    assert_eq!(show(bank_order_id.trim()).success(), by_order);
    assert!(show("unknown").failure(1).contains("dexar: There is no such payment."));
    assert!(show("same").failure(1).contains("same is the order of payments 2, 3; name one by its number."));

    let list = |more: &[&str]| -> Vec<i64> {
        let arguments = [&["payments", "list", "--brand", "dexar", "--json"], more].concat();
        let listed: Value = serde_json::from_str(&shop.site.run(&arguments).success()).expect("JSON");
        listed.as_array().expect("a list").iter().map(|row| row["payment"].as_i64().expect("a number")).collect()
    };
    assert_eq!(list(&[]), [3, 2, 1]);
    assert_eq!(list(&["--order", "same"]), [3, 2]);
    assert_eq!(list(&["--user", "43"]), [2]);
    assert_eq!(list(&["--user", "@boris"]), [2]);
    assert_eq!(list(&["--user", "42"]), [3, 1]);
    assert_eq!(list(&["--item", "12"]), [1]);
    assert_eq!(list(&["--status", "completed"]), [1]);
    assert_eq!(list(&["--status", "CREATED", "--user", "42"]), [3]);
    assert_eq!(list(&["--open"]), [3, 2]);
    let age = "update payment set created_at = '2026-02-28T21:00:00Z' where payment_id = 1";
    shop.site.sql_as("dexar", age).expect("updated");
    assert_eq!(list(&["--since", "2026-03-01", "--order", "order_a.1"]), [1], "the day begins in Moscow");
    assert_eq!(list(&["--since", "2026-03-02", "--order", "order_a.1"]), [0_i64; 0]);
    assert_eq!(list(&["--since", "2026-02-28T21:00:01Z"]), [3, 2]);
    let wrong = shop.site.run(&["payments", "list", "--brand", "dexar", "--since", "yesterday"]).failure(2);
    assert!(wrong.contains("expected a date such as"), "{wrong}");
}
