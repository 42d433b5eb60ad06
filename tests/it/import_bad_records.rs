//! One malformed record among many: it is imported or reported, and does not fail the import.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

/// Imports a malformed record between two valid ones: the valid ones must be imported, the malformed one imported or
/// reported.
#[track_caller]
fn assert_others_are_imported(what: &str, malformed: &str) {
    let site = Site::new(&["dexar"]);
    let valid =
        |number: u32| format!("{{\"itemID\":{number},\"categoryID\":1,\"name\":\"Кружка {number}\",\"price\":1}}\n");
    let text = format!("{{\"categoryID\":1,\"name\":\"Всё\"}}\n{}{malformed}\n{}", valid(1), valid(3));
    let import = site.import_text("dexar", "malformed.jsonl", text, &[]);
    assert_eq!(import.status, Some(0), "{what}: one record fails the import: {}", import.stderr);
    let shop = exported(&site, "dexar");
    let ids: Vec<u64> =
        shop["items"].as_array().expect("a list").iter().filter_map(|item| item["itemID"].as_u64()).collect();
    assert!(ids.contains(&1) && ids.contains(&3), "{what}: {ids:?}");
    assert!(ids.contains(&2) || import.stdout.contains("rejected"), "{what}: neither imported nor reported");
}

#[test]
fn a_description_too_large_for_the_search_vector_is_reported() {
    let words: String = (0..200_000).map(|number| format!("слово{number} ")).collect();
    let item = json!({ "itemID": 2, "categoryID": 1, "name": "Роман", "price": 1, "description": words });
    assert_others_are_imported("two megabytes of different words", &item.to_string());
}

#[test]
fn times_out_of_range_are_imported_or_reported() {
    for time in ["0000-01-01T00:00:00Z", "-009999-01-01T00:00:00Z", "-000044-03-15T12:00:00Z", "9999-12-30T22:00:00Z"] {
        let comments = json!([{ "text": "!", "createdAt": time }]);
        let item = json!({ "itemID": 2, "categoryID": 1, "name": "Древность", "price": 1, "comments": comments });
        assert_others_are_imported(time, &item.to_string());
    }
}

#[test]
fn unusual_texts_and_numbers_are_imported_or_reported() {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    for (what, members) in [
        ("a word of 100 kB", format!("\"description\":\"{}\"", "щ".repeat(50_000))),
        ("the end marker of COPY", "\"description\":\"\\\\.\\n\\\\N\\t\\\\x00\"".to_owned()),
        ("quotes and braces in tags", "\"tags\":[\"{\",\"}\",\"\\\"\",\"\\\\\",\",\",\"NULL\",\"\"]".to_owned()),
        ("half a surrogate pair", "\"description\":\"\\ud83d\"".to_owned()),
        ("a number of 400 digits", format!("\"discount\":{}", "9".repeat(400))),
        ("a huge exponent", "\"discount\":1e999999999".to_owned()),
        ("a tiny exponent", "\"discount\":1e-999999999".to_owned()),
        ("deeply nested lists", format!("\"tags\":{deep}")),
        (
            "a nested NUL",
            "\"translations\":{\"en\":{\"description\":[{\"key\":\"\\u0000\",\"value\":\"\"}]}}".to_owned(),
        ),
        ("a rating that rounds over five", "\"rating\":5.04".to_owned()),
        ("a quantity above an integer", "\"quantity\":3000000000".to_owned()),
        ("an unknown language", "\"translations\":{\"xx\":{\"name\":\"?\"},\"\":{}}".to_owned()),
        ("an unknown currency", "\"currency\":\"ЖЖЖ\"".to_owned()),
    ] {
        assert_others_are_imported(
            what,
            &format!("{{\"itemID\":2,\"categoryID\":1,\"name\":\"Кружка 2\",\"price\":1,{members}}}"),
        );
    }
}

#[test]
fn two_items_may_use_the_same_review_id() {
    let site = Site::new(&["dexar"]);
    let item = |number: u32| {
        let comments = json!([{ "id": "cmt_1", "text": format!("Отзыв {number}") }]);
        json!({ "itemID": number, "categoryID": 1, "name": "Кружка", "price": 1, "comments": comments }).to_string()
    };
    let text = format!("{{\"categoryID\":1,\"name\":\"Всё\"}}\n{}\n{}\n", item(1), item(2));
    let output = site.import_text("dexar", "reviews.jsonl", text, &[]).success();
    let shop = exported(&site, "dexar");
    let texts: Vec<&Value> =
        shop["items"].as_array().expect("a list").iter().map(|item| &item["comments"][0]["text"]).collect();
    let is_reported = output.contains("rejected") || output.contains("corrected");
    assert!(
        is_reported || texts == ["Отзыв 1", "Отзыв 2"],
        "a review is neither imported nor reported: {texts:?}\n{output}"
    );
}

#[test]
fn a_failed_export_keeps_the_existing_file() {
    let mut site = Site::new(&["dexar"]);
    let backup = site.directory.write("backup.json", "yesterday's");
    site.change_brand("dexar", |brand| brand.database_url = "postgresql://%2Fnowhere/none".to_owned());
    site.run(&["catalog", "export", "--brand", "dexar", backup.to_str().expect("UTF-8")]).failure(1);
    assert_eq!(std::fs::read_to_string(backup).expect("it exists"), "yesterday's");
}
