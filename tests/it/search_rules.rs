//! What the shop decides about its searches: synonyms and pinned items, in running gateways.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::{Client, Gateway, Site, TableLock, eventually_async, request};

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"id":"spb","city":"Санкт-Петербург","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Посуда","parentID":0,"id":"cat_ware"}
{"categoryID":2,"name":"Чайники","parentID":1,"id":"sub_kettles"}
{"itemID":21,"categoryID":2,"name":"Чайник красный","price":3000,"quantity":5}
{"itemID":22,"categoryID":2,"name":"Чайник заварочный фарфоровый","price":900,"quantity":5}
{"itemID":23,"categoryID":2,"name":"Чайник для плиты со свистком стальной","price":1500,"quantity":9,"regions":["moscow"]}
{"itemID":24,"categoryID":2,"name":"Чайник дорожный складной силиконовый на два литра","price":700,"quantity":9}
{"itemID":31,"categoryID":1,"name":"Самовар угольный","price":7000,"quantity":3}
{"itemID":32,"categoryID":1,"name":"Кружка","price":200,"quantity":3}
"#;

/// Both brands with the same goods.
fn shops() -> (Site, Gateway) {
    let site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", SHOP, &[]).success();
    }
    let gateway = site.start();
    (site, gateway)
}

fn path(query: &str, more: &str) -> String {
    format!("/searchitems?search={}{more}", utf8_percent_encode(query, NON_ALPHANUMERIC))
}

fn ids(found: &Value) -> Vec<i64> {
    let items = found["items"].as_array().expect("a list");
    items.iter().map(|item| item["itemID"].as_i64().expect("an id")).collect()
}

async fn search(client: &Client, query: &str, more: &str) -> Vec<i64> {
    ids(&client.json(&path(query, more)).await)
}

async fn await_found(client: &Client, query: &str, expected: &[i64]) {
    eventually_async(&format!("{query} finds {expected:?}"), 10, async || {
        (search(client, query, "").await == expected).then_some(())
    })
    .await;
}

/// Runs `brandgate search …` for dexar.
fn staff(site: &Site, command: &[&str], arguments: &[&str]) -> String {
    site.run(&[&["search"], command, &["--brand", "dexar"], arguments].concat()).success()
}

/// How often the gateway has built an index of a brand.
fn builds(gateway: &Gateway, brand: &str) -> usize {
    let brand = format!("brand=\"{brand}\"");
    gateway.log().lines().filter(|line| line.contains("search index built") && line.contains(&brand)).count()
}

#[tokio::test]
async fn synonyms_apply_to_the_running_gateway_of_their_brand_alone() {
    let (site, gateway) = shops();
    let (dexar, novo) = (gateway.client("dexar"), gateway.client("novo"));
    for client in [&dexar, &novo] {
        await_found(client, "бульотка", &[]).await;
        await_found(client, "чашка", &[32]).await;
    }
    let built = builds(&gateway, "dexar");
    assert!(built > 0, "{}", gateway.log());

    let added = staff(&site, &["synonyms", "add"], &["бульотка => самовар"]);
    assert_eq!(added, "dexar: added: бульотка => самовар\n");
    assert_eq!(
        staff(&site, &["synonyms", "add"], &["Бульотка =>  самовар"]),
        "dexar: unchanged: Бульотка => самовар\n"
    );
    await_found(&dexar, "бульотки", &[31]).await;
    assert_eq!(search(&dexar, "бульотка", "&exact=true").await, [] as [i64; 0]);
    assert_eq!(search(&novo, "бульотка", "").await, [] as [i64; 0]);

    // A line of the shipped list.
    assert_eq!(staff(&site, &["synonyms", "remove"], &["чашка, кружка"]), "dexar: switched off: чашка, кружка\n");
    await_found(&dexar, "чашка", &[]).await;
    assert_eq!(search(&novo, "чашка", "").await, [32]);
    let changed: Value =
        serde_json::from_str(&staff(&site, &["synonyms", "list"], &["--own", "--json"])).expect("JSON");
    assert_eq!(
        changed,
        json!([
            {"line": "бульотка => самовар", "source": "own", "active": true},
            {"line": "кружка, чашка", "source": "shipped", "active": false},
        ])
    );
    let all: Value = serde_json::from_str(&staff(&site, &["synonyms", "list"], &["--json"])).expect("JSON");
    assert!(all.as_array().expect("a list").len() > 150);
    assert_eq!(staff(&site, &["synonyms", "add"], &["кружка, чашка"]), "dexar: switched on: кружка, чашка\n");
    await_found(&dexar, "чашка", &[32]).await;

    assert_eq!(
        staff(&site, &["synonyms", "remove"], &["бульотка => самовар"]),
        "dexar: removed: бульотка => самовар\n"
    );
    await_found(&dexar, "бульотка", &[]).await;
    let missing = site.run(&["search", "synonyms", "remove", "--brand", "dexar", "бульотка => самовар"]);
    assert!(missing.failure(1).contains("dexar: there is no such line"));
    assert_eq!(builds(&gateway, "dexar"), built, "no change of synonyms builds the index again");
}

#[tokio::test]
async fn files_of_synonyms_are_imported_as_a_whole() {
    let (site, gateway) = shops();
    let dexar = gateway.client("dexar");
    let import = |text: &str, more: &[&str]| {
        let file = site.directory.write("synonyms.tsv", text);
        let file = file.to_str().expect("UTF-8").to_owned();
        site.run(&[&["search", "synonyms", "import", "--brand", "dexar", &file], more].concat())
    };
    let invalid = import("бульотка => самовар\nодно\nдва => два\n", &[]).failure(1);
    assert!(
        invalid.contains("synonyms.tsv: line 2: expected") && invalid.contains("synonyms.tsv: line 3: "),
        "{invalid}"
    );
    assert_eq!(staff(&site, &["synonyms", "list"], &["--own"]).lines().count(), 1, "nothing was added");

    let text =
        "\u{feff}# Ours\r\nбульотка => самовар # the old word\r\nпиала, кружка\r\nкружка , пиала\r\nкружка, чашка\r\n";
    assert_eq!(import(text, &[]).success(), "dexar: 2 lines added, 1 unchanged, 0 removed\n");
    await_found(&dexar, "бульотка", &[31]).await;
    assert_eq!(search(&dexar, "пиалы", "").await, [32], "one transaction");
    assert_eq!(import(text, &[]).success(), "dexar: 0 lines added, 3 unchanged, 0 removed\n");

    staff(&site, &["synonyms", "remove"], &["кружка, чашка"]);
    assert_eq!(import("пиала, кружка\n", &["--replace"]).success(), "dexar: 0 lines added, 1 unchanged, 1 removed\n");
    await_found(&dexar, "бульотка", &[]).await;
    assert_eq!(search(&dexar, "чашка", "").await, [] as [i64; 0], "a shipped line stays switched off");
    let too_many: String = (0..=5_000).map(|number| format!("слово{number} => самовар\n")).collect();
    assert!(import(&too_many, &[]).failure(1).contains("at most 5000 lines"));
    assert_eq!(staff(&site, &["synonyms", "list"], &["--own"]).lines().count(), 3);
}

#[tokio::test]
async fn pinned_items_have_their_places_on_every_page() {
    let (site, gateway) = shops();
    let (dexar, novo) = (gateway.client("dexar"), gateway.client("novo"));
    await_found(&dexar, "чайник", &[21, 22, 23, 24]).await;
    let built = builds(&gateway, "dexar");
    let pin = |arguments: &[&str]| staff(&site, &["pins", "add", "--query", "Чайники"], arguments);
    assert_eq!(pin(&["--item", "24"]), "dexar: item 24 is at place 1 in \"Чайники\"\n");
    // An item that does not match.
    assert_eq!(pin(&["--item", "31", "--position", "3"]), "dexar: item 31 is at place 3 in \"Чайники\"\n");
    assert_eq!(pin(&["--item", "21", "--bury"]), "dexar: item 21 is last in \"Чайники\"\n");
    let expected = [24, 22, 31, 23, 21];
    await_found(&dexar, "чайник", &expected).await;
    assert_eq!(search(&dexar, "купить чайники", "").await, expected, "the same words");
    assert_eq!(search(&dexar, "чайнк", "").await, expected, "corrected");
    assert_eq!(search(&dexar, "чайник красный", "").await[0], 21, "another query");
    assert_eq!(search(&novo, "чайник", "").await, [21, 22, 23, 24], "another brand");
    let suggested = dexar.json(&path("чайник", "").replace("/searchitems", "/suggest")).await;
    assert_eq!(ids(&suggested), expected);

    for size in 1..=6 {
        let mut shown = Vec::new();
        for number in 0..6 {
            let page = dexar.json(&path("чайник", &format!("&count={size}&skip={}", number * size))).await;
            assert_eq!(page["total"], 5);
            shown.extend(ids(&page));
        }
        assert_eq!(shown, expected, "pages of {size}");
    }
    let facets = dexar.json(&path("чайник", "&facets=true&count=1")).await["facets"].clone();
    assert_eq!(facets["price"], json!({"min": 700, "max": 7000}));
    assert_eq!(search(&dexar, "чайник", "&sort=price").await, [24, 22, 23, 21], "by price, without the pinned one");
    assert_eq!(builds(&gateway, "dexar"), built, "no pinned item builds the index again");

    let listed: Value = serde_json::from_str(&staff(&site, &["pins", "list"], &["--json"])).expect("JSON");
    assert_eq!(listed.as_array().expect("a list").len(), 3);
    assert_eq!(
        listed[0],
        json!({"query": "Чайники", "item": 24, "name": "Чайник дорожный складной силиконовый на два литра",
               "position": 1, "buried": false, "listed": true})
    );
    assert_eq!(listed[2]["buried"], true);
    let removed = staff(&site, &["pins", "remove", "--query", "чайник"], &["--item", "31"]);
    assert_eq!(removed, "dexar: 1 item removed from \"чайник\"\n");
    await_found(&dexar, "чайник", &[24, 22, 23, 21]).await;
    staff(&site, &["pins", "remove", "--query", "чайник"], &["--all"]);
    await_found(&dexar, "чайник", &[21, 22, 23, 24]).await;
    for (arguments, problem) in [
        (&["remove", "--query", "чайник", "--all"][..], "dexar: the query pins and buries no such item"),
        (&["add", "--query", "чайник", "--item", "999"], "dexar: There is no such item."),
        (&["add", "--query", "!!!", "--item", "21"], "dexar: \"!!!\" has no word to search for"),
    ] {
        let command = [&["search", "pins", arguments[0], "--brand", "dexar"], &arguments[1..]].concat();
        let output = site.run(&command).failure(1);
        assert!(output.contains(problem), "{output}");
    }
}

#[tokio::test]
async fn items_that_are_not_shown_are_not_pinned() {
    let (site, gateway) = shops();
    let dexar = gateway.client("dexar");
    for (item, position) in [("31", "1"), ("23", "2"), ("24", "3")] {
        staff(&site, &["pins", "add", "--query", "чайник"], &["--item", item, "--position", position]);
    }
    await_found(&dexar, "чайник", &[31, 23, 24, 21, 22]).await;
    let in_region = dexar.send(request(&path("чайник", "")).region("spb")).await.ok_json();
    assert_eq!((ids(&in_region), in_region["total"].clone()), (vec![31, 21, 24, 22], json!(4)), "23 is sold in Moscow");
    assert_eq!(search(&dexar, "чайник", "&priceMax=1000").await, [22, 24], "24 is last, for want of a third place");
    assert_eq!(search(&dexar, "чайник", "&category=sub_kettles").await, [21, 23, 24, 22]);
    site.sql_as("dexar", "update item set visible = false where item_id = 31").expect("updated");
    await_found(&dexar, "чайник", &[21, 23, 24, 22]).await;
    let listed = staff(&site, &["pins", "list", "--query", "чайника"], &[]);
    assert!(listed.lines().any(|line| line.contains("31  hidden")), "{listed}");
    site.sql_as("dexar", "delete from item where item_id = 24").expect("deleted");
    await_found(&dexar, "чайник", &[21, 23, 22]).await;
    assert_eq!(site.sql_as("dexar", "select count(*) from search_pin").as_deref(), Ok("2"));
}

#[test]
fn items_pinned_at_the_same_moment_have_places_of_their_own() {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let items = ["21", "22", "23", "24", "31", "32"];
    std::thread::scope(|scope| {
        for item in items {
            let site = &site;
            scope.spawn(move || staff(site, &["pins", "add", "--query", "чайник"], &["--item", item]));
        }
    });
    let listed: Value = serde_json::from_str(&staff(&site, &["pins", "list"], &["--json"])).expect("JSON");
    let places: Vec<Value> = listed.as_array().expect("a list").iter().map(|pin| pin["position"].clone()).collect();
    assert_eq!(places, [json!(1), json!(2), json!(3), json!(4), json!(5), json!(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn item_that_is_deleted_while_it_is_pinned_is_unknown() {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "shop.jsonl", SHOP, &[]).success();
    let lock = TableLock::on_item(&site, "dexar", 31).await;
    let add = ["search", "pins", "add", "--brand", "dexar", "--query", "чайник", "--item", "31"];
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| site.run(&add).failure(1));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                lock.await_waiting(1).await;
                lock.execute("delete from dexar.item where item_id = 31").await;
                lock.release().await;
            });
        });
        let output = pinned.join().expect("the command ended");
        assert!(output.contains("dexar: There is no such item."), "{output}");
    });
}
