//! Shared connections: one that does not respond is replaced, and its reads time out concurrently.

use crate::harness::{Site, TableLock, data, eventually_async, request};

#[tokio::test]
async fn reads_on_blocked_connections_time_out_concurrently() {
    let site = Site::new(&["dexar"]);
    site.import("dexar", &[&data("import/document.json")]).success();
    let text = std::fs::read_to_string(site.brand_path("dexar")).expect("the brand's file");
    site.directory.write("brands/dexar.toml", text.replace("response_timeout_ms = 20000", "response_timeout_ms = 300"));
    let gateway = site.start();
    let client = gateway.client("dexar");
    let id = client.json("/randomitems?count=1").await[0]["itemID"].as_u64().expect("an item");
    let connections = || {
        let sql =
            format!("select count(*) from pg_stat_activity where datname = '{}' and usename = 'dexar'", site.database);
        site.services.admin_sql("postgres", &sql).parse::<u32>().expect("a count")
    };
    let holding = TableLock::on_items(&site, "dexar").await;
    // Three rounds of more reads than connections: each times out on its own, and none waits for the reads before it.
    for round in 0..3 {
        let reads = (0..20).map(|number| client.send(request(&format!("/item/{id}?round={round}&number={number}"))));
        for response in futures_util::future::join_all(reads).await {
            assert_eq!(response.error_code(503), "unavailable");
            assert!(response.header("retry-after").is_some());
        }
    }
    assert_eq!(client.get("/regions").await.status, 200, "other reads succeed");
    holding.release().await;
    assert_eq!(client.json(&format!("/item/{id}")).await["itemID"], id);
    // Abandoned connections are closed when their statements end. At most the pool (24), cache invalidation (1) and the shared
    // connections (4) remain.
    eventually_async("abandoned connections are closed", 20, async || (connections() <= 24 + 1 + 4).then_some(()))
        .await;
}
