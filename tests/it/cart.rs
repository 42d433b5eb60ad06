//! The cart: its JSON, its owner, and that concurrent writes are neither lost nor exceed the stock.

use serde_json::{Value, json};

use crate::harness::{Client, Gateway, Site, TestResponse, request};

/// Chairs (2000 in stock), lamps (five), rugs (sold out) and mugs (stock not counted), in one category.
const SHOP: &str = r#"{"categoryID":1,"name":"Дом","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":100.50,"discount":10,"quantity":2000,"translations":{"en":{"name":"Chair"}}}
{"itemID":12,"categoryID":1,"name":"Лампа","price":20,"quantity":5}
{"itemID":13,"categoryID":1,"name":"Ковёр","price":30,"quantity":0}
{"itemID":14,"categoryID":1,"name":"Кружка","price":3}
"#;

fn shop() -> (Site, Gateway) {
    let site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", SHOP, &[]).success();
    }
    let gateway = site.start();
    (site, gateway)
}

/// A browser at one brand, which keeps its cookie.
struct Browser {
    client: Client,
    cookie: String,
}

impl Browser {
    async fn new(gateway: &Gateway, brand: &str) -> Browser {
        let client = gateway.client(brand);
        let cookie = cookie_of(&client.get("/cart").await);
        Browser { client, cookie }
    }

    async fn send(&self, method: &str, body: &Value) -> TestResponse {
        let json = request("/cart").method(method).header("content-type", "application/json").body(body.to_string());
        self.client.send(json.header("cookie", &self.cookie)).await
    }

    async fn cart(&self) -> Value {
        self.client.send(request("/cart").header("cookie", &self.cookie)).await.ok_json()
    }

    /// `(itemID, quantity)` of every line.
    async fn lines(&self) -> Vec<(u64, u64)> {
        let cart = self.cart().await;
        let line =
            |line: &Value| (line["itemID"].as_u64().expect("an id"), line["quantity"].as_u64().expect("a number"));
        cart.as_array().expect("a list").iter().map(line).collect()
    }
}

/// `name=value` of the cookie that a response sets.
fn cookie_of(response: &TestResponse) -> String {
    let set = response.header("set-cookie").expect("a cookie");
    set.split(';').next().expect("a pair").to_owned()
}

/// The member `left` of an error.
fn left_of(response: &TestResponse) -> Value {
    let error: Value = serde_json::from_slice(&response.body).expect("JSON");
    error["left"].clone()
}

#[tokio::test]
async fn new_visitor_receives_a_cookie_and_reading_writes_nothing() {
    let (site, gateway) = shop();
    let response = gateway.client("dexar").get("/cart").await;
    assert_eq!(response.ok_json(), json!([]));
    let set = response.header("set-cookie").expect("a cookie").to_owned();
    let (pair, attributes) = set.split_once("; ").expect("attributes");
    let value = pair.strip_prefix("__Host-dexar_visitor=").expect("the brand's prefix");
    assert!(value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()), "{value}");
    let mut attributes: Vec<&str> = attributes.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=31536000", "Path=/", "SameSite=None", "Secure"]);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("etag"), None);
    assert_eq!(site.sql_as("dexar", "select count(*) from cart_line").expect("readable").trim(), "0");
    // An existing cookie is kept.
    let again = gateway.client("dexar").send(request("/cart").header("cookie", pair)).await;
    assert_eq!(cookie_of(&again), pair);
}

#[tokio::test]
async fn items_are_added_changed_and_removed() {
    let (site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    assert_eq!(browser.send("POST", &json!({"itemID": 11})).await.ok_json(), json!({"message": "Added to cart"}));
    browser.send("POST", &json!({"itemID": 14, "quantity": 2})).await.ok_json();
    browser.send("POST", &json!({"itemID": 11, "quantity": 4})).await.ok_json();
    assert_eq!(browser.lines().await, [(11, 5), (14, 2)]);

    let response = browser.client.send(request("/cart").header("cookie", &browser.cookie).language("en")).await;
    assert_eq!(response.header("content-language"), Some("en"));
    let cart = response.ok_json();
    let line = &cart[0];
    assert_eq!(
        (&line["name"], &line["price"], &line["discount"], &line["quantity"], &line["remainings"]),
        (&json!("Chair"), &json!(100.5), &json!(10), &json!(5), &json!("high")),
        "the quantity is that of the cart, remainings that of the shop"
    );

    assert_eq!(
        browser.send("PATCH", &json!({"itemID": 11, "quantity": 3})).await.ok_json(),
        json!({"message": "Updated"})
    );
    assert_eq!(browser.lines().await, [(11, 3), (14, 2)]);
    browser.send("PATCH", &json!({"itemID": 14, "quantity": 0})).await.ok_json();
    assert_eq!(browser.lines().await, [(11, 3)]);
    for quantity in [0, 1] {
        let gone = browser.send("PATCH", &json!({"itemID": 14, "quantity": quantity})).await;
        assert_eq!(gone.error_code(404), "not_found", "{quantity}");
    }

    site.import_text("dexar", "price.jsonl", r#"{"itemID":11,"price":90}"#, &[]).success();
    assert_eq!(browser.cart().await[0]["price"], json!(90), "the current price");

    assert_eq!(browser.send("DELETE", &json!([11, 999, 14])).await.ok_json(), json!({"message": "Removed"}));
    assert_eq!(browser.cart().await, json!([]));
}

#[tokio::test]
async fn quantity_above_the_stock_is_rejected_with_what_is_left() {
    let (_site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    let refused = browser.send("POST", &json!({"itemID": 12, "quantity": 6})).await;
    assert_eq!(refused.error_code(409), "out_of_stock");
    assert_eq!(left_of(&refused), json!(5));
    browser.send("POST", &json!({"itemID": 12, "quantity": 3})).await.ok_json();
    let refused = browser.send("POST", &json!({"itemID": 12, "quantity": 3})).await;
    assert_eq!((refused.status, left_of(&refused)), (409, json!(5)));
    let refused = browser.send("PATCH", &json!({"itemID": 12, "quantity": 6})).await;
    assert_eq!((refused.status, left_of(&refused)), (409, json!(5)));
    assert_eq!(left_of(&browser.send("POST", &json!({"itemID": 13})).await), json!(0));
    assert_eq!(browser.lines().await, [(12, 3)], "a rejected write changes nothing");
    browser.send("POST", &json!({"itemID": 11, "quantity": 999})).await.ok_json();
    assert_eq!(browser.send("POST", &json!({"itemID": 11})).await.error_code(400), "bad_quantity");
}

#[tokio::test]
async fn concurrent_additions_all_count_and_never_exceed_the_stock() {
    let (_site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    let add_twelve = |item: u64| {
        let (browser, body) = (&browser, json!({"itemID": item}));
        async move { futures_util::future::join_all((0..12).map(|_| browser.send("POST", &body))).await }
    };
    let responses = add_twelve(11).await;
    assert!(responses.iter().all(|response| response.status == 200));
    let responses = add_twelve(12).await;
    assert_eq!(responses.iter().filter(|response| response.status == 200).count(), 5);
    assert_eq!(responses.iter().filter(|response| response.status == 409).count(), 7);
    let mut lines = browser.lines().await;
    lines.sort_unstable();
    assert_eq!(lines, [(11, 12), (12, 5)]);
}

#[tokio::test]
async fn line_of_a_hidden_item_is_kept() {
    let (site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    browser.send("POST", &json!({"itemID": 11, "quantity": 2})).await.ok_json();
    site.import_text("dexar", "hide.jsonl", r#"{"itemID":11,"visible":false}"#, &[]).success();
    let cart = browser.cart().await;
    assert_eq!(
        (&cart[0]["quantity"], &cart[0]["remainings"], &cart[0]["visible"]),
        (&json!(2), &json!("out"), &json!(false))
    );
    assert_eq!(browser.send("POST", &json!({"itemID": 11})).await.error_code(404), "not_found");
    assert_eq!(left_of(&browser.send("PATCH", &json!({"itemID": 11, "quantity": 3})).await), json!(0));
    browser.send("PATCH", &json!({"itemID": 11, "quantity": 0})).await.ok_json();
    assert_eq!(browser.cart().await, json!([]));
}

#[tokio::test]
async fn invalid_body_is_rejected_and_changes_nothing() {
    let (_site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    for (method, body, code) in [
        ("POST", json!({}), "bad_cart_body"),
        ("POST", json!({"itemID": 11, "amount": 5}), "bad_cart_body"),
        ("POST", json!({"itemID": "11"}), "bad_item_id"),
        ("POST", json!({"itemID": 11, "quantity": 0}), "bad_quantity"),
        ("POST", json!({"itemID": 11, "quantity": 1000}), "bad_quantity"),
        ("POST", json!({"itemID": 11, "quantity": 1.5}), "bad_quantity"),
        ("PATCH", json!({"itemID": 11}), "bad_quantity"),
        ("PATCH", json!({"itemID": 11, "quantity": -1}), "bad_quantity"),
        ("DELETE", json!({"itemID": 11}), "bad_item_ids"),
        ("DELETE", json!(["11"]), "bad_item_ids"),
    ] {
        assert_eq!(browser.send(method, &body).await.error_code(400), code, "{method} {body}");
    }
    assert_eq!(browser.send("POST", &json!({"itemID": 99})).await.error_code(404), "not_found");
    let raw = |media_type: &'static str, body: &'static str| {
        browser.client.send(request("/cart").method("POST").header("content-type", media_type).body(body))
    };
    assert_eq!(raw("text/plain", r#"{"itemID":11}"#).await.error_code(415), "unsupported_media_type");
    assert_eq!(raw("application/json", r#"{"itemID":11"#).await.error_code(400), "bad_json");
    assert_eq!(raw("Application/JSON; charset=utf-8", r#"{"itemID":11}"#).await.status, 200);
    assert_eq!(browser.cart().await, json!([]));
}

#[tokio::test]
async fn cart_belongs_to_one_browser_at_one_brand() {
    let (_site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    browser.send("POST", &json!({"itemID": 11})).await.ok_json();
    let secret = browser.cookie.strip_prefix("__Host-dexar_visitor=").expect("the brand's prefix");
    for cookie in [browser.cookie.clone(), format!("__Host-novo_visitor={secret}")] {
        let elsewhere = gateway.client("novo").send(request("/cart").header("cookie", &cookie)).await;
        assert_eq!(elsewhere.ok_json(), json!([]), "{cookie}");
    }
    for cookie in ["__Host-dexar_visitor=x".to_owned(), format!("__Host-dexar_visitor={}", "a".repeat(4_096))] {
        let response = gateway.client("dexar").send(request("/cart").header("cookie", &cookie)).await;
        assert_eq!(response.ok_json(), json!([]));
        assert_ne!(cookie_of(&response), cookie, "an invalid cookie is replaced");
    }
}

#[tokio::test]
async fn cart_survives_a_killed_gateway() {
    let (site, gateway) = shop();
    let browser = Browser::new(&gateway, "dexar").await;
    browser.send("POST", &json!({"itemID": 11, "quantity": 7})).await.ok_json();
    drop(gateway);
    let gateway = site.start();
    let again = Browser { client: gateway.client("dexar"), cookie: browser.cookie };
    assert_eq!(again.lines().await, [(11, 7)]);
}

#[tokio::test]
async fn visitor_carts_are_deleted_a_month_after_their_last_change() {
    let (site, gateway) = shop();
    let browsers = [Browser::new(&gateway, "dexar").await, Browser::new(&gateway, "dexar").await];
    for browser in &browsers {
        for item in [11, 14] {
            browser.send("POST", &json!({"itemID": item})).await.ok_json();
        }
    }
    // One line of the first cart was changed yesterday, so the whole cart is kept; the second cart has expired.
    let sql = |sql: &str| site.sql_as("dexar", sql).expect("written");
    sql("update cart_line set changed_at = changed_at - interval '31 days'");
    sql("update cart_line set changed_at = now() - interval '1 day' \
         where item_id = 14 and owner = (select min(owner) from cart_line)");
    sql("insert into cart_line values ('user:5', 11, 1, now() - interval '60 days', now() - interval '60 days')");
    let kept = sql("select string_agg(distinct owner, ' ') from cart_line \
                    where owner = (select min(owner) from cart_line where owner like 'visitor:%') or owner = 'user:5'");
    let _workers = site.start_workers();
    crate::harness::eventually("the expired cart is deleted", 20, || {
        (sql("select count(*) from cart_line") == "3").then_some(())
    });
    assert_eq!(sql("select string_agg(distinct owner, ' ') from cart_line"), kept);
}
