//! Tests of the JSON reader: three file shapes, two spellings, and malformed records.

use rust_decimal::Decimal;

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
fn malformed_records_are_rejected_by_field_and_the_others_are_read() {
    let (records, rejected) = read_all(
        &[
            r#"{"itemID":1,"price":"10"}"#,
            r#"{"itemID":0,"price":1}"#,
            r#"{"itemID":2,"price":-1}"#,
            r#"{"itemID":3,"discount":101,"price":1}"#,
            r#"{"itemID":4,"name":"a\u0000b"}"#,
            r#"{"itemID":5,"photos":[{"photo":"x"}]}"#,
            r#"{"itemID":6,"comments":[{"text":"x","stars":6}]}"#,
            r#"{"itemID":7,"translations":{"en":{"name":5}}}"#,
            r#"{"itemID":8,"#,
            r#"{"foo":1}"#,
            r#"{"itemID":9,"rating":4.56}"#,
        ]
        .join("\n"),
    );
    assert_eq!(records.len(), 1);
    let wanted = [
        "line 1 (1): price: expected a number from 0 to 999999999999.99",
        "line 2 (0): itemID: expected a whole number from 1 to 2^53 - 1",
        "line 3 (2): price: expected a number",
        "line 4 (3): discount: expected a number from 0 to 100",
        "line 5 (4): name: contains a NUL character",
        "line 6 (5): photos[0].url: expected a text",
        "line 7 (6): comments[0].stars: expected a whole number from 1 to 5",
        "line 8 (7): translations.en.name: expected a text",
        "line 9: is not JSON",
        "line 10: is not a region, category or item",
    ];
    for (found, wanted) in rejected.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
    assert_eq!(rejected.len(), wanted.len());
}

#[test]
fn a_truncated_document_is_an_error_with_its_line() {
    let mut sink = |_: ReadRecord| Ok(());
    let error = read(&b"{\"items\":[\n{\"itemID\":1},\n{\"itemID\""[..], &mut sink).expect_err("broken");
    assert!(error.to_string().contains("line 3"), "{error}");
}
