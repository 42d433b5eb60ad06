//! Records and moments that could harm a whole import, or what was there before: one of many, however strange, is taken or told.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

/// An import of one strange record between two plain ones; the plain ones must be there afterwards, and of the strange one
/// must be told unless it is there too.
#[track_caller]
fn assert_does_no_harm(what: &str, strange: &str) {
    let site = Site::new(&["dexar"]);
    let plain =
        |number: u32| format!("{{\"itemID\":{number},\"categoryID\":1,\"name\":\"Кружка {number}\",\"price\":1}}\n");
    let text = format!("{{\"categoryID\":1,\"name\":\"Всё\"}}\n{}{strange}\n{}", plain(1), plain(3));
    let ended = site.import_text("dexar", "strange.jsonl", text, &[]);
    assert_eq!(ended.status, Some(0), "{what}: one record fails the import of all: {}", ended.stderr);
    let shop = exported(&site, "dexar");
    let ids: Vec<u64> =
        shop["items"].as_array().expect("a list").iter().filter_map(|item| item["itemID"].as_u64()).collect();
    assert!(ids.contains(&1) && ids.contains(&3), "{what}: {ids:?}");
    assert!(ids.contains(&2) || ended.stdout.contains("left out"), "{what}: gone without a word");
}

#[test]
fn a_description_larger_than_the_search_takes_does_no_harm() {
    let words: String = (0..200_000).map(|number| format!("слово{number} ")).collect();
    let item = json!({ "itemID": 2, "categoryID": 1, "name": "Роман", "price": 1, "description": words });
    assert_does_no_harm("two megabytes of different words", &item.to_string());
}

#[test]
fn a_time_that_only_one_calendar_has_does_no_harm() {
    for time in ["0000-01-01T00:00:00Z", "-009999-01-01T00:00:00Z", "-000044-03-15T12:00:00Z", "9999-12-30T22:00:00Z"] {
        let comments = json!([{ "text": "!", "createdAt": time }]);
        let item = json!({ "itemID": 2, "categoryID": 1, "name": "Древность", "price": 1, "comments": comments });
        assert_does_no_harm(time, &item.to_string());
    }
}

#[test]
fn odd_texts_and_numbers_do_no_harm() {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    for (what, members) in [
        ("a word of 100 kB", format!("\"description\":\"{}\"", "щ".repeat(50_000))),
        ("what COPY takes for its end", "\"description\":\"\\\\.\\n\\\\N\\t\\\\x00\"".to_owned()),
        ("quotes and braces in tags", "\"tags\":[\"{\",\"}\",\"\\\"\",\"\\\\\",\",\",\"NULL\",\"\"]".to_owned()),
        ("half a surrogate pair", "\"description\":\"\\ud83d\"".to_owned()),
        ("an endless number", format!("\"discount\":{}", "9".repeat(400))),
        ("a huge exponent", "\"discount\":1e999999999".to_owned()),
        ("a tiny exponent", "\"discount\":1e-999999999".to_owned()),
        ("a nest of lists", format!("\"tags\":{deep}")),
        (
            "a NUL deep inside",
            "\"translations\":{\"en\":{\"description\":[{\"key\":\"\\u0000\",\"value\":\"\"}]}}".to_owned(),
        ),
        ("a rating that rounds over five", "\"rating\":5.04".to_owned()),
        ("a quantity above an integer", "\"quantity\":3000000000".to_owned()),
        ("a language nobody has", "\"translations\":{\"xx\":{\"name\":\"?\"},\"\":{}}".to_owned()),
        ("a currency nobody has", "\"currency\":\"ЖЖЖ\"".to_owned()),
    ] {
        assert_does_no_harm(
            what,
            &format!("{{\"itemID\":2,\"categoryID\":1,\"name\":\"Кружка 2\",\"price\":1,{members}}}"),
        );
    }
}

#[test]
fn two_items_may_number_their_reviews_alike() {
    let site = Site::new(&["dexar"]);
    let item = |number: u32| {
        let comments = json!([{ "id": "cmt_1", "text": format!("Отзыв {number}") }]);
        json!({ "itemID": number, "categoryID": 1, "name": "Кружка", "price": 1, "comments": comments }).to_string()
    };
    let text = format!("{{\"categoryID\":1,\"name\":\"Всё\"}}\n{}\n{}\n", item(1), item(2));
    let output = site.import_text("dexar", "alike.jsonl", text, &[]).success();
    let shop = exported(&site, "dexar");
    let texts: Vec<&Value> =
        shop["items"].as_array().expect("a list").iter().map(|item| &item["comments"][0]["text"]).collect();
    let told = output.contains("left out") || output.contains("correction");
    assert!(told || texts == ["Отзыв 1", "Отзыв 2"], "a review is gone without a word: {texts:?}\n{output}");
}

#[test]
fn an_export_that_fails_leaves_the_file_that_was_there() {
    let mut site = Site::new(&["dexar"]);
    let backup = site.directory.write("backup.json", "yesterday's");
    site.change_brand("dexar", |brand| brand.database_url = "postgresql://%2Fnowhere/none".to_owned());
    site.run(&["catalog", "export", "--brand", "dexar", backup.to_str().expect("UTF-8")]).failure(1);
    assert_eq!(std::fs::read_to_string(backup).expect("it is there"), "yesterday's");
}
