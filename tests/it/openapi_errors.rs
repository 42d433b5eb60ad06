//! Error responses, compared with the OpenAPI description: status, code, message and additional members.

use serde_json::{Value, json};

use crate::harness::api_document::ApiDocument;
use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, TestRequest, TestResponse, bot_token_of, demo_shops, request, send_raw};
use crate::openapi::description;
use crate::openapi_answers::{send_described, with_body};

const CALLBACK: &str = "/auth/telegram/callback";

/// A method, a route pattern, a request, and the name of the example that equals the response.
type Case<'c> = (&'c str, &'c str, TestRequest, &'c str);

async fn assert_errors(description: &ApiDocument, browser: &BrowserClient, cases: impl IntoIterator<Item = Case<'_>>) {
    for (method, pattern, request, example) in cases {
        let answer = send_described(description, browser, method, pattern, request).await;
        assert_is(description, &answer, example);
    }
}

/// Asserts that a response equals the example, except for the QR id, which is different each time.
#[track_caller]
fn assert_is(description: &ApiDocument, answer: &TestResponse, example: &str) {
    let mut body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let expected = description.error_example(example);
    if body.get("qrId").is_some_and(Value::is_string) {
        body["qrId"] = expected["qrId"].clone();
    }
    assert_eq!(body, expected, "{example}");
}

#[tokio::test]
async fn catalogue_errors_match_the_description() {
    let description = description("dexar").await;
    let browser = BrowserClient::new(demo_shops().gateway.client("dexar"));
    let page = "/category/{id}";
    let cases = [
        ("GET", page, request("/category/13?count=abc"), "bad_count"),
        ("GET", "/randomitems", request("/randomitems?count=0"), "bad_count"),
        ("GET", page, request("/category/13?skip=-1"), "bad_skip"),
        ("GET", page, request("/category/13?count=1&count=2"), "bad_query"),
        ("GET", page, request("/category/nothing"), "no_such_category"),
        ("GET", "/item/{id}", request("/item/nothing"), "not_found"),
        ("GET", "/searchitems", request("/searchitems"), "bad_search"),
        ("GET", "/searchitems", request("/searchitems?search=%ff"), "bad_encoding"),
        ("GET", "/regions", request(&format!("/regions?x={}", "x".repeat(17_000))), "uri_too_long"),
        ("POST", "/comment", request("/comment").origin("https://novo.market"), "origin_not_allowed"),
        ("POST", "/cart", request("/cart").body("{}"), "unsupported_media_type"),
        ("POST", "/cart", with_body("/cart", &json!("x".repeat(300_000))), "body_too_large"),
        // This site has no bot.
        ("POST", "/auth/telegram/start", request("/auth/telegram/start"), "unavailable"),
    ];
    assert_errors(&description, &browser, cases).await;
    let responses = &description.0["components"]["responses"];
    let nowhere = browser.get("/nowhere").await;
    description.assert_response("/nowhere", &responses["NoSuchPath"], &nowhere);
    assert_is(&description, &nowhere, "no_such_path");
    let deleted = browser.send(request("/regions").method("DELETE")).await;
    description.assert_response("DELETE /regions", &responses["MethodNotAllowed"], &deleted);
    assert_is(&description, &deleted, "method_not_allowed");
    let padded = request("/ping").header("x-padding", "x".repeat(66_000));
    let padded = demo_shops().gateway.client("dexar").http1().send(padded).await;
    // The HTTP library may have rejected it, without a body.
    match padded.body.is_empty() {
        true => assert_eq!(padded.status, 431),
        false => assert_is(&description, &padded, "head_too_large"),
    }
    let two_hosts = b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n";
    let answer = send_raw(demo_shops().gateway.address("dexar"), two_hosts).await;
    let body = answer.split("\r\n\r\n").nth(1).expect("a body");
    assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), description.error_example("bad_host"));
}

#[tokio::test]
async fn errors_of_request_bodies_match_the_description() {
    let (shop, description) = (Shop::start(), description("dexar").await);
    let browser = shop.browser();
    browser.get("/cart").await;
    let good = || order("o", "180.90", &[(11, "100.50", Some(2))]);
    let with = |mut body: Value, name: &str, value: Value| {
        body[name] = value;
        body
    };
    let review = || json!({"itemID": 12, "rating": 5, "comment": "Отлично!"});
    let mail = || json!({"email": "user@example.com", "items": [{"itemID": 12}]});
    for (method, path, body, example) in [
        ("POST", "/cart", json!({}), "bad_cart_body"),
        ("POST", "/cart", json!({"itemID": "12"}), "bad_item_id"),
        ("POST", "/cart", json!({"itemID": 12, "quantity": 0}), "bad_quantity"),
        ("POST", "/cart", json!({"itemID": 999}), "not_found"),
        ("POST", "/cart", json!({"itemID": 12, "quantity": 6}), "out_of_stock"),
        ("PATCH", "/cart", json!({"itemID": 12, "quantity": 1}), "no_such_line"),
        ("DELETE", "/cart", json!({"itemID": 12}), "bad_item_ids"),
        ("POST", "/cart", with(good(), "amount", json!("180.90")), "bad_amount"),
        ("POST", "/cart", with(good(), "amount", json!(5)), "amount_mismatch"),
        ("POST", "/cart", with(good(), "currency", json!(5)), "bad_currency"),
        ("POST", "/cart", with(good(), "currency", json!("USD")), "currency_not_supported"),
        ("POST", "/cart", with(good(), "siteorderID", json!("a/b")), "bad_order_id"),
        ("POST", "/cart", with(good(), "redirectUrl", json!("x".repeat(1_001))), "bad_text"),
        ("POST", "/cart", with(good(), "redirectUrl", json!("https://evil.example/")), "bad_redirect_url"),
        ("POST", "/cart", with(good(), "items", json!([])), "bad_items"),
        ("POST", "/cart", with(good(), "items", json!([{"itemID": 11, "price": -1}])), "bad_price"),
        ("POST", "/cart", with(good(), "items", json!([{"itemID": 999}])), "no_such_item_of_order"),
        ("POST", "/cart", order("o", "120", &[(12, "20", Some(6))]), "out_of_stock_of_order"),
        ("POST", "/cart", order("o", "5", &[(15, "5", None)]), "item_unavailable"),
        ("POST", "/comment", with(review(), "rating", json!(6)), "bad_rating"),
        ("POST", "/comment", with(review(), "comment", json!(" ")), "bad_comment"),
        ("POST", "/comment", with(review(), "username", json!(5)), "bad_username"),
        ("POST", "/comment", with(review(), "userId", json!("5")), "bad_user_id"),
        ("POST", "/comment", with(review(), "timestamp", json!("yesterday")), "bad_timestamp"),
        ("POST", "/question", json!({"itemID": 12, "question": " "}), "bad_question"),
        ("POST", "/question/vote", json!({"itemID": 12, "question": "1", "vote": "up"}), "bad_question_id"),
        ("POST", "/question/vote", json!({"itemID": 12, "question": 1, "vote": 1}), "bad_vote"),
        ("POST", "/question/vote", json!({"itemID": 12, "question": 1, "vote": "up"}), "no_such_question"),
        ("POST", "/purchase-email", mail(), "no_such_order"),
        ("POST", "/purchase-email", with(mail(), "email", json!("anna")), "bad_email"),
        ("POST", "/purchase-email", with(mail(), "siteorderID", json!("a b")), "bad_order_id"),
        ("POST", "/purchase-email", with(mail(), "telegramUserId", json!([])), "bad_telegram_user_id"),
    ] {
        assert_errors(&description, &browser, [(method, path, with_body(path, &body), example)]).await;
    }
    let half = request("/comment").header("content-type", "application/json").body("{\"itemID\": 1");
    assert_errors(&description, &browser, [("POST", "/comment", half, "bad_json")]).await;
    let unknown = request("/qr/payment/AD1");
    assert_errors(&description, &browser, [("GET", "/qr/payment/{id}", unknown, "no_such_payment")]).await;
    let unknown = request("/orders/unknown");
    assert_errors(&description, &browser, [("GET", "/orders/{id}", unknown, "no_such_placed_order")]).await;
    let notify = "/payments/raiffeisen/notify";
    let signed = |body: &Value| with_body(notify, body).header("x-api-signature-sha256", "0".repeat(64));
    let forged = json!({"amount": 1, "sbpMerchantId": "", "order": "", "paymentStatus": "", "transactionDate": ""});
    let cases =
        [("POST", notify, signed(&json!({})), "bad_notification"), ("POST", notify, signed(&forged), "bad_signature")];
    assert_errors(&description, &browser, cases).await;

    let claimed = with(review(), "userId", json!(7));
    let claim = || with_body("/comment", &claimed);
    send_described(&description, &browser, "POST", "/comment", claim()).await.ok_json();
    assert_errors(&description, &shop.browser(), [("POST", "/comment", claim(), "user_id_taken")]).await;
}

#[tokio::test]
async fn errors_of_who_may_review_match_the_description() {
    let description = description("dexar").await;
    for (who, example) in [("session", "login_required"), ("buyers", "buyers_only")] {
        let shop = Shop::with_config(&format!("[reviews]\nwho = \"{who}\"\n"));
        let review = with_body("/comment", &json!({"itemID": 12, "rating": 5, "comment": "Отлично!"}));
        assert_errors(&description, &shop.browser(), [("POST", "/comment", review, example)]).await;
    }
}

#[tokio::test]
async fn payment_errors_match_the_description() {
    let shop = Shop::with_config("[payments]\nopen_per_owner = 1\n[rates]\nreviews_per_address = 1\n");
    let (description, browser) = (description("dexar").await, shop.browser());
    browser.get("/cart").await;
    let pay = |body: &Value| with_body("/cart", body);
    for (how, ms, example) in [("500", 0, "bad_gateway"), ("hang", 4_000, "bank_timeout")] {
        shop.sandbox.inject_bank_fault(json!({"call": "register", "how": how, "times": 1, "ms": ms})).await;
        let body = order(example, "3", &[(14, "3", None)]);
        assert_errors(&description, &browser, [("POST", "/cart", pay(&body), example)]).await;
        send_described(&description, &browser, "POST", "/cart", pay(&body)).await.ok_json();
    }
    let first = order("order_abc123", "20", &[(12, "20", Some(1))]);
    let refused = send_described(&description, &browser, "POST", "/cart", pay(&first)).await;
    assert_eq!(refused.error_code(429), "too_many_requests", "another payment is open");
    let browser = shop.browser();
    browser.get("/cart").await;
    let opened = send_described(&description, &browser, "POST", "/cart", pay(&first)).await.ok_json();
    let (qr_id, second) = (opened["qrId"].as_str().expect("a code"), order("second", "20", &[(12, "20", Some(1))]));
    let other = order("order_abc123", "40", &[(12, "20", Some(2))]);
    assert_errors(&description, &browser, [("POST", "/cart", pay(&other), "order_changed")]).await;
    shop.sandbox.bank_action(qr_id, "progress", json!({"notify": false})).await;
    assert_errors(&description, &browser, [("POST", "/cart", pay(&second), "payment_in_progress")]).await;
    shop.sandbox.bank_action(qr_id, "pay", json!({"notify": false})).await;
    assert_errors(&description, &browser, [("POST", "/cart", pay(&second), "already_paid")]).await;

    let mail = |email: &str| json!({"email": email, "siteorderID": "order_abc123", "items": [{"itemID": 12}]});
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        browser.post("/purchase-email", &mail(email)).await.ok_json();
    }
    let fourth = with_body("/purchase-email", &mail("d@example.com"));
    assert_errors(&description, &browser, [("POST", "/purchase-email", fourth, "recipient_limit")]).await;

    let review = with_body("/comment", &json!({"itemID": 12, "rating": 5, "comment": "Отлично!"}));
    send_described(&description, &browser, "POST", "/comment", review.clone()).await.ok_json();
    let refused = send_described(&description, &browser, "POST", "/comment", review).await;
    assert_eq!(refused.error_code(429), "too_many_requests");
}

#[tokio::test]
async fn login_errors_match_the_description() {
    let (shop, description) = (Shop::start(), description("dexar").await);
    let browser = shop.browser();
    let data = |attempt: Option<&str>, auth_date: i64| json!({"id": 42, "first_name": "Anna", "auth_date": auth_date, "attempt": attempt});
    let signed = |attempt, auth_date| sign(data(attempt, auth_date), &bot_token_of("dexar"));
    let foreign = sign(data(None, now_s()), &bot_token_of("novo"));
    let mut shapeless = foreign.clone();
    shapeless["hash"] = json!("abc");
    let used = signed(None, now_s());
    send_described(&description, &browser, "POST", CALLBACK, with_body(CALLBACK, &used)).await.ok_json();
    for method in ["GET", "POST"] {
        let send = |data: &Value| with_body(CALLBACK, data);
        let cases = [
            (method, CALLBACK, send(&shapeless), "bad_login"),
            (method, CALLBACK, send(&foreign), "bad_hash"),
            (method, CALLBACK, send(&signed(None, now_s() - 3_600)), "stale_login"),
            (method, CALLBACK, send(&used), "used_login"),
            (method, CALLBACK, send(&signed(Some("gone"), now_s())), "attempt_gone"),
            (method, CALLBACK, send(&used).header("sec-fetch-site", "cross-site"), "not_for_browsers"),
            (
                method,
                CALLBACK,
                request(CALLBACK).header("content-type", "text/plain").body("x"),
                "unsupported_media_type",
            ),
        ];
        assert_errors(&description, &browser, cases).await;
    }
    // Browsers receive an HTML page.
    let form = request(CALLBACK).header("content-type", "application/x-www-form-urlencoded");
    for (method, path, request, status) in [
        ("GET", CALLBACK, request(&format!("{CALLBACK}?id=1")).header("accept", "text/html"), 400),
        ("POST", CALLBACK, form.clone().body("id=x"), 400),
        ("POST", CALLBACK, form.body(crate::harness::login::query(&used).replace("&attempt=null", "")), 403),
        ("GET", "/auth/telegram/start", request("/auth/telegram/start").header("sec-fetch-dest", "image"), 403),
    ] {
        assert_eq!(
            send_described(&description, &browser, method, path, request).await.status,
            status,
            "{method} {path}"
        );
    }
}
