//! The connections that short reads share: one that does not answer holds nobody up for long, and is not asked again.

use crate::harness::{Site, TableLock, data, eventually_async, request};

#[tokio::test]
async fn reads_that_get_no_answer_are_given_up_together() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("it was written");
    site.directory.write("brands/dexar.toml", text.replace("pool_wait_ms = 20000", "pool_wait_ms = 300"));
    let gateway = site.start();
    let client = gateway.client("dexar");
    let id = client.json("/randomitems?count=1").await[0]["itemID"].as_u64().expect("an item");
    let connections = || {
        let sql =
            format!("select count(*) from pg_stat_activity where datname = '{}' and usename = 'dexar'", site.database);
        site.services.admin_sql("postgres", &sql).parse::<u32>().expect("a count")
    };
    let holding = TableLock::on_items(&site, "dexar").await;
    // Three rounds of more than there are connections: each is given up by itself, none waits for those before it.
    for round in 0..3 {
        let asked = (0..20).map(|number| client.send(request(&format!("/item/{id}?round={round}&number={number}"))));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.error_code(503), "unavailable");
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert_eq!(client.get("/regions").await.status, 200, "others are served");
    holding.release().await;
    assert_eq!(client.json(&format!("/item/{id}")).await["itemID"], id);
    // What was given up is closed when its statement ends: the pool, the follower and four shared ones at most.
    eventually_async("stuck connections are closed", 20, async || (connections() <= 24 + 1 + 4).then_some(())).await;
}
