//! Lists: order, paging, numbers and string ids, search, and the distribution of random items.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::demo_catalog::{Source, ids};
use crate::harness::{Site, demo_shops, request};

#[tokio::test]
async fn pages_concatenated_are_the_list_in_its_order() {
    let client = demo_shops().gateway.client("dexar");
    let expected = Source::dexar().page(1, None);
    for count in [1, 7, 50] {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let page = ids(&client.json(&format!("/category/1?count={count}&skip={}", got.len())).await);
            assert_eq!(page.len(), count.min(expected.len() - got.len()));
            got.extend(page);
        }
        assert_eq!(got, expected);
    }
    assert_eq!(ids(&client.json("/category/1").await), expected[..50], "50 by default");
    assert_eq!(ids(&client.json("/category/1?skip=3").await), expected[3..53]);
}

#[tokio::test]
async fn deep_pages_of_unevenly_filled_subcategories_are_in_order() {
    let site = Site::new(&["novo"]);
    let distributions: [fn(u64) -> u64; 3] = [
        // Nearly all items on one shelf; the first items on one shelf; one item each on most shelves.
        |number| if number.is_multiple_of(50) { 2 + number / 50 % 8 } else { 2 },
        |number| if number < 500 { 9 } else { 2 + number % 7 },
        |number| if number < 16 { 2 + number / 2 } else { 5 },
    ];
    for shelf_of in distributions {
        let mut records = "{\"categoryID\":1,\"name\":\"Всё\"}\n".to_owned();
        for shelf in 2..10 {
            records += &format!("{{\"categoryID\":{shelf},\"parentID\":1,\"name\":\"Полка {shelf}\"}}\n");
        }
        records += "{\"id\":\"moscow\",\"city\":\"Москва\",\"country\":\"Россия\",\"countryCode\":\"RU\"}\n";
        let mut items = Vec::new();
        for number in 0..1_500_u64 {
            let (id, shelf, priority) = (number * 7_919 % 100_003 + 1, shelf_of(number), 20 - number as i64 / 75);
            let regions = if number.is_multiple_of(3) { ",\"regions\":[\"moscow\"]" } else { "" };
            records += &format!(
                "{{\"itemID\":{id},\"categoryID\":{shelf},\"name\":\"Кружка {id}\",\"price\":1,\"priority\":{priority}{regions}}}\n"
            );
            items.push((-priority, id, number.is_multiple_of(3)));
        }
        items.sort_unstable();
        site.import_text("novo", "uneven.jsonl", records, &["--replace", "--max-removed", "100"]).success();
        let gateway = site.start();
        let client = gateway.client("novo");
        for region in ["", "moscow", "spb"] {
            let expected: Vec<_> =
                items.iter().filter(|(_, _, in_moscow)| region != "spb" || !in_moscow).map(|(_, id, _)| *id).collect();
            for skip in (0..1_600).step_by(40) {
                let answer = client.send(request(&format!("/category/1?count=40&skip={skip}")).region(region)).await;
                let page = expected.iter().skip(skip).take(40).copied().collect::<Vec<_>>();
                assert_eq!(ids(&answer.ok_json()), page, "{region} {skip}");
            }
        }
    }
}

#[tokio::test]
async fn a_count_above_200_is_200_and_a_page_beyond_the_end_is_empty() {
    let site = Site::new(&["novo"]);
    let mut records = "{\"categoryID\":1,\"name\":\"Всё\"}\n".to_owned();
    for number in 1..=205 {
        records += &format!("{{\"itemID\":{number},\"categoryID\":1,\"name\":\"Кружка {number}\",\"price\":1}}\n");
    }
    site.import_text("novo", "many.jsonl", records, &[]).success();
    let gateway = site.start();
    let client = gateway.client("novo");
    for count in ["200", "201", "100000", "99999999999999999999999"] {
        let page = ids(&client.json(&format!("/category/1?count={count}")).await);
        assert_eq!(page, (1..=200).collect::<Vec<_>>(), "{count}");
        let found =
            client.json(&format!("/searchitems?search=%D0%BA%D1%80%D1%83%D0%B6%D0%BA%D0%B0&count={count}")).await;
        assert_eq!((&found["count"], &found["total"]), (&200.into(), &205.into()));
        assert_eq!(ids(&found["items"]).len(), 200);
        assert_eq!(ids(&client.json(&format!("/randomitems?count={count}")).await).len(), 200);
    }
    for path in ["/category/1?skip=205", "/category/1?skip=99999999999999999999999"] {
        assert_eq!(client.json(path).await, serde_json::json!([]));
    }
}

#[tokio::test]
async fn a_search_returns_its_paging_and_the_total() {
    let client = demo_shops().gateway.client("dexar");
    let all = client.json("/searchitems?search=fruit&count=200").await;
    let all_ids = ids(&all["items"]);
    let total = all_ids.len();
    assert!(total > 8, "there are several pages");
    let members: Vec<&String> = all.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["items", "total", "count", "skip"]);
    let mut paged = Vec::new();
    while paged.len() < total {
        let skip = paged.len();
        let page = client.json(&format!("/searchitems?search=fruit&count=3&skip={skip}")).await;
        let paging = [&page["total"], &page["count"], &page["skip"]].map(Value::as_u64);
        assert_eq!(paging, [Some(total as u64), Some(3), Some(skip as u64)]);
        paged.extend(ids(&page["items"]));
    }
    assert_eq!(paged, all_ids);
    let beyond = client.json(&format!("/searchitems?search=fruit&skip={total}")).await;
    assert_eq!([&beyond["items"], &beyond["total"]], [&serde_json::json!([]), &total.into()]);
    let nothing = client.json("/searchitems?search=xyzzyplugh").await;
    assert_eq!(nothing, serde_json::json!({ "items": [], "total": 0, "count": 50, "skip": 0 }));
}

#[tokio::test]
async fn word_forms_of_three_languages_match_and_the_exact_name_is_first() {
    let client = demo_shops().gateway.client("dexar");
    // "grapes": Russian genitive, English plural and singular, Armenian nominative
    for words in ["винограда", "grapes", "grape", "խաղող"] {
        let encoded = percent_encoding::utf8_percent_encode(words, percent_encoding::NON_ALPHANUMERIC).to_string();
        let found = client.json(&format!("/searchitems?search={encoded}")).await;
        assert!(ids(&found["items"]).contains(&1010), "{words}: {:?}", ids(&found["items"]));
    }
    for item in Source::dexar().shown_items().into_iter().step_by(40) {
        let name = item["name"].as_str().expect("a text");
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        let found = client.json(&format!("/searchitems?search={encoded}")).await;
        assert_eq!(found["items"][0]["name"], name);
    }
}

/// Punctuation has no meaning in a query.
#[tokio::test]
async fn punctuation_in_a_search_is_ignored() {
    let client = demo_shops().gateway.client("dexar");
    let search = async |words: &str| {
        let encoded = percent_encoding::utf8_percent_encode(words, percent_encoding::NON_ALPHANUMERIC).to_string();
        client.json(&format!("/searchitems?search={encoded}")).await["total"].clone()
    };
    let fruit = search("fruit").await;
    assert!(fruit.as_u64() > Some(0));
    let many_minuses = format!("({}fruit", "-".repeat(40));
    for words in [
        "-fruit",
        "(-fruit",
        "|-fruit",
        "\"-fruit",
        "\"fruit\"",
        "fruit &",
        "!!fruit",
        "fruit:*",
        "<->fruit",
        &many_minuses,
    ] {
        assert_eq!(search(words).await, fruit, "{words}");
    }
    for words in ["(-xyzzyplugh", "\"a\"-xyzzyplugh", "a&-xyzzyplugh", "-", "\"", "()", "'", "\\", ":*", "or", "-or-"] {
        assert!(search(words).await.as_u64() < fruit.as_u64(), "{words} matches the whole shop");
    }
}

#[tokio::test]
async fn numbers_and_string_ids_are_equivalent() {
    let client = demo_shops().gateway.client("dexar");
    let source = Source::dexar();
    for number in source.shown_categories() {
        let id = source.category(number)["id"].as_str().expect("a text");
        let (by_number, by_id) = (format!("/category/{number}?count=9"), format!("/category/{id}?count=9"));
        assert_eq!(client.json(&by_number).await, client.json(&by_id).await);
    }
    for item in source.shown_items().into_iter().step_by(20) {
        let (number, id) = (&item["itemID"], item["id"].as_str().expect("a text"));
        assert_eq!(client.json(&format!("/item/{number}")).await, client.json(&format!("/item/{id}")).await);
    }
}

#[tokio::test]
async fn unknown_ids_are_404_and_an_empty_list_of_random_items() {
    let client = demo_shops().gateway.client("dexar");
    for key in [
        "999999",
        "0",
        "-1",
        "1.0",
        "01013",
        "+1013",
        "1e3",
        "9007199254740991",
        "9007199254740993",
        "item_none",
        "%20",
    ] {
        assert_eq!(client.get(&format!("/item/{key}")).await.error_code(404), "not_found", "{key}");
        assert_eq!(client.get(&format!("/category/{key}")).await.error_code(404), "not_found", "{key}");
        assert_eq!(client.json(&format!("/randomitems?category={key}")).await, serde_json::json!([]), "{key}");
    }
    for path in ["/", "/item", "/item/", "/items/1", "/item/1013/more", "/category/", "/Ping", "//ping", "/ping/"] {
        assert_eq!(client.get(path).await.error_code(404), "not_found", "{path}");
    }
}

#[tokio::test]
async fn random_items_are_distinct_and_at_most_all_of_them() {
    let client = demo_shops().gateway.client("dexar");
    let source = Source::dexar();
    assert_eq!(ids(&client.json("/randomitems").await).len(), 5, "5 by default");
    for category in [1, 11, 151, 53] {
        let existing: BTreeSet<u64> = source.page(category, None).into_iter().collect();
        for count in [1, 3, 200] {
            let drawn = ids(&client.json(&format!("/randomitems?category={category}&count={count}")).await);
            let distinct: BTreeSet<u64> = drawn.iter().copied().collect();
            assert_eq!((drawn.len(), distinct.len()), (count.min(existing.len()), count.min(existing.len())));
            assert!(distinct.is_subset(&existing), "{drawn:?} has items sandbox {category}");
        }
    }
}

/// Chi-squared test: the sum of (observed − expected)² / expected has mean n − 1 and variance about 2(n − 1), so seven
/// standard deviations above the mean occur by chance once in billions of runs.
#[tokio::test]
async fn random_items_are_uniformly_distributed() {
    let client = demo_shops().gateway.client("dexar");
    let existing = Source::dexar().page(16, None);
    let mut observed: HashMap<u64, u32> = HashMap::new();
    let (draws, count) = (400, 3);
    for _ in 0..draws {
        for id in ids(&client.json(&format!("/randomitems?category=16&count={count}")).await) {
            *observed.entry(id).or_default() += 1;
        }
    }
    let expected = f64::from(draws * count) / existing.len() as f64;
    let observed_of = |id| f64::from(observed.get(id).copied().unwrap_or(0));
    let chi_squared: f64 = existing.iter().map(|id| (observed_of(id) - expected).powi(2) / expected).sum();
    let degrees = existing.len() as f64 - 1.0;
    assert!(chi_squared < degrees + 7.0 * (2.0 * degrees).sqrt(), "{chi_squared} with {degrees} degrees: {observed:?}");
    assert!(chi_squared > degrees / 10.0, "{chi_squared} is too even to be random: {observed:?}");
}
