//! YML feeds with the defects that occur in practice.

use serde_json::{Value, json};

use crate::harness::{Site, data, eventually};
use crate::import::{exported, table};

/// The record with this id in a list of an export.
#[track_caller]
fn by_id<'a>(shop: &'a Value, list: &str, id: &str) -> &'a Value {
    let records = shop[list].as_array().expect("a list");
    records.iter().find(|record| record["id"] == id).unwrap_or_else(|| panic!("no {id} in {records:?}"))
}

fn import_defective_feed() -> (Site, String, Value) {
    let site = Site::new(&["novo"]);
    let output = site.import("novo", &[&data("yml/traps.php")]).success();
    let shop = exported(&site, "novo");
    (site, output, shop)
}

#[test]
fn windows_1251_behind_php_is_decoded_and_entities_are_not_expanded() {
    let (_site, _, shop) = import_defective_feed();
    let kettle = by_id(&shop, "items", "item_1");
    assert_eq!(kettle["name"], "Чайник \"Ёж\" &boom2; &file;");
    assert_eq!(kettle["description"], "Первый абзац.\n\nВторой.");
    assert_eq!((&kettle["price"], &kettle["discount"]), (&json!(1000), &json!(20)), "oldprice is the list price");
    assert_eq!(kettle["currency"], "RUB", "RUR is its old name");
    assert_eq!(
        kettle["photos"],
        json!([{ "url": "https://shop.example/1.jpg" }, { "url": "https://shop.example/1b.jpg" }])
    );
    assert_eq!(
        kettle["descriptionFields"],
        json!([{ "key": "Объём", "value": "1.5 л" }, { "key": "Цвет", "value": "белый, синий" }])
    );
    assert!(!shop.to_string().contains("root:"), "/etc/passwd was read");
    assert!(!shop.to_string().contains("boomboom"), "an entity was expanded");
}

#[test]
fn unordered_nameless_cyclic_and_duplicate_categories_become_a_tree() {
    let (_site, output, shop) = import_defective_feed();
    let category = |id| by_id(&shop, "categories", id);
    assert_eq!((&category("cat_10")["name"], &category("cat_10")["parentID"]), (&json!("Посуда"), &json!(0)));
    assert_eq!(category("sub_20")["parentID"], 10);
    assert_eq!(category("sub_30")["parentID"], 20);
    let nameless = category("cat_40")["name"].as_str().expect("it has a name");
    assert!(nameless.contains("40"), "{nameless}");
    assert_eq!(category("sub_50")["parentID"], 0, "an orphan moves to the top level");
    let cycle = ["sub_61", "sub_62"].map(|id| category(id)["parentID"].as_u64().expect("a number"));
    assert!(cycle == [0, 61] || cycle == [62, 0], "the cycle is cut in one place: {cycle:?}");
    let huge = &category("cat_999999999999999999")["categoryID"];
    assert!(huge.as_u64().is_some_and(|number| number < 1 << 53), "JavaScript can hold {huge}");
    assert_eq!(shop["categories"].as_array().map(Vec::len), Some(8));
    for reason in ["parent does not exist", "below itself", "has no name", "has no id", "occurs twice"] {
        assert!(output.contains(reason), "{reason} is not in {output}");
    }
}

#[test]
fn unusable_offers_are_rejected_and_the_others_are_imported() {
    let (_site, output, shop) = import_defective_feed();
    let ids: Vec<&str> =
        shop["items"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id")).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["item_1", "item_2", "item_5", "item_9", "item_A-6/х"]);
    let item = |id| by_id(&shop, "items", id);
    assert_eq!((&item("item_2")["price"], &item("item_2")["discount"]), (&json!(1000), &json!(0)));
    assert_eq!((&item("item_5")["name"], &item("item_5")["price"]), (&json!("Чайник Ёлка Т-1"), &json!(36.5)));
    assert_eq!((&item("item_5")["remainings"], item("item_5").get("quantity")), (&json!("out"), None));
    assert_eq!((&item("item_A-6/х")["price"], &item("item_A-6/х")["quantity"]), (&json!(1234.5), &json!(7)));
    assert_eq!(item("item_9")["categoryID"], 20, "the first existing category of several");
    for (record, reason) in [
        ("item_3", "no price"),
        ("item_4", "no name"),
        ("item_1", "occurs twice"),
        ("offer no. 8", "no id"),
        ("item_7", "no category that exists"),
        ("item_8", "price is not a number"),
        ("offer 2", "oldprice is not above"),
    ] {
        let is_reported = output.lines().any(|line| line.contains(record) && line.contains(reason));
        assert!(is_reported, "{record}: {reason} is not in {output}");
    }
    assert_eq!(table(&output), [[0; 3], [8, 0, 0], [5, 0, 0], [0; 3]]);
}

/// A shop with the feeds of two cities.
fn import_two_cities(options: &[&str]) -> (Site, String) {
    let site = Site::new(&["novo"]);
    site.import("novo", &[&data("import/document.json")]).success();
    site.import_text("novo", "empty.json", "{\"items\":[{\"itemID\":123,\"visible\":false}]}", &[]).success();
    let (moscow, spb) = (format!("moscow={}", data("yml/moscow.xml")), format!("spb={}", data("yml/spb.xml")));
    let output = site.import("novo", &[options, &[&moscow, &spb]].concat()).success();
    (site, output)
}

#[test]
fn regional_feeds_are_united_and_the_first_one_decides_the_fields() {
    let (site, output) = import_two_cities(&[]);
    let shop = exported(&site, "novo");
    let item = |id| by_id(&shop, "items", id);
    assert_eq!((&item("item_1")["name"], &item("item_1")["price"]), (&json!("Московское имя"), &json!(100)));
    assert_eq!(item("item_1")["regions"], json!(["moscow", "spb"]));
    assert_eq!(item("item_2")["regions"], json!(["moscow", "spb"]));
    assert_eq!(item("item_3")["regions"], json!(["moscow"]));
    assert_eq!(item("item_4")["regions"], json!(["spb"]));
    let reported: Vec<&str> = output.lines().filter(|line| line.contains("another price in another city")).collect();
    assert!(
        reported.len() == 1 && reported[0].contains("item_1") && reported[0].contains("150"),
        "one price differs: {output}"
    );

    let (moscow, spb) = (format!("moscow={}", data("yml/moscow.xml")), format!("spb={}", data("yml/spb.xml")));
    let again = site.import("novo", &[&moscow, &spb]).success();
    assert_eq!(table(&again), [[0; 3]; 4], "the same feeds again change nothing");
    let unknown = site.import("novo", &[&format!("atlantis={}", data("yml/spb.xml"))]).failure(1);
    assert!(unknown.contains("no region atlantis"), "{unknown}");
}

#[test]
fn replace_of_one_region_leaves_the_others() {
    let (site, _) = import_two_cities(&["--replace"]);
    // Petersburg's feed as Moscow's: what only Moscow had is hidden, the rest is in Moscow as well.
    site.import("novo", &["--replace", "--max-removed", "50", &format!("moscow={}", data("yml/spb.xml"))]).success();
    let shop = exported(&site, "novo");
    let left: Vec<(&str, &Value)> = shop["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["visible"] == json!(true))
        .map(|item| (item["id"].as_str().expect("an id"), &item["regions"]))
        .collect();
    let both = json!(["moscow", "spb"]);
    assert_eq!(left, [("item_1", &both), ("item_2", &both), ("item_4", &both)]);
}

#[tokio::test]
async fn a_feed_of_prices_and_stock_keeps_all_other_fields() {
    let (site, _) = import_two_cities(&[]);
    let before = exported(&site, "novo");
    let output = site.import("novo", &[&data("yml/delta.xml")]).success();
    assert_eq!(table(&output), [[0; 3], [0; 3], [0, 3, 0], [0; 3]], "{output}");
    assert!(output.contains("item_404"), "an unknown item without a name is reported: {output}");
    let mut expected = before;
    for item in expected["items"].as_array_mut().expect("a list") {
        let changes = match item["id"].as_str().expect("an id") {
            "item_1" => json!({ "price": 120, "discount": 25, "quantity": 7 }),
            "item_2" => json!({ "quantity": 0 }),
            "item_3" => json!({ "price": 333 }),
            _ => continue,
        };
        for (key, value) in changes.as_object().expect("an object") {
            item[key] = value.clone();
        }
    }
    assert_eq!(exported(&site, "novo"), expected);
    let gateway = site.start();
    assert_eq!(gateway.client("novo").json("/item/2").await["remainings"], "out");
}

#[test]
fn a_feed_can_be_read_from_standard_input() {
    let site = Site::new(&["novo"]);
    let feed = std::fs::File::open(data("yml/moscow.xml")).expect("test data");
    let mut command = site.command(&["catalog", "import", "--brand", "novo", "-"]);
    let output = command.stdin(feed).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(exported(&site, "novo")["items"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_demonstration_feeds_are_imported_completely() {
    let site = Site::new(&["novo"]);
    site.import_demo("novo");
    let shop = exported(&site, "novo");
    assert_eq!(shop["items"].as_array().map(Vec::len), Some(37), "35 in both cities, one in each alone");
    let only = |id: &str| by_id(&shop, "items", id)["regions"].clone();
    assert_eq!(only("item_110103000001"), json!(["moscow"]));
    assert_eq!(only("item_210103000001"), json!(["spb"]));
    assert_eq!(
        by_id(&shop, "categories", "sub_10101")["name"],
        "Станции",
        "the delta has translations and no Russian name"
    );
    eventually("statistics are updated after an import", 5, || {
        let analyzed = "select count(*) from pg_stat_user_tables where relname = 'item' and last_analyze is not null";
        (site.sql_as("novo", analyzed).as_deref() == Ok("1")).then_some(())
    });
}
