//! Reviews as buyers write them: what is shown, who owns them, and that concurrent ones are neither lost nor duplicated.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::{BrowserClient, Gateway, Sandbox, Site, bot_token_of, request};

/// A chair with an imported rating and imported reviews, a lamp without any, and a hidden rug.
pub(crate) const SHOP: &str = r#"{"categoryID":1,"name":"Дом","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":1,"rating":4.8,"comments":[{"id":"cmt_1","text":"Шатается","stars":2,"createdAt":"2020-01-01T00:00:00Z"},{"id":"cmt_2","text":"Без звёзд"}]}
{"itemID":12,"categoryID":1,"name":"Лампа","price":1}
{"itemID":13,"categoryID":1,"name":"Ковёр","price":1,"visible":false}
"#;

/// A rate limit that no test reaches.
pub(crate) const HIGH_RATE_LIMIT: &str = "[rates]\nreviews_per_address = 100000\nanonymous_reviews_per_hour = 100000\n";

pub(crate) fn shop(more: &str) -> (Site, Gateway) {
    let mut site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", SHOP, &[]).success();
        site.change_brand(brand, |file| more.clone_into(&mut file.more));
    }
    let gateway = site.start();
    (site, gateway)
}

/// The same with bots, so that users can log in.
fn setup() -> (Site, Sandbox, Gateway) {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let gateway = site.start();
    (site, sandbox, gateway)
}

pub(crate) async fn review(browser: &BrowserClient, item_id: u64, stars: u64, text: &str) {
    let body = json!({"itemID": item_id, "rating": stars, "comment": text});
    assert_eq!(browser.post("/comment", &body).await.ok_json(), json!({"message": "Review submitted"}));
}

/// Writes a review with a `userId`; returns the status.
async fn claim(browser: &BrowserClient, user_id: i64, text: &str) -> u16 {
    let body = json!({"itemID": 12, "rating": 3, "comment": text, "userId": user_id});
    let response = browser.post("/comment", &body).await;
    if response.status != 200 {
        assert_eq!(response.error_code(409), "user_id_taken");
    }
    response.status
}

pub(crate) async fn item(gateway: &Gateway, item_id: u64) -> Value {
    gateway.client("dexar").json(&format!("/item/{item_id}")).await
}

/// The texts of an item's reviews, sorted.
pub(crate) async fn texts(gateway: &Gateway, item_id: u64) -> Vec<String> {
    let item = item(gateway, item_id).await;
    let comments = item["comments"].as_array().expect("a list").iter();
    let mut texts: Vec<_> = comments.map(|comment| comment["text"].as_str().expect("a text").to_owned()).collect();
    texts.sort();
    texts
}

fn visitor(gateway: &Gateway) -> BrowserClient {
    BrowserClient::new(gateway.client("dexar"))
}

/// Logs in on a device, whose name makes the signed login data unique: they are valid once.
async fn log_in(browser: &BrowserClient, id: i64, device: &str) {
    let data = json!({"id": id, "first_name": "Анна", "last_name": device, "auth_date": now_s()});
    let data = sign(data, &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json();
}

/// A few minutes ago, in whole seconds.
fn recently() -> String {
    let now = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(5);
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn review_is_shown_with_its_item_in_both_formats_and_at_one_brand() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    let browser = visitor(&gateway);
    let body = json!({
        "itemID": 12, "rating": 5, "comment": "Great product!", "username": "john_doe", "userId": 123_456_789,
        "timestamp": recently(),
    });
    let response = browser.post("/comment", &body).await;
    assert_eq!(response.ok_json(), json!({"message": "Review submitted"}));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let cookie = response.header("set-cookie").expect("a visitor's cookie");
    assert!(cookie.starts_with("__Host-dexar_visitor=") && cookie.contains("Max-Age=31536000"), "{cookie}");

    let shown = item(&gateway, 12).await;
    let comment = &shown["comments"][0];
    let (id, author) = (comment["id"].as_str().expect("an id"), comment["author"].as_str().expect("a pseudonym"));
    assert!(id.starts_with("cmt_") && author.starts_with("user_") && author.len() == 21, "{comment}");
    assert!(!shown.to_string().contains("123456789") && !shown.to_string().contains("john_doe"), "{shown}");
    let time = &body["timestamp"];
    assert_eq!(
        shown["comments"],
        json!([{"id": id, "text": "Great product!", "author": author, "stars": 5, "createdAt": time}])
    );
    assert_eq!(
        shown["callbacks"],
        json!([{"rating": 5, "content": "Great product!", "userID": author, "timestamp": time}])
    );
    assert_eq!(shown["rating"], json!(5));

    let client = gateway.client("dexar");
    for path in
        ["/category/1", "/searchitems?search=%D0%BB%D0%B0%D0%BC%D0%BF%D0%B0", "/randomitems?count=200&category=1"]
    {
        let list = client.json(path).await;
        let list = list.get("items").unwrap_or(&list).clone();
        let listed = list.as_array().expect("a list").iter().find(|item| item["itemID"] == 12);
        assert_eq!(listed, Some(&shown), "{path}");
    }
    let elsewhere = gateway.client("novo").json("/item/12").await;
    assert_eq!((&elsewhere["comments"], &elsewhere["rating"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn second_review_replaces_the_first_and_the_rating_is_the_rounded_mean() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    let (anna, boris, vera) = (visitor(&gateway), visitor(&gateway), visitor(&gateway));
    review(&anna, 12, 1, "Плохо").await;
    let first = item(&gateway, 12).await["comments"][0].clone();
    review(&anna, 12, 5, "Передумала").await;
    let second = item(&gateway, 12).await["comments"][0].clone();
    assert_eq!((&second["id"], &second["author"], &second["stars"]), (&first["id"], &first["author"], &json!(5)));
    assert_eq!(texts(&gateway, 12).await, ["Передумала"]);
    review(&boris, 12, 4, "Б").await;
    review(&vera, 12, 4, "В").await;
    let lamp = item(&gateway, 12).await;
    assert_eq!(lamp["rating"], json!(4.3));
    let authors: std::collections::BTreeSet<String> =
        lamp["comments"].as_array().expect("a list").iter().map(|comment| comment["author"].to_string()).collect();
    assert_eq!(authors.len(), 3);
    // A visitor has one pseudonym per brand.
    review(&anna, 11, 5, "Стул").await;
    assert_eq!(item(&gateway, 11).await["comments"][0]["author"], first["author"]);
    let elsewhere = anna.at(gateway.client("novo"));
    let secret = anna.cookie("__Host-dexar_visitor").expect("a cookie");
    elsewhere.set_cookie("__Host-novo_visitor", &secret);
    review(&elsewhere, 12, 5, "Там").await;
    assert_ne!(gateway.client("novo").json("/item/12").await["comments"][0]["author"], first["author"]);
}

#[tokio::test]
async fn imported_rating_is_kept_until_the_first_review_and_imported_stars_count_then() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    assert_eq!(item(&gateway, 11).await["rating"], json!(4.8));
    review(&visitor(&gateway), 12, 1, "О лампе").await;
    assert_eq!(item(&gateway, 11).await["rating"], json!(4.8), "a review of another item");
    review(&visitor(&gateway), 11, 5, "Стоит").await;
    assert_eq!(item(&gateway, 11).await["rating"], json!(3.5));
    assert_eq!(texts(&gateway, 11).await, ["Без звёзд", "Стоит", "Шатается"]);
}

#[tokio::test]
async fn user_id_can_be_claimed_by_one_visitor_per_item() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    let (anna, boris) = (visitor(&gateway), visitor(&gateway));
    assert_eq!(claim(&anna, 5, "А").await, 200);
    assert_eq!(claim(&boris, 5, "Б").await, 409);
    assert_eq!(claim(&anna, 5, "А снова").await, 200);
    assert_eq!(texts(&gateway, 12).await, ["А снова"]);
    assert_eq!(claim(&boris, 6, "Б").await, 200);
    assert_eq!(claim(&boris, 5, "Б снова").await, 409, "replacing a review claims the user id too");
    assert_eq!(texts(&gateway, 12).await, ["А снова", "Б"]);
    let other_item = json!({"itemID": 11, "rating": 3, "comment": "Стул", "userId": 5});
    assert_eq!(boris.post("/comment", &other_item).await.status, 200, "a claim is per item");
    review(&anna, 12, 3, "Без имени").await;
    assert_eq!(claim(&boris, 5, "Б снова").await, 200, "the claim was released");
}

#[tokio::test]
async fn session_takes_precedence_over_claims() {
    let (site, _sandbox, gateway) = setup();
    let (member, stranger) = (visitor(&gateway), visitor(&gateway));
    log_in(&member, 5, "ноутбук").await;
    assert_eq!(claim(&member, 999, "Член").await, 200, "userId is ignored with a session");
    assert_eq!(claim(&stranger, 5, "Самозванец").await, 409);
    assert_eq!(claim(&stranger, 999, "Чужой").await, 200, "the ignored userId is not claimed");
    assert_eq!(texts(&gateway, 12).await, ["Член", "Чужой"]);

    // In the opposite order, the claimed review and the session's review both exist.
    let (early, late) = (visitor(&gateway), visitor(&gateway));
    assert_eq!(claim(&early, 7, "Рано").await, 200);
    log_in(&late, 7, "ноутбук").await;
    assert_eq!(claim(&late, 7, "Поздно").await, 200);
    assert_eq!(texts(&gateway, 12).await, ["Поздно", "Рано", "Член", "Чужой"]);
    assert_eq!(claim(&early, 7, "Рано снова").await, 409, "the user has a review with a session");

    // A user has one review and one pseudonym on all devices.
    let phone = visitor(&gateway);
    log_in(&phone, 5, "телефон").await;
    review(&phone, 12, 5, "Член с телефона").await;
    assert_eq!(texts(&gateway, 12).await, ["Поздно", "Рано", "Член с телефона", "Чужой"]);
    let owners = site.sql_as("dexar", "select count(*) from reviewer where owner in ('user:5', 'user:7')");
    assert_eq!(owners.as_deref(), Ok("2"));
    let shown = item(&gateway, 12).await.to_string();
    assert!(!shown.contains("user:") && !shown.contains("visitor:"), "{shown}");
}

#[tokio::test]
async fn concurrent_reviews_all_count_and_an_owner_has_one() {
    let (site, gateway) = shop(HIGH_RATE_LIMIT);
    let other = site.replica().start();
    let instance = |number: usize| if number.is_multiple_of(2) { &gateway } else { &other };
    for round in 0..3_u64 {
        let anna = visitor(&gateway);
        anna.get("/cart").await;
        let tabs: Vec<_> = (0..8).map(|number| anna.at(instance(number).client("dexar"))).collect();
        let posts = tabs.iter().zip(1..).map(|(tab, stars)| review(tab, 11, stars % 5 + 1, "Одна"));
        futures_util::future::join_all(posts).await;
        let own = site.sql_as(
            "dexar",
            "select count(*), count(distinct owner) from review where item_id = 11 and owner is not null",
        );
        assert_eq!(own, Ok(format!("{0}|{0}", round + 1)));
        assert_rated(&site, 11);

        let crowd: Vec<_> = (0..8).map(|number| BrowserClient::new(instance(number).client("dexar"))).collect();
        let posts = crowd.iter().zip(1..).map(|(browser, stars)| review(browser, 12, stars % 5 + 1, "Многие"));
        futures_util::future::join_all(posts).await;
        assert_eq!(texts(&gateway, 12).await.len() as u64, 8 * (round + 1));
        assert_rated(&site, 12);
    }
    let crowd: Vec<_> = (0..8).map(|number| BrowserClient::new(instance(number).client("dexar"))).collect();
    let responses = futures_util::future::join_all(crowd.iter().map(|browser| claim(browser, 5, "Я — пятый"))).await;
    assert_eq!(responses.iter().filter(|status| **status == 200).count(), 1, "{responses:?}");
    assert_rated(&site, 12);
}

/// Asserts that the rating of an item is the mean of its visible reviews.
#[track_caller]
pub(crate) fn assert_rated(site: &Site, item_id: u64) {
    let rated = format!(
        "select i.rating, round(avg(r.rating), 1) from item i join review r using (item_id) \
         where item_id = {item_id} and not r.hidden group by i.item_id"
    );
    let rated = site.sql_as("dexar", &rated).expect("readable");
    let (rating, mean) = rated.split_once('|').expect("two columns");
    assert_eq!(rating, mean, "{item_id}");
}

#[tokio::test]
async fn invalid_body_is_rejected_and_changes_nothing() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    let browser = visitor(&gateway);
    let post = |key: &str, value: Value| {
        let mut body = json!({"itemID": 12, "rating": 5, "comment": "Да"});
        body[key] = value;
        let browser = &browser;
        async move { browser.post("/comment", &body).await }
    };
    for (key, value, code) in [
        ("itemID", json!("12"), "bad_item_id"),
        ("itemID", Value::Null, "bad_item_id"),
        ("rating", json!(0), "bad_rating"),
        ("rating", json!(6), "bad_rating"),
        ("rating", json!(4.5), "bad_rating"),
        ("rating", json!("5"), "bad_rating"),
        ("rating", Value::Null, "bad_rating"),
        ("comment", json!(""), "bad_comment"),
        ("comment", json!(" \n\t"), "bad_comment"),
        ("comment", json!("a\0b"), "bad_comment"),
        ("comment", json!("я".repeat(4_001)), "bad_comment"),
        ("comment", json!(5), "bad_comment"),
        ("username", json!(5), "bad_username"),
        ("userId", json!("5"), "bad_user_id"),
        ("userId", json!(-5), "bad_user_id"),
        ("timestamp", json!("вчера"), "bad_timestamp"),
        ("timestamp", json!("2026-02-28"), "bad_timestamp"),
        ("timestamp", json!("-004712-01-01T00:00:00Z"), "bad_timestamp"),
    ] {
        let response = post(key, value.clone()).await;
        assert_eq!(response.error_code(400), code, "{key} {value}");
        let error: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert!(error["error"].as_str().expect("a text").starts_with(&format!("{key}: ")), "{error}");
    }
    let error: Value = serde_json::from_slice(&post("rating", json!(6)).await.body).expect("JSON");
    assert_eq!(error["error"], "rating: expected a whole number from 1 to 5");
    for hidden in [13, 99, 9_007_199_254_740_991_i64] {
        assert_eq!(post("itemID", json!(hidden)).await.error_code(404), "not_found", "{hidden}");
    }
    assert_eq!(browser.get("/comment").await.error_code(405), "method_not_allowed");
    let body = json!({"itemID": 12, "rating": 5, "comment": "Да"}).to_string();
    let plain = request("/comment").method("POST").header("content-type", "text/plain").body(body.clone());
    assert_eq!(browser.send(plain).await.error_code(415), "unsupported_media_type");
    let foreign = request("/comment").method("POST").header("content-type", "application/json").body(body);
    assert_eq!(browser.send(foreign.origin("https://evil.example")).await.error_code(403), "origin_not_allowed");
    assert_eq!((texts(&gateway, 12).await, &item(&gateway, 12).await["rating"]), (vec![], &json!(0)));
}

#[tokio::test]
async fn text_is_returned_unchanged() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    for text in [
        "<script>alert(1)</script> &amp; \"кавычки\" 'и' \\обратная\\",
        "  по краям \r\n и\tвнутри\n",
        "👨‍👩‍👧 é e\u{301} \u{202e}навыворот \u{1}",
        &"👍".repeat(4_000),
    ] {
        review(&visitor(&gateway), 12, 5, text).await;
        let shown = item(&gateway, 12).await;
        assert_eq!((&shown["comments"][0]["text"], &shown["callbacks"][0]["content"]), (&json!(text), &json!(text)));
    }
}

#[tokio::test]
async fn time_that_is_not_within_the_last_hour_is_replaced_by_the_current_time() {
    let (_site, gateway) = shop(HIGH_RATE_LIMIT);
    let time_of = async |timestamp: Value| {
        let body = json!({"itemID": 12, "rating": 5, "comment": "Да", "timestamp": timestamp});
        let browser = visitor(&gateway);
        browser.post("/comment", &body).await.ok_json();
        let newest = item(&gateway, 12).await["comments"][0]["createdAt"].clone();
        newest.as_str().expect("a text").parse::<jiff::Timestamp>().expect("RFC 3339")
    };
    let recent = recently();
    assert_eq!(time_of(json!(recent)).await.to_string(), recent);
    let two_hours_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2)).to_string();
    for wrong in ["1970-01-01T00:00:00Z", &two_hours_ago, "2999-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
        let before = jiff::Timestamp::now();
        let time = time_of(json!(wrong)).await;
        assert!(time.as_second() >= before.as_second() && time <= jiff::Timestamp::now(), "{wrong}: {time}");
    }
}

#[tokio::test]
async fn reviews_are_limited_to_thirty_per_minute() {
    let (_site, gateway) = shop("[rates]\nanonymous_reviews_per_hour = 1000\n");
    let browser = visitor(&gateway);
    for _ in 0..30 {
        review(&browser, 12, 5, "Да").await;
    }
    let refused = browser.post("/comment", &json!({"itemID": 12, "rating": 1, "comment": "Нет"})).await;
    assert_eq!(refused.error_code(429), "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("ratelimit-policy"), Some("\"reviews-address\";q=30;w=60"));
    assert_eq!(texts(&gateway, 12).await, ["Да"]);
    review(&BrowserClient::new(gateway.client("novo")), 12, 5, "Там").await;
}

#[tokio::test]
async fn address_writes_five_reviews_an_hour_without_a_session() {
    let (_site, _sandbox, gateway) = setup();
    let post = async |browser: &BrowserClient, text: &str| {
        browser.post("/comment", &json!({"itemID": 12, "rating": 1, "comment": text})).await
    };
    let invalid = json!({"itemID": 12, "rating": 1, "comment": "\u{2800}\u{3164}"});
    assert_eq!(visitor(&gateway).post("/comment", &invalid).await.error_code(400), "bad_comment");
    let crowd: Vec<_> = (0..12).map(|_| visitor(&gateway)).collect();
    let responses = futures_util::future::join_all(crowd.iter().map(|browser| post(browser, "Толпа"))).await;
    let accepted = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!(accepted, 5, "an invalid review does not count");
    let refused = responses.iter().find(|response| response.status != 200).expect("a refused review");
    assert_eq!(refused.error_code(429), "too_many_requests");
    let error: Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert!(error["error"].as_str().expect("a text").contains("log in"), "{error}");
    let policy = refused.header("ratelimit-policy").expect("a policy");
    assert_eq!(policy, "\"reviews-address\";q=30;w=60, \"anonymous-reviews-address\";q=5;w=3600");
    let wait_s: u32 = refused.header("retry-after").expect("a wait").parse().expect("seconds");
    assert!((60..=3_600).contains(&wait_s), "{wait_s}");

    let member = visitor(&gateway);
    log_in(&member, 5, "ноутбук").await;
    for text in ["Член", "Член снова"] {
        assert_eq!(post(&member, text).await.status, 200, "a session is not limited by the hour");
    }
    assert_eq!(texts(&gateway, 12).await.len(), 6);
}
