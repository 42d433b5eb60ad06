//! Failures of dependencies: PostgreSQL or Redis unavailable or hanging; shutdown and restart.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Gateway, Services, Site, TableLock, TestResponse, data, eventually, eventually_async, request,
};
use crate::overload::await_permits;

/// `connect_timeout_ms` of the brands' files.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The duration of a future, and its result.
async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let started_at = Instant::now();
    let result = work.await;
    (started_at.elapsed(), result)
}

/// A site with a PostgreSQL and a Redis of its own, and with one item.
fn own_site(name: &str) -> Site {
    let site = Site::on(Services::dedicated(name), &["dexar", "novo"]);
    site.migrate().success();
    with_item(site)
}

pub(crate) fn shop() -> Site {
    with_item(Site::new(&["dexar", "novo"]))
}

fn with_item(site: Site) -> Site {
    for brand in ["dexar", "novo"] {
        site.import(brand, &[&data("import/document.json")]).success();
    }
    site
}

#[track_caller]
pub(crate) fn assert_unavailable(response: &TestResponse) {
    assert_eq!(response.error_code(503), "unavailable");
    let seconds: u32 = response.header("retry-after").expect("a Retry-After header").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

const CATALOGUE: [&str; 5] = ["/category", "/category/1", "/item/123", "/regions", "/searchitems?search=iphone"];

/// Waits until the catalogue is served again. Until then, each response must be 503.
async fn await_catalogue(client: &Client) {
    for path in CATALOGUE {
        eventually_async("the catalogue is served again", 20, async || {
            let response = client.get(path).await;
            if response.status == 200 {
                return Some(());
            }
            assert_unavailable(&response);
            None
        })
        .await;
    }
}

#[tokio::test]
async fn gateway_starts_while_the_database_is_unavailable() {
    let site = own_site("down-at-start");
    site.services.stop("pg");
    let gateway = site.start_without_waiting();
    gateway.await_listening();
    assert!(gateway.await_log("waiting for PostgreSQL").contains("WARN"));
    for brand in ["dexar", "novo"] {
        let client = gateway.client(brand);
        assert_eq!(client.get("/ping").await.status, 200, "the process responds");
        for path in CATALOGUE {
            assert_unavailable(&client.get(path).await);
        }
        assert_eq!(client.get("/category?count=1&count=2").await.status, 503, "GET /category validates no parameters");
        assert_eq!(client.get("/category/1?count=x").await.error_code(400), "bad_count");
        assert_eq!(client.get("/nowhere").await.error_code(404), "not_found");
    }
    let (status, ready) = gateway.admin("/readyz").expect("a response");
    assert_eq!((status, &ready["ready"]), (503, &false.into()));
    assert_eq!(ready["brands"]["dexar"]["lacks"], serde_json::json!(["postgresql"]));
    assert_eq!(gateway.admin("/healthz").expect("a response").0, 200);
    site.services.restart("pg");
    await_catalogue(&gateway.client("dexar")).await;
    await_catalogue(&gateway.client("novo")).await;
    gateway.await_ready();
    let waits = gateway.log().matches("waiting for PostgreSQL").count();
    assert_eq!(waits, 2, "logged once per brand");
}

#[tokio::test]
async fn stale_responses_are_served_while_the_database_is_unavailable() {
    let site = own_site("down-later");
    let gateway = site.start();
    let client = gateway.client("dexar");
    for _ in 0..2 {
        await_catalogue(&client).await;
        for path in CATALOGUE {
            gateway.await_cached("dexar", path).await;
        }
        site.services.stop("pg");
        eventually_async("responses are marked as stale", 5, async || {
            client.get("/regions").await.header("warning").map(drop)
        })
        .await;
        // A renewed certificate comes with a reload, which invalidates nothing.
        gateway.signal("-HUP");
        gateway.await_log("reloaded the configuration");
        for path in CATALOGUE {
            let response = client.send(request(path).origin("https://dexarmarket.ru")).await;
            let warning = response.header("warning");
            assert_eq!((response.status, warning), (200, Some("110 brandgate \"Response is Stale\"")));
            let exposed =
                response.headers.get_all("access-control-expose-headers").iter().any(|value| value == "Warning");
            assert!(exposed, "the storefront can read the header");
        }
        let uncached = async {
            for path in ["/category/1?count=7", "/item/999", "/randomitems"] {
                assert_unavailable(&client.get(path).await);
            }
        };
        // The server refuses connections, so no request waits for a timeout.
        tokio::time::timeout(CONNECT_TIMEOUT, uncached).await.expect("responses before the first timeout");
        assert_eq!(client.get("/ping").await.status, 200);
        assert_eq!(gateway.admin("/readyz").expect("a response").0, 503);
        site.services.restart("pg");
    }
    await_catalogue(&client).await;
    assert_eq!(gateway.exit_status(), None);
}

/// The connection of cache invalidation is lost and cannot be opened again; the other connections keep working.
#[tokio::test]
async fn database_is_queried_when_cache_invalidation_has_no_connection() {
    let site = own_site("unfollowed");
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_catalogue(&client).await;
    // Opens all shared connections.
    for number in 0..4 {
        assert_eq!(client.get(&format!("/item/123?number={number}")).await.status, 200);
    }
    gateway.await_cached("dexar", "/item/123").await;
    let admin = |sql: &str| site.services.admin_sql(&site.database, sql);
    admin("alter role dexar connection limit 1");
    let invalidation = "from pg_stat_activity where usename = 'dexar' and query like '%pg_current_snapshot%'";
    admin(&format!("select pg_terminate_backend(pid) {invalidation}"));
    gateway.await_log("PostgreSQL unavailable");
    admin("update dexar.item set price = price + 1 where item_id = 123");
    let new = admin("select price::float from dexar.item where item_id = 123");
    gateway.await_propagation().await;
    let response = client.get("/item/123").await;
    assert_eq!((response.header("warning"), response.ok_json()["price"].to_string()), (None, new));
}

/// As with a hanging disk: connections stay open, the kernel accepts new ones, and the server does not respond.
#[tokio::test]
async fn requests_to_a_hanging_database_time_out_concurrently() {
    let site = own_site("still");
    let path = site.brand_path("dexar");
    let text = std::fs::read_to_string(&path).expect("the brand's file");
    let short_timeouts = text
        .replace("pool_wait_ms = 20000", "pool_wait_ms = 300")
        .replace("connect_timeout_ms = 10000", "connect_timeout_ms = 300")
        .replace("response_timeout_ms = 20000", "response_timeout_ms = 300");
    assert_ne!(short_timeouts, text);
    std::fs::write(&path, short_timeouts).expect("own file");
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_catalogue(&client).await;
    for path in CATALOGUE {
        gateway.await_cached("dexar", path).await;
    }
    site.services.pause_postgres();
    // Thirty requests that waited for each other would take thirty times as long as one.
    let (one, _) = timed(client.get("/item/123?uncached")).await;
    for round in 0..3 {
        let reads = (0..30).map(|number| client.send(request(&format!("/item/123?round={round}&number={number}"))));
        let (many, responses) = timed(futures_util::future::join_all(reads)).await;
        responses.iter().for_each(assert_unavailable);
        assert!(many < 10 * one, "round {round}: {many:?} for 30 requests, {one:?} for one");
    }
    let add = || request("/cart").method("POST").header("content-type", "application/json").body("{\"itemID\":123}");
    let (one, _) = timed(client.send(add())).await;
    let (many, responses) = timed(futures_util::future::join_all((0..30).map(|_| client.send(add())))).await;
    responses.iter().for_each(assert_unavailable);
    assert!(many < 10 * one, "{many:?} for 30 requests, {one:?} for one");
    for path in CATALOGUE {
        assert_eq!(client.get(path).await.status, 200, "{path} is cached");
    }
    assert_eq!(client.get("/ping").await.status, 200);
    assert_eq!(gateway.admin("/readyz").expect("a response").0, 503);
    site.services.resume_postgres();
    await_catalogue(&client).await;
    eventually_async("uncached responses are served again", 20, async || {
        (client.get("/item/123?after=1").await.status == 200).then_some(())
    })
    .await;
    eventually_async("carts are writable again", 20, async || (client.send(add()).await.status == 200).then_some(()))
        .await;
    let count = |words: &str| {
        gateway.log().lines().filter(|line| line.contains(words) && line.contains("brand=\"dexar\"")).count()
    };
    eventually("the end is logged", 10, || (count("PostgreSQL recovered") == 1).then_some(()));
    assert_eq!(count("PostgreSQL unavailable"), 1, "{}", gateway.log());
}

#[test]
fn workers_log_each_jobs_first_failure_of_an_outage() {
    let mut site = own_site("down-for-workers");
    site.log_filter = Some("debug");
    let workers = site.start_workers();
    site.services.stop("pg");
    let lines = |words: &str| -> Vec<String> {
        let is_of_job = |line: &&str| line.contains(words) && line.contains("job=\"set clock\"");
        workers
            .log()
            .lines()
            .filter(is_of_job)
            .filter(|line| line.contains("brand=\"dexar\""))
            .map(str::to_owned)
            .collect()
    };
    eventually("the job fails several times", 60, || (lines("background job failed again").len() >= 2).then_some(()));
    let first = lines("background job failed; it is retried until it succeeds");
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("WARN"), "{}", first[0]);
    let again = lines("background job failed again");
    assert!(again.iter().any(|line| line.matches("PostgreSQL at ").count() == 1), "the cause, once: {again:?}");
    assert!(workers.await_log("PostgreSQL unavailable").contains("background jobs are retried until it recovers"));
    site.services.restart("pg");
    workers.await_log("background job succeeds again");
}

#[tokio::test]
async fn log_lines_of_failed_requests_have_the_error_code() {
    let site = shop();
    let gateway = site.start();
    let client = gateway.client("dexar");
    assert_eq!(client.get("/regions").await.status, 200);
    assert_eq!(client.get("/item/987654").await.error_code(404), "not_found");
    let failed = gateway.await_log("code=\"not_found\"");
    assert!(failed.contains("request completed") && failed.contains("status=404"), "{failed}");
    let succeeded = gateway.await_log("status=200");
    assert!(succeeded.contains("request completed") && !succeeded.contains("code="), "{succeeded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_served_without_free_file_descriptors() {
    let site = shop();
    let gateway = site.start();
    let client = gateway.client("dexar");
    assert_eq!(client.get("/ping").await.status, 200, "opens the connection");
    gateway.limit_open_files("3");
    let rejected = tokio::spawn({
        let other = gateway.client("dexar");
        async move { other.get("/ping").await.status }
    });
    gateway.await_log("failed to accept a connection");
    assert_eq!(client.get("/ping").await.status, 200);
    gateway.limit_open_files("1024");
    assert_eq!(rejected.await.expect("no panic"), 200, "it has waited in the kernel's queue");
    gateway.await_log("accepting connections again");
    assert_eq!(gateway.log().matches("failed to accept a connection").count(), 1, "{}", gateway.log());
}

#[tokio::test]
async fn catalogue_is_served_while_redis_is_unavailable() {
    let site = own_site("redis");
    let gateway = site.start();
    let client = gateway.client("novo");
    site.services.stop("redis");
    for path in CATALOGUE {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let lacks = |gateway: &Gateway| {
        let (status, ready) = gateway.admin("/readyz").expect("a response");
        (status, ready["brands"]["novo"]["lacks"].to_string())
    };
    assert_eq!(
        lacks(&gateway),
        (200, "[\"redis\"]".to_owned()),
        "the shop is ready, and the missing dependency is reported"
    );
    assert!(site.run(&["check"]).failure(1).contains("redis"));
    site.services.restart("redis");
    eventually("Redis recovers", 20, || (lacks(&gateway) == (200, "[]".to_owned())).then_some(()));
    site.services.stop("redis");
    drop(gateway);
    let restarted = site.start();
    assert_eq!(restarted.client("dexar").get("/category").await.status, 200, "also if Redis was never available");
}

#[tokio::test]
async fn sigterm_completes_requests_in_progress_and_refuses_new_connections() {
    let site = shop();
    let gateway = site.start();
    let clients = [gateway.client("dexar"), gateway.client("dexar").http1()];
    for client in &clients {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    let lock = TableLock::on_items(&site, "dexar").await;
    // Two different targets, because equal requests would share one query.
    let paths = ["/item/123", "/item/123?again"];
    let requests = futures_util::future::join_all(clients.iter().zip(paths).map(|(client, path)| client.get(path)));
    let rest = async {
        await_permits(&gateway, 2).await;
        gateway.terminate();
        gateway.await_log("shutting down");
        eventually_async("no new connection is accepted", 10, async || {
            gateway.client("dexar").try_send(request("/ping")).await.is_err().then_some(())
        })
        .await;
        assert_eq!(gateway.exit_status(), None, "it waits for the requests in progress");
        lock.release().await;
    };
    let (responses, ()) = tokio::join!(requests, rest);
    responses.iter().for_each(|response| assert_eq!(response.ok_json()["itemID"], 123));
    let status = gateway.await_exit();
    assert!(status.success(), "{status}: {}", gateway.log());
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_gateway_can_restart_on_its_ports_at_once() {
    let site = shop();
    let first = site.start();
    let clients = [first.client("dexar"), first.client("novo").http1()];
    for client in &clients {
        assert_eq!(client.get("/item/123").await.status, 200);
    }
    // Dropping sends SIGKILL while both connections are open.
    drop(first);
    let second = site.start();
    for client in &clients {
        assert_eq!(client.get("/item/123").await.status, 200, "the same client, the same address");
    }
    assert!(second.exit_status().is_none());
}

/// A gateway with an idle connection exits before one with a request in progress, although it is terminated later.
#[tokio::test(flavor = "multi_thread")]
async fn idle_gateway_exits_without_waiting() {
    let site = shop();
    let replica = site.replica();
    let (idle, busy) = (site.start(), replica.start());
    let (idle_client, busy_client) = (idle.client("dexar"), busy.client("dexar"));
    assert_eq!(idle_client.get("/ping").await.status, 200, "opens the connection");
    let lock = TableLock::on_items(&site, "dexar").await;
    let steps = async {
        lock.await_waiting(1).await;
        busy.terminate();
        busy.await_log("shutting down");
        idle.terminate();
        assert!(idle.await_exit().success());
        assert_eq!(busy.exit_status(), None, "the other gateway is still shutting down");
        lock.release().await;
    };
    let (response, ()) = tokio::join!(busy_client.get("/item/123"), steps);
    assert_eq!(response.status, 200);
    assert!(busy.await_exit().success());
}

#[tokio::test]
async fn sigterm_stops_a_gateway_that_waits_for_the_database() {
    let site = own_site("terminated-while-waiting");
    site.services.stop("pg");
    let gateway = site.start_without_waiting();
    gateway.await_listening();
    gateway.await_log("waiting for PostgreSQL");
    gateway.terminate();
    assert!(gateway.await_exit().success(), "{}", gateway.log());
}
