//! Concurrent edits and reads: an edit is visible on its instance once it is answered, and on other instances within a
//! second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::harness::{BrowserClient, Site};

const SHOP: &str = r#"{"categoryID":1,"name":"Дом","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":1}
{"itemID":12,"categoryID":1,"name":"Лампа","price":1}
"#;

/// The number in the text of the item's newest review.
fn number_in(item: &serde_json::Value) -> u64 {
    item["comments"][0]["text"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_the_response_of_an_edit_sees_it() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site.change_brand("dexar", |file| {
        "[rates]\nreviews_per_address = 100000\nanonymous_reviews_per_hour = 100000\n".clone_into(&mut file.more)
    });
    let gateway = Arc::new(site.start());
    let answered = Arc::new(AtomicU64::new(0));
    const EDITS: u64 = 150;

    // Readers never pause, so that responses are being built whenever an edit commits.
    let readers = (0..8).map(|reader| {
        let (gateway, answered) = (gateway.clone(), answered.clone());
        tokio::spawn(async move {
            let client = gateway.client("dexar");
            let mut reads = 0_u64;
            loop {
                let before = answered.load(Ordering::SeqCst);
                let seen = match reader % 2 {
                    0 => number_in(&client.json("/item/11").await),
                    _ => number_in(&client.json("/category/1").await[0]),
                };
                assert!(seen >= before, "edit {before} was answered, and a later read returned {seen}");
                reads += 1;
                if before == EDITS {
                    return reads;
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let editor = BrowserClient::new(gateway.client("dexar"));
    for number in 1..=EDITS {
        let body = json!({"itemID": 11, "rating": 5, "comment": number.to_string()});
        editor.post("/comment", &body).await.ok_json();
        answered.store(number, Ordering::SeqCst);
    }
    for reader in readers {
        assert!(reader.await.expect("no reader saw an outdated response") > 10, "it read during the edits");
    }
}

#[tokio::test]
async fn another_instance_sees_an_edit_within_a_second() {
    let site = Site::new(&["dexar", "novo"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let replica = site.replica();
    let (here, there) = (site.start(), replica.start());
    let editor = BrowserClient::new(here.client("dexar"));
    let reader = there.client("dexar");
    for number in 1..=3 {
        reader.json("/item/11").await;
        let body = json!({"itemID": 11, "rating": 5, "comment": number.to_string()});
        editor.post("/comment", &body).await.ok_json();
        there.await_propagation().await;
        assert_eq!(number_in(&reader.json("/item/11").await), number);
    }
}
