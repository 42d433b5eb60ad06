//! Overload: deadlines, the concurrency limit, more requests than database connections, clients that disconnect.

use tokio::io::AsyncWriteExt;

use crate::dependency_failures::{assert_unavailable, shop};
use crate::harness::{Gateway, TableLock, connect_tls, eventually, eventually_async, send_raw};
use crate::hostile_clients::{await_nothing_held, held, host};

#[tokio::test]
async fn request_that_exceeds_its_deadline_is_504() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 300".to_owned());
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        let response = client.get("/item/123").await;
        assert_eq!(response.error_code(504), "timeout");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(client.get("/ping").await.status, 200, "the connection stays usable");
    }
    lock.release().await;
    assert_eq!(gateway.client("dexar").get("/item/123").await.status, 200);
}

/// Waits until so many requests hold a permit. Their statements may share a connection, so that only the first one waits for a lock.
pub(crate) async fn await_permits(gateway: &Gateway, count: u64) {
    eventually_async("the requests hold permits", 20, async || (held(gateway, "requests") == count).then_some(()))
        .await;
}

#[tokio::test]
async fn requests_above_the_concurrency_limit_are_503() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.limits = "requests = 2\nrequests_per_address = 2".to_owned());
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let client = gateway.client("dexar");
    let requests = futures_util::future::join(client.get("/item/123"), client.get("/category"));
    let rest = async {
        await_permits(&gateway, 2).await;
        let refused = gateway.client("dexar").get("/category/1").await;
        assert_eq!(refused.error_code(503), "overloaded");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(gateway.client("novo").get("/item/123").await.status, 200, "the limit is per brand");
        lock.release().await;
    };
    let ((first, second), ()) = tokio::join!(requests, rest);
    assert_eq!((first.status, second.status), (200, 200), "requests within the limit succeed");
    assert_eq!(client.get("/item/123").await.status, 200);
}

#[tokio::test]
async fn responses_from_memory_and_of_another_request_need_no_permit() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.limits = "requests = 3\nrequests_per_address = 2".to_owned());
    let gateway = site.start();
    let client = gateway.client("dexar");
    gateway.await_cached("dexar", "/category").await;
    let random = ["/randomitems?count=200", "/randomitems?category=nowhere", "/randomitems?count=0"];
    for path in random {
        client.get(path).await;
    }
    let lock = TableLock::on_items(&site, "dexar").await;
    let slow = ["/item/123", "/item/123?slow"];
    let requests = futures_util::future::join_all(slow.map(|path| client.get(path)));
    let (neighbour, stranger) = (gateway.client("dexar").http1(), gateway.client("dexar").from(host(2)));
    let rest = async {
        await_permits(&gateway, 2).await;
        for (path, status) in random.into_iter().chain(["/category"]).zip([200, 200, 400, 200]) {
            assert_eq!(neighbour.get(path).await.status, status, "{path}");
        }
        for path in ["/category/1", "/randomitems?category=123"] {
            assert_eq!(neighbour.get(path).await.error_code(503), "overloaded", "{path} needs the database");
        }
        let misses = gateway.cache_lookups("dexar")[1];
        let followers = futures_util::future::join(neighbour.get("/item/123"), stranger.get("/item/123"));
        let release = async {
            eventually_async("they wait", 10, async || (gateway.cache_lookups("dexar")[1] == misses + 2).then_some(()))
                .await;
            assert_eq!(held(&gateway, "requests"), 2, "they share the permit of the first request");
            lock.release().await;
        };
        tokio::join!(followers, release).0
    };
    let (first, (neighbours, strangers)) = tokio::join!(requests, rest);
    assert!(first.iter().chain([&neighbours, &strangers]).all(|response| response.status == 200));
    drop((client, neighbour, stranger));
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn refusals_are_logged_when_they_begin_and_end_and_blame_no_dependency() {
    let mut site = shop();
    site.change_brand("dexar", |brand| {
        brand.limits = "requests = 2\nrequests_per_address = 1".to_owned();
        brand.timeouts = "request_ms = 5000".to_owned();
    });
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let (client, others) = (gateway.client("dexar"), gateway.client("dexar").from(host(2)));
    let rest = async {
        await_permits(&gateway, 2).await;
        for client in [&client, &others] {
            let refused = futures_util::future::join_all((0..40).map(|_| client.get("/cart"))).await;
            assert!(refused.iter().all(|response| response.error_code(503) == "overloaded"));
        }
        let strange = gateway.client("dexar").from(host(3)).get("/cart").await;
        assert_eq!(strange.error_code(503), "overloaded");
        lock.release().await;
    };
    tokio::join!(client.get("/item/123"), others.get("/item/123?other"), rest);
    let (begun, ended) = ("refusing clients that exceed a limit", "no client exceeds the limit any more");
    eventually("the refusals have ended", 30, || (gateway.log().matches(ended).count() == 2).then_some(()));
    let log = gateway.log();
    let of = |words: &str, level: &str| {
        let is_of = |line: &&str| line.contains(words) && line.contains("requests") && line.contains(level);
        log.lines().filter(is_of).count()
    };
    assert_eq!(
        [of(begun, "level=\"connection\""), of(begun, "level=\"brand\""), log.matches(begun).count()],
        [1, 1, 2],
        "{log}"
    );
    assert_eq!([of(ended, "count=80"), of(ended, "level=\"brand\" count=1")], [1, 1], "{log}");
    assert!(!log.contains("dependency is unavailable"), "{log}");
}

#[tokio::test]
async fn body_that_does_not_arrive_blames_no_dependency() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 300".to_owned());
    let gateway = site.start();
    let head = "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[";
    let response = send_raw(gateway.address("dexar"), head.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 408") && response.contains(r#""code":"body_timeout""#), "{response}");
    gateway.await_log(r#"route="/cart""#);
    assert!(!gateway.log().contains("request failed"), "{}", gateway.log());
}

#[tokio::test]
async fn more_concurrent_requests_than_database_connections_all_succeed() {
    let site = shop();
    let gateway = site.start();
    let visitors = (0..40).map(|number| {
        let client = if number % 2 == 0 { gateway.client("dexar") } else { gateway.client("novo").http1() };
        async move { futures_util::future::join_all((0..10).map(|_| client.get("/category"))).await }
    });
    let responses = futures_util::future::join_all(visitors).await;
    assert!(responses.iter().flatten().all(|response| response.status == 200));
    let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'dexar' and datname = current_database()";
    assert_ne!(site.services.admin_sql(&site.database, killed), "0", "the pool had connections");
    let client = gateway.client("dexar");
    eventually_async("the pool replaces lost connections", 10, async || {
        let response = client.get("/item/123").await;
        if response.status != 200 {
            assert_unavailable(&response);
        }
        (response.status == 200).then_some(())
    })
    .await;
}

/// Statements of clients that disconnected occupy at most the connections of the pool, each until its timeout.
#[tokio::test]
async fn disconnected_clients_do_not_block_other_requests() {
    let site = shop();
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let send_and_disconnect = async || {
        let mut stream = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS)
            .await
            .expect("a handshake");
        stream.write_all(b"GET /item/123 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    };
    for _ in 0..8 {
        futures_util::future::join_all((0..10).map(|_| send_and_disconnect())).await;
    }
    // The statements of the disconnected clients end at their timeouts; no other statement waits behind them.
    let client = gateway.client("dexar");
    eventually_async("other requests succeed while the items are locked", 12, async || {
        let response = client.get("/regions").await;
        if response.status == 200 {
            return Some(());
        }
        assert_unavailable(&response);
        None
    })
    .await;
    lock.release().await;
    assert_eq!(client.get("/item/123").await.status, 200);
}
