//! Stock and imports: what was sold since the time of a file, files that are older than others, merges beside payments, and counts that a
//! killed import has left.

use serde_json::{Value, json};

use crate::harness::shop::{Shop, order};
use crate::harness::{eventually, eventually_async};

/// The time of the database in a format of `to_char`, in the shop's time zone.
fn local_time(shop: &Shop, format: &str) -> String {
    let sql = format!("select to_char(clock_timestamp() at time zone 'Europe/Moscow', '{format}')");
    shop.site.sql_as("dexar", &sql).expect("a time")
}

/// A YML feed of this date with a count of the lamps.
fn lamps(date: &str, count: u32) -> String {
    format!(
        "<yml_catalog date=\"{date}\"><shop><offers><offer id=\"12\"><price>20</price><count>{count}</count></offer></offers></shop></yml_catalog>"
    )
}

/// Sells two lamps.
async fn sell_lamps(shop: &Shop, name: &str) {
    let browser = shop.browser();
    let opened = browser.post("/cart", &order(name, "40", &[(12, "20", Some(2))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
}

fn stock(shop: &Shop) -> i64 {
    shop.count("select quantity from item_stock where item_id = 12")
}

#[tokio::test]
async fn what_was_sold_since_the_time_of_a_file_is_subtracted_from_its_stock() {
    let shop = Shop::start();
    let five = r#"{"itemID":12,"quantity":5}"#;
    let local = local_time(&shop, "YYYY-MM-DD HH24:MI:SS");
    let before = shop.site.sql_as("dexar", "select to_json(clock_timestamp())").expect("a time").replace('"', "");
    let backup = shop.site.run(&["catalog", "export", "--brand", "dexar"]).success();
    assert!(backup.starts_with("{\n\"stockAsOf\": \"20"), "{}", &backup[..60]);
    sell_lamps(&shop, "first").await;
    assert_eq!(stock(&shop), 3);
    let sold = "select string_agg(item_id || ' ' || quantity, ', ') from stock_movement";
    assert_eq!(shop.site.sql_as("dexar", sold).as_deref(), Ok("12 -2"));

    let output = shop.site.import_text("dexar", "lamps.xml", lamps(&local, 5), &[]).success();
    assert!(output.contains("subtracted from the stock of 1 item"), "{output}");
    assert_eq!(stock(&shop), 3, "a feed is of its date");
    let lines = format!("{{\"stockAsOf\":\"{before}\"}}\n{five}\n");
    shop.site.import_text("dexar", "lines.jsonl", lines, &["--strict"]).success();
    assert_eq!(stock(&shop), 3, "JSON lines are of their time");
    shop.site.import_text("dexar", "backup.json", &backup, &["--strict", "--replace", "--older"]).success();
    assert_eq!(stock(&shop), 3, "an export is of its time");
    shop.site.import_text("dexar", "a.jsonl", five, &["--stock-as-of", &before, "--older"]).success();
    assert_eq!(stock(&shop), 3, "any file is of the time that the operator names");
    assert_eq!(shop.item(12).await["quantity"], 3);

    shop.site.import_text("dexar", "lamps.xml", lamps(&local, 5), &["--stock-as-of", "now"]).success();
    assert_eq!(stock(&shop), 5, "the operator knows better than the date");
    sell_lamps(&shop, "second").await;
    shop.site.import_text("dexar", "b.jsonl", five, &[]).success();
    assert_eq!(stock(&shop), 5, "JSON without a time is of now");
    let dropped = r#"{"itemID":11,"categoryID":1,"name":"Стул","price":100.50,"quantity":9}"#;
    shop.site.import_text("dexar", "only.jsonl", dropped, &["--replace", "--max-removed", "100"]).success();
    assert_eq!(shop.count("select count(*) from item where item_id = 12 and visible"), 0, "the file does not have it");
    shop.site.import_text("dexar", "backup.json", &backup, &["--older"]).success();
    assert_eq!(stock(&shop), 1, "both sales, of an item that returns");
    let unclear = shop.site.import_text("dexar", "c.jsonl", five, &["--stock-as-of", "yesterday"]).failure(1);
    assert!(unclear.contains("--stock-as-of yesterday: expected a time"), "{unclear}");
}

#[tokio::test]
async fn an_older_file_is_refused_and_older_stock_is_reported() {
    let shop = Shop::start();
    let import = |date: &str, count, arguments: &[&str]| {
        shop.site.import_text("dexar", "lamps.xml", lamps(date, count), arguments)
    };
    import("2026-03-01 12:00", 7, &[]).success();
    let refused = import("2026-03-01T11:59:00+03:00", 6, &[]).failure(1);
    assert!(
        refused.contains("lamps.xml is of 2026-03-01T08:59:00Z, older than the file of 2026-03-01T09:00:00Z"),
        "{refused}"
    );
    assert_eq!(stock(&shop), 7);
    let accepted = import("2026-03-01T11:59:00+03:00", 6, &["--older"]).success();
    assert!(accepted.contains("its stock is older than the one that is known, and replaces it"), "{accepted}");
    assert_eq!(stock(&shop), 6);
    import("2026-03-01 12:00", 7, &[]).success();
    assert_eq!(stock(&shop), 7, "the same file again is not older");

    // A regional feed has an order of its own, and its stock is newer.
    let region = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}"#;
    shop.site.import_text("dexar", "regions.jsonl", region, &[]).success();
    let feed = shop.site.directory.write("moscow.xml", lamps("2026-03-03 12:00", 9));
    shop.site.import("dexar", &[&format!("moscow={}", feed.display())]).success();
    let kept = import("2026-03-02 12:00", 4, &[]).success();
    assert!(kept.contains("its stock is older than the one that is known, which is kept"), "{kept}");
    assert_eq!(stock(&shop), 9);
    let future = import("2099-01-01", 4, &[]).success();
    assert!(future.contains("is of a time in the future"), "{future}");
    assert_eq!(stock(&shop), 4);
    assert_eq!(shop.count("select count(*) from import_source where dated_at > now()"), 0);
    let unclear = import("spring", 3, &[]).success();
    assert!(unclear.contains("date: not understood"), "{unclear}");
    assert_eq!(stock(&shop), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_carts_and_reads_do_not_wait_for_a_merge() {
    let shop = Shop::start();
    // The import waits with everything but the counts merged.
    let blocker = shop.site.connect_as("dexar").await;
    blocker.batch_execute("begin; lock table stock_count in share mode").await.expect("the lock is free");
    let items =
        [11, 12, 14, 16].map(|id| format!("{{\"itemID\":{id},\"simpleDescription\":\"Новое\",\"quantity\":50}}\n"));
    let path = shop.site.directory.write("new.jsonl", items.concat());
    let mut import = shop.site.spawn(&["catalog", "import", "--brand", "dexar", path.to_str().expect("UTF-8")]);
    let waiting = "select count(*) from pg_locks where not granted and relation = 'dexar.stock_count'::regclass";
    eventually("the import waits", 30, || {
        (shop.site.services.admin_sql(&shop.site.database, waiting) == "1").then_some(())
    });

    let browser = shop.browser();
    browser.post("/cart", &json!({"itemID": 12, "quantity": 1})).await.ok_json();
    let opened = browser.post("/cart", &order("beside", "40", &[(12, "20", Some(2))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the payment is completed", 30, async || {
        let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
    assert_eq!(browser.get("/cart").await.ok_json(), json!([]), "the bought item left the cart");
    let held = browser.post("/cart", &order("held", "20", &[(12, "20", Some(1))])).await;
    held.ok_json();
    let item = shop.item(12).await;
    assert_eq!((&item["quantity"], item.get("simpleDescription")), (&json!(2), None), "nothing is merged yet");
    assert!(import.try_wait().expect("our child process").is_none(), "the import still waits");

    blocker.batch_execute("commit").await.expect("it commits");
    assert!(eventually("the import", 30, || import.try_wait().expect("our child process")).success());
    let stock = "select quantity * 10 + held from item_stock where item_id = 12";
    assert_eq!(
        shop.count(stock),
        481,
        "what was sold after the import began is subtracted, and what is held stays held"
    );
    let shown = async || (shop.item(12).await["simpleDescription"] == "Новое").then_some(());
    eventually_async("the new text is shown", 10, shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_that_a_killed_import_left_is_written_by_the_next_one_or_by_the_workers() {
    let shop = Shop::with_config("[import]\nstock_batch = 10\nattempts = 100\n");
    let items = |count: u32| -> String {
        (101..=130)
            .map(|id| {
                format!("{{\"itemID\":{id},\"categoryID\":1,\"name\":\"Вещь\",\"price\":1,\"quantity\":{count}}}\n")
            })
            .collect()
    };
    shop.site.import_text("dexar", "items.jsonl", items(5), &["--strict"]).success();
    for (round, count) in [(0, 9), (1, 12)] {
        // The sale of one item keeps its stock locked.
        let buyer = shop.site.connect_as("dexar").await;
        let lock = "begin; select from item_stock where item_id = 115 for update";
        buyer.batch_execute(lock).await.expect("the lock is free");
        let path = shop.site.directory.write("counts.jsonl", items(count));
        let mut import = shop.site.spawn(&["catalog", "import", "--brand", "dexar", path.to_str().expect("UTF-8")]);
        let written = format!("select count(*) from item_stock where item_id > 100 and quantity = {count}");
        eventually("the other counts are written", 30, || (shop.count(&written) == 29).then_some(()));
        assert_eq!(shop.count("select count(*) from stock_count"), 1);
        import.kill().expect("our child process");
        import.wait().expect("our child process");
        let sale = "update item_stock set quantity = quantity - 1 where item_id = 115; commit";
        buyer.batch_execute(sale).await.expect("it commits");
        assert_eq!(shop.count("select count(*) from stock_count"), 1, "round {round}");
        if round == 0 {
            shop.site.import_text("dexar", "name.jsonl", r#"{"itemID":101,"name":"Вещица"}"#, &[]).success();
        } else {
            let _workers = shop.site.start_workers();
            let done = || (shop.count("select count(*) from stock_count") == 0).then_some(());
            eventually("the workers write the count", 60, done);
        }
        assert_eq!(shop.count("select count(*) from stock_count"), 0, "round {round}");
        let left = format!("select quantity - {count} from item_stock where item_id = 115");
        assert_eq!(shop.count(&left), -1, "round {round}: the sale after the import began is subtracted");
    }
}

#[tokio::test]
async fn lines_of_a_cart_survive_the_removal_and_return_of_their_item() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.post("/cart", &json!({"itemID": 12, "quantity": 3})).await.ok_json();
    let only = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n{\"itemID\":11,\"categoryID\":1,\"name\":\"Стул\",\"price\":100.50}";
    shop.site.import_text("dexar", "only.jsonl", only, &["--replace", "--max-removed", "100"]).success();
    let gone: Value = browser.get("/cart").await.ok_json();
    assert_eq!((&gone[0]["itemID"], &gone[0]["remainings"]), (&json!(12), &json!("out")), "{gone}");
    let back = r#"{"itemID":12,"categoryID":1,"name":"Лампа","price":20,"quantity":5}"#;
    shop.site.import_text("dexar", "back.jsonl", back, &[]).success();
    let cart = browser.get("/cart").await.ok_json();
    assert_eq!((&cart[0]["itemID"], &cart[0]["quantity"]), (&json!(12), &json!(3)));
}
