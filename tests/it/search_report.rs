//! `brandgate search report`: what is counted of searches, written by gateways and deleted by workers.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::{Client, Site, eventually, request};

const SHOP: &str = r#"{"id":"moscow","city":"Москва","country":"Россия","countryCode":"RU"}
{"categoryID":1,"name":"Посуда","parentID":0,"id":"cat_ware"}
{"itemID":21,"categoryID":1,"name":"Чайник красный","price":3000,"quantity":5}
{"itemID":22,"categoryID":1,"name":"Кружка","price":200,"quantity":3}
"#;

/// Both brands; the gateway of dexar counts with these settings.
fn shops(settings: &str) -> Site {
    let mut site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", SHOP, &[]).success();
    }
    site.change_brand("dexar", |brand| brand.more = format!("[search]\nfirst_build_ms = 20000\n{settings}"));
    site
}

fn path(query: &str, more: &str) -> String {
    format!("/searchitems?search={}{more}", utf8_percent_encode(query, NON_ALPHANUMERIC))
}

async fn search(client: &Client, query: &str, more: &str) -> Value {
    client.json(&path(query, more)).await
}

fn report(site: &Site, brand: &str, more: &[&str]) -> Vec<Value> {
    let output = site.run(&[&["search", "report", "--brand", brand, "--json"], more].concat()).success();
    serde_json::from_str(&output).expect("a JSON array")
}

fn await_report(site: &Site, expected: &Value) {
    let today = || {
        let mut days = report(site, "dexar", &["--days", "1"]);
        let mut day = days.pop()?;
        day.as_object_mut().expect("an object").remove("day").expect("every day has a date");
        Some(day)
    };
    eventually(&format!("the report is {expected}"), 20, || (today().as_ref() == Some(expected)).then_some(()));
}

fn count(query: &str, searches: i64, found_nothing: i64) -> Value {
    json!({"query": query, "searches": searches, "foundNothing": found_nothing})
}

#[tokio::test]
async fn searches_are_counted_also_those_that_the_cache_answers() {
    let site = shops("count_interval_s = 1\n");
    let gateway = site.start();
    let (dexar, novo) = (gateway.client("dexar"), gateway.client("novo"));
    gateway.await_cached("dexar", &path("чайник", "&count=1&skip=1")).await;
    let [hits, ..] = gateway.cache_lookups("dexar");
    for _ in 0..3 {
        assert_eq!(search(&dexar, "чайник", "").await["total"], 1);
    }
    let response = dexar.get(&path("чайник", "")).await;
    let etag = response.header("etag").expect("an entity tag").to_owned();
    let unchanged = dexar.send(request(&path("чайник", "")).header("if-none-match", &etag)).await;
    assert_eq!(unchanged.status, 304);
    assert!(gateway.cache_lookups("dexar")[0] >= hits + 4, "the first one fills the cache");
    search(&dexar, " ЧАЙНИК", "").await;
    assert_eq!(search(&dexar, "самокат", "").await["total"], 0);
    search(&dexar, "самокат", "&count=5&facets=true").await;
    // No searches of their own, and what may say who searched.
    for more in ["&sort=price", "&inStock=true", "&category=1", "&priceMax=5", "&exact=true", "&skip=1"] {
        search(&dexar, "чайник", more).await;
    }
    dexar.send(request(&path("кружка", "")).method("HEAD")).await;
    dexar.json(&path("кружка", "").replace("/searchitems", "/suggest")).await;
    for query in ["anna@example.org", "8 916 123-45-67", &"ж".repeat(65)] {
        search(&dexar, query, "").await;
    }
    search(&novo, "кружка", "").await;

    let (kettle, scooter) = (count("чайник", 6, 0), count("самокат", 2, 2));
    let expected = json!({"searches": 8, "foundNothing": 2, "queries": 2, "popular": [kettle, scooter], "unsuccessful": [scooter]});
    await_report(&site, &expected);
    search(&dexar, "самокат", "").await;
    let scooter = count("самокат", 3, 3);
    let expected = json!({"searches": 9, "foundNothing": 3, "queries": 2, "popular": [kettle, scooter], "unsuccessful": [scooter]});
    await_report(&site, &expected);
    assert_eq!(report(&site, "novo", &[]), [] as [Value; 0], "it writes once a minute");
}

#[tokio::test]
async fn what_was_counted_is_written_at_shutdown() {
    let site = shops("count_interval_s = 3600\n");
    let gateway = site.start();
    search(&gateway.client("dexar"), "чайник", "").await;
    search(&gateway.client("dexar"), "самокат", "").await;
    assert_eq!(report(&site, "dexar", &[]), [] as [Value; 0]);
    gateway.terminate();
    assert!(gateway.await_exit().success());
    let text = site.run(&["search", "report", "--brand", "dexar"]).success();
    let (_, rest) = text.split_once("  ").expect("a date first");
    assert_eq!(
        rest,
        "2 searches, 2 different, 1 found nothing\n  popular\n       1  самокат\n       1  чайник\n  found nothing\n       1  самокат\n"
    );
    assert_eq!(site.run(&["search", "report", "--brand", "novo"]).success(), "novo: no searches\n");
}

#[tokio::test]
async fn failed_write_is_repeated_with_the_next_one() {
    let site = shops("count_interval_s = 1\n");
    let gateway = site.start();
    let dexar = gateway.client("dexar");
    site.sql_as("dexar", "alter table search_query_count rename to moved").expect("renamed");
    search(&dexar, "чайник", "").await;
    let is_logged = || gateway.log().contains("failed to write the counts of searches").then_some(());
    eventually("the failure is logged", 20, is_logged);
    search(&dexar, "чайник", "").await;
    site.sql_as("dexar", "alter table moved rename to search_query_count").expect("renamed");
    let kettle = count("чайник", 2, 0);
    let expected = json!({"searches": 2, "foundNothing": 0, "queries": 1, "popular": [kettle], "unsuccessful": []});
    await_report(&site, &expected);
    eventually("the recovery is logged", 20, || {
        gateway.log().contains("counts of searches are written again").then_some(())
    });
}

#[tokio::test]
async fn different_queries_are_bounded_in_memory_and_by_day() {
    let site = shops("count_interval_s = 1\ncounted_queries = 2\n");
    let today = "insert into search_query_count (day, query, searches, found_nothing)
                 select (now() at time zone 'Europe/Moscow')::date, 'кружка', 5, 0";
    site.sql_as("dexar", today).expect("inserted");
    let gateway = site.start();
    let dexar = gateway.client("dexar");
    gateway.await_metric("brandgate_search_queries_uncounted_total{brand=\"dexar\"} 0");
    // The first two find room in memory, one of them on the day.
    for query in ["чайник", "чайник", "самокат", "ведро", "кружка"] {
        search(&dexar, query, "").await;
    }
    let uncounted = || {
        let metrics = gateway.metrics();
        let series = "brandgate_search_queries_uncounted_total{brand=\"dexar\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(series)).expect("the series is there").parse::<u64>().ok()
    };
    let of_day = || site.sql_as("dexar", "select string_agg(query, ' ' order by query) from search_query_count");
    eventually("the day is full", 20, || (of_day().expect("sql").split(' ').count() == 2).then_some(()));
    eventually("what is left out is counted", 20, || uncounted().filter(|count| *count >= 1));
    search(&dexar, "кружка", "").await;
    let known = || site.sql_as("dexar", "select searches from search_query_count where query = 'кружка'").expect("sql");
    eventually("a known query is counted", 20, || (known().parse::<i64>().expect("a number") > 5).then_some(()));
    assert_eq!(of_day().expect("sql").split(' ').count(), 2);
}

#[test]
fn counts_are_reported_by_day_and_deleted_when_their_days_are_over() {
    let site = shops("report_days = 30\n");
    let rows = "insert into search_query_count (day, query, searches, found_nothing)
                select (now() at time zone 'Europe/Moscow')::date - age, query, searches, nothing
                from (values (0, 'чайник', 7, 0), (1, 'чайник', 3, 0), (1, 'самокат', 5, 5), (1, 'ведро', 4, 1), (6, 'кружка', 1, 0),
                             (7, 'ложка', 1, 0), (29, 'вилка', 1, 0), (30, 'нож', 1, 0), (31, 'нож', 1, 0))
                     v (age, query, searches, nothing)";
    site.sql_as("dexar", rows).expect("inserted");
    let days = report(&site, "dexar", &["--count", "2"]);
    assert_eq!(days.iter().map(|day| day["searches"].as_i64()).collect::<Vec<_>>(), [Some(7), Some(12), Some(1)]);
    let (scooter, bucket) = (count("самокат", 5, 5), count("ведро", 4, 1));
    assert_eq!(days[1]["popular"], json!([scooter, bucket]));
    assert_eq!(days[1]["unsuccessful"], json!([scooter, bucket]));
    assert_eq!((&days[1]["queries"], &days[1]["foundNothing"]), (&json!(3), &json!(6)));
    assert!(days.is_sorted_by(|a, b| a["day"].as_str() > b["day"].as_str()), "{days:?}");
    assert_eq!(report(&site, "dexar", &["--days", "8"]).len(), 4);
    assert!(site.run(&["search", "report", "--brand", "dexar", "--days", "0"]).failure(2).contains("--days"));

    let _workers = site.start_workers();
    let ages =
        "select string_agg(((now() at time zone 'Europe/Moscow')::date - day)::text, ' ' order by day desc, query)
                from search_query_count";
    let is_deleted = || (site.sql_as("dexar", ages).expect("sql") == "0 1 1 1 6 7 29").then_some(());
    eventually("old counts are deleted", 20, is_deleted);
}
