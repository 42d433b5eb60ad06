//! Regional availability, checked on every category and item of both demonstration catalogues.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::demo_catalog::{REGIONS, Source, ids, is_available};
use crate::harness::{Client, TestRequest, demo_shops, request};

/// All six regions, none, and one that does not exist.
fn all_regions() -> Vec<Option<&'static str>> {
    let mut regions: Vec<_> = REGIONS.iter().map(|region| Some(*region)).collect();
    regions.extend([None, Some("atlantis")]);
    regions
}

fn request_in(region: Option<&str>, path: &str) -> TestRequest {
    match region {
        Some(region) => request(path).region(region),
        None => request(path),
    }
}

/// All item numbers of a category, page by page.
async fn all_items(client: &Client, key: &str, region: Option<&str>) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let path = format!("/category/{key}?count=200&skip={}", all.len());
        let page = ids(&client.send(request_in(region, &path)).await.ok_json());
        let is_last = page.len() < 200;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// The item count of every category of a tree, by string id.
fn collect_counts(tree: &Value, into: &mut BTreeMap<String, u64>) {
    for category in tree.as_array().expect("a list of categories") {
        let id = category["id"].as_str().expect("a string id").to_owned();
        let count = category["itemCount"].as_u64().expect("a count");
        if let Some(has_items) = category["hasItems"].as_bool() {
            assert_eq!(has_items, count > 0, "{category}");
        }
        assert_eq!(into.insert(id, count), None, "a category occurs twice");
        collect_counts(&category["subcategories"], into);
    }
}

#[tokio::test]
async fn every_count_is_the_length_of_its_list() {
    for brand in ["dexar", "novo"] {
        let client = demo_shops().gateway.client(brand);
        let mut lengths = std::collections::BTreeSet::new();
        for region in all_regions() {
            let tree = client.send(request_in(region, "/category")).await.ok_json();
            let mut shown = BTreeMap::new();
            collect_counts(&tree, &mut shown);
            assert!(!shown.is_empty() || brand == "novo", "Novo's feeds have two regions only: {region:?}");
            for (id, count) in shown {
                let list = all_items(&client, &id, region).await;
                assert_eq!(list.len() as u64, count, "{brand} {region:?} {id}");
                lengths.insert(count);
            }
        }
        assert!(lengths.len() > 3, "the regions differ: {lengths:?}");
    }
}

#[tokio::test]
async fn the_tree_and_its_lists_match_the_source() {
    let source = Source::dexar();
    let client = demo_shops().gateway.client("dexar");
    for region in all_regions() {
        let tree = client.send(request_in(region, "/category")).await.ok_json();
        let mut shown = BTreeMap::new();
        collect_counts(&tree, &mut shown);
        for number in source.shown_categories() {
            let category = source.category(number);
            let id = category["id"].as_str().expect("every record of the file has an id");
            let items = source.page(number, region);
            assert_eq!(all_items(&client, &number.to_string(), region).await, items, "{region:?} {number}");
            let expected = source.is_in_tree(number, region).then_some(items.len() as u64);
            assert_eq!(shown.remove(id), expected, "{region:?} {id}");
        }
        assert!(shown.is_empty(), "{region:?}: not in the source: {shown:?}");
    }
}

/// The string ids of a tree, depth first.
fn collect_order(tree: &Value, into: &mut Vec<String>) {
    for category in tree.as_array().expect("a list of categories") {
        into.push(category["id"].as_str().expect("a string id").to_owned());
        collect_order(&category["subcategories"], into);
    }
}

#[tokio::test]
async fn siblings_are_ordered_by_priority_and_then_by_number() {
    let source = Source::dexar();
    let mut expected = Vec::new();
    source.walk(0, &mut |category| expected.push(category["id"].as_str().expect("a text").to_owned()));
    let mut got = Vec::new();
    collect_order(&demo_shops().gateway.client("dexar").json("/category").await, &mut got);
    assert_eq!(got, expected);
}

#[tokio::test]
async fn an_item_exists_exactly_in_its_regions() {
    let source = Source::dexar();
    let client = demo_shops().gateway.client("dexar");
    let limited = source.shown_items().into_iter().filter(|item| item["regions"].is_array());
    let mut refused = 0;
    for item in limited.take(40) {
        for region in all_regions() {
            let answer = client.send(request_in(region, &format!("/item/{}", item["itemID"]))).await;
            if is_available(item, region) {
                assert_eq!(answer.ok_json()["itemID"], item["itemID"]);
            } else {
                assert_eq!(answer.error_code(404), "not_found");
                refused += 1;
            }
        }
    }
    assert!(refused > 40, "the demonstration data limits items");
}

#[tokio::test]
async fn search_and_random_items_respect_the_region() {
    let source = Source::dexar();
    let client = demo_shops().gateway.client("dexar");
    let items = source.shown_items();
    for region in all_regions() {
        let found = client.send(request_in(region, "/searchitems?search=fruit&count=200")).await.ok_json();
        let random = client.send(request_in(region, "/randomitems?count=200")).await.ok_json();
        let found_ids = ids(&found["items"]);
        assert_eq!(found["total"].as_u64(), Some(found_ids.len() as u64), "all hits fit on one page");
        for id in found_ids.into_iter().chain(ids(&random)) {
            let item = items.iter().find(|item| item["itemID"] == id).expect("it is in the source");
            assert!(is_available(item, region), "{region:?} was shown {id}");
        }
    }
    let total =
        async |region| client.send(request_in(region, "/searchitems?search=fruit")).await.ok_json()["total"].as_u64();
    assert!(total(None).await > total(Some("tbilisi")).await, "some fruit is not sold everywhere");
}

#[tokio::test]
async fn hidden_items_and_categories_are_shown_nowhere() {
    let source = Source::dexar();
    let client = demo_shops().gateway.client("dexar");
    assert!(source.hidden_items().len() > 2 && !source.hidden_categories().is_empty(), "the source has hidden records");
    for item in source.hidden_items() {
        for key in [item["itemID"].to_string(), item["id"].as_str().expect("a text").to_owned()] {
            assert_eq!(client.get(&format!("/item/{key}")).await.error_code(404), "not_found");
        }
        let name = percent_encoding::utf8_percent_encode(
            item["name"].as_str().expect("a text"),
            percent_encoding::NON_ALPHANUMERIC,
        );
        let found = client.json(&format!("/searchitems?search={name}&count=200")).await;
        assert!(!ids(&found["items"]).contains(&item["itemID"].as_u64().expect("a number")), "{item} was found");
    }
    let mut shown = BTreeMap::new();
    collect_counts(&client.json("/category").await, &mut shown);
    for number in source.hidden_categories() {
        let id = source.category(number)["id"].as_str().expect("a text");
        assert!(!shown.contains_key(id), "{id} is in the tree");
        for key in [&number.to_string(), id] {
            assert_eq!(client.get(&format!("/category/{key}")).await.error_code(404), "not_found");
            assert_eq!(ids(&client.json(&format!("/randomitems?category={key}&count=200")).await), [0u64; 0]);
        }
    }
    // Each draw returns 200 of about 430 items: fifteen draws cover nearly all of them.
    let hidden: Vec<u64> = source.hidden_items().iter().filter_map(|item| item["itemID"].as_u64()).collect();
    for _ in 0..15 {
        let drawn = ids(&client.json("/randomitems?count=200").await);
        assert!(!drawn.iter().any(|id| hidden.contains(id)), "a hidden item was drawn");
    }
}
