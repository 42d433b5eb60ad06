//! The email about a paid order: authorization, language, recipients, and that it is sent once.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, bot_token_of, eventually_async, login, request};

/// Orders a lamp under this order id and returns when the payment is completed.
async fn buy(shop: &Shop, browser: &BrowserClient, name: &str) {
    let opened = browser.post("/cart", &order(name, "20", &[(12, "20", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code");
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        (browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

/// For a user whom no order names.
fn of_a_stranger(email: &str) -> Value {
    let mut body = purchase_request(email);
    body["telegramUserId"] = json!("43");
    body
}

fn purchase_request(email: &str) -> Value {
    json!({"email": email, "telegramUserId": "42",
           "items": [{"itemID": 12, "name": "Лампа", "price": 20, "currency": "RUB"}]})
}

async fn mails(shop: &Shop, count: usize) -> Vec<Value> {
    eventually_async(&format!("{count} mails"), 30, async || {
        let (_, mails) = shop.sandbox.call(hyper::Method::GET, "/mail", &Value::Null).await;
        let mails = mails.as_array().expect("a list").clone();
        (mails.len() >= count).then_some(mails)
    })
    .await
}

#[tokio::test]
async fn the_email_is_sent_once_in_the_visitors_language() {
    let shop = Shop::start();
    let browser = shop.browser();
    assert_eq!(
        browser.post("/purchase-email", &purchase_request("anna@example.com")).await.error_code(404),
        "not_found"
    );
    buy(&shop, &browser, "order_<1>".replace(['<', '>'], "").as_str()).await;
    let workers = shop.site.start_workers();
    let hy = request("/purchase-email").method("POST").language("hy").header("content-type", "application/json");
    let sent = browser.send(hy.clone().body(purchase_request("Anna@Example.com").to_string())).await;
    assert_eq!(sent.ok_json(), json!({"message": "Email sent"}));
    // The request is repeated.
    browser.send(hy.body(purchase_request("anna@example.COM").to_string())).await.ok_json();
    let mail = mails(&shop, 1).await.remove(0);
    let text = |name: &str| mail[name].as_str().unwrap_or_else(|| panic!("no {name} in {mail}")).to_owned();
    let number = shop.site.sql_as("dexar", "select payment_id from payment").expect("sql");
    assert!(text("subject").contains("Shop dexar") && text("subject").contains(&number), "{mail}");
    assert_eq!(mail["to"], json!(["Anna@example.com"]));
    for part in ["text", "html"] {
        assert!(text(part).contains("Պատվեր"), "Armenian: {mail}");
        assert!(
            text(part).contains("order_1")
                && text(part).contains("Լամպ × 1")
                && text(part).contains("20,00")
                && text(part).contains("MSK"),
            "{mail}"
        );
    }
    // The second address gets an email; by then, a duplicate of the first would have arrived.
    browser.post("/purchase-email", &purchase_request("two@example.com")).await.ok_json();
    let all = mails(&shop, 2).await;
    assert_eq!(all.len(), 2, "one email per address: {all:?}");
    assert_ne!(all[0]["messageId"], all[1]["messageId"]);
    workers.terminate();
}

#[tokio::test]
async fn orders_of_other_owners_and_brands_are_not_found() {
    let shop = Shop::start();
    let (browser, stranger) = (shop.browser(), shop.browser());
    buy(&shop, &browser, "mine").await;
    stranger.get("/cart").await;
    assert_eq!(stranger.post("/purchase-email", &of_a_stranger("eve@example.com")).await.error_code(404), "not_found");
    let mut named = of_a_stranger("eve@example.com");
    named["siteorderID"] = json!("mine");
    assert_eq!(stranger.post("/purchase-email", &named).await.error_code(404), "not_found");
    let novo = BrowserClient::new(shop.gateway.client("novo"));
    assert_eq!(novo.post("/purchase-email", &purchase_request("eve@example.com")).await.error_code(404), "not_found");
    for (name, value) in [
        ("email", json!("eve")),
        ("email", json!("eve@example.com\r\nBcc: all@example.com")),
        ("items", json!([])),
        ("telegramUserId", json!({})),
        ("siteorderID", json!("no order id")),
    ] {
        let mut body = purchase_request("eve@example.com");
        body[name] = value;
        assert_eq!(browser.post("/purchase-email", &body).await.status, 400, "{body}");
    }
    let other_items = json!({"email": "a@example.com", "items": [{"itemID": 12}, {"itemID": 11}]});
    assert_eq!(browser.post("/purchase-email", &other_items).await.error_code(404), "not_found");
    assert_eq!(shop.count("select count(*) from mail_outbox"), 0);
}

#[tokio::test]
async fn without_a_session_a_user_id_authorizes_three_recipients_for_a_day() {
    let shop = Shop::start();
    buy(&shop, &shop.browser(), "claimed").await;
    let send = |id: Value, email: &'static str| {
        let (client, mut body) = (shop.gateway.client("dexar"), purchase_request(email));
        body["telegramUserId"] = id;
        let request =
            request("/purchase-email").method("POST").header("content-type", "application/json").body(body.to_string());
        async move { client.send(request).await.status }
    };
    assert_eq!(send(json!("43"), "a@example.com").await, 404);
    assert_eq!(send(Value::Null, "a@example.com").await, 404);
    for (id, email) in [(json!("42"), "a@example.com"), (json!("tg_42"), "b@example.com"), (json!(42), "c@example.com")]
    {
        assert_eq!(send(id, email).await, 200, "{email}");
    }
    assert_eq!(send(json!("42"), "d@example.com").await, 429, "the recipients are limited");
    assert_eq!(send(json!("42"), "a@example.com").await, 200, "a known recipient may repeat the request");
    let visitor = shop.browser();
    visitor.get("/cart").await;
    let refused = visitor.post("/purchase-email", &purchase_request("d@example.com")).await;
    assert_eq!(refused.error_code(429), "recipient_limit", "a visitor's cookie changes nothing");
    assert!(String::from_utf8_lossy(&refused.body).contains("3 addresses"), "the message says why");
    assert_eq!(refused.header("retry-after"), Some("86400"));
    visitor.post("/purchase-email", &purchase_request("b@example.com")).await.ok_json();
    shop.site.sql_as("dexar", "update payment set completed_at = completed_at - interval '25 hours'").expect("updated");
    assert_eq!(send(json!("42"), "a@example.com").await, 404, "the user id is valid for a day");
    assert_eq!(shop.count("select count(*) from mail_outbox"), 3);
}

/// The buyers' names of the orders that have an email, in the order in which the emails were queued.
fn mailed(shop: &Shop) -> Vec<String> {
    let named = "select coalesce(string_agg(p.site_order_id || ' ' || m.recipient, ',' order by m.mail_id), '')
                 from mail_outbox m join payment p on m.subject_key = 'payment:' || p.payment_id";
    let names = shop.site.sql_as("dexar", named).expect("sql");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_repeated_request_is_about_the_same_order() {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, "first").await;
    buy(&shop, &browser, "second").await;
    for _ in 0..3 {
        browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    }
    assert_eq!(mailed(&shop), ["second anna@example.com"]);
    // Another address is no repetition; the newest order without an email is chosen.
    browser.post("/purchase-email", &purchase_request("boris@example.com")).await.ok_json();
    assert_eq!(mailed(&shop), ["second anna@example.com", "first boris@example.com"]);
    // A named order is that order.
    let mut named = purchase_request("anna@example.com");
    named["siteorderID"] = json!("first");
    for _ in 0..2 {
        browser.post("/purchase-email", &named).await.ok_json();
    }
    named["siteorderID"] = json!("third");
    assert_eq!(browser.post("/purchase-email", &named).await.error_code(404), "not_found");
    assert_eq!(mailed(&shop)[2..], ["first anna@example.com"]);
    // Ten minutes later, the newest order is meant, which has its email.
    shop.site.sql_as("dexar", "update mail_outbox set queued_at = queued_at - interval '10 minutes'").expect("updated");
    buy(&shop, &browser, "third").await;
    browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    assert_eq!(mailed(&shop)[3..], ["third anna@example.com"]);
}

#[tokio::test]
async fn concurrent_repetitions_are_one_email() {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, "first").await;
    buy(&shop, &browser, "second").await;
    let body = purchase_request("anna@example.com");
    let requests = (0..8).map(|_| browser.post("/purchase-email", &body));
    for answer in futures_util::future::join_all(requests).await {
        answer.ok_json();
    }
    assert_eq!(mailed(&shop), ["second anna@example.com"]);
}

#[tokio::test]
async fn after_logout_the_user_id_authorizes_the_email() {
    let shop = Shop::start();
    let browser = shop.browser();
    let user = json!({"id": 42, "first_name": "Anna", "auth_date": login::now_s()});
    let data = login::sign(user, &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json();
    buy(&shop, &browser, "bought").await;
    let other = json!({"id": 43, "first_name": "Eve", "auth_date": login::now_s()});
    let eve = shop.browser();
    eve.post("/auth/telegram/callback", &login::sign(other, &bot_token_of("dexar"))).await.ok_json();
    let refused = eve.post("/purchase-email", &purchase_request("eve@example.com")).await;
    assert_eq!(refused.error_code(404), "not_found", "with a session, the body's user id counts for nothing");
    browser.post("/auth/logout", &json!({})).await.ok_json();
    browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    assert_eq!(mailed(&shop), ["bought anna@example.com"]);
}

#[tokio::test]
async fn the_email_about_a_refunded_order_says_so() {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, "returned").await;
    let id = shop.count("select payment_id from payment").to_string();
    shop.site.run(&["payments", "refund", "--brand", "dexar", &id, "--amount", "7.5"]).success();
    browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    for part in ["body_text", "body_html"] {
        let part = shop.site.sql_as("dexar", &format!("select {part} from mail_outbox")).expect("sql");
        assert!(part.contains("Возвращено") && part.contains("7,50\u{a0}₽") && part.contains("20,00\u{a0}₽"), "{part}");
    }
}

#[tokio::test]
async fn what_the_buyer_called_the_order_is_neither_a_link_nor_the_shops_word() {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, "WIN-IPHONE.evil.example").await;
    browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    let column = |name: &str| shop.site.sql_as("dexar", &format!("select {name} from mail_outbox")).expect("sql");
    assert!(!column("subject").contains("IPHONE"), "{}", column("subject"));
    for part in [column("body_text"), column("body_html")] {
        assert!(part.contains("«WIN-IPHONE.\u{200b}evil.\u{200b}example»"), "{part}");
        assert!(!part.contains("evil.example"), "{part}");
        let own = part.find("Заказ: ").expect("the shop's own number");
        assert!(own < part.find("WIN-IPHONE").expect("found above"), "{part}");
    }
}

#[tokio::test]
async fn a_queued_email_survives_a_kill() {
    let shop = Shop::start();
    let browser = shop.browser();
    buy(&shop, &browser, "killed").await;
    browser.post("/purchase-email", &purchase_request("anna@example.com")).await.ok_json();
    shop.gateway.kill();
    let _workers = shop.site.start_workers();
    let mails = mails(&shop, 1).await;
    assert_eq!(mails[0]["to"], json!(["anna@example.com"]));
}
