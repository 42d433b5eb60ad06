//! Overload: deadlines, the concurrency limit, more requests than database connections, clients that disconnect.

use tokio::io::AsyncWriteExt;

use crate::dependency_failures::{assert_unavailable, shop};
use crate::harness::{TableLock, connect_tls, eventually_async};

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

#[tokio::test]
async fn requests_above_the_concurrency_limit_are_503() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.limits = "requests = 2\nrequests_per_address = 2".to_owned());
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let client = gateway.client("dexar");
    let requests = futures_util::future::join(client.get("/item/123"), client.get("/category"));
    let rest = async {
        lock.await_waiting(2).await;
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
