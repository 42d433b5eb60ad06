//! How much of the shop open payments can hold, with the settings of production.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::Shop;
use crate::harness::{BrowserClient, TestResponse, bot_token_of};

/// The section `[payments]` of the shipped brand file.
fn production_settings() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/brands/dexar.toml");
    let file = std::fs::read_to_string(path).expect("the shipped brand file");
    let section = file.split("[payments]").nth(1).expect("a section of payments").split("\n[").next();
    format!("[payments]{}\n", section.expect("its keys"))
}

/// A shop of `count` items from the number 1000 on, with these numbers in stock in turn.
fn shop_of(count: usize, price: u32, stocks: &[u32]) -> Shop {
    let shop = Shop::with_config(&production_settings());
    let item = |index: usize| {
        let stock = stocks[index % stocks.len()];
        format!(
            "{{\"itemID\":{},\"categoryID\":1,\"name\":\"x\",\"price\":{price},\"quantity\":{stock}}}\n",
            1_000 + index
        )
    };
    shop.site.import_text("dexar", "stock.jsonl", (0..count).map(item).collect::<String>(), &[]).success();
    shop
}

async fn log_in(browser: &BrowserClient, user_id: u64) {
    browser.get("/auth/session").await;
    let data = sign(json!({"id": user_id, "first_name": "A", "auth_date": now_s()}), &bot_token_of("dexar"));
    browser.post("/auth/telegram/callback", &data).await.ok_json();
}

async fn pay(browser: &BrowserClient, name: &str, price: u32, lines: &[(u32, u32)]) -> TestResponse {
    let units: u32 = lines.iter().map(|(_, quantity)| quantity).sum();
    let items: Vec<Value> =
        lines.iter().map(|(id, quantity)| json!({"itemID": id, "price": price, "quantity": quantity})).collect();
    let body = json!({"amount": units * price, "siteorderID": name, "items": items});
    browser.post("/cart", &body).await
}

/// What visitors may still hold of each item by the rules: two or a fifth each, two or half together.
fn claimable(shop: &Shop, taken: &BTreeMap<u32, u32>) -> Vec<(u32, u32)> {
    let sql = "select string_agg(format('%s %s', item_id, quantity), ',' order by item_id) from item_stock where item_id >= 1000";
    let rows = shop.site.sql_as("dexar", sql).expect("readable");
    let rows = rows.trim().split(',').map(|row| {
        let (id, stock) = row.split_once(' ').expect("a pair");
        let (id, stock): (u32, u32) = (id.parse().expect("an id"), stock.parse().expect("a stock"));
        let taken = taken.get(&id).copied().unwrap_or(0);
        (id, (stock / 5).max(2).min((stock / 2).max(2).min(stock) - taken))
    });
    rows.filter(|(_, units)| *units > 0).collect()
}

#[tokio::test]
async fn visitors_cannot_hold_the_shop() {
    let shop = shop_of(240, 10, &[1, 2, 3, 4, 5, 10, 50, 100]);
    // For all that is left, as one cookie once made every item sold out.
    let all: Vec<(u32, u32)> =
        (0..200).map(|index| (1_000 + index, [1, 2, 3, 4, 5, 10, 50, 100][index as usize % 8])).collect();
    let refused = pay(&shop.browser(), "all", 10, &all).await;
    let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert_eq!(refused.error_code(409), "hold_limit");
    assert_eq!((&body["left"], &body["login"]), (&json!(2), &json!(true)), "{body}");
    // The most by the rules, with ever new cookies.
    let mut taken = BTreeMap::new();
    let mut payments = 0;
    while !claimable(&shop, &taken).is_empty() {
        let browser = shop.browser();
        browser.get("/cart").await;
        for (number, lines) in claimable(&shop, &taken).chunks(200).enumerate() {
            pay(&browser, &format!("o{number}"), 10, lines).await.ok_json();
            payments += 1;
            lines.iter().for_each(|(id, units)| *taken.entry(*id).or_insert(0) += units);
        }
    }
    assert!(payments <= 10, "an address has no more open payments: {payments}");
    // Of the eight stocks, one and two units are gone; of three, one is left; of every larger stock, half.
    let left = "select string_agg(format('%s of %s', quantity - held, quantity), ', ' order by quantity) \
                from (select distinct quantity, held from item_stock where item_id >= 1000) i";
    let left = shop.site.sql_as("dexar", left).expect("readable");
    assert_eq!(left.trim(), "0 of 1, 0 of 2, 1 of 3, 2 of 4, 3 of 5, 5 of 10, 25 of 50, 50 of 100");
    let metrics = shop.gateway.metrics();
    let held = metrics
        .lines()
        .find_map(|line| line.strip_prefix("brandgate_stock_held_ratio{brand=\"dexar\",owner=\"visitors\"} "));
    let held: f64 = held.and_then(|value| value.parse().ok()).expect("the metric");
    assert!((0.5..0.7).contains(&held), "{held}");
    let one_more = pay(&shop.browser(), "more", 10, &[(1_003, 1)]).await;
    let body: Value = serde_json::from_slice(&one_more.body).expect("JSON");
    assert_eq!((one_more.error_code(409).as_str(), &body["left"]), ("hold_limit", &json!(0)));
    // A buyer with a session buys all that is left, from the same address.
    let buyer = shop.browser();
    log_in(&buyer, 77).await;
    pay(&buyer, "buyer", 10, &[(1_003, 2), (1_007, 50)]).await.ok_json();
}

#[tokio::test]
async fn an_address_of_visitors_holds_goods_for_a_million_roubles_at_most() {
    let shop = shop_of(100, 10_000, &[50]);
    let mut opened = 0;
    let refused = loop {
        let browser = shop.browser();
        let first = 1_000 + opened * 10;
        let lines: Vec<(u32, u32)> = (first..first + 10).map(|id| (id, 1)).collect();
        let answer = pay(&browser, "o", 10_000, &lines).await;
        if answer.status != 200 {
            break answer;
        }
        opened += 1;
        if opened > 1 {
            continue;
        }
        let more = pay(&browser, "more", 3, &[(14, 1)]).await;
        let body: Value = serde_json::from_slice(&more.body).expect("JSON");
        assert_eq!((more.error_code(409).as_str(), &body["left"]), ("hold_limit", &json!(0)), "100,000 are open");
        assert_eq!((&body["login"], body.get("itemID")), (&json!(true), None));
    };
    assert_eq!(opened, 10);
    assert_eq!(refused.error_code(429), "too_many_requests");
    let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
    assert!(body["error"].as_str().expect("a message").contains("log in"), "{body}");
    assert_eq!(shop.count("select sum(amount)::bigint from payment where holds"), 1_000_000);
    // Buyers with a session are not counted by address, and do not add to it.
    for user_id in [1, 2] {
        let buyer = shop.browser();
        log_in(&buyer, user_id).await;
        pay(&buyer, "o", 10_000, &[(1_000, 2)]).await.ok_json();
        let too_much = pay(&buyer, "too_much", 10_000, &[(1_001, 49), (1_002, 49), (1_003, 3)]).await;
        assert_eq!(too_much.error_code(422), "amount_too_large");
        let too_much = pay(&buyer, "open", 10_000, &[(1_001, 49), (1_002, 49), (1_003, 1)]).await;
        let body: Value = serde_json::from_slice(&too_much.body).expect("JSON");
        assert_eq!((too_much.error_code(409).as_str(), &body["left"]), ("hold_limit", &json!(980_000)));
        assert_eq!(body["login"], false);
    }
}

#[tokio::test]
async fn concurrent_visitors_hold_no_more_together() {
    let shop = shop_of(1, 10, &[10]);
    let other = shop.site.replica().start();
    let attempts = (0..8).map(|number: u32| {
        let gateway = if number.is_multiple_of(2) { &shop.gateway } else { &other };
        let browser = BrowserClient::new(gateway.client("dexar"));
        async move { pay(&browser, "o", 10, &[(1_000, 2)]).await }
    });
    let answers = futures_util::future::join_all(attempts).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2, "two of two units each within five");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        let body: Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert_eq!((refused.error_code(409).as_str(), &body["left"]), ("hold_limit", &json!(1)));
    }
    assert_eq!(shop.count("select held from item_stock where item_id = 1000"), 4);
}

#[tokio::test]
async fn the_operator_cancels_open_payments() {
    let shop = shop_of(3, 10, &[10]);
    let visitors = [shop.browser(), shop.browser()];
    let mut codes = Vec::new();
    for (visitor, item) in visitors.iter().zip([1_000, 1_001]) {
        codes.push(pay(visitor, "o", 10, &[(item, 2)]).await.ok_json()["qrId"].clone());
    }
    let open = "select count(*) from payment where holds";
    let cancel = |arguments: &[&str]| {
        let command = [&["payments", "cancel", "--brand", "dexar"], arguments].concat();
        shop.site.run(&command)
    };
    let owner = shop.site.sql_as("dexar", "select owner from payment order by payment_id limit 1").expect("readable");
    let hash = owner.trim().strip_prefix("visitor:").expect("a visitor");
    let printed = cancel(&["--visitor", hash]).success();
    assert!(printed.contains("CANCELLED"), "{printed}");
    assert_eq!(shop.count(open), 1);
    let at_bank = shop.sandbox.qrs().await;
    let cancelled: Vec<&Value> =
        at_bank.iter().filter(|qr| qr["status"] == "CANCELLED").map(|qr| &qr["qrId"]).collect();
    assert_eq!(cancelled, [&codes[0]], "at the bank too");
    cancel(&["--address", "127.0.0.1"]).success();
    assert_eq!(shop.count(open), 0);
    assert_eq!(shop.count("select count(*) from item_stock where item_id >= 1000 and held > 0"), 0);
    // A paid one is not cancelled, and the command says so.
    let paid = pay(&visitors[0], "paid", 10, &[(1_000, 2)]).await.ok_json();
    shop.sandbox.bank_action(paid["qrId"].as_str().expect("a code"), "pay", json!({"notify": false})).await;
    let id = shop.count("select max(payment_id) from payment").to_string();
    let printed = cancel(&[&id]).failure(1);
    assert!(printed.contains("already paid; use payments refund"), "{printed}");
    assert_eq!(shop.count("select count(*) from payment where status = 'COMPLETED'"), 1);
    cancel(&[]).failure(2);
    cancel(&["999999"]).failure(1);
}
