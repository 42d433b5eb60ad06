//! Successful responses of every endpoint, compared with the OpenAPI description.

use serde_json::{Value, json};

use crate::harness::api_document::ApiDocument;
use crate::harness::login::{self, now_s, query, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{
    BrowserClient, TelegramUser, TestRequest, TestResponse, bank_key_of, bot_token_of, demo_shops, eventually_async,
    merchant_of, request,
};
use crate::openapi::description;

/// Sends a request as a browser and compares the response with the description of its path.
pub(crate) async fn send_described(
    description: &ApiDocument,
    browser: &BrowserClient,
    method: &str,
    pattern: &str,
    request: TestRequest,
) -> TestResponse {
    let answer = browser.send(request.method(method)).await;
    description.assert_documented(method, pattern, &answer);
    answer
}

/// A request with a JSON body.
pub(crate) fn with_body(path: &str, body: &Value) -> TestRequest {
    request(path).header("content-type", "application/json").body(body.to_string())
}

/// Asserts that a request body matches the description.
fn assert_takes(description: &ApiDocument, method: &str, pattern: &str, body: &Value) {
    let operation = &description.0["paths"][pattern][method.to_lowercase()];
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(description.validation_errors(schema, body), Vec::<String>::new(), "{method} {pattern} {body}");
}

#[tokio::test]
async fn catalogue_responses_match_the_description() {
    for (brand, category, item, word) in
        [("dexar", "sub_bakery", "item_headphone", "peach"), ("novo", "10101", "110101000006", "станция")]
    {
        let description = description(brand).await;
        let browser = BrowserClient::new(demo_shops().gateway.client(brand));
        let word = percent_encoding::utf8_percent_encode(word, percent_encoding::NON_ALPHANUMERIC);
        for (pattern, path) in [
            ("/ping", "/ping".to_owned()),
            ("/openapi.json", "/openapi.json".to_owned()),
            ("/regions", "/regions".to_owned()),
            ("/category", "/category".to_owned()),
            ("/category/{id}", format!("/category/{category}?count=200")),
            ("/item/{id}", format!("/item/{item}")),
            ("/searchitems", format!("/searchitems?search={word}&count=20&skip=0")),
            ("/randomitems", "/randomitems?count=200".to_owned()),
            ("/cart", "/cart".to_owned()),
            ("/orders", "/orders".to_owned()),
            ("/auth/session", "/auth/session".to_owned()),
        ] {
            for (language, region) in [("ru", None), ("en", Some("moscow")), ("hy", Some("nowhere"))] {
                let mut one = request(&path).language(language).origin("http://localhost:4200");
                one = if let Some(region) = region { one.region(region) } else { one };
                let answer = send_described(&description, &browser, "GET", pattern, one.clone()).await;
                if let Some(etag) = answer.header("etag") {
                    let again =
                        send_described(&description, &browser, "GET", pattern, one.header("if-none-match", etag)).await;
                    assert_eq!(again.status, 304);
                }
            }
        }
        let described = &description.0["paths"];
        for (path, seen) in described.as_object().expect("paths").iter().filter(|(_, item)| item["get"].is_object()) {
            let others = ["/qr/payment/{id}", "/auth/telegram/start", "/auth/telegram/callback"];
            let catalogue = seen["get"]["responses"]["304"].is_object();
            assert!(!(catalogue && others.contains(&path.as_str())), "{path} has no entity tag");
        }
    }
}

#[tokio::test]
async fn cart_and_payment_responses_match_the_description() {
    let shop = Shop::with_config("[payments]\nunits_per_visitor = 5\nunits_of_visitors = 5\n");
    let description = description("dexar").await;
    let browser = shop.browser();
    let write = async |method: &str, path: &str, body: Value| {
        assert_takes(&description, method, path, &body);
        let answer = send_described(&description, &browser, method, path, with_body(path, &body)).await;
        assert_eq!(answer.status, 200, "{method} {path} {body}");
        answer.ok_json()
    };
    send_described(&description, &browser, "GET", "/cart", request("/cart")).await;
    write("POST", "/cart", json!({"itemID": 12, "quantity": 2})).await;
    write("POST", "/cart", json!({"itemID": 14})).await;
    write("PATCH", "/cart", json!({"itemID": 12, "quantity": 3})).await;
    write("DELETE", "/cart", json!([14, 99])).await;
    assert_eq!(
        send_described(&description, &browser, "GET", "/cart", request("/cart")).await.ok_json()[0]["quantity"],
        3
    );
    let review = json!({"itemID": 12, "rating": 5, "comment": "Отлично!", "username": "john_doe", "userId": 7,
                        "timestamp": "2026-02-28T12:00:00Z"});
    write("POST", "/comment", review).await;
    write("POST", "/question", json!({"itemID": 12, "question": "Есть ли гарантия?"})).await;
    let id = shop.count("select question_id from question");
    shop.site.run(&["questions", "answer", "--brand", "dexar", &id.to_string(), "Да"]).success();
    shop.gateway.await_propagation().await;
    write("POST", "/question/vote", json!({"itemID": 12, "question": id, "vote": "up"})).await;
    let lamp = send_described(&description, &browser, "GET", "/item/{id}", request("/item/12")).await.ok_json();
    assert_eq!(lamp["questions"][0]["upvotes"], 1);

    let opened = write("POST", "/cart", order("order_abc123", "60", &[(12, "20", None)])).await;
    let path = format!("/qr/payment/{}", opened["qrId"].as_str().expect("a code"));
    send_described(&description, &browser, "GET", "/qr/payment/{id}", request(&path)).await;
    shop.sandbox.bank_action(opened["qrId"].as_str().expect("a code"), "pay", json!({"notify": false})).await;
    let paid = eventually_async("the completed payment", 30, async || {
        let answer = send_described(&description, &browser, "GET", "/qr/payment/{id}", request(&path)).await.ok_json();
        (answer["paymentStatus"] == "COMPLETED").then_some(answer)
    })
    .await;
    assert!(paid["transactionId"].is_number() && paid["transactionDate"].is_string(), "{paid}");
    let orders = send_described(&description, &browser, "GET", "/orders", request("/orders?count=1")).await.ok_json();
    assert_eq!(orders["orders"][0]["status"], "COMPLETED", "{orders}");
    send_described(&description, &browser, "GET", "/orders/{id}", request("/orders/order_abc123")).await.ok_json();
    let mail = json!({"email": "user@example.com", "telegramUserId": "123456789", "siteorderID": "order_abc123",
                      "items": [{"itemID": 12, "name": "Лампа", "price": 20, "currency": "RUB"}]});
    write("POST", "/purchase-email", mail).await;

    let news = json!({"amount": 100.5, "sbpMerchantId": merchant_of("dexar"), "order": "unknown", "qrId": null,
                      "paymentStatus": "SUCCESS", "transactionDate": "2026-02-28T15:01:00.000000+03:00"});
    let message = format!("100.5|{}|unknown|SUCCESS|2026-02-28T15:01:00.000000+03:00", merchant_of("dexar"));
    let path = "/payments/raiffeisen/notify";
    assert_takes(&description, "POST", path, &news);
    let signed = with_body(path, &news).header("x-api-signature-sha256", signature(&message));
    assert_eq!(send_described(&description, &browser, "POST", path, signed).await.ok_json(), json!({"message": "OK"}));
}

fn signature(message: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(bank_key_of("dexar").as_bytes()).expect("any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn login_responses_match_the_description() {
    const CALLBACK: &str = "/auth/telegram/callback";
    let (shop, description) = (Shop::start(), description("dexar").await);
    let _workers = shop.site.start_workers();
    let browser = shop.browser();
    let visit = async |method: &str, path: &str, request: TestRequest| {
        send_described(&description, &browser, method, path, request).await
    };
    assert_eq!(visit("GET", "/auth/session", request("/auth/session")).await.status, 401);
    assert_eq!(visit("POST", "/auth/telegram/start", request("/auth/telegram/start")).await.status, 200);
    let page = request("/auth/telegram/start").header("accept", "text/html");
    assert_eq!(visit("GET", "/auth/telegram/start", page.clone()).await.status, 200);

    let person = TelegramUser::new(42, "Anna", "en");
    let begun = login::start_login(&browser).await;
    let question = login::press_start(&shop.sandbox, "dexar", &person, &begun).await;
    shop.sandbox.press_button("dexar", &person, &login::button(&question, &begun.code)).await;
    login::await_buttons_removed(&shop.sandbox, "dexar", &person, &begun).await;
    // A reload of the page redirects to the shop.
    assert_eq!(visit("GET", "/auth/telegram/start", page.clone()).await.status, 303);
    let session = visit("GET", "/auth/session", request("/auth/session")).await.ok_json();
    assert_eq!(session["telegramUserId"], 42);
    visit("GET", "/cart", request("/cart")).await;
    assert_eq!(visit("POST", "/auth/logout", request("/auth/logout")).await.status, 200);

    let data = |name: &str| {
        let data = json!({"id": 42, "first_name": "Anna", "last_name": name, "username": null, "auth_date": now_s()});
        sign(data, &bot_token_of("dexar"))
    };
    for (method, name) in [("GET", "a"), ("POST", "b")] {
        let data = data(name);
        assert_takes(&description, "POST", CALLBACK, &data);
        assert_eq!(visit(method, CALLBACK, with_body(CALLBACK, &data)).await.status, 200);
    }
    let mut as_query = data("c");
    as_query.as_object_mut().expect("an object").remove("username");
    assert_eq!(visit("GET", CALLBACK, request(&format!("{CALLBACK}?{}", query(&as_query)))).await.status, 200);

    let mut linked = data("d");
    linked.as_object_mut().expect("an object").remove("username");
    let opened = request(&format!("{CALLBACK}?{}", query(&linked))).header("accept", "text/html");
    let page = visit("GET", CALLBACK, opened).await;
    let page = String::from_utf8_lossy(&page.body);
    let token = page.split("form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    linked["form_token"] = token.unwrap_or_else(|| panic!("no token in {page}")).into();
    let schema = &description.0["paths"][CALLBACK]["post"]["requestBody"]["content"];
    let as_texts = linked.as_object().expect("an object").iter();
    let as_texts: Value = as_texts.map(|(k, v)| (k.clone(), v.as_str().map_or(v.to_string(), str::to_owned))).collect();
    let schema = &schema["application/x-www-form-urlencoded"]["schema"];
    assert_eq!(description.validation_errors(schema, &as_texts), Vec::<String>::new());
    let form = request(CALLBACK).header("content-type", "application/x-www-form-urlencoded").body(query(&linked));
    assert_eq!(visit("POST", CALLBACK, form).await.status, 303);
}

/// The gateway takes a body exactly if it matches its schema; what it then refuses is another status than 400.
#[tokio::test]
async fn request_bodies_are_taken_exactly_as_described() {
    let (shop, description) = (Shop::start(), description("dexar").await);
    let browser = shop.browser();
    let review = |comment: &str| json!({"itemID": 999, "rating": 5, "comment": comment});
    let pay = |name: &str, value: Value| {
        let mut body = order("o", "20", &[(999, "20", Some(1))]);
        body[name] = value;
        body
    };
    let mail = |email: &str| json!({"email": email, "items": [{"itemID": 12.0}]});
    for (method, path, body, is_described) in [
        ("POST", "/cart", json!({"itemID": 12.0, "quantity": 2.0}), true),
        ("POST", "/cart", json!({"itemID": 12.5}), false),
        ("PATCH", "/cart", json!({"itemID": 999.0, "quantity": 1e0}), true),
        ("DELETE", "/cart", json!([12.0, 13]), true),
        ("DELETE", "/cart", json!([12.5]), false),
        ("POST", "/comment", review("\u{200b}!"), true),
        ("POST", "/comment", review(" \t\u{a0}\u{200b}\u{3000}"), false),
        ("POST", "/comment", review("\u{2800}\u{3164}\u{1d159}"), false),
        ("POST", "/comment", review("a\0"), false),
        ("POST", "/cart", pay("redirectUrl", json!("https://dexarmarket.ru/thanks?a=1")), true),
        ("POST", "/cart", pay("redirectUrl", json!("")), true),
        ("POST", "/cart", pay("redirectUrl", json!("https://dexarmarket.ru.evil.example/")), false),
        ("POST", "/cart", pay("redirectUrl", json!("https://dexarmarketxru/")), false),
        ("POST", "/cart", pay("siteuserID", json!("a\0")), false),
        ("POST", "/cart", pay("items", json!([{"itemID": 999}, {"itemID": 999.0, "price": 1e-40}])), true),
        ("POST", "/cart", pay("amount", json!(0)), true),
        ("POST", "/cart", pay("amount", json!(-1)), false),
        ("POST", "/purchase-email", mail("anna@example.com"), true),
        ("POST", "/purchase-email", mail("анна@пример.рф"), true),
        ("POST", "/purchase-email", mail("anna"), false),
        ("POST", "/auth/logout", json!([null]), true),
    ] {
        let operation = &description.0["paths"][path][method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let errors = description.validation_errors(schema, &body);
        assert_eq!(errors.is_empty(), is_described, "{method} {path} {body}: {errors:?}");
        let status = browser.send(with_body(path, &body).method(method)).await.status;
        assert_eq!(!matches!(status, 400 | 422), is_described, "{method} {path} {body}: {status}");
    }
}
