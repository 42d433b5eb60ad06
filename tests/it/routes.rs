//! The JSON of every catalogue endpoint on the demonstration data, compared with golden files and with the source of
//! the data.

use serde_json::{Value, json};

use crate::demo_catalog::Source;
use crate::harness::{Site, assert_golden, data, demo_shops, eventually_async, request};

/// Name of the golden file, path, region, language.
type Case = (&'static str, &'static str, Option<&'static str>, Option<&'static str>);

async fn assert_responses(brand: &str, cases: &[Case]) {
    let client = demo_shops().gateway.client(brand);
    for (name, path, region, language) in cases {
        let mut request = request(path);
        if let Some(region) = region {
            request = request.region(region);
        }
        if let Some(language) = language {
            request = request.language(language);
        }
        let answer = client.send(request).await;
        assert_golden(&format!("{brand}/{name}"), &answer.ok_json());
        let expected = language.filter(|language| name.ends_with(language)).unwrap_or("ru");
        assert_eq!(answer.header("content-language"), Some(expected), "{path} {language:?}");
    }
}

#[tokio::test]
async fn responses_of_dexar_match_the_golden_files() {
    assert_responses(
        "dexar",
        &[
            ("regions.ru", "/regions", None, None),
            ("regions.en", "/regions", None, Some("en")),
            ("regions.hy", "/regions", Some("spb"), Some("hy")),
            ("category.ru", "/category", None, None),
            ("category.yerevan.en", "/category", Some("yerevan"), Some("en")),
            ("category-items.ru", "/category/13?count=3", None, Some("ru")),
            ("category-items.moscow.hy", "/category/sub_bakery?count=2&skip=1", Some("moscow"), Some("hy")),
            ("item-two-reviews.ru", "/item/1038", None, None),
            ("item-two-reviews.en", "/item/item_bread", Some("spb"), Some("en")),
            ("item-level-without-quantity.hy", "/item/1118", None, Some("hy")),
            ("item-name-only-translated.hy", "/item/item_melon", None, Some("hy")),
            ("item-untranslated", "/item/item_chestnut", None, Some("en")),
            ("search.ru", "/searchitems?search=%D0%B2%D0%B8%D0%BD%D0%BE%D0%B3%D1%80%D0%B0%D0%B4&count=2", None, None),
            ("search.yerevan.en", "/searchitems?search=peach&count=2&skip=0", Some("yerevan"), Some("en")),
        ],
    )
    .await;
}

#[tokio::test]
async fn responses_of_novo_match_the_golden_files() {
    assert_responses(
        "novo",
        &[
            ("regions.ru", "/regions", None, None),
            ("category.ru", "/category", None, None),
            ("category.spb.hy", "/category", Some("spb"), Some("hy")),
            ("category-items.en", "/category/10101?count=2", None, Some("en")),
            ("item.ru", "/item/110101000006", None, None),
            ("item.moscow.en", "/item/item_110101000006", Some("moscow"), Some("en")),
            (
                "search.spb.ru",
                "/searchitems?search=%D0%BA%D0%BE%D0%BB%D0%BE%D0%BD%D0%BA%D0%B0&count=1",
                Some("spb"),
                None,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn ping_matches_the_specification() {
    for brand in ["dexar", "novo"] {
        let answer = demo_shops().gateway.client(brand).get("/ping").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"message":"pong"}"#[..]));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

/// A translated member, or the Russian one.
fn translated<'a>(item: &'a Value, language: &str, member: &str) -> &'a Value {
    let translation = &item["translations"][language][member];
    if translation.is_null() { &item[member] } else { translation }
}

#[tokio::test]
async fn each_field_of_an_item_falls_back_to_russian_separately() {
    let client = demo_shops().gateway.client("dexar");
    let mut partly = 0;
    for item in Source::dexar().shown_items() {
        for language in ["ru", "en", "hy"] {
            let answer = client.send(request(&format!("/item/{}", item["itemID"])).language(language)).await;
            let got = answer.ok_json();
            assert_eq!(&got["name"], translated(item, language, "name"));
            assert_eq!(&got["simpleDescription"], translated(item, language, "simpleDescription"));
            assert_eq!(got["description"], item["description"], "the demonstration data translates it as a list only");
            let fields = &item["translations"][language]["description"];
            let fields = if fields.is_null() { &item["descriptionFields"] } else { fields };
            assert_eq!(&got["descriptionFields"], fields, "{item}");
            let translation = item["translations"].get(language).and_then(Value::as_object);
            let used = if translation.is_some() { language } else { "ru" };
            assert_eq!(answer.header("content-language"), Some(used), "{item}");
            partly += usize::from(translation.is_some_and(|members| members.len() == 1));
        }
    }
    assert!(partly >= 10, "only {partly} items are translated in part");
}

#[tokio::test]
async fn descriptions_cities_and_categories_fall_back_separately() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &["--strict", &data("import/translations.jsonl")]).success();
    let gateway = site.start();
    let client = gateway.client("dexar");
    let of = async |path: &str, language: &str| {
        let answer = client.send(request(path).language(language)).await;
        (answer.ok_json(), answer.header("content-language").expect("the language").to_owned())
    };
    let fields = |key: &str, value: &str| json!([{ "key": key, "value": value }]);
    for (language, description, expected) in [
        ("ru", "Текст", fields("Цвет", "белый")),
        ("en", "A text", fields("Цвет", "белый")),
        ("hy", "Текст", fields("Գույն", "սպիտակ")),
    ] {
        let (item, used) = of("/item/1", language).await;
        assert_eq!((&item["description"], &item["descriptionFields"]), (&json!(description), &expected));
        assert_eq!((&item["name"], &item["simpleDescription"]), (&json!("Чайник"), &json!("Коротко")));
        assert_eq!(used, language, "one translated field is enough");
    }
    for (language, city, country) in
        [("en", "Moscow", "Россия"), ("hy", "Москва", "Ռուսաստան"), ("ru", "Москва", "Россия")]
    {
        let (regions, used) = of("/regions", language).await;
        assert_eq!((&regions[0]["city"], &regions[0]["country"]), (&json!(city), &json!(country)));
        assert_eq!(used, language);
    }
    for (language, parent, child) in
        [("en", "Dishes", "Чайники"), ("hy", "Посуда", "Թեյնիկներ"), ("ru", "Посуда", "Чайники")]
    {
        let (tree, used) = of("/category", language).await;
        assert_eq!((&tree[0]["name"], &tree[0]["subcategories"][0]["name"]), (&json!(parent), &json!(child)));
        assert_eq!(used, language);
    }
    let questions = |item: &Value| item["questions"].as_array().expect("a list").len();
    assert_eq!((questions(&of("/item/1", "ru").await.0), questions(&of("/category/1", "ru").await.0[0])), (4, 3));

    // A feed may have translations into Russian too.
    let russian = "{\"itemID\":1,\"translations\":{\"ru\":{\"name\":\"Самовар\"}}}";
    site.import_text("dexar", "russian.jsonl", russian, &[]).success();
    eventually_async("the change is visible", 10, async || {
        (of("/item/1", "ru").await.0["name"] == "Самовар").then_some(())
    })
    .await;
    assert_eq!(of("/item/1", "en").await.0["name"], "Чайник");
}

#[tokio::test]
async fn region_subtags_and_case_of_the_language_are_ignored_and_unknown_ones_are_russian() {
    let client = demo_shops().gateway.client("dexar");
    let russian = client.json("/item/1013").await;
    let english = client.send(request("/item/1013").language("en")).await.ok_json();
    assert_ne!(russian["name"], english["name"]);
    for (sent, expected) in [
        ("EN", &english),
        ("en-US", &english),
        ("en_GB", &english),
        ("ru-RU", &russian),
        ("de", &russian),
        ("english", &russian),
        ("", &russian),
        ("\u{fe}\u{ff}", &russian),
        ("../../etc", &russian),
    ] {
        assert_eq!(&client.send(request("/item/1013").language(sent)).await.ok_json(), expected, "{sent:?}");
    }
}

#[tokio::test]
async fn stock_is_returned_as_quantity_and_as_level() {
    let client = demo_shops().gateway.client("dexar");
    let mut seen = std::collections::BTreeSet::new();
    for item in Source::dexar().shown_items() {
        let got = client.json(&format!("/item/{}", item["itemID"])).await;
        assert_eq!(got.get("quantity"), item.get("quantity"));
        let level = match item["quantity"].as_u64() {
            None => item["remainings"].as_str().expect("the demonstration data has either"),
            Some(0) => "out",
            Some(1..=9) => "low",
            Some(10..=49) => "medium",
            Some(50..) => "high",
        };
        assert_eq!(got["remainings"], level, "{item}");
        seen.insert((level.to_owned(), item["quantity"].is_null()));
    }
    assert!(seen.len() >= 5, "the demonstration data has all levels and one without a quantity: {seen:?}");
}

#[tokio::test]
async fn lists_have_the_newest_three_reviews_and_single_items_the_newest_hundred_in_both_spellings() {
    let client = demo_shops().gateway.client("dexar");
    let source = Source::dexar();
    let source = source
        .shown_items()
        .into_iter()
        .find(|item| item["id"] == "item_headphone")
        .expect("the demonstration data has it");
    let newest = newest_first(&source["comments"]);
    assert!(newest.len() > 100, "it has more reviews than are shown");

    let alone = client.json("/item/item_headphone").await;
    assert_eq!(newest_first(&alone["comments"]), newest[..100]);
    let list = client.json("/category/53?count=200").await;
    let in_list = list.as_array().expect("a list").iter().find(|item| item["id"] == "item_headphone").expect("listed");
    assert_eq!(newest_first(&in_list["comments"]), newest[..3]);
    for shown in [&alone, in_list] {
        let as_callbacks: Vec<Value> = shown["comments"].as_array().expect("a list").iter().map(as_callback).collect();
        assert_eq!(shown["callbacks"], json!(as_callbacks));
        let times: Vec<_> =
            as_callbacks.iter().map(|callback| callback["timestamp"].as_str().expect("a time")).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    }
}

/// Reviews by descending time, those of one second by id.
fn newest_first(comments: &Value) -> Vec<Value> {
    let mut sorted = comments.as_array().expect("a list").clone();
    sorted.sort_by_key(|comment| (comment["createdAt"].to_string(), comment["id"].to_string()));
    sorted.reverse();
    sorted
}

/// A comment in the legacy spelling; the demonstration data has no answers.
fn as_callback(comment: &Value) -> Value {
    json!({
        "rating": comment["stars"], "content": comment["text"], "userID": comment["author"],
        "timestamp": comment["createdAt"],
    })
}

#[tokio::test]
async fn an_item_is_the_same_in_every_list_and_alone() {
    let client = demo_shops().gateway.client("novo");
    let page = client.json("/category/10101?count=200").await;
    let found = client.json("/searchitems?search=%D1%81%D1%82%D0%B0%D0%BD%D1%86%D0%B8%D1%8F&count=200").await;
    let mut compared = 0;
    for item in page.as_array().expect("a list") {
        let alone = client.json(&format!("/item/{}", item["itemID"])).await;
        let has_few = item["comments"].as_array().expect("a list").len() < 3;
        let has_few = has_few && item["questions"].as_array().expect("a list").len() < 3;
        if has_few {
            assert_eq!(&alone, item);
        }
        let hit = found["items"].as_array().expect("a list").iter().find(|hit| hit["itemID"] == item["itemID"]);
        if let Some(hit) = hit {
            assert_eq!(hit, item);
            compared += 1;
        }
    }
    assert!(compared > 0, "the search finds some items of the category");
}

#[tokio::test]
async fn decimals_are_returned_exactly() {
    let site = Site::new(&["novo"]);
    let records = "{\"categoryID\":1,\"name\":\"Всё\"}\n\
                   {\"itemID\":1,\"categoryID\":1,\"name\":\"Дробный\",\"price\":89990.50,\"discount\":12.50}\n\
                   {\"itemID\":2,\"categoryID\":1,\"name\":\"Круглый\",\"price\":89990.00,\"discount\":0}\n\
                   {\"itemID\":3,\"categoryID\":1,\"name\":\"Большой\",\"price\":999999999999.99}\n\
                   {\"itemID\":4,\"categoryID\":1,\"name\":\"Десятые\",\"price\":0.1,\"rating\":4.5}\n";
    site.import_text("novo", "prices.jsonl", records, &[]).success();
    let gateway = site.start();
    let client = gateway.client("novo");
    for (id, members) in [
        (1, "\"price\":89990.5,\"discount\":12.5,\"rating\":0,"),
        (2, "\"price\":89990,\"discount\":0,\"rating\":0,"),
        (3, "\"price\":999999999999.99,\"discount\":0,"),
        (4, "\"price\":0.1,\"discount\":0,\"rating\":4.5,"),
    ] {
        let text = String::from_utf8(client.get(&format!("/item/{id}")).await.body.to_vec()).expect("UTF-8");
        assert!(text.contains(members), "{members} is not in {text}");
    }
}
