//! Imports with rejected records lose nothing: `--replace`, regional feeds, conflicting ids.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Посуда","parentID":0}
{"itemID":11,"id":"item_cup","categoryID":1,"name":"Чашка","price":10,"quantity":5}
{"itemID":12,"id":"item_mug","categoryID":1,"name":"Кружка","price":20}
"#;

fn shop() -> Site {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site
}

fn item_ids(site: &Site) -> Vec<u64> {
    let shop = exported(site, "dexar");
    shop["items"].as_array().expect("a list").iter().filter_map(|item| item["itemID"].as_u64()).collect()
}

fn feed(offers: &str) -> String {
    format!(
        "<yml_catalog><shop><categories><category id='1'>Посуда</category></categories><offers>{offers}</offers></shop></yml_catalog>"
    )
}

#[test]
fn replace_keeps_an_item_whose_record_is_incomplete() {
    let site = shop();
    let new = r#"{"categoryID":1,"name":"Посуда","parentID":0}
{"itemID":11,"categoryID":1,"name":"Чашка","price":"десять"}
{"itemID":13,"categoryID":1,"name":"Ложка","price":5}
"#;
    site.import_text("dexar", "new.jsonl", new, &["--replace", "--max-removed", "50"]).failure(3);
    assert_eq!(
        exported(&site, "dexar")["items"][1]["visible"],
        json!(false),
        "the mug has no record, the cup one without a usable price"
    );
    assert_eq!(item_ids(&site), [11, 12, 13]);
    assert_eq!(exported(&site, "dexar")["items"][0]["remainings"], json!("out"));
}

#[test]
fn replace_fails_when_a_rejected_record_does_not_identify_its_item() {
    let site = shop();
    for broken in
        ["{\"itemID\":12,", "{\"itemID\":\"12\",\"name\":\"Кружка\",\"price\":20}", "{\"categoryID\":1,\"icon\":5}"]
    {
        let new = format!("{{\"itemID\":11,\"name\":\"Чашка\",\"price\":10}}\n{broken}\n");
        let output = site.import_text("dexar", "new.jsonl", new, &["--replace"]).failure(1);
        assert!(output.contains("--replace might remove"), "{output}");
        assert_eq!(item_ids(&site), [11, 12], "{broken}");
    }
}

#[test]
fn replace_never_empties_a_shop() {
    let site = shop();
    let output =
        site.import_text("dexar", "new.jsonl", "{\"categoryID\":1,\"name\":\"Посуда\"}", &["--replace"]).failure(1);
    assert!(output.contains("would empty the shop"), "{output}");
    assert_eq!(item_ids(&site), [11, 12]);
}

#[test]
fn an_incomplete_record_of_a_regional_feed_counts_for_its_region() {
    let site = shop();
    let write_feed = |name: &str, offers: &str| {
        let path = site.directory.write(name, feed(offers));
        path.to_str().expect("UTF-8").to_owned()
    };
    let both = "<offer id='901'><name>Блюдо</name><price>5</price><categoryId>1</categoryId></offer>\
                <offer id='902'><name>Поднос</name><price>6</price><categoryId>1</categoryId></offer>";
    site.import("dexar", &[&format!("moscow={}", write_feed("moscow.xml", both))]).success();
    let bad = both.replacen("<categoryId>1</categoryId>", "<categoryId>77</categoryId>", 1);
    site.import("dexar", &["--replace", &format!("spb={}", write_feed("spb.xml", &bad))]).failure(3);
    let shop = exported(&site, "dexar");
    let regions_of = |id: u64| {
        let item = shop["items"].as_array().expect("a list").iter().find(|item| item["itemID"] == json!(id));
        item.expect("it exists")["regions"].clone()
    };
    assert_eq!(regions_of(901), json!(["moscow", "spb"]), "it stays in its category and is sold where its feed says");
    assert_eq!(regions_of(902), json!(["moscow", "spb"]));
}

#[test]
fn an_id_of_two_new_records_fails_neither_the_import_nor_the_first_record() {
    let site = shop();
    let new = r#"{"categoryID":7005,"name":"А"}
{"categoryID":7006,"id":"cat_7005","name":"Б"}
{"categoryID":7050}
{"categoryID":7051,"name":"В","parentID":7050}
{"itemID":21,"id":"item_x","categoryID":1,"name":"Первый","price":1}
{"itemID":22,"id":"item_x","categoryID":1,"name":"Второй","price":1}
{"itemID":31,"id":"item_32","categoryID":1,"name":"Третий","price":1}
{"itemID":32,"categoryID":1,"name":"Четвёртый","price":1}
"#;
    let output = site.import_text("dexar", "new.jsonl", new, &[]).success();
    assert_eq!(item_ids(&site), [11, 12, 21, 31]);
    assert!(output.contains("2 × its id belongs to another item already"), "{output}");
    assert!(output.contains("its parent does not exist"), "{output}");
}

#[test]
fn a_feed_with_availability_only_keeps_a_counted_stock() {
    let site = shop();
    let availability =
        |available: &str| feed(&format!("<offer id='cup' available='{available}'><price>11</price></offer>"));
    let cup = || {
        let shop = exported(&site, "dexar");
        let item: &Value = &shop["items"][0];
        (item["price"].clone(), item["quantity"].clone(), item["remainings"].clone())
    };
    site.import_text("dexar", "feed.xml", availability("true"), &[]).success();
    assert_eq!(cup(), (json!(11), json!(5), Value::Null), "five units stay five");
    site.import_text("dexar", "feed.xml", availability("false"), &[]).success();
    assert_eq!(cup(), (json!(11), Value::Null, json!("out")));
    site.import_text("dexar", "feed.xml", availability("true"), &[]).success();
    assert_eq!(cup(), (json!(11), Value::Null, json!("high")), "an item out of stock is available again");
}

#[test]
fn a_text_id_is_never_read_as_a_number() {
    let site = shop();
    let output = site.import_text("dexar", "new.jsonl", r#"{"id":"11","price":1}"#, &[]).failure(3);
    assert!(output.contains("is new and has no name"), "{output}");
    assert_eq!(exported(&site, "dexar")["items"][0]["price"], json!(10));
}

#[test]
fn the_report_never_overwrites_an_input() {
    let site = shop();
    let file = site.directory.write("new.jsonl", "{\"itemID\":11,\"price\":12}\n");
    let file = file.to_str().expect("UTF-8");
    let output = site.import("dexar", &["--report", file, file]).failure(1);
    assert!(output.contains("one of the files to import"), "{output}");
    assert!(std::fs::read_to_string(file).expect("it exists").contains("itemID"));
}
