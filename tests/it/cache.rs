//! The response cache: cached responses are identical, are invalidated when their content changes and not otherwise,
//! and stay within the memory limit.

use std::collections::BTreeMap;

use crate::harness::{Gateway, Site, TableLock, TestResponse, eventually, request};

/// Two categories with two items each, some of them available in Moscow only, some translated.
const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Дом","parentID":0,"translations":{"en":{"name":"Home"}}}
{"categoryID":2,"name":"Сад","parentID":0}
{"itemID":11,"categoryID":1,"name":"Стул","price":100,"quantity":5,"translations":{"en":{"name":"Chair"}}}
{"itemID":12,"categoryID":1,"name":"Лампа","price":200,"regions":["moscow"]}
{"itemID":21,"categoryID":2,"name":"Лопата","price":300}
{"itemID":22,"categoryID":2,"name":"Лейка","price":400}
"#;

/// Starts a gateway and waits until Dexar caches responses, unless the cache is disabled.
async fn shop(cache: &str) -> (Site, Gateway) {
    let mut site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", SHOP, &[]).success();
        site.change_brand(brand, |file| cache.clone_into(&mut file.more));
    }
    let gateway = site.start();
    if !cache.ends_with("= 0\n") {
        gateway.await_cached("dexar", "/regions?first").await;
    }
    (site, gateway)
}

/// Sends a request and returns whether the response came from the cache.
async fn is_cached(gateway: &Gateway, path: &str) -> bool {
    let before = gateway.cache_lookups("dexar");
    gateway.client("dexar").json(path).await;
    let after = gateway.cache_lookups("dexar");
    match (after[0] - before[0], after[1] - before[1]) {
        (1, 0) => true,
        (0, 1) => false,
        other => panic!("{path}: {other:?}"),
    }
}

/// Status, headers and body, without the headers that differ for each request.
fn comparable(answer: &TestResponse) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let per_request = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !per_request.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned()));
    (answer.status, headers.collect(), answer.body.to_vec())
}

#[tokio::test]
async fn cached_responses_are_identical_to_the_first_one() {
    let (_site, gateway) = shop("").await;
    let paths =
        ["/regions", "/category", "/category/1", "/category/1?count=1&skip=1", "/item/11", "/searchitems?search=стул"];
    let mut requests = Vec::new();
    for path in paths.map(|path| path.replace("стул", "%D1%81%D1%82%D1%83%D0%BB")) {
        for region in ["", "moscow", "nowhere"] {
            for language in ["ru", "en"] {
                for (name, value) in [("accept-encoding", "br"), ("accept-encoding", "gzip"), ("accept", "*/*")] {
                    let request = request(&path).language(language).region(region).origin("https://dexarmarket.ru");
                    requests.push(request.header(name, value));
                }
            }
        }
    }
    let clients = [gateway.client("dexar"), gateway.client("dexar").http1()];
    let mut first = Vec::new();
    let misses_before = gateway.cache_lookups("dexar")[1];
    for request in &requests {
        first.push(clients[0].send(request.clone()).await);
    }
    let misses = gateway.cache_lookups("dexar")[1];
    assert_eq!(misses - misses_before, 36, "content codings share an entry, regions and languages do not");
    for (request, first) in requests.iter().zip(&first) {
        for client in &clients {
            let again = client.send(request.clone()).await;
            assert_eq!(comparable(&again), comparable(first));
            let head = client.send(request.clone().method("HEAD")).await;
            assert_eq!(head.body.len(), 0);
            assert_eq!(comparable(&head).1, comparable(first).1);
            let etag = first.header("etag").expect("an entity tag");
            let unchanged = client.send(request.clone().header("if-none-match", etag)).await;
            assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.body.len()), (304, Some(etag), 0));
        }
    }
    assert_eq!(gateway.cache_lookups("dexar")[1], misses, "no request was a miss again");
    assert_eq!(gateway.cache_lookups("novo"), [0, 0, 0], "each brand has its own cache");
}

#[tokio::test]
async fn random_items_are_drawn_from_the_items_listed_now() {
    for cache in ["", "[cache]\nmebibytes = 0\n"] {
        let (site, gateway) = shop(cache).await;
        let client = gateway.client("dexar");
        let draw = async |region: &str, language: &str| -> BTreeMap<u64, (String, i64)> {
            let answer = client.send(request("/randomitems?count=9").region(region).language(language)).await;
            let used = answer.header("content-language").map(str::to_owned);
            let drawn = answer.ok_json();
            let drawn = drawn.as_array().expect("a list").iter().map(|item| {
                let name = item["name"].as_str().expect("a name").to_owned();
                (item["itemID"].as_u64().expect("an id"), (name, item["price"].as_i64().expect("a price")))
            });
            let drawn: BTreeMap<_, _> = drawn.collect();
            let translated = drawn.values().any(|(name, _)| name == "Chair");
            assert_eq!(used.as_deref(), Some(if translated { "en" } else { "ru" }));
            drawn
        };
        let ids = |drawn: &BTreeMap<u64, (String, i64)>| drawn.keys().copied().collect::<Vec<_>>();
        for _ in 0..2 {
            let (all, elsewhere, english) = (draw("", "ru").await, draw("spb", "ru").await, draw("", "en").await);
            assert_eq!((ids(&all), ids(&elsewhere)), (vec![11, 12, 21, 22], vec![11, 21, 22]));
            assert_eq!((&*all[&11].0, &*english[&11].0, &*english[&21].0), ("Стул", "Chair", "Лопата"));
        }
        assert_eq!(client.json("/randomitems?category=2").await.as_array().map(Vec::len), Some(2));
        let change = r#"{"itemID":11,"categoryID":1,"name":"Стул","price":150}
{"itemID":21,"categoryID":2,"name":"Лопата","price":300,"visible":false}
{"itemID":23,"categoryID":2,"name":"Грабли","price":500}
"#;
        site.import_text("dexar", "change.jsonl", change, &[]).success();
        gateway.await_propagation().await;
        let drawn = draw("", "ru").await;
        assert_eq!((ids(&drawn), drawn[&11].1), (vec![11, 12, 22, 23], 150));
        site.sql_as("dexar", "update item set price = 170 where item_id = 11").expect("a price");
        gateway.await_propagation().await;
        assert_eq!(draw("", "ru").await[&11].1, 170, "a change of the item itself");
    }
}

#[tokio::test]
async fn changes_from_before_the_start_invalidate_nothing_while_an_old_transaction_is_open() {
    let site = Site::new(&["dexar"]);
    let mut other = site.connect_as("dexar").await;
    let old = other.transaction().await.expect("begun");
    old.query_one("select pg_current_xact_id()::text", &[]).await.expect("an id");
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let gateway = site.start();
    gateway.await_cached("dexar", "/regions?first").await;
    gateway.client("dexar").json("/category").await;
    gateway.await_propagation().await;
    assert!(is_cached(&gateway, "/category").await);
    old.rollback().await.expect("rolled back");
}

#[tokio::test]
async fn a_change_of_an_item_invalidates_only_responses_that_show_it() {
    let (site, gateway) = shop("").await;
    let shown_in = ["/category/1", "/item/11"];
    let others = ["/category", "/category/2", "/item/12", "/item/21", "/regions", "/category/1?skip=1"];
    for path in shown_in.iter().chain(&others) {
        assert!(!is_cached(&gateway, path).await, "{path}");
    }
    site.import_text("dexar", "price.jsonl", r#"{"itemID":11,"price":90,"quantity":0}"#, &[]).success();
    gateway.await_propagation().await;
    for path in others {
        assert!(is_cached(&gateway, path).await, "{path} does not show it");
    }
    for path in shown_in {
        assert!(!is_cached(&gateway, path).await, "{path} shows it");
    }
    // A new name may change any list.
    site.import_text("dexar", "name.jsonl", r#"{"itemID":11,"name":"Кресло"}"#, &[]).success();
    gateway.await_propagation().await;
    for path in others {
        assert!(!is_cached(&gateway, path).await, "{path}");
    }
    // An import that changes nothing invalidates nothing.
    site.import_text(
        "dexar",
        "same.jsonl",
        SHOP.replace("Стул", "Кресло").replace("100,\"quantity\":5", "90,\"quantity\":0"),
        &[],
    )
    .success();
    gateway.await_propagation().await;
    for path in others {
        assert!(is_cached(&gateway, path).await, "{path}");
    }
}

#[tokio::test]
async fn changes_of_every_catalogue_table_invalidate_responses() {
    let (site, gateway) = shop("").await;
    let client = gateway.client("dexar");
    let shown = async |path: &str| client.json(path).await.to_string();
    for (sql, path, words) in [
        ("update region set city = 'Город'", "/regions", "Город"),
        ("update category set name = 'Жильё' where category_id = 1", "/category", "Жильё"),
        ("update item set description = 'Удобно' where item_id = 11", "/item/11", "Удобно"),
        ("update item set rating = 4.5 where item_id = 11", "/category/1", "4.5"),
        ("insert into item_region values (21, 'moscow')", "/category", "Сад"),
        ("insert into category_region values (2, 'moscow')", "/category", "Сад"),
        ("insert into review (id, item_id, content) values ('cmt_1', 11, 'Мило')", "/item/11", "Мило"),
        ("update review set content = 'Грубо'", "/item/11", "Грубо"),
        ("delete from review", "/item/11", "\"comments\":[]"),
        ("delete from item where item_id = 22", "/category/2", "]"),
    ] {
        shown(path).await;
        assert!(is_cached(&gateway, path).await, "{path}");
        site.sql_as("dexar", sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        gateway.await_propagation().await;
        assert!(!is_cached(&gateway, path).await, "{sql}");
        assert!(shown(path).await.contains(words), "{sql}: {}", shown(path).await);
    }
}

#[tokio::test]
async fn a_change_is_seen_without_its_notification_and_when_it_commits_late() {
    let (site, gateway) = shop("").await;
    let client = gateway.client("dexar");
    let price = async || client.json("/item/11").await["price"].as_i64();
    assert_eq!(price().await, Some(100));
    // As if the notification was lost: the row is written without one.
    let without_notification = "begin; alter table item disable trigger item_note_updated; update item set price = 101 where item_id = 11; \
                   alter table item enable trigger item_note_updated; insert into catalog_change (item_id) values (11); commit";
    site.sql_as("dexar", without_notification).expect("written");
    gateway.await_propagation().await;
    assert_eq!(price().await, Some(101));

    // A transaction that starts before others and commits after them.
    let late = site.connect_as("dexar").await;
    late.batch_execute("begin; update item set price = 102 where item_id = 11").await.expect("written");
    for price in [201, 202] {
        site.sql_as("dexar", &format!("update item set price = {price} where item_id = 12")).expect("written");
        gateway.await_propagation().await;
    }
    assert_eq!(price().await, Some(101));
    late.batch_execute("commit").await.expect("committed");
    gateway.await_propagation().await;
    assert_eq!(price().await, Some(102));
}

#[tokio::test]
async fn concurrent_requests_for_the_same_response_are_coalesced() {
    let (site, gateway) = shop("").await;
    gateway.client("dexar").get("/ping").await;
    let holding = TableLock::on_items(&site, "dexar").await;
    let client = gateway.client("dexar");
    let requests = futures_util::future::join_all((0..50).map(|_| client.get("/item/11")));
    let rest = async {
        holding.await_waiting(1).await;
        gateway.await_propagation().await;
        assert_eq!(holding.waiting().await, 1, "one statement for all requests");
        holding.release().await;
    };
    let (answers, ()) = tokio::join!(requests, rest);
    assert!(answers.iter().all(|answer| answer.ok_json()["itemID"] == 11));
    let missing = futures_util::future::join_all((0..50).map(|_| client.get("/item/99"))).await;
    assert!(missing.iter().all(|answer| answer.error_code(404) == "not_found"));
}

#[tokio::test]
async fn the_cache_stays_within_its_limit_and_can_be_disabled() {
    let (mut site, gateway) = shop("[cache]\nmebibytes = 1\n").await;
    let client = gateway.client("dexar");
    for number in 0..3_000 {
        assert_eq!(client.get(&format!("/category/1?n={number}")).await.status, 200);
    }
    let size = |gateway: &Gateway| {
        let text = gateway.metrics();
        let value = |name: &str| {
            let series = format!("{name}{{brand=\"dexar\"}} ");
            text.lines()
                .find_map(|line| line.strip_prefix(&series))
                .expect("the metric exists")
                .parse::<f64>()
                .expect("a number")
        };
        (value("brandgate_cache_entries"), value("brandgate_cache_size_bytes"))
    };
    let (entries, bytes) = size(&gateway);
    assert!(entries > 100.0 && bytes > 500_000.0 && bytes <= 1_048_576.0, "{entries} entries, {bytes} bytes");
    drop(gateway);
    site.change_brand("dexar", |file| "[cache]\nmebibytes = 0\n".clone_into(&mut file.more));
    let gateway = site.start();
    for _ in 0..2 {
        assert!(!is_cached(&gateway, "/item/11").await);
    }
    assert_eq!(size(&gateway).0, 0.0);
}

#[tokio::test]
async fn workers_delete_old_changes() {
    let (site, gateway) = shop("").await;
    gateway.client("dexar").json("/item/11").await;
    let sql = "insert into catalog_change (item_id, changed_at) values (1, now() - interval '61 minutes'), (2, now() - interval '59 minutes')";
    site.sql_as("dexar", sql).expect("written");
    let _workers = site.start_workers();
    let remaining = "select string_agg(item_id::text, ' ') from catalog_change where item_id in (1, 2)";
    eventually("the older change is deleted", 10, || {
        (site.sql_as("dexar", remaining).as_deref() == Ok("2")).then_some(())
    });
}
