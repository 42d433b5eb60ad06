//! Mutated catalogue files of every format: what is read fits into the database, in whatever parts the file arrives.

use std::io::{BufRead, BufReader};

use rust_decimal::Decimal;

use super::reading::ReadRules;
use super::record::{CategoryRecord, ItemRecord, MAX_PRICE, ProblemKind, ReadRecord, Record, RegionRecord, Stock};
use super::unpack::read_stream;
use crate::foundation::fuzz::fuzz;
use crate::http::request::MAX_SAFE_INTEGER;

/// Every record of a file, and how reading it ended.
fn read(reader: impl BufRead) -> (Vec<ReadRecord>, Result<(), String>) {
    let mut records = Vec::new();
    let rules = ReadRules { now: jiff::Timestamp::UNIX_EPOCH, max_unpacked_bytes: 1 << 20 };
    let result = read_stream(reader, &rules, &mut |record| {
        records.push(record);
        Ok(())
    });
    (records, result.map_err(|error| error.to_string()))
}

fn assert_id(number: Option<i64>, id: Option<&String>) {
    assert!(number.is_some() || id.is_some());
    assert!(number.is_none_or(|number| (1..=MAX_SAFE_INTEGER).contains(&number)), "{number:?}");
    assert!(id.is_none_or(|id| !id.trim().is_empty() && id.chars().count() <= 200), "{id:?}");
}

fn assert_texts<'a>(texts: impl IntoIterator<Item = &'a Option<String>>) {
    for text in texts.into_iter().flatten() {
        assert!(!text.contains('\0'), "PostgreSQL cannot store {text:?}");
    }
}

fn assert_json(columns: &[&Option<String>]) {
    for column in columns.iter().copied().flatten() {
        let json: serde_json::Value = serde_json::from_str(column).expect("a JSON column");
        assert!(json.is_array() || json.is_object(), "{column}");
        assert!(!has_nul(&json), "PostgreSQL cannot store {column}");
    }
}

fn has_nul(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(list) => list.iter().any(has_nul),
        serde_json::Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn assert_item(item: &ItemRecord) {
    assert_id(item.number, item.id.as_ref());
    assert!(item.name.as_ref().is_none_or(|name| !name.trim().is_empty() && name.chars().count() <= 500), "{item:?}");
    let within = |value: Option<Decimal>, max: Decimal, places: u32| {
        value.is_none_or(|value| value >= Decimal::ZERO && value <= max && value.normalize().scale() <= places)
    };
    assert!(
        within(item.price, MAX_PRICE, 2)
            && within(item.sale_price, MAX_PRICE, 2)
            && within(item.discount, Decimal::ONE_HUNDRED, 2),
        "{item:?}"
    );
    assert!(within(item.rating, Decimal::from(5), 1), "{item:?}");
    assert!(!matches!(item.stock, Some(Stock::Count(..0))), "{item:?}");
    let is_currency = |code: &String| code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    assert!(item.currency.as_ref().is_none_or(is_currency), "{item:?}");
    assert_texts([&item.id, &item.name, &item.simple_description, &item.description, &item.subcategory]);
    assert_json(&[&item.description_fields, &item.photos, &item.questions, &item.translations, &item.reviews]);
    let mut texts = [&item.tags, &item.badges, &item.regions].into_iter().flatten().flatten();
    assert!(texts.all(|text| !text.contains('\0')), "{item:?}");
}

fn assert_category(category: &CategoryRecord) {
    assert_id(category.number, category.id.as_ref());
    assert!(category.name.as_ref().is_none_or(|name| !name.trim().is_empty()), "{category:?}");
    assert_texts([&category.id, &category.name, &category.fallback_name, &category.icon, &category.wide_banner]);
    assert_texts([&category.project_id]);
    assert_json(&[&category.translations]);
}

fn assert_region(region: &RegionRecord) {
    assert!((1..=64).contains(&region.id.len()) && region.id.is_ascii(), "{region:?}");
    assert_texts([&region.city, &region.country, &region.country_code, &region.timezone]);
    assert_json(&[&region.translations]);
}

/// Checks the records of a file; returns what kinds of them there are.
fn check(input: &[u8]) -> String {
    let (records, result) = read(input);
    let in_small_parts = read(BufReader::with_capacity(7, input));
    assert_eq!(in_small_parts.0, records);
    assert_eq!(in_small_parts.1.is_ok(), result.is_ok(), "{in_small_parts:?}, at once {result:?}");
    let kind = |record: &ReadRecord| match record {
        Ok(Record::Item(item)) => {
            assert_item(item);
            "item"
        }
        Ok(Record::Category(category)) => {
            assert_category(category);
            "category"
        }
        Ok(Record::Region(region)) => {
            assert_region(region);
            "region"
        }
        Ok(Record::FileTime(_) | Record::Currency(_)) => unreachable!("filtered below"),
        Err(problem) => {
            assert!(!problem.reason.is_empty(), "{problem:?}");
            match problem.kind {
                ProblemKind::Rejected => "rejected",
                ProblemKind::Incomplete => "incomplete",
                ProblemKind::Corrected => "corrected",
            }
        }
    };
    let is_time = |record: &&ReadRecord| matches!(record, Ok(Record::FileTime(_) | Record::Currency(_)));
    let mut kinds: Vec<&str> = records.iter().filter(|record| !is_time(record)).map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let end = if result.is_ok() { "complete:" } else { "broken:" };
    format!("{end} {}", kinds.join(" "))
}

#[test]
fn fuzz_json_feeds() {
    let seeds: [&[u8]; 4] = [
        include_bytes!("../../../tests/data/import/document.jsonl"),
        include_bytes!("../../../tests/data/import/document-one-line.json"),
        include_bytes!("../../../tests/data/import/translations.jsonl"),
        include_bytes!("../../../tests/data/import/bad-records.jsonl"),
    ];
    let words = [
        "\"itemID\":",
        "\"categoryID\":",
        "\"price\":",
        "\"quantity\":",
        "\"subcategories\":",
        "\"translations\":",
        "\\u0000",
        "\\ud800",
        "null",
        "[",
        "{",
        "}",
        "]",
        "\n",
        "\"\"",
        "-1",
        "1e309",
    ];
    let outcomes = fuzz(&seeds, &words, check);
    outcomes.assert_seen(&["broken: ", "complete: category item region"]);
}

#[test]
fn fuzz_yml_feeds() {
    let head = "<?xml version=\"1.0\" encoding=\"windows-1251\"?>";
    let catalog = r#"<yml_catalog date="2024-01-01"><shop><categories><category id="1">Tea</category>
        <category id="2" parentId="1">Green</category></categories><offers>
        <offer id="a1" available="true"><price>1 290,50</price><oldprice>1500</oldprice><currencyId>RUR</currencyId>
        <categoryId>2</categoryId><picture>https://x/a.jpg</picture><name>Tom &amp; Jerry &#1095;</name>
        <description><![CDATA[<p>A <b>tea</b></p>]]></description><param name="Weight" unit="g">100</param>
        <count>5</count></offer><offer id="2" type="vendor.model"><price>10</price><categoryId>1</categoryId>
        <vendor>V</vendor><model>M</model></offer></offers></shop></yml_catalog>"#;
    let seeds = [
        format!("{head}{catalog}").into_bytes(),
        catalog.as_bytes().to_vec(),
        include_bytes!("../../../tests/data/yml/delta.xml").to_vec(),
        include_bytes!("../../../tests/data/yml/traps.php").to_vec(),
    ];
    let words = [
        "<offer id=\"",
        "</offer>",
        "<name>",
        "</name>",
        "<price>",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&#0;",
        "&#x110000;",
        "&x;",
        "<!--",
        "-->",
        "<?php",
        "/>",
        "<category id=\"",
        "<description>",
        "\" parentId=\"",
        "<param name=\"",
        "<b>",
        "windows-1251",
        "utf-16",
    ];
    let outcomes = fuzz(&seeds, &words, check);
    outcomes.assert_seen(&["broken: ", "complete: category item"]);
}

#[test]
fn fuzz_price_lists() {
    let list = "Код;Наименование;Категория;Цена, руб.;Старая цена;Остаток;Фото;Параметр: Цвет\r\nA-1;\"Чайник \"\"Ёж\"\"\";Посуда > \
                Чайники;1 290,50;1500;5;https://x/1.jpg, https://x/2.jpg;белый\r\n2;Чашка;5;10;;нет;;\r\n3;x\r\n";
    let seeds = [
        list.as_bytes().to_vec(),
        encoding_rs::WINDOWS_1251.encode(list).0.into_owned(),
        b"sep=,\nid,name,price,sale_price,available\n1,Cup,10,9,true\n".to_vec(),
        b"id\tname\tprice\n1\tCup\t10\n".to_vec(),
    ];
    let words = [
        ";",
        "\"",
        "\n",
        "\r\n",
        "id",
        "price",
        "название",
        "sep=",
        "\u{feff}",
        "item_",
        "cat_1",
        " > ",
        ",http://",
        "Параметр: ",
    ];
    let outcomes = fuzz(&seeds, &words, check);
    outcomes.assert_seen(&["broken: ", "complete: category corrected item rejected"]);
}

#[test]
fn fuzz_google_feeds() {
    let feed = "<rss xmlns:g='http://base.google.com/ns/1.0'><channel><title>Shop</title><item><g:id>A-1</g:id><title>Чайник</title>\
                <g:price>1990.00 RUB</g:price><g:sale_price>1490 RUB</g:sale_price><g:sale_price_effective_date>1969-01-01T00:00Z/\
                1971-01-01T00:00Z</g:sale_price_effective_date><g:availability>preorder</g:availability><g:product_type>Посуда &gt; \
                Чайники</g:product_type><g:product_detail><g:attribute_name>a</g:attribute_name><g:attribute_value>b</g:attribute_value>\
                </g:product_detail></item></channel></rss>";
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><g:id>2</g:id><title>Cup</title><g:price>5</g:price></entry></feed>";
    let words = [
        "<item>",
        "</item>",
        "<g:id>",
        "</g:id>",
        "<g:price>",
        "RUB",
        "&gt;",
        "<entry>",
        "</feed>",
        "<rss>",
        "₽",
        "g:",
    ];
    let outcomes = fuzz(&[feed.as_bytes().to_vec(), atom.as_bytes().to_vec()], &words, check);
    outcomes.assert_seen(&["broken: ", "complete: category item", "complete: item"]);
}
