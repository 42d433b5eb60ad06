//! Who may do what: every route without a session, with another visitor's cookies, and with the cookies of the other brand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::login::log_in;
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, TelegramUser, TestRequest, request};

const ANNA: &str = "Аннушка-Секретова";
const HER_ORDER: &str = "order-of-anna";
const HER_COOKIES: &str = "her cookies at the other shop";

/// One request of the walk: method and pattern of the route, the path, the body, and the statuses at her shop and at the other.
type Step = (&'static str, &'static str, String, Option<Value>, u16, u16);

/// Every route, with ids of Anna's where it takes some. The other shop has no goods.
fn steps(qr_id: &str) -> Vec<Step> {
    let path = |path: &str| path.to_owned();
    let callback = json!({"id": 1, "first_name": "Eve", "auth_date": 1, "hash": "ab".repeat(32)});
    let notification = json!({"amount": 20, "sbpMerchantId": "x", "order": HER_ORDER});
    let email = json!({"email": "eve@example.com", "items": [{"itemID": 12}]});
    vec![
        ("GET", "/ping", path("/ping"), None, 200, 200),
        ("GET", "/openapi.json", path("/openapi.json"), None, 200, 200),
        ("GET", "/regions", path("/regions"), None, 200, 200),
        ("GET", "/category", path("/category"), None, 200, 200),
        ("GET", "/category/{id}", path("/category/1"), None, 200, 404),
        ("GET", "/category/{id}/facets", path("/category/1/facets"), None, 200, 404),
        ("GET", "/suggest", path("/suggest?search=%D0%BB%D0%B0%D0%BC"), None, 200, 200),
        ("GET", "/item/{id}", path("/item/12"), None, 200, 404),
        ("GET", "/searchitems", path("/searchitems?search=%D0%BB%D0%B0%D0%BC%D0%BF%D0%B0"), None, 200, 200),
        ("GET", "/randomitems", path("/randomitems"), None, 200, 200),
        ("POST", "/comment", path("/comment"), Some(json!({"itemID": 14, "rating": 1, "comment": "No"})), 200, 404),
        ("POST", "/question", path("/question"), Some(json!({"itemID": 14, "question": "Why?"})), 200, 404),
        (
            "POST",
            "/question/vote",
            path("/question/vote"),
            Some(json!({"itemID": 14, "question": 1, "vote": "up"})),
            404,
            404,
        ),
        ("GET", "/cart", path("/cart"), None, 200, 200),
        ("PATCH", "/cart", path("/cart"), Some(json!({"itemID": 12, "quantity": 0})), 404, 404),
        ("DELETE", "/cart", path("/cart"), Some(json!([12])), 200, 200),
        // The same order id is another order of another owner.
        ("POST", "/cart", path("/cart"), Some(order(HER_ORDER, "3", &[(14, "3", Some(1))])), 200, 404),
        // The id of a code is known only to those to whom it was shown, and its status names no customer.
        ("GET", "/qr/payment/{id}", format!("/qr/payment/{qr_id}"), None, 200, 404),
        ("GET", "/orders", path("/orders"), None, 200, 200),
        ("GET", "/orders/{id}", format!("/orders/{HER_ORDER}"), None, 404, 404),
        ("POST", "/purchase-email", path("/purchase-email"), Some(email), 404, 404),
        ("POST", "/payments/raiffeisen/notify", path("/payments/raiffeisen/notify"), Some(notification), 401, 401),
        ("GET", "/auth/session", path("/auth/session"), None, 401, 401),
        ("GET", "/auth/telegram/start", path("/auth/telegram/start"), None, 200, 200),
        ("POST", "/auth/telegram/start", path("/auth/telegram/start"), Some(json!({})), 200, 200),
        ("GET", "/auth/telegram/callback", path("/auth/telegram/callback"), Some(callback.clone()), 401, 401),
        ("POST", "/auth/telegram/callback", path("/auth/telegram/callback"), Some(callback), 401, 401),
        ("POST", "/auth/logout", path("/auth/logout"), Some(json!({})), 200, 200),
    ]
}

/// The methods and patterns of the API's description, whose agreement with the router `openapi.rs` tests.
fn routes_of(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(pattern, operations)| {
        let methods = operations.as_object().expect("operations").keys();
        methods.map(|method| (method.to_uppercase(), pattern.clone())).collect::<Vec<_>>()
    });
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    operations.filter(|(method, _)| methods.contains(&method.as_str())).collect()
}

fn request_of(step: &Step) -> TestRequest {
    let (method, _, path, body, ..) = step;
    let request = request(path).method(method);
    match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    }
}

/// A client of the other shop with Anna's cookies, under their own names and under those of the other shop.
fn with_cookies_of(anna: &BrowserClient, other: BrowserClient) -> BrowserClient {
    for kind in ["visitor", "session"] {
        if let Some(value) = anna.cookie(&format!("__Host-dexar_{kind}")) {
            other.set_cookie(&format!("__Host-dexar_{kind}"), &value);
            other.set_cookie(&format!("__Host-novo_{kind}"), &value);
        }
    }
    other
}

#[tokio::test]
async fn every_route_shows_strangers_nothing_of_others() {
    let shop = Shop::start();
    let workers = shop.site.start_workers();
    let anna = shop.browser();
    let session = log_in(&shop.sandbox, "dexar", &anna, &TelegramUser::new(7_770_012_345, ANNA, "ru")).await;
    let opened = anna.post("/cart", &order(HER_ORDER, "20", &[(12, "20", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    anna.add_to_cart(12, 2).await;
    let steps = steps(&qr_id);
    let document = shop.gateway.client("dexar").json("/openapi.json").await;
    let walked = steps.iter().map(|(method, pattern, ..)| ((*method).to_owned(), (*pattern).to_owned())).collect();
    assert_eq!(routes_of(&document), walked, "the walk has every route");
    let session_id = session["sessionId"].as_str().expect("a text").to_owned();
    let mut secrets = vec![ANNA.to_owned(), "7770012345".to_owned(), session_id];
    secrets.extend(anna.cookie_values());
    for step in &steps {
        let visitor = shop.browser();
        visitor.get("/cart").await.ok_json();
        let novo = || BrowserClient::new(shop.gateway.client("novo"));
        let callers = [
            ("without cookies", shop.browser(), step.4),
            ("another visitor", visitor, step.4),
            ("the other shop", novo(), step.5),
            (HER_COOKIES, with_cookies_of(&anna, novo()), step.5),
        ];
        for (who, caller, expected) in callers {
            let what = format!("{who}: {} {}", step.0, step.2);
            let response = caller.send(request_of(step)).await;
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(response.status, expected, "{what}: {body}");
            let headers = format!("{:?}", response.headers);
            for secret in &secrets {
                // A caller who sends a cookie gets it renewed.
                let is_shown = body.contains(secret) || (who != HER_COOKIES && headers.contains(secret));
                assert!(!is_shown, "{what} shows {secret}: {headers} {body}");
            }
            let is_own_order = step.1 == "/qr/payment/{id}" && response.status == 200;
            assert!(is_own_order || !body.contains(HER_ORDER), "{what}: {body}");
            assert!(is_own_order || !body.contains(&qr_id), "{what}: {body}");
            if (step.0, step.1) == ("GET", "/cart") {
                assert_eq!(response.ok_json(), json!([]), "{what}");
            }
        }
    }
    // Nothing of hers has changed.
    assert_eq!(anna.cart().await, [(12, 2)]);
    assert_eq!(anna.get("/auth/session").await.ok_json()["active"], true);
    let status = anna.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
    assert_eq!(status["paymentStatus"], "CREATED");
    assert!(!status.to_string().contains(ANNA), "{status}");
    workers.terminate();
}
