//! Imports, checkouts, completions and logins that write the same items at the same time: none fails, and no unit is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, bot_token_of, eventually_async};

const LIMITS: &str = "[rates]\ncart_writes_per_address = 1000000\npayments_per_address = 1000000\n[payments]\nopen_per_address = 1000000\nopen_per_owner = 1000\n";

#[tokio::test(flavor = "multi_thread")]
async fn imports_beside_checkouts_of_the_same_items_all_succeed() {
    const ITEMS: u64 = 445;
    const IMPORTS: u64 = 40;
    let shop = Arc::new(Shop::with_config(LIMITS));
    // In an order of its own, so that no two writers happen to agree.
    let catalogue = |round: u64| -> String {
        let item = |number: u64| {
            let id = 1_000 + number * 7 % ITEMS;
            format!(
                "{{\"itemID\":{id},\"categoryID\":1,\"name\":\"Вещь {round}\",\"price\":1,\"quantity\":{}}}\n",
                100_000 + round
            )
        };
        (0..ITEMS).map(item).collect()
    };
    shop.site.import_text("dexar", "first.jsonl", catalogue(0), &["--strict"]).success();
    let importing = Arc::new(AtomicBool::new(true));
    let imports = tokio::task::spawn_blocking({
        let (shop, importing) = (shop.clone(), importing.clone());
        let texts: Vec<String> = (1..=IMPORTS).map(catalogue).collect();
        move || {
            for (round, text) in texts.into_iter().enumerate() {
                shop.site.import_text("dexar", &format!("{round}.jsonl"), text, &["--strict"]).success();
            }
            importing.store(false, Ordering::Relaxed);
        }
    });
    let buy = async |buyer: u64| {
        let mut bought = 0;
        while importing.load(Ordering::Relaxed) && !imports.is_finished() {
            let lines: Vec<(u64, &str, Option<u32>)> =
                (0..5).map(|line| (1_000 + (buyer * 61 + bought * 13 + line * 89) % ITEMS, "1", Some(1))).collect();
            let browser = shop.browser();
            browser.post("/cart", &order(&format!("o{buyer}_{bought}"), "5", &lines)).await.ok_json();
            bought += 1;
        }
        bought
    };
    let (first, second, third) = tokio::join!(buy(0), buy(1), buy(2));
    imports.await.expect("every import succeeds");
    assert!(first + second + third > 10, "checkouts took place beside the imports");
    let held =
        "select count(*) from item_stock s where held <> (select coalesce(sum(l.quantity), 0) from payment_line l
                join payment p using (payment_id) where p.holds and l.item_id = s.item_id)";
    assert_eq!(shop.count(held), 0, "units that open payments hold");
    let counted = format!("select count(*) from item_stock where item_id >= 1000 and quantity = {}", 100_000 + IMPORTS);
    assert_eq!(shop.count(&counted), 445);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_beside_completions_of_the_same_items_all_succeed() {
    let shop = Shop::with_config(LIMITS);
    let other = shop.site.replica().start();
    let user = shop.browser();
    let login = |round: u32| {
        let data = json!({"id": 9, "first_name": "A", "last_name": format!("B{round}"), "auth_date": now_s()});
        sign(data, &bot_token_of("dexar"))
    };
    user.post("/auth/telegram/callback", &login(0)).await.ok_json();
    for round in 1..=16 {
        let visitor = BrowserClient::new(other.client("dexar"));
        for item in [11, 14] {
            user.post("/cart", &json!({"itemID": item, "quantity": 2})).await.ok_json();
            visitor.post("/cart", &json!({"itemID": item, "quantity": 1})).await.ok_json();
        }
        let body = order(&format!("race_{round}"), "93.45", &[(14, "3", Some(1)), (11, "90.45", Some(1))]);
        let qr_id = user.post("/cart", &body).await.ok_json()["qrId"].as_str().expect("a code").to_owned();
        shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": true})).await;
        let path = format!("/qr/payment/{qr_id}");
        let data = login(round);
        let (polled, logged_in) = tokio::join!(user.get(&path), visitor.post("/auth/telegram/callback", &data));
        polled.ok_json();
        logged_in.ok_json();
        eventually_async("the payment is completed", 30, async || {
            (user.get(&path).await.ok_json()["paymentStatus"] == "COMPLETED").then_some(())
        })
        .await;
    }
    assert_eq!(shop.count("select quantity * 1000 + held from item_stock where item_id = 11"), (2_000 - 16) * 1_000);
}
