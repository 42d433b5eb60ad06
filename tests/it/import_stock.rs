//! Stock and prices that a file does not state clearly: nothing stays on sale, and nothing of a record is lost with
//! them.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"categoryID":1,"id":"cat_1","name":"Посуда","parentID":0}
{"itemID":1,"id":"item_1","categoryID":1,"name":"Чашка","price":100,"quantity":5,"tags":["белый"]}
{"itemID":2,"id":"item_2","categoryID":1,"name":"Кружка","price":100,"quantity":5}
{"itemID":3,"id":"item_3","categoryID":1,"name":"Ложка","price":100,"quantity":5}
"#;

fn shop() -> Site {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site
}

/// Price, quantity and level of an item.
fn offer(site: &Site, number: u64) -> (Value, Value, Value) {
    let shop = exported(site, "dexar");
    let items = shop["items"].as_array().expect("a list");
    let item = items.iter().find(|item| item["itemID"] == number).unwrap_or_else(|| panic!("no item {number}"));
    (item["price"].clone(), item["quantity"].clone(), item["remainings"].clone())
}

fn feed(offers: &str) -> String {
    format!(
        "<yml_catalog><shop><categories><category id='1'>Посуда</category></categories><offers>{offers}</offers></shop></yml_catalog>"
    )
}

#[test]
fn offers_that_sell_out_without_a_price_sell_out() {
    let site = shop();
    let sold_out = feed(
        "<offer id='1' available='false'><name>Чашка</name><price></price><categoryId>1</categoryId></offer>
         <offer id='2' available='false'><name>Кружка</name><price>0</price><categoryId>1</categoryId>\
         <count>0</count></offer>
         <offer id='3' available='false'><name>Ложка чайная</name><price>по запросу</price></offer>
         <offer id='4' available='false'><name>Новая</name><price>0</price><categoryId>1</categoryId></offer>",
    );
    let output = site.import_text("dexar", "feed.xml", sold_out, &[]).success();
    for number in [1, 2, 3] {
        assert_eq!(offer(&site, number), (json!(100), Value::Null, json!("out")));
    }
    assert_eq!(exported(&site, "dexar")["items"][2]["name"], "Ложка чайная", "the rest of the record is imported");
    assert!(output.contains("4 × is sold out and has no usable price"), "{output}");
    assert!(output.contains("is new and has no price (item_4)"), "{output}");
}

#[test]
fn an_available_offer_without_a_usable_price_is_not_sold_at_the_old_one() {
    let site = shop();
    let on_request = feed(
        "<offer id='1' available='true'><price>по запросу</price><count>5</count></offer>
         <offer id='2' available='true'><price from='true'>90</price><count>5</count></offer>
         <offer id='3' available='true'><price>90</price><count>5</count></offer>",
    );
    let output = site.import_text("dexar", "feed.xml", on_request, &[]).failure(3);
    assert_eq!(offer(&site, 1), (json!(100), Value::Null, json!("out")));
    assert_eq!(offer(&site, 2), (json!(90), Value::Null, json!("out")));
    assert_eq!(offer(&site, 3), (json!(90), json!(5), Value::Null));
    assert!(output.contains("price is not a number: left out"), "{output}");
    assert!(output.contains("price is only the lowest one"), "{output}");
}

#[test]
fn stock_that_is_not_understood_is_out_and_reported() {
    for (name, text) in [
        ("new.jsonl", "{\"itemID\":1,\"quantity\":\"скоро\"}\n{\"itemID\":2,\"remainings\":\"?\"}\n".to_owned()),
        (
            "new.xml",
            feed("<offer id='1' available='true'><count>скоро</count></offer><offer id='2' available='наверное'/>"),
        ),
    ] {
        let site = shop();
        let output = site.import_text("dexar", name, &text, &[]).failure(3);
        for number in [1, 2] {
            assert_eq!(offer(&site, number), (json!(100), Value::Null, json!("out")), "{text}");
        }
        assert_eq!(offer(&site, 3).1, json!(5));
        assert!(output.contains("incomplete: ") && output.contains("exit status 3"), "{output}");
        site.import_text("dexar", name, &text, &["--strict"]).failure(1);
    }
}

#[test]
fn json_and_yml_read_the_same_numbers() {
    for (stock, quantity) in [("-3", 0), ("2.5", 2), ("8.0", 8), ("1 200", 1200), (">10", 10), ("4 шт.", 4)] {
        let site = shop();
        let text = json!({ "itemID": 1, "quantity": stock }).to_string();
        site.import_text("dexar", "new.jsonl", text, &["--strict"]).success();
        let escaped = stock.replace('>', "&gt;");
        let offers = format!("<offer id='2' available='true'><quantity>{escaped}</quantity></offer>");
        site.import_text("dexar", "new.xml", feed(&offers), &["--strict"]).success();
        for number in [1, 2] {
            assert_eq!(offer(&site, number), (json!(100), json!(quantity), Value::Null), "{stock}");
        }
    }
}

#[test]
fn an_item_of_the_shop_takes_what_is_usable_of_a_record() {
    let huge = vec!["тег ".repeat(50); 8_000];
    for (what, members) in [
        ("three megabytes of tags", json!({ "tags": huge })),
        ("a wrong type", json!({ "photos": "a.jpg" })),
        ("a NUL", json!({ "description": "\0" })),
        ("a category that does not exist", json!({ "categoryID": 99 })),
        ("a subcategory that does not exist", json!({ "subcategoryId": "sub_99" })),
        ("a region that does not exist", json!({ "regions": ["atlantis"] })),
    ] {
        let site = shop();
        let mut record = json!({ "itemID": 1, "id": "item_1", "quantity": 0, "name": "Чашка белая" });
        record.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let output = site.import_text("dexar", "new.jsonl", record.to_string(), &[]).failure(3);
        assert_eq!(offer(&site, 1), (json!(100), json!(0), Value::Null), "{what}: {output}");
        let item = &exported(&site, "dexar")["items"][0];
        assert_eq!((&item["name"], &item["tags"]), (&json!("Чашка белая"), &json!(["белый"])), "{what}");
        assert_eq!((&item["categoryID"], &item["regions"]), (&json!(1), &json!([])), "{what}");
        assert!(output.lines().any(|line| line.starts_with("incomplete") && line.contains("item_1")), "{output}");
    }
}

#[test]
fn a_file_of_which_every_record_is_left_out_exits_with_3() {
    let site = shop();
    let before = site.export("dexar");
    let fraction = r#"{"items": [{"itemID": 77, "name": "Дробная скидка", "price": 99990, "discount": 10.001,
        "categoryID": 1, "currency": "RUB"}]}"#;
    let output = site.import_text("dexar", "frac.json", fraction, &[]).failure(3);
    assert!(output.contains("discount: at most 2 decimal places"), "{output}");
    assert!(output.contains("every record of 1 file was left out"), "{output}");
    let nothing = feed("<offer id='9'><name>Без цены</name></offer><offer id='10'><name>Без цены</name></offer>");
    let nothing = site.directory.write("nothing.xml", nothing);
    let good = site.directory.write("good.jsonl", "{\"itemID\":1,\"price\":100}\n");
    let both = [nothing.to_str().expect("UTF-8"), good.to_str().expect("UTF-8")];
    assert!(site.import("dexar", &both).failure(3).contains("every record of 1 file "));
    assert_eq!(site.export("dexar"), before);
    site.import_text("dexar", "categories.xml", feed(""), &[]).success();
}
#[test]
fn long_texts_never_fail_an_import() {
    let site = shop();
    // Each within the limit of its field; together they are far above that of the search index.
    let words = |letter: &str, bytes: usize| -> String {
        let words = (0..).map(|number| format!("{letter}{number}-{letter}{number} "));
        let mut length = 0;
        words.take_while(|word| (length < bytes, length += word.len()).0).collect()
    };
    let mut description = words("щ", 100_000);
    description.truncate(description.char_indices().nth(50_000).map_or(description.len(), |(at, _)| at));
    let record = json!({
        "itemID": 1, "quantity": 0, "description": description, "tags": [words("t", 49_000)],
        "descriptionFields": [{ "key": "k", "value": words("f", 99_000) }],
        "translations": { "en": { "description": words("e", 60_000), "name": words("n", 30_000) },
                          "hy": { "description": words("h", 60_000), "name": words("m", 30_000) } },
    });
    let new = format!("{record}\n{{\"itemID\":2,\"quantity\":0}}\n");
    site.import_text("dexar", "long.jsonl", new, &["--strict"]).success();
    assert_eq!((offer(&site, 1).1, offer(&site, 2).1), (json!(0), json!(0)));
    let found = "select count(*) from item where search @@ to_tsquery('russian', 'чашка') and item_id = 1";
    assert_eq!(site.sql_as("dexar", found).as_deref(), Ok("1"), "the name is still found");
}
