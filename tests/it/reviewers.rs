//! Who may review an item, whose review is verified, how imported ratings are weighed in, and what staff do about many reviews.

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, TestResponse, bot_token_of, eventually_async};
use crate::reviews::HIGH_RATE_LIMIT;

async fn post(browser: &BrowserClient, item_id: u64, stars: u64, text: &str) -> TestResponse {
    browser.post("/comment", &json!({"itemID": item_id, "rating": stars, "comment": text})).await
}

async fn log_in(browser: &BrowserClient, id: i64) {
    let data = json!({"id": id, "first_name": "Анна", "auth_date": now_s()});
    browser.post("/auth/telegram/callback", &sign(data, &bot_token_of("dexar"))).await.ok_json();
}

/// Buys a lamp, until the payment is completed.
async fn buy(shop: &Shop, browser: &BrowserClient, name: &str) {
    let opened = browser.post("/cart", &order(name, "20", &[(12, "20", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    shop.sandbox.bank_action(&qr_id, "pay", json!({})).await;
    eventually_async("the completed payment", 30, async || {
        let paid = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (paid["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

/// The texts of the lamp's reviews that are verified, in both spellings.
async fn verified(shop: &Shop) -> Vec<Value> {
    let lamp = shop.item(12).await;
    let of = |list: &str, text: &str| {
        let reviews = lamp[list].as_array().expect("a list").iter().filter(|review| review.get("verified").is_some());
        reviews
            .map(|review| {
                assert_eq!(review["verified"], json!(true));
                review[text].clone()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of("comments", "text"), of("callbacks", "content"));
    of("comments", "text")
}

#[tokio::test]
async fn reviews_of_buyers_are_verified() {
    let shop = Shop::start();
    let (buyer, other) = (shop.browser(), shop.browser());
    post(&buyer, 12, 5, "До покупки").await.ok_json();
    buy(&shop, &buyer, "o1").await;
    post(&other, 12, 1, "Мимо").await.ok_json();
    assert_eq!(verified(&shop).await, Vec::<Value>::new());
    post(&buyer, 12, 5, "После").await.ok_json();
    post(&buyer, 14, 5, "О другом").await.ok_json();
    assert_eq!(verified(&shop).await, [json!("После")]);
    assert_eq!(shop.count("select count(*) from review where verified"), 1);

    // A review that a visitor wrote before the user bought is verified by the login.
    let phone = shop.browser();
    log_in(&other, 5).await;
    buy(&shop, &other, "o2").await;
    shop.site.sql_as("dexar", "delete from review where owner = 'user:5'").expect("deleted");
    post(&phone, 12, 4, "С телефона").await.ok_json();
    let data = json!({"id": 5, "first_name": "Анна", "last_name": "Телефон", "auth_date": now_s()});
    phone.post("/auth/telegram/callback", &sign(data, &bot_token_of("dexar"))).await.ok_json();
    assert_eq!(verified(&shop).await, [json!("С телефона"), json!("После")]);
}

#[tokio::test]
async fn shop_may_accept_reviews_from_users_or_from_buyers_only() {
    let shop = Shop::with_config("[reviews]\nwho = \"session\"\n");
    let browser = shop.browser();
    assert_eq!(post(&browser, 12, 5, "Кто угодно").await.error_code(401), "login_required");
    log_in(&browser, 5).await;
    post(&browser, 12, 5, "После входа").await.ok_json();

    let shop = Shop::with_config("[reviews]\nwho = \"buyers\"\n");
    let (buyer, user) = (shop.browser(), shop.browser());
    log_in(&user, 5).await;
    for browser in [&buyer, &user] {
        assert_eq!(post(browser, 12, 5, "Не куплено").await.error_code(403), "buyers_only");
    }
    assert_eq!(post(&buyer, 999, 5, "Чего нет").await.error_code(404), "not_found");
    assert_eq!(shop.count("select (select count(*) from review) + (select count(*) from reviewer)"), 0);
    buy(&shop, &buyer, "o1").await;
    post(&buyer, 12, 5, "Куплено").await.ok_json();
    assert_eq!(post(&buyer, 14, 5, "Кружка").await.error_code(403), "buyers_only");
    assert_eq!(verified(&shop).await, [json!("Куплено")]);
}

#[tokio::test]
async fn imported_rating_is_weighed_by_its_number_of_reviews() {
    let shop = Shop::with_config(HIGH_RATE_LIMIT);
    let import = |line: &str, name: &str| shop.site.import_text("dexar", name, line, &["--strict"]).success();
    import(
        r#"{"itemID":12,"rating":4.8,"ratingCount":9,"comments":[{"id":"cmt_1","text":"Среди девяти","stars":1}]}"#,
        "rated.jsonl",
    );
    let rating = || shop.site.sql_as("dexar", "select rating from item where item_id = 12").expect("readable");
    assert_eq!(rating(), "4.8");
    let (anna, boris) = (shop.browser(), shop.browser());
    post(&anna, 12, 1, "Плохо").await.ok_json();
    // (9 × 4.8 + 1) / 10
    assert_eq!((rating(), shop.item(12).await["rating"].clone()), ("4.4".to_owned(), json!(4.4)));
    post(&boris, 12, 1, "Плохо").await.ok_json();
    assert_eq!(rating(), "4.1");
    import(r#"{"itemID":12,"ratingCount":98}"#, "more.jsonl");
    // (98 × 4.8 + 2) / 100
    assert_eq!(rating(), "4.7");
    let export = shop.site.export("dexar");
    shop.site.import_text("dexar", "again.json", &export, &["--strict"]).success();
    assert_eq!(rating(), "4.7");
    shop.site.run(&["reviews", "hide", "--brand", "dexar", "--item", "12"]).success();
    assert_eq!(rating(), "4.8", "without reviews of visitors it is the imported one");
    let negative = shop.site.import_text("dexar", "bad.jsonl", r#"{"itemID":12,"ratingCount":-1}"#, &["--strict"]);
    assert!(negative.failure(1).contains("ratingCount: expected a whole number, 0 or more"));
}

#[tokio::test]
async fn staff_see_reviews_by_arrival_and_hide_many_at_once() {
    let shop = Shop::with_config(HIGH_RATE_LIMIT);
    let run = |command: &str, arguments: &[&str]| {
        shop.site.run(&[&["reviews", command, "--brand", "dexar"], arguments].concat())
    };
    let (first, flood) = (shop.browser(), shop.browser());
    let old = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(50)).to_string();
    post(&first, 12, 5, "Первый").await.ok_json();
    shop.site.sql_as("dexar", "update review set received_at = received_at - interval '1 hour'").expect("aged");
    let hour_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(30)).to_string();
    let late = json!({"itemID": 12, "rating": 1, "comment": "Пришёл последним\nс датой раньше", "timestamp": old});
    post(&flood, 14, 1, "Реклама").await.ok_json();
    shop.browser().post("/comment", &late).await.ok_json();
    let listed: Value = serde_json::from_str(&run("list", &["--json"]).success()).expect("JSON");
    let texts: Vec<_> = listed.as_array().expect("a list").iter().map(|row| row["text"].clone()).collect();
    assert_eq!(texts, [late["comment"].clone(), json!("Реклама"), json!("Первый")]);

    let id = listed[0]["review"].to_string();
    let whole = run("show", &[&id]).success();
    assert!(
        whole
            .contains("verified  no\nstate     shown\ntext\n    Пришёл последним\n    с датой раньше\nanswer\n    -\n"),
        "{whole}"
    );
    assert_eq!(run("answer", &[&id, "Спасибо"]).success(), format!("dexar: review {id} of item 12 is answered\n"));
    shop.gateway.await_propagation().await;
    let answers = async |shop: &Shop| {
        let lamp = shop.item(12).await;
        let answers = lamp["callbacks"].as_array().expect("a list").iter().filter_map(|review| review.get("answer"));
        answers.cloned().collect::<Vec<_>>()
    };
    assert_eq!(answers(&shop).await, [json!("Спасибо")]);
    assert_eq!(run("answer", &[&id, "--remove"]).success(), format!("dexar: review {id} of item 12 has no answer\n"));
    shop.gateway.await_propagation().await;
    assert_eq!(answers(&shop).await, Vec::<Value>::new());

    assert!(run("hide", &[]).failure(2).contains("required"), "nothing selected");
    let hidden = run("hide", &["--since", &hour_ago]).success();
    assert_eq!(hidden, "dexar: 2 reviews are hidden\ndexar: item 12 has rating 5.0\ndexar: item 14 has rating 0.0\n");
    let author = listed[1]["author"].as_str().expect("a pseudonym");
    let shown = run("unhide", &["--author", author]).success();
    assert_eq!(shown, "dexar: 1 review is shown\ndexar: item 14 has rating 1.0\n");
    let again = run("hide", &["--author", author, "--item", "12"]);
    assert!(again.failure(1).contains("There is no such review."), "all options apply");
    assert_eq!(run("hide", &["--item", "item_14"]).success().lines().next(), Some("dexar: 1 review is hidden"));
    assert_eq!(shop.count("select count(*) from review where not hidden"), 1);
}
