//! Files of other formats than JSON and YML, compressed files, and files that are refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

const PRICE_LIST: &str = "Прайс-лист от 1 марта;;;;;\r\n\
    Код;Наименование;Категория;Цена, руб.;Остаток;Оптовая цена\r\n\
    A-1;\"Чайник \"\"Ёж\"\"; 2 л\";Посуда > Чайники;1 290,50;5;900\r\n\
    2;Чашка;Посуда;10;нет;7\r\n";

const GOOGLE: &str = "<?xml version='1.0'?><rss xmlns:g='http://base.google.com/ns/1.0' version='2.0'><channel>\
    <item><g:id>A-1</g:id><title>Чайник</title><g:price>1000.00 RUB</g:price><g:sale_price>900.00 RUB</g:sale_price>\
    <g:availability>in_stock</g:availability><g:product_type>Посуда</g:product_type></item></channel></rss>";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn zip(name: &str, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    let (mut entry, config) = archive.new_file(name).start().expect("memory");
    let mut writer = config.wrap(&mut entry);
    writer.write_all(text).expect("memory");
    let (_, descriptor) = writer.finish().expect("memory");
    entry.finish(descriptor).expect("memory");
    archive.finish().expect("memory");
    out
}

fn item(site: &Site, id: &str) -> Value {
    let shop = exported(site, "novo");
    let items = shop["items"].as_array().expect("a list");
    items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no {id} in {items:?}")).clone()
}

#[test]
fn a_price_list_in_any_wrapping_gives_the_same_shop() {
    let cp1251 = encoding_rs::WINDOWS_1251.encode(PRICE_LIST).0.into_owned();
    let mut shops = Vec::new();
    for (name, file) in [
        ("prices.csv", PRICE_LIST.as_bytes().to_vec()),
        ("prices.csv.gz", gzip(&cp1251)),
        ("prices.zip", zip("Прайс.csv", &cp1251)),
    ] {
        let site = Site::new(&["novo"]);
        let output = site.import_text("novo", name, file, &[]).success();
        assert!(output.contains("columns are not read: Оптовая цена"), "{output}");
        shops.push(exported(&site, "novo"));
    }
    assert!(shops[1] == shops[0] && shops[2] == shops[0]);
    let items = shops[0]["items"].as_array().expect("a list");
    let kettle = items.iter().find(|item| item["id"] == "item_A-1").expect("the kettle");
    assert_eq!((&kettle["name"], &kettle["price"]), (&json!("Чайник \"Ёж\"; 2 л"), &json!(1290.5)));
    assert_eq!(kettle["quantity"], 5);
    let categories = shops[0]["categories"].as_array().expect("a list");
    let top = categories.iter().find(|category| category["name"] == "Посуда").expect("the top category");
    let sub = categories.iter().find(|category| category["name"] == "Чайники").expect("the subcategory");
    assert_eq!((&sub["parentID"], &kettle["categoryID"]), (&top["categoryID"], &sub["categoryID"]));
    assert_eq!(items.iter().find(|item| item["id"] == "item_2").expect("the cup")["remainings"], "out");
}

#[test]
fn a_google_feed_is_read_and_a_price_list_is_its_delta() {
    let site = Site::new(&["novo"]);
    site.import_text("novo", "google.xml", GOOGLE, &[]).success();
    let kettle = item(&site, "item_A-1");
    assert_eq!((&kettle["name"], &kettle["price"], &kettle["discount"]), (&json!("Чайник"), &json!(1000), &json!(10)));
    site.import_text("novo", "delta.csv", "id,price,quantity\nA-1,800,3\n", &[]).success();
    let kettle = item(&site, "item_A-1");
    assert_eq!((&kettle["name"], &kettle["price"], &kettle["quantity"]), (&json!("Чайник"), &json!(800), &json!(3)));
    assert_eq!(exported(&site, "novo")["items"].as_array().map(Vec::len), Some(1), "the ids are the same");
}

#[test]
fn what_cannot_be_read_is_refused_by_name_and_changes_nothing() {
    let mut site = Site::new(&["novo"]);
    site.change_brand("novo", |brand| brand.more.push_str("\n[import]\nmax_unpacked_mebibytes = 1\n"));
    site.import_text("novo", "google.xml", GOOGLE, &[]).success();
    let before = exported(&site, "novo");
    let offers = "<offer id='1'><name>x</name><price>1</price></offer>".repeat(30_000);
    let bomb = format!("<yml_catalog><shop><offers>{offers}</offers></shop></yml_catalog>");
    let whole = gzip(GOOGLE.as_bytes());
    for (file, reason) in [
        (zip("xl/workbook.xml", b"<workbook/>"), "an Excel workbook (XLSX): save it as CSV"),
        (b"%PDF-1.4".to_vec(), "a PDF document"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>".to_vec(), "an HTML page"),
        ("<КоммерческаяИнформация/>".as_bytes().to_vec(), "1C (CommerceML)"),
        ("Добрый день!\nПрайс во вложении.\n".as_bytes().to_vec(), "without the header of a price list"),
        (gzip(bomb.as_bytes()), "unpacks to more than 1 MiB"),
        (whole[..whole.len() - 4].to_vec(), "damaged or incomplete"),
    ] {
        let output = site.import_text("novo", "file", file, &["--replace"]).failure(1);
        assert!(output.contains(reason), "{reason}: {output}");
        assert_eq!(exported(&site, "novo"), before, "{reason}");
    }
}

#[test]
fn a_file_of_which_every_item_was_left_out_exits_with_3() {
    let category = "<categories><category id='1'>Посуда</category></categories>";
    let feed = |offer: &str| format!("<yml_catalog><shop>{category}<offers>{offer}</offers></shop></yml_catalog>");
    for (name, file, status) in [
        ("no-id.xml", feed("<offer><name>Чашка</name><price>1</price></offer>"), 3),
        ("no-price.xml", feed("<offer id='1'><name>Чашка</name><categoryId>1</categoryId></offer>"), 3),
        ("no-offer.xml", feed(""), 0),
        ("rows.csv", "id;name;price\n;Чашка;1\n1;Чашка;1;2;3\n".to_owned(), 3),
        ("news.xml", "<rss><channel><item><title>News</title></item></channel></rss>".to_owned(), 3),
        (
            "items.json",
            json!({"categories": [{"categoryID": 1, "name": "a"}], "items": [{"itemID": 1}]}).to_string(),
            3,
        ),
    ] {
        let site = Site::new(&["novo"]);
        let output = site.import_text("novo", name, file, &[]);
        assert_eq!(output.status, Some(status), "{name}: {} {}", output.stdout, output.stderr);
    }
}

#[test]
fn a_discount_of_three_decimals_is_an_error_and_not_another_price() {
    let site = Site::new(&["novo"]);
    let record = |discount: &str| {
        let item = json!({"itemID": 7, "categoryID": 1, "name": "Чашка", "price": 99_990});
        let item = item.to_string().replace("99990", &format!("99990,\"discount\":{discount}"));
        format!("{{\"categoryID\":1,\"name\":\"Посуда\"}}\n{item}\n")
    };
    let output = site.import_text("novo", "frac.jsonl", record("10.001"), &[]).failure(3);
    assert!(output.contains("discount: at most 2 decimal places"), "{output}");
    assert_eq!(exported(&site, "novo")["items"], json!([]));
    site.import_text("novo", "exact.jsonl", record("10.25"), &[]).success();
    let output = site.import_text("novo", "frac.jsonl", record("10.001"), &[]).failure(3);
    assert!(output.contains("discount: at most 2 decimal places"), "{output}");
    let cup = item(&site, "item_7");
    assert_eq!((&cup["discount"], &cup["remainings"]), (&json!(10.25), &json!("out")), "not sold at another price");
}
