//! Sources of imports: what a complete import hides and clears, in its source and region only.

use serde_json::{Value, json};

use crate::harness::{Site, data, request};
use crate::import::{exported, table};

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":500,"name":"Посуда","parentID":0}
{"itemID":1111,"id":"item_1111","categoryID":500,"name":"Чайник заварочный","price":100,"quantity":5,"photos":[{"url":"a.jpg"}],"comments":[{"id":"cmt_1","text":"Да"}]}
"#;

fn shop() -> Site {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    site
}

fn offer(id: &str, name: &str, inside: &str) -> String {
    format!("<offer id='{id}' available='true'><name>{name}</name><categoryId>500</categoryId>{inside}</offer>")
}

/// A file with these offers, in the site's directory.
fn feed(site: &Site, name: &str, offers: &[String]) -> String {
    let text = format!(
        "<yml_catalog><shop><categories><category id='500'>Посуда</category></categories><offers>{}</offers></shop></yml_catalog>",
        offers.concat()
    );
    site.directory.write(name, text).to_str().expect("UTF-8").to_owned()
}

fn item(site: &Site, id: &str) -> Value {
    let shop = exported(site, "dexar");
    let items = shop["items"].as_array().expect("a list");
    items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no {id}")).clone()
}

/// The ids of the items that are not hidden.
fn offered(site: &Site) -> Vec<String> {
    let shop = exported(site, "dexar");
    let items = shop["items"].as_array().expect("a list");
    let ids = items.iter().filter(|item| item["visible"] == json!(true));
    ids.map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

const PRICE: &str = "<price>100</price><count>5</count>";

#[test]
fn an_item_of_another_source_is_never_changed() {
    let site = shop();
    let teapot = item(&site, "item_1111");
    let hammer = feed(&site, "col.xml", &[offer("1111", "Молоток", PRICE), offer("7", "Пила", PRICE)]);
    let output = site.import("dexar", &["--source", "tools", &hammer]).success();
    assert!(output.contains("is an item of another source: the brand itself (item_1111)"), "{output}");
    assert_eq!(item(&site, "item_1111"), teapot);
    assert_eq!(item(&site, "item_7")["source"], "tools");

    let taken = feed(&site, "own.xml", &[offer("7", "Пила", PRICE)]);
    let output = site.import("dexar", &[&taken]).failure(3);
    assert!(output.contains("is an item of another source: tools (item_7)"), "{output}");
    site.import("dexar", &["--source", "Not A Name", &taken]).failure(2);

    let output = site.import("dexar", &["--source", "tools", "--adopt", &hammer]).success();
    assert!(output.contains("shares no word with its old one: is it the same item? (item_1111 (Чайник"), "{output}");
    assert_eq!(
        (&item(&site, "item_1111")["source"], &item(&site, "item_1111")["name"]),
        (&json!("tools"), &json!("Молоток"))
    );
}

#[test]
fn another_form_of_the_old_name_is_not_reported() {
    let site = shop();
    let renamed = feed(&site, "new.xml", &[offer("1111", "Заварочные чайники", PRICE)]);
    let output = site.import("dexar", &[&renamed]).success();
    assert!(!output.contains("shares no word"), "{output}");
    let other = feed(&site, "col.xml", &[offer("1111", "Молоток", PRICE)]);
    assert!(site.import("dexar", &[&other]).success().contains("shares no word"));
}

#[test]
fn a_complete_import_hides_only_items_of_its_source() {
    let site = shop();
    let all = feed(&site, "a.xml", &["1", "2", "3", "4"].map(|id| offer(id, "Пила", PRICE)));
    site.import("dexar", &["--source", "tools", &all]).success();
    let fewer = feed(&site, "b.xml", &["1", "2", "3"].map(|id| offer(id, "Пила", PRICE)));
    let output = site.import("dexar", &["--source", "tools", "--replace", &fewer]).success();
    assert_eq!(table(&output)[2], [0, 0, 1], "{output}");
    assert_eq!(offered(&site), ["item_1", "item_2", "item_3", "item_1111"]);
    let hidden = item(&site, "item_4");
    assert!(hidden["retiredAt"].is_string() && hidden["price"] == json!(100), "it is hidden, not deleted: {hidden}");

    let again = site.import("dexar", &["--source", "tools", "--replace", &fewer]).success();
    assert_eq!(table(&again), [[0; 3]; 4], "it is hidden once");
    site.import("dexar", &["--source", "tools", &all]).success();
    assert_eq!(item(&site, "item_4").get("retiredAt"), None, "it returns with its next record");
    assert_eq!(offered(&site).len(), 5);
}

#[tokio::test]
async fn a_hidden_item_keeps_its_cart_lines_and_reviews_and_is_not_for_sale() {
    let site = shop();
    let gateway = site.start();
    let client = gateway.client("dexar");
    let other = feed(&site, "a.xml", &[offer("1", "Пила", PRICE)]);
    site.import("dexar", &["--replace", "--max-removed", "100", &other]).success();
    assert_eq!(client.get("/item/1111").await.status, 404);
    site.import("dexar", &[&feed(&site, "b.xml", &[offer("1111", "Чайник заварочный", PRICE)])]).success();
    let teapot = client.json("/item/1111").await;
    assert_eq!((&teapot["comments"][0]["text"], &teapot["photos"][0]["url"]), (&json!("Да"), &json!("a.jpg")));
}

#[tokio::test]
async fn a_category_of_hidden_items_is_not_shown() {
    let site = shop();
    let gateway = site.start();
    let client = gateway.client("dexar");
    let other =
        "{\"categoryID\":600,\"name\":\"Сад\"}\n{\"itemID\":1,\"categoryID\":600,\"name\":\"Лейка\",\"price\":1}\n";
    site.import_text("dexar", "new.jsonl", other, &["--replace", "--max-removed", "100"]).success();
    for region in ["moscow", ""] {
        let tree = client.send(request("/category").region(region)).await.ok_json();
        let names: Vec<&Value> = tree.as_array().expect("a list").iter().map(|category| &category["name"]).collect();
        assert_eq!(names, ["Сад"]);
    }
    assert_eq!(exported(&site, "dexar")["categories"].as_array().map(Vec::len), Some(2), "it stays for its items");
}

#[test]
fn too_many_items_are_not_hidden_unless_told() {
    let site = shop();
    let all = feed(&site, "a.xml", &["1", "2", "3"].map(|id| offer(id, "Пила", PRICE)));
    site.import("dexar", &[&all]).success();
    let before = site.export("dexar");
    let half = feed(&site, "b.xml", &["1", "2"].map(|id| offer(id, "Пила", PRICE)));
    let output = site.import("dexar", &["--replace", &half]).failure(1);
    assert!(output.contains("would hide 2 of the 4 items") && output.contains("--max-removed 100"), "{output}");
    site.import("dexar", &["--replace", "--max-removed", "49", &half]).failure(1);
    assert_eq!(site.export("dexar"), before);
    site.import("dexar", &["--replace", "--max-removed", "50", &half]).success();
    assert_eq!(offered(&site), ["item_1", "item_2"]);
}

#[test]
fn two_city_feeds_are_refreshed_one_at_a_time() {
    let site = shop();
    let of =
        |ids: &[&str], price: &str| -> Vec<String> { ids.iter().map(|id| offer(id, "Товар", price)).collect() };
    let moscow = format!("moscow={}", feed(&site, "m.xml", &of(&["501", "502"], PRICE)));
    let spb = format!("spb={}", feed(&site, "s.xml", &of(&["502", "503"], "<price>120</price><count>7</count>")));
    let output = site.import("dexar", &[&moscow, &spb]).success();
    assert!(output.contains("has another price in another city"), "{output}");
    assert!(output.contains("has another stock in another city: the stock of the first feed is used (item_502 (7))"));
    let regions = |id: &str| item(&site, id)["regions"].clone();

    let moscow = format!("moscow={}", feed(&site, "m2.xml", &of(&["502"], "<price>105</price><count>6</count>")));
    site.import("dexar", &["--replace", "--max-removed", "50", &moscow]).success();
    assert_eq!(offered(&site), ["item_502", "item_503", "item_1111"], "what only spb has stays");
    assert_eq!((regions("item_502"), regions("item_503")), (json!(["moscow", "spb"]), json!(["spb"])));
    assert_eq!((&item(&site, "item_502")["price"], &item(&site, "item_502")["quantity"]), (&json!(105), &json!(6)));

    let moscow = format!("moscow={}", feed(&site, "m3.xml", &of(&["503"], PRICE)));
    site.import("dexar", &["--replace", "--max-removed", "100", &moscow]).success();
    assert_eq!((regions("item_502"), regions("item_503")), (json!(["spb"]), json!(["moscow", "spb"])));
    let spb = format!("spb={}", feed(&site, "s3.xml", &of(&["501"], PRICE)));
    site.import("dexar", &["--replace", "--max-removed", "100", &spb]).success();
    assert_eq!(offered(&site), ["item_501", "item_503", "item_1111"]);
    assert_eq!(regions("item_501"), json!(["spb"]), "it returns where it is sold now");
}

#[test]
fn a_complete_file_clears_what_it_does_not_mention_and_a_delta_does_not() {
    let full = "<price>10</price><oldprice>20</oldprice><picture>https://t/a.jpg</picture><description>старое</description>\
                <param name='Цвет'>белый</param><count>5</count>";
    let site = shop();
    site.import("dexar", &[&feed(&site, "p1.xml", &[offer("P1", "Пила", full)])]).success();
    let bare = feed(&site, "p2.xml", &[offer("P1", "Пила", "<price>10</price><description></description>")]);
    site.import("dexar", &[&bare]).success();
    let kept = item(&site, "item_P1");
    assert_eq!((&kept["quantity"], &kept["description"], &kept["discount"]), (&json!(5), &json!("старое"), &json!(0)));
    assert_eq!(kept["photos"], json!([{ "url": "https://t/a.jpg" }]));
    site.import("dexar", &["--replace", "--max-removed", "50", &bare]).success();
    let cleared = item(&site, "item_P1");
    assert_eq!(
        (cleared.get("quantity"), &cleared["remainings"]),
        (None, &json!("high")),
        "available, nobody counts it"
    );
    assert_eq!((&cleared["description"], cleared.get("simpleDescription")), (&json!(""), None));
    assert_eq!((&cleared["photos"], &cleared["descriptionFields"]), (&json!([]), &json!([])));
    assert_eq!((&cleared["name"], &cleared["price"]), (&json!("Пила"), &json!(10)));
}

#[test]
fn an_export_restores_sources_and_hidden_items() {
    let site = shop();
    site.import("dexar", &["--source", "tools", &feed(&site, "a.xml", &["1", "2"].map(|id| offer(id, "Пила", PRICE)))])
        .success();
    let one = feed(&site, "b.xml", &[offer("1", "Пила", PRICE)]);
    site.import("dexar", &["--source", "tools", "--replace", "--max-removed", "50", &one]).success();
    let export = site.export("dexar");
    let output = site.import_text("dexar", "export.json", &export, &["--strict"]).success();
    assert_eq!(table(&output), [[0; 3]; 4]);
    let fresh = Site::new(&["dexar"]);
    fresh.import_text("dexar", "export.json", &export, &["--strict"]).success();
    assert_eq!(fresh.export("dexar"), export);
}

/// The category of an item: number, name, name of its parent.
fn category_of(site: &Site, id: &str) -> (u64, Value, Value) {
    let item = item(site, id);
    let shop = exported(site, "dexar");
    let categories = shop["categories"].as_array().expect("a list");
    let find = |key: &str, value: &Value| categories.iter().find(|category| category[key] == *value);
    let category = match item.get("subcategoryId") {
        Some(id) => find("id", id),
        None => find("categoryID", &item["categoryID"]),
    };
    let category = category.expect("a category");
    let parent = find("categoryID", &category["parentID"]).map_or(Value::Null, |parent| parent["name"].clone());
    (category["categoryID"].as_u64().expect("a number"), category["name"].clone(), parent)
}

#[test]
fn categories_of_two_sources_do_not_overwrite_each_other() {
    let site = shop();
    let own = category_of(&site, "item_1111");
    let supplier = |categories: &str, offers: &[String], options: &[&str]| {
        let text = format!(
            "<yml_catalog><shop><categories>{categories}</categories><offers>{}</offers></shop></yml_catalog>",
            offers.concat()
        );
        site.import_text("dexar", "feed.xml", text, &[&["--source", "stones"], options].concat()).success()
    };
    let in_501 = |offer: String| offer.replace("<categoryId>500", "<categoryId>501");
    let offers = [offer("1", "Бетон М-100", PRICE), in_501(offer("2", "Щебень мелкий", PRICE))];
    let tree = "<category id='501' parentId='500'>Щебень</category><category id='500'>Бетон</category>";
    let output = supplier(tree, &offers, &[]);
    let reason = "its number is that of another category, of the brand itself: it gets another one (category cat_500)";
    assert!(output.contains(reason), "{output}");
    assert_eq!(category_of(&site, "item_1111"), own);
    let concrete = category_of(&site, "item_1");
    assert_eq!((&concrete.1, concrete.0 > 1 << 52), (&json!("Бетон"), true));
    assert_eq!(category_of(&site, "item_2"), (501, json!("Щебень"), json!("Бетон")));

    assert_eq!(table(&supplier(tree, &offers, &["--replace"])), [[0; 3]; 4], "the same file changes nothing");
    let moved = in_501(offer("1", "Бетон М-100", PRICE)).replace("501", "500").replace(">100<", ">90<");
    assert_eq!(table(&supplier("", &[moved], &[]))[2], [0, 1, 0], "a delta names its categories, too");
    assert_eq!(category_of(&site, "item_1"), concrete);

    let export = site.export("dexar");
    let fresh = Site::new(&["dexar"]);
    fresh.import_text("dexar", "export.json", &export, &["--strict"]).success();
    assert_eq!(fresh.export("dexar"), export);

    let renamed = "<category id='500'>Посуда</category>";
    assert_eq!(table(&supplier(renamed, &[offer("3", "Кружка", PRICE)], &[]))[1], [0, 1, 0]);
    assert_eq!(category_of(&site, "item_3").0, concrete.0, "the number of the source keeps its meaning");
    let shared = "<yml_catalog><shop><categories><category id='500'>посуда</category></categories><offers>".to_owned()
        + &offer("4", "Блюдце", PRICE)
        + "</offers></shop></yml_catalog>";
    site.import_text("dexar", "other.xml", shared, &["--source", "cups"]).success();
    assert_eq!(category_of(&site, "item_4"), own, "of the same name it is the same category");

    let refused = "<yml_catalog><shop><categories><category id='501'>Ложки</category></categories><offers>".to_owned()
        + &in_501(offer("5", "Ложка", PRICE))
        + "</offers></shop></yml_catalog>";
    let output = site.import_text("dexar", "own.xml", refused, &[]).failure(3);
    assert!(output.contains("of the source stones (category cat_501)"), "{output}");
    assert!(output.contains("names no category that exists (item_5)"), "{output}");
}

#[test]
fn a_complete_import_removes_only_categories_of_its_source() {
    let site = shop();
    site.import_text("dexar", "more.jsonl", r#"{"categoryID":600,"name":"Скоро в продаже","parentID":0}"#, &[])
        .success();
    let tools = feed(&site, "a.xml", &[offer("7", "Пила", PRICE)]);
    site.import("dexar", &["--source", "tools", &tools]).success();
    let output = site.import("dexar", &["--source", "tools", "--replace", &tools]).success();
    assert_eq!(table(&output)[1], [0; 3]);
    assert_eq!(exported(&site, "dexar")["categories"].as_array().map(Vec::len), Some(2));
}

#[test]
fn prune_deletes_what_was_hidden_long_ago() {
    let site = shop();
    let other = feed(&site, "a.xml", &[offer("1", "Пила", PRICE)]);
    site.import("dexar", &["--replace", "--max-removed", "100", &other]).success();
    let prune = |options: &[&str]| {
        site.run(&[&["catalog", "prune", "--brand", "dexar", "--older-than", "30"], options].concat()).success()
    };
    assert!(prune(&[]).contains("0 hidden items deleted"));
    site.sql_as(
        "dexar",
        "update item set retired_at = now() - interval '31 days' where retired_at is not null returning 1",
    )
    .expect("one is hidden");
    assert!(prune(&["--dry-run"]).contains("1 hidden item would be deleted"));
    assert_eq!(item(&site, "item_1111")["visible"], json!(false));
    let stock = "select string_agg(item_id || ' ' || held, ',' order by item_id) from item_stock";
    let number = |sql: &str| site.sql_as("dexar", sql).expect("sql").parse::<u64>().expect("a number");
    let kept = number("select item_id from item where visible");
    site.sql_as("dexar", "insert into item_stock (item_id, held) values (900, 1), (901, 0)").expect("inserted");
    assert!(prune(&[]).contains("1 hidden item deleted"));
    assert_eq!(site.sql_as("dexar", stock), Ok(format!("{kept} 0,900 1")), "what is held stays known");
    site.sql_as("dexar", "delete from item_stock where item_id = 900").expect("deleted");
    assert_eq!(exported(&site, "dexar")["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_demonstration_feeds_can_be_complete() {
    let site = Site::new(&["novo"]);
    site.import_demo("novo");
    let before = site.export("novo");
    site.import_text("novo", "export.json", &before, &["--replace", "--strict"]).success();
    assert_eq!(site.export("novo"), before);
    let moscow = data("yml/moscow.xml");
    site.import("novo", &["--replace", &moscow]).failure(1);
    assert_eq!(site.export("novo"), before, "another file would hide the whole shop");
}
