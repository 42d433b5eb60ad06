//! Tests of the JSON reader: three file shapes, two spellings, and malformed records.

use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::catalog::import::record::{ItemRecord, Stock};

fn read_all(text: &str) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut rejected) = (Vec::new(), Vec::new());
    let mut sink = |read: ReadRecord| {
        match read {
            Ok(record) => records.push(record),
            Err(RecordProblem { record, reason, .. }) => rejected.push(format!("{record}: {reason}")),
        }
        Ok(())
    };
    read(text.as_bytes(), &mut sink).expect("readable");
    (records, rejected)
}

fn the_item(text: &str) -> ItemRecord {
    match read_all(text) {
        (mut records, rejected) if records.len() == 1 && rejected.is_empty() => match records.remove(0) {
            Record::Item(item) => *item,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_object_a_list_and_lines_yield_the_same_records() {
    let item = r#"{"itemID":1,"categoryID":2,"name":"Чай","price":10}"#;
    let category = r#"{"categoryID":2,"name":"Напитки","parentID":0}"#;
    let region = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}"#;
    let object = format!("{{\"regions\":[{region}],\n\"other\":{{}},\"categories\":[{category}],\"items\":[{item}]}}");
    let one_line = object.replace('\n', "");
    let list = format!("[{region},{category},{item}]");
    let lines = format!("\u{feff}\n{region}\n\n{category}\r\n{item}");
    let expected = read_all(&object);
    assert_eq!(expected.0.len(), 3);
    for text in [one_line, list, lines] {
        assert_eq!(read_all(&text), expected, "{text}");
    }
}

#[test]
fn both_spellings_are_read() {
    let legacy = the_item(
        r#"{"itemID":7,"categoryID":1,"name":"Чайник","price":1490.5,"currency":"RUR","remainings":"low",
            "photos":[{"url":"a.jpg","type":"photo"}],
            "callbacks":[{"rating":5,"content":"Да","userID":"user_1","answer":"Спасибо","timestamp":"2026-02-01T12:00:00Z"}]}"#
            .replace('\n', "")
            .as_str(),
    );
    assert_eq!(legacy.stock, Some(Stock::Level("low")));
    assert_eq!(legacy.price, Some(Decimal::new(14905, 1)));
    assert_eq!(legacy.currency.as_deref(), Some("RUB"));
    assert_eq!(legacy.photos.as_deref(), Some(r#"[{"url":"a.jpg","type":"photo"}]"#));
    let office = the_item(
        r#"{"id":"item_x","subcategoryId":"sub_1","name":"Чайник","price":1,"quantity":0,"imgs":["a.jpg","b.jpg"],"comments":[{"id":"cmt_1","text":"Да","author":"user_1","stars":5}]}"#,
    );
    assert_eq!(office.stock, Some(Stock::Count(0)));
    assert_eq!(office.photos.as_deref(), Some(r#"[{"url":"a.jpg"},{"url":"b.jpg"}]"#));
    assert!(office.reviews.expect("one").contains(r#""id":"cmt_1""#));
}

#[test]
fn the_answer_of_a_callback_belongs_to_its_comment() {
    let item = the_item(
        r#"{"itemID":7,"comments":[{"id":"cmt_1","text":"Да","author":"u","stars":5}],"callbacks":[{"content":"Да","userID":"u","rating":5,"answer":"Спасибо"}]}"#,
    );
    let reviews: Value = serde_json::from_str(&item.reviews.expect("one")).expect("JSON");
    assert_eq!(reviews.as_array().map(Vec::len), Some(1));
    assert_eq!(reviews[0]["answer"], "Спасибо");
}

#[test]
fn members_that_are_absent_stay_none() {
    let item = the_item(r#"{"itemID":7,"quantity":3,"name":null}"#);
    let expected = ItemRecord { number: Some(7), stock: Some(Stock::Count(3)), ..ItemRecord::default() };
    assert_eq!(item, expected);
}

#[test]
fn nested_subcategories_have_their_parents() {
    let (records, rejected) = read_all(
        r#"{"categories":[{"categoryID":1,"id":"cat_1","name":"А","subcategories":[{"id":"sub_1","name":"Б","categoryId":"cat_1","parentId":"cat_1","subcategories":[{"id":"sub_2","name":"В"}]}]}]}"#,
    );
    assert_eq!(rejected, Vec::<String>::new());
    let parents: Vec<_> = records
        .into_iter()
        .map(|record| match record {
            Record::Category(category) => category.parent,
            other => panic!("{other:?}"),
        })
        .collect();
    let of = |id| Some(Parent::Of(id));
    assert_eq!(parents, [None, of(CatalogId::Number(1)), of(CatalogId::Id("sub_1".to_owned()))]);
}

#[test]
fn records_that_do_not_identify_an_item_are_rejected() {
    let lines = [r#"{"itemID":0,"price":1}"#, r#"{"itemID":8,"#, r#"{"foo":1}"#, r#"{"itemID":9,"rating":4.56}"#];
    let (records, rejected) = read_all(&lines.join("\n"));
    assert_eq!(records.len(), 1);
    let wanted = [
        "line 1 (0): itemID: expected a whole number from 1 to 2^53 - 1",
        "line 2: is not JSON",
        "line 3: is not a region, category or item",
    ];
    for (found, wanted) in rejected.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
    assert_eq!(rejected.len(), wanted.len());
}

#[test]
fn values_that_are_not_understood_are_the_defect_of_their_record() {
    let tags = json!({ "itemID": 7, "quantity": 0, "tags": ["x".repeat(60_000)] }).to_string();
    for (text, defect) in [
        (r#"{"itemID":4,"quantity":0,"name":"a\u0000b"}"#, "name: contains a NUL character"),
        (r#"{"itemID":5,"quantity":0,"photos":[{"photo":"x"}]}"#, "photos[0].url: expected a text"),
        (
            r#"{"itemID":6,"quantity":0,"comments":[{"text":"x","stars":6}]}"#,
            "comments[0].stars: expected a whole number from 1 to 5",
        ),
        (r#"{"itemID":7,"quantity":0,"translations":{"en":{"name":5}}}"#, "translations.en.name: expected a text"),
        (
            r#"{"itemID":7,"quantity":0,"visible":"yes","priority":0.5}"#,
            "visible: expected true or false; priority: expected a whole number",
        ),
        (&tags, "tags: at most 50000 bytes altogether"),
    ] {
        let item = the_item(text);
        assert_eq!((item.defect.as_deref(), item.stock), (Some(defect), Some(Stock::Count(0))), "{text}");
    }
}

#[test]
fn price_discount_and_currency_are_usable_together_or_not_at_all() {
    for (members, defect) in [
        (r#""price":-1"#, "price: expected a number from 0 to 999999999999.99"),
        (r#""price":"по запросу","discount":10"#, "price is not a number"),
        (r#""price":1,"discount":101"#, "discount: expected a number from 0 to 100"),
        (r#""price":99990,"discount":10.001"#, "discount: at most 2 decimal places"),
        (r#""price":1,"currency":"roubles""#, "currency: expected three capital letters, ISO 4217"),
    ] {
        let item = the_item(&format!("{{\"itemID\":1,\"quantity\":5,{members}}}"));
        assert_eq!(item.defect.as_deref(), Some(defect));
        assert_eq!((item.price, item.discount, item.currency), (None, None, None));
        assert_eq!(item.stock, Some(Stock::Level("out")), "not sold at the price that it had before");
    }
    let item = the_item(r#"{"itemID":1,"price":"1 990,50","discount":10.250}"#);
    assert_eq!((item.price, item.discount), (Some(Decimal::new(19905, 1)), Some(Decimal::new(1025, 2))));
}

#[test]
fn a_sale_price_belongs_to_a_price_and_is_below_the_discounted_one() {
    let belongs = "salePrice: expected together with price";
    let range = "salePrice: expected more than 0, and at most price × (100 − discount) / 100";
    for (members, defect) in [
        (r#""salePrice":5"#, belongs),
        (r#""price":100,"discount":10,"salePrice":90.01"#, range),
        (r#""price":100,"salePrice":0"#, range),
    ] {
        let item = the_item(&format!("{{\"itemID\":1,\"quantity\":5,{members}}}"));
        assert_eq!((item.defect.as_deref(), item.price, item.stock), (Some(defect), None, Some(Stock::Level("out"))));
    }
    for (members, discount, sale) in [
        (r#""price":100,"discount":10,"salePrice":89.99"#, Some(10), Some(Decimal::new(8999, 2))),
        (r#""price":100,"discount":10,"salePrice":90"#, Some(10), None),
        (r#""price":1299,"salePrice":999"#, Some(23), Some(Decimal::from(999))),
        (r#""price":1299"#, None, None),
    ] {
        let item = the_item(&format!("{{\"itemID\":1,{members}}}"));
        assert_eq!(
            (item.defect, item.discount, item.sale_price),
            (None, discount.map(Decimal::from), sale),
            "{members}"
        );
    }
    let text = r#"{"itemID":1,"minQuantity":0,"stepQuantity":1000,"purchasePrice":-1,"attributes":[]}"#;
    let defects = the_item(text).defect.expect("defects");
    for reason in [
        "minQuantity: expected a whole number from 1 to 999",
        "stepQuantity: expected a whole number from 1 to 999",
        "purchasePrice: expected a number from 0 to",
        "attributes: expected an object",
    ] {
        assert!(defects.contains(reason), "{reason} is not in {defects}");
    }
}

#[test]
fn stock_is_read_in_every_notation_and_none_is_left_on_sale() {
    for (members, stock) in [
        (r#""quantity":-3"#, Stock::Count(0)),
        (r#""quantity":2.5"#, Stock::Count(2)),
        (r#""quantity":"4","remainings":"high""#, Stock::Count(4)),
        (r#""quantity":8.0"#, Stock::Count(8)),
        (r#""quantity":">10""#, Stock::Count(10)),
        (r#""remainings":"нет""#, Stock::Level("out")),
        (r#""remainings":"medium""#, Stock::Level("medium")),
    ] {
        assert_eq!(the_item(&format!("{{\"itemID\":1,{members}}}")).stock, Some(stock), "{members}");
    }
    for members in [r#""quantity":"скоро","remainings":"high""#, r#""remainings":"?""#, r#""quantity":[]"#] {
        let (records, problems) = read_all(&format!("{{\"itemID\":1,{members}}}"));
        let Record::Item(item) = &records[0] else { panic!("{records:?}") };
        assert_eq!(item.stock, Some(Stock::Level("out")), "{members}");
        assert!(problems[0].contains("out of stock until it is known"), "{problems:?}");
    }
}

#[test]
fn a_truncated_document_is_an_error_with_its_line() {
    let mut sink = |_: ReadRecord| Ok(());
    let error = read(&b"{\"items\":[\n{\"itemID\":1},\n{\"itemID\""[..], &mut sink).expect_err("broken");
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn a_document_and_lines_may_say_which_time_their_stock_is_of() {
    let item = r#"{"itemID":1,"quantity":2}"#;
    let time = r#""stockAsOf":"2026-02-28T12:00:00Z""#;
    for text in [
        format!("{{{time},\"items\":[{item}]}}"),
        format!("{{\n{time},\n\"items\":[{item}]}}"),
        format!("{{{time}}}\n{item}"),
    ] {
        let (records, rejected) = read_all(&text);
        assert_eq!(rejected, Vec::<String>::new(), "{text}");
        assert_eq!(records[0], Record::FileTime(FileTime::parse("2026-02-28T12:00:00Z").expect("a time")), "{text}");
        assert_eq!(records.len(), 2, "{text}");
    }
    let (records, rejected) = read_all(&format!("{{\"stockAsOf\":5,\"items\":[{item}]}}"));
    assert_eq!((records.len(), rejected.len()), (1, 1), "{rejected:?}");
}
