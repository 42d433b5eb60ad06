//! Import and export of a catalogue: JSON in all its shapes, malformed records, the options, and the round trip of an
//! export.

use serde_json::{Value, json};

use crate::harness::{Site, data, without_time};

/// The table that an import prints: new, changed and removed regions, categories, items and reviews.
#[track_caller]
pub(crate) fn table(output: &str) -> [[u64; 3]; 4] {
    ["regions", "categories", "items", "reviews"].map(|name| {
        let line = output.lines().find(|line| line.split_whitespace().next() == Some(name) && line.len() > 30);
        let line = line.unwrap_or_else(|| panic!("no line {name} in {output}"));
        let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().expect("a number")).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("three numbers expected: {line}"))
    })
}

const NO_CHANGES: [[u64; 3]; 4] = [[0; 3]; 4];

/// The exported catalogue.
pub(crate) fn exported(site: &Site, brand: &str) -> Value {
    serde_json::from_str(&site.export(brand)).expect("an export is JSON")
}

#[tokio::test]
async fn the_examples_of_the_api_are_returned_unchanged() {
    let site = Site::new(&["dexar"]);
    let output = site.import("dexar", &["--strict", &data("import/document.json")]).success();
    assert_eq!(table(&output), [[3, 0, 0], [2, 0, 0], [1, 0, 0], [1, 0, 0]]);
    let source: Value =
        serde_json::from_slice(&std::fs::read(data("import/document.json")).expect("test data")).expect("JSON");
    let gateway = site.start();
    let client = gateway.client("dexar");
    assert_eq!(client.json("/regions").await, source["regions"]);

    // Counts are computed; `photos` and `imgs` are two spellings of one list.
    let mut categories = source["categories"].clone();
    categories[0]["itemCount"] = 1.into();
    categories[0]["subcategories"][0]["itemCount"] = 1.into();
    assert_eq!(client.json("/category").await, categories);
    let mut item = source["items"][0].clone();
    let urls = ["https://...", "https://img1.jpg", "https://img2.jpg"];
    item["photos"] = urls.iter().map(|url| json!({ "url": url })).collect();
    item["imgs"] = json!(urls);
    item["questions"][0]["id"] = 1.into();
    assert_eq!(client.json("/item/123").await, item);
    assert_eq!(client.json("/category/sub_001").await, json!([item]));
}

#[test]
fn a_document_on_many_lines_on_one_line_or_as_json_lines_is_equivalent() {
    let exports = ["document.json", "document-one-line.json", "document.jsonl"].map(|name| {
        let site = Site::new(&["dexar"]);
        let output = site.import("dexar", &["--strict", &data(&format!("import/{name}"))]).success();
        assert_eq!(table(&output), [[3, 0, 0], [2, 0, 0], [1, 0, 0], [1, 0, 0]], "{name}");
        site.export("dexar")
    });
    assert_eq!(exports[0], exports[1]);
    assert_eq!(exports[0], exports[2]);
}

#[tokio::test]
async fn both_spellings_are_imported_and_returned() {
    let site = Site::new(&["dexar", "novo"]);
    site.import("dexar", &["--strict", &data("import/legacy.json")]).success();
    site.import("novo", &["--strict", &data("import/backoffice.json")]).success();
    let gateway = site.start();
    let legacy = gateway.client("dexar").json("/item/7").await;
    assert_eq!(legacy["imgs"], json!(["https://pictures.example/7.jpg", "https://pictures.example/7b.jpg"]));
    assert_eq!(legacy["photos"][1]["video"], "https://pictures.example/7.mp4");
    assert_eq!(legacy["photos"][1]["type"], "video");
    assert_eq!((&legacy["remainings"], legacy.get("quantity")), (&json!("low"), None));
    assert_eq!(legacy["callbacks"][0]["timestamp"], "2026-01-02T00:04:05Z", "times are returned in UTC");
    assert_eq!(legacy["callbacks"][0]["answer"], "Спасибо");
    assert_eq!(legacy["comments"][0]["text"], "Свистит");
    assert_eq!((&legacy["price"], &legacy["currency"]), (&json!(1990.5), &json!("RUB")));

    let office = gateway.client("novo").json("/item/item_kettle").await;
    assert_eq!(office["photos"], json!([{ "url": "https://pictures.example/7.jpg" }]));
    assert_eq!((&office["remainings"], &office["quantity"]), (&json!("low"), &json!(3)));
    assert_eq!(office["subcategoryId"], "sub_kettles");
    let review = json!({ "rating": 4, "content": "Свистит", "userID": "user_1", "timestamp": "2026-01-02T00:04:05Z" });
    assert_eq!(office["callbacks"], json!([review]));
    let number = office["itemID"].as_u64().expect("a number was assigned");
    assert!(number < 1 << 53, "JavaScript can hold {number}");
    assert_eq!(gateway.client("novo").json(&format!("/item/{number}")).await, office);
    let tree = gateway.client("novo").json("/category").await;
    assert_eq!(tree[0]["icon"], "https://pictures.example/1.svg");
    assert_eq!(gateway.client("novo").json(&format!("/category/{}", tree[0]["categoryID"])).await, json!([office]));
}

#[test]
fn malformed_records_are_reported_one_by_one_and_the_others_are_imported() {
    let site = Site::new(&["dexar"]);
    let path = site.directory.path().join("report.jsonl");
    let report = path.to_str().expect("UTF-8");
    let output = site.import("dexar", &[&data("import/bad-records.jsonl"), "--report", report]).success();
    assert_eq!(table(&output), [[0; 3], [1, 0, 0], [3, 0, 0], [0; 3]], "{output}");
    let shop = exported(&site, "dexar");
    let names: Vec<&Value> = shop["items"].as_array().expect("a list").iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["Хорошая кружка", "Полкружки", "Ещё одна хорошая"]);
    assert_eq!(shop["items"][1]["quantity"], json!(0), "fractions of a unit are dropped");
    assert_eq!(shop["items"][2]["price"], json!(100.01), "half a kopeck is rounded up");

    let report = std::fs::read_to_string(path).expect("--report writes it");
    let lines: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    for (record, reason) in [
        ("2", "price"),
        ("3", "price"),
        ("item_4", "no name"),
        ("item_5", "no price"),
        ("item_6", "no category that exists"),
        ("item_7", "names no category"),
        ("item_8", "region that does not exist"),
        ("9", "NUL"),
        ("9007199254740992", "2^53"),
        ("10", "discount"),
        ("11", "stars"),
        ("line 15", "not JSON"),
        ("line 16", "not JSON"),
        ("line 17", "not an object"),
        ("line 18", "not a region, category or item"),
        ("item 1", "twice"),
    ] {
        let is_reported = |line: &&Value| {
            let text = |key: &str| line[key].as_str().expect("a text").to_owned();
            text("record").contains(record) && text("reason").contains(reason) && text("kind") == "rejected"
        };
        assert!(lines.iter().any(|line| is_reported(&line)), "{record}: {reason} is not in {report}");
        assert!(output.contains(reason), "{reason} is not in the summary: {output}");
    }
    assert_eq!(lines.len(), 16, "{report}");
}

#[test]
fn strict_fails_when_any_record_is_rejected() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    let before = site.export("dexar");
    let output = site.import("dexar", &[&data("import/bad-records.jsonl"), "--strict"]).failure(1);
    assert!(output.contains("16 rejected records"), "{output}");
    assert_eq!(site.export("dexar"), before);
}

#[test]
fn an_unreadable_file_changes_nothing() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    let before = site.export("dexar");
    let good = data("import/legacy.json");
    for (name, text, expected) in [
        (
            "broken.json",
            "{\"items\": [\n{\"itemID\": 5, \"categoryID\": 1, \"name\": \"x\", \"price\": 1},\n{\"itemID\": ",
            "line 3",
        ),
        ("object.json", "{\"items\": [\n]} trailing", "line 2"),
        ("number.json", "[1, 2", "JSON"),
        ("empty.json", " \n", "empty"),
        ("page.html", "<html><body>502 Bad Gateway</body></html>", "yml_catalog"),
        ("half.xml", "<yml_catalog><shop><offers><offer id=\"1\"><name>x</name>", "ends too early"),
        ("wrong.xml", "<yml_catalog><shop></offers></shop></yml_catalog>", "expected"),
    ] {
        let path = site.directory.write(name, text);
        let output = site.import("dexar", &[&good, path.to_str().expect("UTF-8")]).failure(1);
        assert!(output.contains(name) && output.contains(expected), "{name}: {output}");
        assert_eq!(site.export("dexar"), before, "{name}: the valid file beside it is not imported either");
    }
    let missing = site.import("dexar", &["/nowhere/feed.xml"]).failure(1);
    assert!(missing.contains("/nowhere/feed.xml") && missing.contains("No such file"), "{missing}");
    let unknown = site.import("unknown", &[&good]).failure(1);
    assert!(unknown.contains("no brand unknown") && unknown.contains("dexar"), "{unknown}");
}

#[test]
fn a_dry_run_prints_the_same_numbers_and_changes_nothing() {
    let site = Site::new(&["novo"]);
    site.import_demo("novo");
    let before = site.export("novo");
    let (document, bad) = (data("import/document.json"), data("import/bad-records.jsonl"));
    // With records that do not identify their item, --replace fails: see `import_completeness`.
    for (arguments, options) in
        [(&[document.as_str(), &bad][..], &[][..]), (&[document.as_str()], &["--replace", "--max-removed", "100"])]
    {
        let dry = site.import("novo", &[arguments, options, &["--dry-run"]].concat()).success();
        assert_eq!(site.export("novo"), before);
        assert!(dry.contains("nothing was changed"), "{dry}");
        let real = Site::new(&["novo"]);
        real.import_demo("novo");
        let output = real.import("novo", &[arguments, options].concat()).success();
        assert_eq!(table(&dry), table(&output), "{options:?}");
        assert_ne!(table(&dry), NO_CHANGES);
        assert_ne!(real.export("novo"), before);
    }
}

#[test]
fn replace_hides_what_is_no_longer_in_the_file() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    site.import("dexar", &[&data("import/legacy.json")]).success();
    let both = exported(&site, "dexar");
    assert_eq!(both["items"].as_array().map(Vec::len), Some(2), "without --replace nothing is removed");
    let output = site.import("dexar", &["--replace", "--max-removed", "50", &data("import/legacy.json")]).success();
    assert_eq!(table(&output)[2], [0, 0, 1], "{output}");
    let left = exported(&site, "dexar");
    let items = left["items"].as_array().expect("a list").iter();
    let ids: Vec<_> = items.map(|item| (item["itemID"].as_u64(), item["visible"].as_bool())).collect();
    assert_eq!(ids, [(Some(7), Some(true)), (Some(123), Some(false))]);
    let categories: Vec<&Value> =
        left["categories"].as_array().expect("a list").iter().map(|c| &c["categoryID"]).collect();
    assert_eq!(categories.len(), 3, "the category of the hidden item stays: {categories:?}");
    assert_eq!(left["regions"].as_array().map(Vec::len), Some(3), "a file without regions leaves them unchanged");

    let before = site.export("dexar");
    for nothing in ["{\"items\": []}", "{\"items\": [{\"itemID\": 5, \"name\": \"broken\"}]}"] {
        let output = site.import_text("dexar", "nothing.json", nothing, &["--replace"]).failure(1);
        assert!(output.contains("would empty the shop"), "{output}");
        assert_eq!(site.export("dexar"), before);
    }
}

#[test]
fn an_absent_field_keeps_its_value_and_a_present_one_replaces_it() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    let before = exported(&site, "dexar");
    let delta = "{\"itemID\":123,\"price\":79990,\"translations\":{\"en\":{\"name\":\"iPhone\"},\"hy\":{}}}\n";
    let output = site.import_text("dexar", "delta.jsonl", delta, &["--strict"]).success();
    assert_eq!(table(&output), [[0; 3], [0; 3], [0, 1, 0], [0; 3]]);
    let mut expected = before.clone();
    expected["items"][0]["price"] = 79990.into();
    expected["items"][0]["translations"]["en"]["name"] = "iPhone".into();
    assert_eq!(exported(&site, "dexar"), expected);

    let again = site.import_text("dexar", "delta.jsonl", delta, &[]).success();
    assert_eq!(table(&again), NO_CHANGES, "the same record again changes nothing");
    let empty = "{\"itemID\":123,\"tags\":[],\"simpleDescription\":\"\",\"photos\":[],\"regions\":[\"spb\"],\"visible\":false}\n";
    site.import_text("dexar", "empty.jsonl", empty, &["--strict"]).success();
    let item = &exported(&site, "dexar")["items"][0];
    assert_eq!((&item["tags"], &item["photos"], &item["regions"]), (&json!([]), &json!([]), &json!(["spb"])));
    assert_eq!((&item["visible"], &item["simpleDescription"]), (&json!(false), &json!("")));
}

#[test]
fn an_import_of_an_export_changes_nothing() {
    for brand in ["dexar", "novo"] {
        let site = Site::new(&[brand]);
        site.import_demo(brand);
        let export = site.export(brand);
        let output = site.import_text(brand, "export.json", &export, &["--strict", "--replace"]).success();
        assert_eq!(table(&output), NO_CHANGES, "{brand}: {output}");
        assert_eq!(site.export(brand), export, "{brand}");
        let lines = site.run(&["catalog", "export", "--brand", brand, "--lines"]).success();
        let output = site.import_text(brand, "export.jsonl", &lines, &["--strict"]).success();
        assert_eq!(table(&output), NO_CHANGES, "{brand}: {output}");

        let fresh = Site::new(&[brand]);
        let output = fresh.import_text(brand, "export.jsonl", &lines, &["--strict"]).success();
        assert_eq!(table(&output)[2][1..], [0, 0], "{output}");
        assert_eq!(fresh.export(brand), export, "{brand}: ids are the same in another database");
        let path = fresh.directory.path().join("to-a-file.json");
        fresh.run(&["catalog", "export", "--brand", brand, path.to_str().expect("UTF-8")]).success();
        let written = std::fs::read_to_string(path).expect("written");
        assert_eq!(without_time(&written), export);
    }
}

#[test]
fn records_without_numbers_get_the_same_numbers_in_every_database() {
    let exports = [0, 1].map(|_| {
        let site = Site::new(&["novo"]);
        site.import("novo", &[&data("import/backoffice.json")]).success();
        site.import("novo", &[&data("yml/traps.php")]).success();
        exported(&site, "novo")
    });
    assert_eq!(exports[0], exports[1]);
    let numbers: Vec<u64> =
        exports[0]["items"].as_array().expect("a list").iter().filter_map(|item| item["itemID"].as_u64()).collect();
    assert!(numbers.iter().any(|number| *number > 1 << 52), "some were assigned: {numbers:?}");
}
