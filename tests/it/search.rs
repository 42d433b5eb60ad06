//! The search over the index: readings of queries, filters, sorts, facets and suggestions, and how it follows edits.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::{Client, Gateway, Site, eventually_async, request};

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Техника","parentID":0,"id":"cat_tech","translations":{"en":{"name":"Appliances"}}}
{"categoryID":2,"name":"Чайники","parentID":1,"id":"sub_kettles"}
{"categoryID":3,"name":"Наушники","parentID":1,"id":"sub_phones"}
{"categoryID":4,"name":"Продукты","parentID":0,"id":"cat_food","translations":{"en":{"name":"Food"}}}
{"itemID":21,"categoryID":2,"name":"Чайник электрический Bosch красный","price":3000,"discount":10,"quantity":5,"tags":["кухня","акция"],"rating":4}
{"itemID":22,"categoryID":2,"name":"Чайник заварочный 1 л","price":900,"quantity":0,"tags":["кухня"],"rating":5}
{"itemID":23,"categoryID":2,"name":"Чайник для плиты 2,5 л","price":1500,"quantity":9,"tags":["кухня"],"regions":["moscow"]}
{"itemID":31,"categoryID":3,"name":"Наушники Sony WH-1000XM5","price":29990,"quantity":3,"translations":{"en":{"name":"Sony headphones"},"hy":{"name":"Ականջակալներ"}}}
{"itemID":32,"categoryID":3,"name":"Смартфон iPhone 15","price":89990,"quantity":3}
{"itemID":33,"categoryID":3,"name":"Ноутбук Asus","price":45000,"quantity":1}
{"itemID":41,"categoryID":4,"name":"Молоко 1л","price":90,"quantity":50}
{"itemID":42,"categoryID":4,"name":"Перчатки кухонные","price":150}
{"itemID":43,"categoryID":4,"name":"Зубная щетка","price":199.5,"quantity":7}
"#;

fn shop() -> (Site, Gateway) {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let gateway = site.start();
    (site, gateway)
}

fn path(base: &str, query: &str, more: &str) -> String {
    format!("{base}?search={}{more}", utf8_percent_encode(query, NON_ALPHANUMERIC))
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().expect("a list").iter().map(|item| item["itemID"].as_i64().expect("an id")).collect()
}

/// The response of the index, after waiting until it is built: only the index knows `exact`.
async fn await_index(client: &Client) {
    client.json("/category/1/facets").await;
}

#[tokio::test]
async fn what_the_database_found_before_the_index_was_built_is_not_kept() {
    let mut site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site.change_brand("dexar", |brand| brand.more = "[search]\ncatch_up_ms = 1\nfirst_build_ms = 0".to_owned());
    let gateway = site.start();
    let client = gateway.client("dexar");
    eventually_async("the index corrects the query", 30, async || {
        let found = client.json(&path("/searchitems", "чайнк", "")).await;
        (found["corrected"] == "чайник").then_some(())
    })
    .await;
}

#[tokio::test]
async fn queries_are_read_as_they_were_meant() {
    let (_site, gateway) = shop();
    let client = gateway.client("dexar");
    await_index(&client).await;
    for (query, first, corrected) in [
        ("чайнк", 21, Some("чайник")),
        ("xfqybr", 21, Some("чайник")),
        ("chaynik", 21, Some("чайник")),
        ("чайн", 21, None),
        ("перчаток", 42, None),
        ("айфон", 32, None),
        ("молоко 1 литр", 41, None),
        ("молоко 1000мл", 41, None),
        ("зубнаящетка", 43, Some("зубная щетка")),
        ("наушнки sony", 31, Some("наушники sony")),
        ("wh1000xm5", 31, None),
        ("headphones", 31, None),
        ("ականջակալ", 31, None),
        ("ноут до 50000", 33, None),
        ("Зубная щетка", 43, None),
    ] {
        let found = client.json(&path("/searchitems", query, "")).await;
        assert_eq!(found["items"][0]["itemID"], first, "{query}: {:?}", ids(&found["items"]));
        if let Some(corrected) = corrected {
            assert_eq!(found["corrected"], corrected, "{query}");
        }
    }
    for query in ["ноутбук до 40000", "истребитель пятого поколения", "!!!", "😀", "' or ''='' --"]
    {
        let found = client.json(&path("/searchitems", query, "")).await;
        assert_eq!(found["items"], json!([]), "{query}");
        assert_eq!(found["total"], 0);
        assert_eq!(found.get("corrected"), None);
    }
    let exact = client.json(&path("/searchitems", "чайнк", "&exact=true")).await;
    assert_eq!(exact["total"], 0);
    let by_price = client.json(&path("/searchitems", "от 200 до 3000", "")).await;
    assert_eq!(ids(&by_price["items"]), [21, 23, 22], "in stock first");
    let exact = client.json(&path("/searchitems", "чайники", "&exact=true")).await;
    assert_eq!(ids(&exact["items"]), [21, 23, 22], "in stock first");
}

#[tokio::test]
async fn filters_sorts_and_facets_apply_to_searches_and_categories() {
    let (_site, gateway) = shop();
    let client = gateway.client("dexar");
    for (more, expected) in [
        ("", &[21, 23, 22][..]),
        ("&sort=price", &[22, 23, 21]),
        ("&sort=-price", &[21, 23, 22]),
        ("&sort=rating", &[22, 21, 23]),
        ("&sort=name", &[23, 22, 21]),
        ("&sort=new", &[23, 22, 21]),
        ("&inStock=true", &[21, 23]),
        ("&discounted=true", &[21]),
        ("&tags=%D0%BA%D1%83%D1%85%D0%BD%D1%8F,%D0%B0%D0%BA%D1%86%D0%B8%D1%8F", &[21]),
        ("&tags=nothing", &[]),
        // 2,700 is paid for the discounted one.
        ("&priceMin=1000&priceMax=2700", &[21, 23]),
        ("&priceMax=2699.99&sort=price", &[22, 23]),
    ] {
        let found = client.json(&path("/searchitems", "чайник", more)).await;
        let mut items = ids(&found["items"]);
        assert_eq!(found["total"], items.len(), "{more}");
        let listed = client.json(&format!("/category/sub_kettles?{}", more.trim_start_matches('&'))).await;
        let mut listed_items = ids(&listed);
        let mut expected = expected.to_vec();
        if !more.contains("sort=") {
            for list in [&mut items, &mut listed_items, &mut expected] {
                list.sort_unstable();
            }
        }
        assert_eq!(items, expected, "{more}");
        assert_eq!(listed_items, expected, "{more}");
    }
    let page = client.json("/category/cat_tech?sort=price&count=2&skip=1").await;
    assert_eq!(ids(&page), [23, 21], "descendants included");
    let in_category = client.json(&path("/searchitems", "чайник", "&category=sub_phones")).await;
    assert_eq!(in_category["total"], 0);
    let in_category = client.json(&path("/searchitems", "чайник", "&category=1")).await;
    assert_eq!(in_category["total"], 3);
    let facets = json!({
        "categories": [{ "id": "sub_kettles", "categoryID": 2, "name": "Чайники", "count": 3 }],
        "tags": [{ "tag": "кухня", "count": 3 }, { "tag": "акция", "count": 1 }],
        "price": { "min": 900, "max": 2700 },
    });
    let found = client.json(&path("/searchitems", "чайник", "&facets=true&count=1")).await;
    assert_eq!(found["facets"], facets);
    assert_eq!(found["categories"], json!([{ "id": "sub_kettles", "categoryID": 2, "name": "Чайники" }]));
    assert_eq!(client.json("/category/2/facets").await, facets);
    assert_eq!(client.get("/category/999/facets").await.status, 404);
}

#[tokio::test]
async fn invalid_parameters_are_named_before_anything_is_looked_up() {
    let (_site, gateway) = shop();
    let client = gateway.client("dexar");
    for (parameter, code) in [
        ("sort=cheap", "bad_sort"),
        ("sort=", "bad_sort"),
        ("priceMin=-1", "bad_price_limit"),
        ("priceMax=1e9", "bad_price_limit"),
        ("priceMax=", "bad_price_limit"),
        ("inStock=1", "bad_flag"),
        ("discounted=yes", "bad_flag"),
        ("sort=price&sort=name", "bad_query"),
    ] {
        assert_eq!(client.get(&format!("/category/999?{parameter}")).await.error_code(400), code, "{parameter}");
        let path = format!("/searchitems?search=a&{parameter}");
        assert_eq!(client.get(&path).await.error_code(400), code, "{parameter}");
    }
    for parameter in ["facets=1", "exact=x"] {
        let path = format!("/searchitems?search=a&{parameter}");
        assert_eq!(client.get(&path).await.error_code(400), "bad_flag");
    }
    assert_eq!(client.get("/suggest").await.error_code(400), "bad_search");
    assert_eq!(client.get("/category/999?sort=price").await.error_code(404), "not_found");
}

#[tokio::test]
async fn regions_and_languages_apply() {
    let (_site, gateway) = shop();
    let client = gateway.client("dexar");
    await_index(&client).await;
    let search = path("/searchitems", "чайник", "&sort=price");
    for (region, expected) in
        [("moscow", &[22, 23, 21][..]), ("spb", &[22, 21]), ("nowhere", &[22, 21]), ("", &[22, 23, 21])]
    {
        let found = client.send(request(&search).region(region)).await.ok_json();
        assert_eq!(ids(&found["items"]), expected, "{region}");
    }
    let facets = client.send(request("/category/cat_tech/facets").language("en")).await.ok_json();
    assert_eq!(facets["categories"][1]["name"], "Наушники", "not translated");
    let suggested = client.send(request(&path("/suggest", "науш", "")).language("en")).await.ok_json();
    assert_eq!(suggested["items"][0]["name"], "Sony headphones");
    // English, if the name of an item or of a category is.
    for (path, used) in [
        (path("/searchitems", "молоко", ""), "ru"),
        (path("/searchitems", "молоко", "&facets=true"), "en"),
        (path("/searchitems", "чайник", "&facets=true"), "ru"),
        (path("/searchitems", "техника", ""), "en"),
        (path("/searchitems", "headphones", ""), "en"),
        ("/category/cat_tech/facets".to_owned(), "ru"),
        ("/category/cat_food/facets".to_owned(), "en"),
        (path("/suggest", "appl", ""), "en"),
        (path("/suggest", "чайн", ""), "ru"),
    ] {
        let response = client.send(request(&path).language("en")).await;
        assert_eq!(response.header("content-language"), Some(used), "{path}: {}", response.ok_json());
    }
}

#[tokio::test]
async fn what_a_region_hides_is_not_named() {
    let site = Site::new(&["dexar"]);
    let shop = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Посуда","parentID":0,"id":"cat_dishes","regions":["moscow"]}
{"categoryID":2,"name":"Чайники","parentID":1,"id":"sub_kettles"}
{"categoryID":3,"name":"Чайные наборы","parentID":0,"id":"cat_sets"}
{"itemID":21,"categoryID":2,"name":"Чайник заварочный","price":900}
{"itemID":22,"categoryID":2,"name":"Чайка фарфоровая","price":800,"regions":["moscow"]}
{"itemID":31,"categoryID":3,"name":"Набор к чайнику","price":700}
"#;
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_index(&client).await;
    let named = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|category| category["id"].as_str().expect("an id").to_owned()).collect()
    };
    for (region, said, begun, counted, completed) in [
        ("moscow", &["sub_kettles"][..], &["sub_kettles", "cat_sets"][..], &["cat_sets", "sub_kettles"][..], true),
        ("spb", &[], &["cat_sets"], &["cat_sets"], false),
    ] {
        let get = async |path: &str| client.send(request(path).region(region)).await.ok_json();
        let found = get(&path("/searchitems", "чайники", "&facets=true")).await;
        let mut facets = named(&found["facets"]["categories"]);
        facets.sort();
        assert_eq!(
            (named(&found["categories"]), facets),
            (said.iter().map(|id| id.to_string()).collect(), counted.iter().map(|id| id.to_string()).collect()),
            "{region}"
        );
        let suggested = get(&path("/suggest", "чай", "")).await;
        assert_eq!(named(&suggested["categories"]), begun, "{region}");
        let queries = suggested["queries"].as_array().expect("a list");
        assert_eq!(queries.contains(&json!("чайка")), completed, "{region}: {queries:?}");
        assert!(queries.contains(&json!("чайник")), "{region}: {queries:?}");
    }
}

#[tokio::test]
async fn word_that_exists_comes_before_longer_ones() {
    let site = Site::new(&["dexar"]);
    let shop = r#"{"categoryID":1,"name":"Team games","parentID":0}
{"categoryID":2,"name":"Drinks","parentID":0}
{"itemID":11,"categoryID":1,"name":"Team ball","price":10}
{"itemID":12,"categoryID":1,"name":"Team net","price":10}
{"itemID":21,"categoryID":2,"name":"Bubble tea with milk","price":10}
"#;
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
    let gateway = site.start();
    let client = gateway.client("dexar");
    for base in ["/searchitems", "/suggest"] {
        let found = client.json(&path(base, "tea", "")).await;
        assert_eq!(found["items"][0]["itemID"], 21, "{base}: {:?}", ids(&found["items"]));
    }
}

#[tokio::test]
async fn item_whose_name_in_any_language_is_the_query_comes_first() {
    let site = Site::new(&["dexar"]);
    let shop = r#"{"categoryID":1,"name":"Дом","parentID":0,"id":"cat_home"}
{"itemID":11,"categoryID":1,"name":"Candle holder","price":10,"quantity":5,"translations":{"hy":{"name":"Մոմ դնելու տակդիր"}}}
{"itemID":12,"categoryID":1,"name":"Свеча","price":10,"quantity":5,"translations":{"en":{"name":"Candle"},"hy":{"name":"Մոմ"}}}
{"itemID":13,"categoryID":1,"name":"Свеча восковая","price":10,"quantity":5,"priority":9,"translations":{"en":{"name":"Wax candle"},"hy":{"name":"Մոմ մեղրամոմից"}}}
"#;
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_index(&client).await;
    for query in ["candle", "Մոմ", "свеча"] {
        let found = client.json(&path("/searchitems", query, "")).await;
        assert_eq!(found["items"][0]["itemID"], 12, "{query}: {:?}", ids(&found["items"]));
    }
}

#[tokio::test]
async fn half_typed_query_is_completed() {
    let (_site, gateway) = shop();
    let client = gateway.client("dexar");
    let suggested = client.json(&path("/suggest", "чай", "&count=2")).await;
    assert_eq!(suggested["queries"][0], "чайник");
    assert_eq!(suggested["categories"], json!([{ "id": "sub_kettles", "categoryID": 2, "name": "Чайники" }]));
    let items = suggested["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2);
    assert_eq!(
        items[0],
        json!({ "itemID": 21, "id": items[0]["id"], "name": "Чайник электрический Bosch красный", "price": 3000, "discount": 10 }),
    );
    let suggested = client.json(&path("/suggest", "чайник кра", "")).await;
    assert_eq!(suggested["queries"], json!(["чайник красный"]));
    let nothing = client.json(&path("/suggest", "ъъъъъъ", "")).await;
    assert_eq!(nothing, json!({ "queries": [], "categories": [], "items": [] }));
}

#[tokio::test]
async fn edits_are_found_at_once_and_within_a_second_elsewhere() {
    let (site, gateway) = shop();
    let client = gateway.client("dexar");
    await_index(&client).await;
    assert_eq!(client.json(&path("/searchitems", "самовар", "")).await["total"], 0);
    let item = r#"{"itemID":24,"categoryID":2,"name":"Самовар тульский","price":7000,"quantity":1}"#;
    site.import_text("dexar", "more.jsonl", item, &[]).success();
    eventually_async("the edit is found", 10, async || {
        (client.json(&path("/searchitems", "самовары", "")).await["total"] == 1).then_some(())
    })
    .await;
    let facets = client.json("/category/2/facets").await;
    assert_eq!(facets["categories"][0]["count"], 4);
    // A sale changes the stock alone.
    site.sql_as("dexar", "update item_stock set quantity = 0 where item_id = 24").expect("updated");
    eventually_async("the edit is found", 10, async || {
        (client.json(&path("/searchitems", "самовар", "&inStock=true")).await["total"] == 0).then_some(())
    })
    .await;
    site.sql_as("dexar", "update item set visible = false where item_id = 24").expect("updated");
    eventually_async("the edit is found", 10, async || {
        (client.json(&path("/searchitems", "самовар", "")).await["total"] == 0).then_some(())
    })
    .await;
}
