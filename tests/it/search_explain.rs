//! `brandgate search explain`: the readings of a query, the parts of the order, and what keeps an item out.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::{Site, demo_shops, eventually_async};

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Техника","parentID":0,"id":"cat_tech"}
{"categoryID":2,"name":"Чайники","parentID":1,"id":"sub_kettles"}
{"categoryID":3,"name":"Наушники","parentID":1,"id":"sub_phones"}
{"categoryID":4,"name":"Архив","parentID":0,"id":"cat_old","visible":false}
{"itemID":21,"categoryID":2,"name":"Чайник Bosch","price":3000,"discount":10,"quantity":5,"tags":["акция"],"descriptionFields":[{"key":"Бренд","value":"Bosch"}]}
{"itemID":22,"categoryID":2,"name":"Чайник заварочный","price":900,"quantity":0,"simpleDescription":"Хорош с электроплитой Bosch","regions":["moscow"]}
{"itemID":31,"categoryID":3,"name":"Наушники Sony WH-1000XM5","price":29990,"quantity":3,"priority":7}
{"itemID":32,"categoryID":3,"name":"Наушники Philips","price":990,"quantity":3,"visible":false}
{"itemID":41,"categoryID":4,"name":"Наушники старые","price":990,"quantity":3}
"#;

fn shop() -> Site {
    let site = Site::new(&["dexar", "novo"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site
}

fn explain(site: &Site, query: &str, more: &[&str]) -> Value {
    let output = site.run(&[&["search", "explain", "--brand", "dexar", "--json", query], more].concat()).success();
    serde_json::from_str(&output).expect("JSON")
}

fn near(value: &Value, expected: f64) -> bool {
    (value.as_f64().expect("a number") - expected).abs() < 0.001 * expected.max(1.0)
}

#[test]
fn readings_and_the_parts_of_each_place_are_shown() {
    let site = shop();
    let explained = explain(&site, "наушнки sony", &[]);
    assert_eq!((&explained["query"], &explained["corrected"]), (&json!("наушнки sony"), &json!("наушники sony")));
    assert_eq!(explained["total"], 1);
    let words = explained["words"].as_array().expect("a list");
    assert_eq!(words[0]["typed"], "наушнки");
    assert_eq!(words[0]["readings"][0], json!({"kind": "slip", "weight": 0.85, "terms": ["наушники"]}));
    assert_eq!(words[1]["readings"][0], json!({"kind": "typed", "weight": 1.0, "terms": ["sony"]}));
    let category = &explained["categories"][0];
    assert_eq!((&category["categoryID"], &category["name"]), (&json!(3), &json!("Наушники")));

    let item = &explained["items"][0];
    let mut facts = item.clone();
    facts.as_object_mut().expect("an object").retain(|name, _| !["score", "parts"].contains(&name.as_str()));
    assert_eq!(
        facts,
        json!({"place": 1, "itemID": 31, "name": "Наушники Sony WH-1000XM5", "pinned": null, "buried": false,
               "isName": false, "missing": [], "inStock": true, "priority": 7})
    );
    let parts = &item["parts"];
    let of_words = parts["ofWords"].as_array().expect("a list");
    assert_eq!(of_words[0]["fields"], json!(["first word of the name", "category"]));
    assert_eq!(of_words[1]["fields"], json!(["name"]));
    assert_eq!((&of_words[0]["reading"], &of_words[1]["reading"]), (&json!("slip"), &json!("typed")));
    for word in of_words {
        let number = |name: &str| word[name].as_f64().expect("a number");
        assert!(near(&word["score"], number("readingWeight") * number("fieldWeight") * number("rarity")), "{word}");
    }
    let sum: f64 = of_words.iter().map(|word| word["score"].as_f64().expect("a number")).sum();
    assert!(near(&parts["words"], sum), "{parts}");
    let factor = |name: &str| parts[name].as_f64().expect("a number");
    let product = factor("words") * factor("lengthFactor") * factor("intentFactor") * factor("coverage").powi(2);
    assert!(near(&item["score"], product), "{item}");
    assert!(near(&category["factor"], factor("intentFactor")));
    // wh, 1000xm5 and their glued form: three words that the query does not have.
    assert!(near(&parts["lengthFactor"], 0.94), "{parts}");
}

#[test]
fn explanation_is_readable() {
    let site = shop();
    let text = site.run(&["search", "explain", "--brand", "dexar", "наушнки sony", "--item", "22"]).success();
    for line in [
        "query       наушнки sony\n",
        "corrected   наушники sony\n",
        "word        наушнки: slip наушники (0.85), ",
        "results     1\n",
        "   1  item 31 Наушники Sony WH-1000XM5\n      in stock, priority 7\n      score ",
        "\nitem 22 Чайник заварочный is not among the results:\n    it lacks наушнки, sony; of 2 words a result may lack 1\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn what_keeps_an_item_out_is_named() {
    let site = shop();
    let obstacles = |query: &str, item: &str, more: &[&str]| {
        let explained = explain(&site, query, &[&["--item", item], more].concat());
        let lookup = &explained["item"];
        assert_eq!(lookup["result"], json!(null), "{explained}");
        let obstacles = lookup["obstacles"].as_array().expect("a list").clone();
        obstacles.iter().map(|obstacle| obstacle["code"].as_str().expect("a code").to_owned()).collect::<Vec<_>>()
    };
    for (query, item, more, expected) in [
        ("наушники", "32", &[][..], &["hidden"][..]),
        ("наушники", "41", &[], &["hidden_category"]),
        ("наушники", "21", &[], &["lacks_words"]),
        ("наушники sony до 3000", "31", &[], &["price_limit"]),
        ("чайник", "21", &["--price-max", "2699.99"], &["price_limit"]),
        ("чайник", "21", &["--price-min", "2700.01"], &["price_limit"]),
        ("чайник", "22", &["--region", "spb"], &["other_region"]),
        ("чайник", "22", &["--in-stock"], &["out_of_stock"]),
        ("чайник", "22", &["--discounted"], &["not_discounted"]),
        ("чайник", "22", &["--tag", "акция"], &["lacks_tags"]),
        ("чайник", "22", &["--category", "sub_phones"], &["other_category"]),
        ("чайник", "31", &["--category", "2"], &["other_category", "lacks_words"]),
        ("чайник bosch заварочный электроплита", "21", &[], &["others_have_more_words"]),
        ("истребитель", "31", &[], &["unknown_query"]),
        ("!!!", "31", &[], &["no_words"]),
        ("чайнк", "21", &["--exact"], &["unknown_query"]),
    ] {
        assert_eq!(obstacles(query, item, more), expected, "{query} {item} {more:?}");
    }
    let within = explain(&site, "чайник", &["--item", "22", "--region", "moscow"]);
    assert_eq!(within["item"]["obstacles"], json!([]));
    assert_eq!((&within["item"]["result"]["place"], &within["item"]["result"]["inStock"]), (&json!(2), &json!(false)));

    let elsewhere = site.run(&["search", "explain", "--brand", "novo", "чайник", "--item", "21"]);
    assert!(elsewhere.failure(1).contains("novo: There is no such item."));
    let nothing = site.run(&["search", "explain", "--brand", "novo", "чайник"]).success();
    assert_eq!(nothing, "query       чайник\nword        чайник: not known\nresults     0\n");
    let no_category = site.run(&["search", "explain", "--brand", "dexar", "чайник", "--category", "99"]);
    assert!(no_category.failure(1).contains("dexar: There is no such category."));
    assert!(site.run(&["search", "explain", "--brand", "dexar", " "]).failure(2).contains("1 to 512 characters"));
}

#[test]
fn fields_synonyms_and_places_of_the_shop_are_explained() {
    let site = shop();
    let fields = |query: &str, place: usize| {
        let explained = explain(&site, query, &[]);
        explained["items"][place]["parts"]["ofWords"][0]["fields"].clone()
    };
    assert_eq!(fields("bosch", 0), json!(["name", "brand"]));
    assert_eq!(fields("bosch", 1), json!(["description"]));
    assert_eq!(fields("техника", 0), json!(["category above"]));
    assert_eq!(fields("акция", 0), json!(["tag"]));

    for command in [
        &["synonyms", "add", "--brand", "dexar", "бульотка => чайник"][..],
        &["pins", "add", "--brand", "dexar", "--query", "бульотка", "--item", "22"],
        &["pins", "add", "--brand", "dexar", "--query", "бульотка", "--item", "21", "--bury"],
        &["pins", "add", "--brand", "dexar", "--query", "бульотка", "--item", "31", "--position", "9"],
    ] {
        site.run(&[&["search"], command].concat()).success();
    }
    let explained = explain(&site, "бульотка", &["--item", "21"]);
    assert_eq!(explained["words"][0]["readings"][0]["kind"], "synonym");
    let places: Vec<(i64, Value, Value)> = explained["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| (item["itemID"].as_i64().expect("an id"), item["pinned"].clone(), item["buried"].clone()))
        .collect();
    assert_eq!(places, [(22, json!(1), json!(false)), (31, json!(9), json!(false)), (21, json!(null), json!(true))]);
    assert_eq!(explained["items"][1]["parts"], json!(null), "it is there only because it is pinned");
    assert_eq!(explained["item"]["result"]["place"], 3);
    assert_eq!(explained["total"], 3);
}

#[tokio::test]
async fn order_is_that_of_a_gateway_whose_index_has_followed_edits() {
    let site = Site::new(&["dexar"]);
    let mut shop = "{\"categoryID\":1,\"name\":\"Посуда\",\"parentID\":0,\"id\":\"cat_ware\"}\n".to_owned();
    for number in 1..=12 {
        let more = "для дома ".repeat(number);
        shop += &format!(
            "{{\"itemID\":{number},\"categoryID\":1,\"name\":\"Чайник {more}\",\"price\":{number}00,\"quantity\":5}}\n"
        );
    }
    site.import_text("dexar", "shop.jsonl", &shop, &[]).success();
    let gateway = site.start();
    let client = gateway.client("dexar");
    let path = format!("/searchitems?search={}", utf8_percent_encode("чайник", NON_ALPHANUMERIC));
    let ids = |list: &Value| -> Vec<i64> {
        list["items"].as_array().expect("a list").iter().map(|item| item["itemID"].as_i64().expect("an id")).collect()
    };
    client.json("/category/1/facets").await;
    let before = ids(&client.json(&path).await);
    assert_eq!(before[0], 1, "the shortest name");
    // These are then in another segment than the rest, where their words are rare.
    site.sql_as("dexar", "update item_stock set quantity = 4 where item_id in (5, 9)").expect("updated");
    eventually_async("the edit is shown", 10, async || {
        let found = client.json(&path).await;
        let quantity = |id: i64| {
            let items = found["items"].as_array().expect("a list");
            items.iter().find(|item| item["itemID"] == id).expect("it is found")["quantity"].clone()
        };
        (quantity(5) == 4 && quantity(9) == 4).then_some(())
    })
    .await;
    assert_eq!(ids(&client.json(&path).await), before, "a sale moves no item");
    assert_eq!(ids(&explain(&site, "чайник", &[])), before[..10]);
}

/// Each part of the order as the explanation gives it: the smaller, the earlier.
fn order_key(item: &Value) -> (bool, usize, bool, i64, i64, i64) {
    let number = |value: &Value| value.as_f64().expect("a number");
    let missing = item["missing"].as_array().expect("a list").len();
    let score = -(number(&item["score"]) * 10_000.0).round() as i64;
    let (is_name, in_stock) = (item["isName"] == true, item["inStock"] == true);
    let priority = -item["priority"].as_i64().expect("a number");
    (!is_name, missing, !in_stock, score, priority, item["itemID"].as_i64().expect("an id"))
}

#[tokio::test]
async fn order_and_scores_of_the_demonstration_catalogue_follow_from_the_explained_parts() {
    let demo = demo_shops();
    let client = demo.gateway.client("dexar");
    client.json("/category/1/facets").await;
    for query in ["свеча", "игла швейная", "набор для дома", "магнит красный", "chasy", "jacket", "часы до 20000"]
    {
        let path = format!("/searchitems?count=10&search={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
        let found = client.json(&path).await;
        let explained = explain(&demo.site, query, &[]);
        let ids = |items: &Value| -> Vec<i64> {
            items.as_array().expect("a list").iter().map(|item| item["itemID"].as_i64().expect("an id")).collect()
        };
        assert!(!ids(&found["items"]).is_empty(), "{query}");
        assert_eq!(ids(&explained["items"]), ids(&found["items"]), "{query}");
        assert_eq!((&explained["total"], &explained["corrected"]), (&found["total"], &found["corrected"]), "{query}");
        let items = explained["items"].as_array().expect("a list");
        assert!(items.is_sorted_by_key(order_key), "{query}: {explained:#}");
        for (place, item) in (1..).zip(items) {
            assert_eq!(item["place"], place);
            let factor = |name: &str| item["parts"][name].as_f64().expect("a number");
            let product =
                factor("words") * factor("lengthFactor") * factor("intentFactor") * factor("coverage").powi(2);
            assert!(near(&item["score"], product), "{query}: {item:#}");
            let of_words = item["parts"]["ofWords"].as_array().expect("a list");
            assert!(of_words.iter().all(|word| word["fields"] != json!([])), "{query}: {item:#}");
        }
        let last = explain(&demo.site, query, &["--item", &items[items.len() - 1]["itemID"].to_string()]);
        assert_eq!(last["item"]["result"], items[items.len() - 1], "{query}");
    }
}
