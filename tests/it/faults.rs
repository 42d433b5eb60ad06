//! When something else fails: PostgreSQL or Redis away, a statement that takes for ever, too many requests, the end of the process.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::harness::{
    Client, Gateway, Services, Site, TableLock, TestResponse, connect_tls, data, eventually, eventually_async, request,
};

/// An installation on servers of its own, with one item.
fn own_site(name: &str) -> Site {
    let site = Site::on(Services::dedicated(name), &["dexar", "novo"]);
    site.migrate().success();
    for brand in ["dexar", "novo"] {
        site.import(brand, &[&data("import/document.json")]).success();
    }
    site
}

#[track_caller]
fn assert_unavailable(answer: &TestResponse) {
    assert_eq!(answer.error_code(503), "unavailable");
    let seconds: u32 = answer.header("retry-after").expect("it says when to come back").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

const CATALOGUE: [&str; 5] = ["/category", "/category/1", "/item/123", "/regions", "/searchitems?search=iphone"];

/// Until the catalogue is served again; each answer on the way must be a proper 503.
async fn await_catalogue(client: &Client) {
    for path in CATALOGUE {
        eventually_async("the catalogue is back", 20, async || {
            let answer = client.get(path).await;
            if answer.status == 200 {
                return Some(());
            }
            assert_unavailable(&answer);
            None
        })
        .await;
    }
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_waited_for() {
    let site = own_site("down-at-start");
    site.services.stop("pg");
    let gateway = site.start_without_waiting();
    gateway.await_listening();
    let line = gateway.await_log("waiting for PostgreSQL");
    assert!(line.contains("WARN"), "{line}");
    for brand in ["dexar", "novo"] {
        let client = gateway.client(brand);
        assert_eq!(client.get("/ping").await.status, 200, "the process itself answers");
        for path in CATALOGUE {
            assert_unavailable(&client.get(path).await);
        }
        assert_eq!(
            client.get("/category?count=1&count=2").await.status,
            503,
            "GET /category has no parameters to be wrong"
        );
        assert_eq!(client.get("/category/1?count=x").await.error_code(400), "bad_count");
        assert_eq!(client.get("/nowhere").await.error_code(404), "not_found");
    }
    let (status, ready) = gateway.admin("/readyz").expect("it answers");
    assert_eq!((status, &ready["ready"]), (503, &false.into()));
    assert_eq!(ready["brands"]["dexar"]["lacks"], serde_json::json!(["postgresql"]));
    assert_eq!(gateway.admin("/healthz").expect("it answers").0, 200);
    site.services.restart("pg");
    await_catalogue(&gateway.client("dexar")).await;
    await_catalogue(&gateway.client("novo")).await;
    gateway.await_ready();
    let waits = gateway.log().matches("waiting for PostgreSQL").count();
    assert_eq!(waits, 2, "said once a brand, not once a second");
}

#[tokio::test]
async fn a_database_that_goes_away_is_503_and_comes_back_by_itself() {
    let site = own_site("down-later");
    let gateway = site.start();
    let client = gateway.client("dexar");
    for round in 0..2 {
        await_catalogue(&client).await;
        for path in CATALOGUE {
            gateway.await_cached("dexar", path).await;
        }
        site.services.stop("pg");
        let begun = Instant::now();
        eventually_async("what cannot be looked up is said to be perhaps old", 5, async || {
            client.get("/regions").await.header("warning").map(drop)
        })
        .await;
        for path in CATALOGUE {
            let answer = client.send(request(path).origin("https://dexarmarket.ru")).await;
            assert_eq!((answer.status, answer.header("warning")), (200, Some("110 brandgate \"Response is Stale\"")));
            let exposed =
                answer.headers.get_all("access-control-expose-headers").iter().any(|value| value == "Warning");
            assert!(exposed, "the page may tell its visitor");
        }
        for path in ["/category/1?count=7", "/item/999", "/randomitems"] {
            assert_unavailable(&client.get(path).await);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "round {round}: a visitor is told soon");
        assert_eq!(client.get("/ping").await.status, 200);
        assert_eq!(gateway.admin("/readyz").expect("it answers").0, 503);
        site.services.restart("pg");
    }
    await_catalogue(&client).await;
    assert_eq!(gateway.exit_status(), None);
}

/// The connection that follows what changes is lost and does not come back, while visitors' own connections go on.
#[tokio::test]
async fn what_cannot_be_followed_is_asked_as_long_as_there_is_anybody_to_ask() {
    let site = own_site("unfollowed");
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_catalogue(&client).await;
    // Every connection that short reads share is open.
    for number in 0..4 {
        assert_eq!(client.get(&format!("/item/123?number={number}")).await.status, 200);
    }
    gateway.await_cached("dexar", "/item/123").await;
    let admin = |sql: &str| site.services.admin_sql(&site.database, sql);
    admin("alter role dexar connection limit 1");
    let following = "from pg_stat_activity where usename = 'dexar' and query like '%pg_current_snapshot%'";
    admin(&format!("select pg_terminate_backend(pid) {following}"));
    gateway.await_log("PostgreSQL is away");
    admin("update dexar.item set price = price + 1 where item_id = 123");
    let new = admin("select price::float from dexar.item where item_id = 123");
    gateway.await_propagation().await;
    let answer = client.get("/item/123").await;
    assert_eq!((answer.header("warning"), answer.ok_json()["price"].to_string()), (None, new));
}

/// A disk that hangs: connections stay open, new ones are taken by the kernel, and nobody answers.
#[tokio::test]
async fn a_database_that_stands_still_holds_nobody_up() {
    let mut site = own_site("still");
    // Whatever a connection was asked that stands still, its request waits no longer than this.
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 1500".to_owned());
    let path = site.brand_path("dexar");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let hasty = text
        .replace("pool_wait_ms = 20000", "pool_wait_ms = 300")
        .replace("connect_timeout_ms = 10000", "connect_timeout_ms = 300")
        .replace("statement_timeout_ms = 14000", "statement_timeout_ms = 1000");
    assert_ne!(hasty, text);
    std::fs::write(&path, hasty).expect("it is ours");
    let gateway = site.start();
    let client = gateway.client("dexar");
    await_catalogue(&client).await;
    for path in CATALOGUE {
        gateway.await_cached("dexar", path).await;
    }
    site.services.pause_postgres();
    let begun = Instant::now();
    // What nobody can look up is asked by many at once, again and again: each is told by itself.
    for round in 0..3 {
        let asked = (0..30).map(|number| client.send(request(&format!("/item/123?round={round}&number={number}"))));
        futures_util::future::join_all(asked).await.iter().for_each(assert_unavailable);
    }
    let adding = || request("/cart").method("POST").header("content-type", "application/json").body("{\"itemID\":123}");
    let answers = futures_util::future::join_all((0..30).map(|_| client.send(adding()))).await;
    for answer in &answers {
        assert!([503, 504].contains(&answer.status), "{}", answer.status);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for path in CATALOGUE {
        assert_eq!(client.get(path).await.status, 200, "{path} is remembered");
    }
    assert_eq!(client.get("/ping").await.status, 200);
    site.services.resume_postgres();
    await_catalogue(&client).await;
    eventually_async("what was not remembered is there again", 20, async || {
        (client.get("/item/123?after=1").await.status == 200).then_some(())
    })
    .await;
    eventually_async("carts are written again", 20, async || (client.send(adding()).await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn without_redis_the_catalogue_goes_on() {
    let site = own_site("redis");
    let gateway = site.start();
    let client = gateway.client("novo");
    site.services.stop("redis");
    for path in CATALOGUE {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let lacks = |gateway: &Gateway| {
        let (status, ready) = gateway.admin("/readyz").expect("it answers");
        (status, ready["brands"]["novo"]["lacks"].to_string())
    };
    assert_eq!(lacks(&gateway), (200, "[\"redis\"]".to_owned()), "a shop still sells, and somebody is told");
    assert!(site.run(&["check"]).failure(1).contains("redis"));
    site.services.restart("redis");
    eventually("Redis is back", 20, || (lacks(&gateway) == (200, "[]".to_owned())).then_some(()));
    site.services.stop("redis");
    drop(gateway);
    let restarted = site.start();
    assert_eq!(restarted.client("dexar").get("/category").await.status, 200, "also when it was never there");
}

fn shop() -> Site {
    let site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.import(brand, &[&data("import/document.json")]).success();
    }
    site
}

#[tokio::test]
async fn requests_that_run_at_sigterm_end_and_no_new_ones_begin() {
    let site = shop();
    let gateway = site.start();
    let clients = [gateway.client("dexar"), gateway.client("dexar").http1()];
    for client in &clients {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    let holding = TableLock::on_items(&site, "dexar").await;
    // Two questions: who asks the same waits for the same answer.
    let paths = ["/item/123", "/item/123?again"];
    let asking = futures_util::future::join_all(clients.iter().zip(paths).map(|(client, path)| client.get(path)));
    let rest = async {
        holding.await_waiting(2).await;
        gateway.terminate();
        gateway.await_log("stopping");
        eventually_async("no new connection is accepted", 10, async || {
            gateway.client("dexar").try_send(request("/ping")).await.is_err().then_some(())
        })
        .await;
        assert_eq!(gateway.exit_status(), None, "it waits for its requests");
        holding.release().await;
    };
    let (answers, ()) = tokio::join!(asking, rest);
    for answer in answers {
        assert_eq!(answer.ok_json()["itemID"], 123);
    }
    let status = gateway.await_exit();
    assert!(status.success(), "{status}: {}", gateway.log());
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_starts_again_on_its_ports_at_once() {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_ends_at_once() {
    let site = shop();
    let gateway = site.start();
    let client = gateway.client("dexar");
    assert_eq!(client.get("/ping").await.status, 200, "a connection stays open");
    let begun = Instant::now();
    gateway.terminate();
    assert!(gateway.await_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn sigterm_while_the_database_is_away_ends_it_too() {
    let site = own_site("terminated-while-waiting");
    site.services.stop("pg");
    let gateway = site.start_without_waiting();
    gateway.await_listening();
    gateway.await_log("waiting for PostgreSQL");
    gateway.terminate();
    assert!(gateway.await_exit().success(), "{}", gateway.log());
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_504() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 300".to_owned());
    let gateway = site.start();
    let holding = TableLock::on_items(&site, "dexar").await;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        let answer = client.get("/item/123").await;
        assert_eq!(answer.error_code(504), "timeout");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(client.get("/ping").await.status, 200, "the connection goes on");
    }
    holding.release().await;
    assert_eq!(gateway.client("dexar").get("/item/123").await.status, 200);
}

#[tokio::test]
async fn requests_over_the_limit_are_told_to_come_back() {
    let mut site = shop();
    site.change_brand("dexar", |brand| brand.limits = "requests = 2".to_owned());
    let gateway = site.start();
    let holding = TableLock::on_items(&site, "dexar").await;
    let client = gateway.client("dexar");
    let asking = futures_util::future::join(client.get("/item/123"), client.get("/category"));
    let rest = async {
        holding.await_waiting(2).await;
        let refused = gateway.client("dexar").get("/category/1").await;
        assert_eq!(refused.error_code(503), "overloaded");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(gateway.client("novo").get("/item/123").await.status, 200, "the other brand has limits of its own");
        holding.release().await;
    };
    let ((first, second), ()) = tokio::join!(asking, rest);
    assert_eq!((first.status, second.status), (200, 200), "those that were in are answered");
    assert_eq!(client.get("/item/123").await.status, 200);
}

#[tokio::test]
async fn more_visitors_than_connections_to_the_database_are_all_answered() {
    let site = shop();
    let gateway = site.start();
    let visitors = (0..40).map(|number| {
        let client = if number % 2 == 0 { gateway.client("dexar") } else { gateway.client("novo").http1() };
        async move { futures_util::future::join_all((0..10).map(|_| client.get("/category"))).await }
    });
    let answers = futures_util::future::join_all(visitors).await;
    assert!(answers.iter().flatten().all(|answer| answer.status == 200));
    let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'dexar' and datname = current_database()";
    assert_ne!(site.services.admin_sql(&site.database, killed), "0", "the pool had connections");
    let client = gateway.client("dexar");
    eventually_async("a pool of broken connections mends itself", 10, async || {
        let answer = client.get("/item/123").await;
        if answer.status != 200 {
            assert_unavailable(&answer);
        }
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Visitors who hang up while their question waits in the database must not leave it standing before everybody else: at most
/// the pool's connections are held, each until its statement ends.
#[tokio::test]
async fn visitors_who_hang_up_do_not_starve_the_others() {
    let site = shop();
    let gateway = site.start();
    let holding = TableLock::on_items(&site, "dexar").await;
    let hang_up = async || {
        let mut stream = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS)
            .await
            .expect("a handshake");
        stream.write_all(b"GET /item/123 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is read");
    };
    for _ in 0..8 {
        futures_util::future::join_all((0..10).map(|_| hang_up())).await;
    }
    // The statements that the eighty began end one by one at their own limit; nobody else's stand in the queue behind them.
    let client = gateway.client("dexar");
    eventually_async("others are answered while the item is still held", 12, async || {
        let answer = client.get("/regions").await;
        if answer.status == 200 {
            return Some(());
        }
        assert_unavailable(&answer);
        None
    })
    .await;
    holding.release().await;
    assert_eq!(client.get("/item/123").await.status, 200);
}
