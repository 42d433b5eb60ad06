//! Failures of PostgreSQL's sessions: locks of stopped and killed processes, and a server that refuses writes, logins or connections.

use serde_json::json;

use crate::dependency_failures::assert_unavailable;
use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, Gateway, Services, Site, TableLock, eventually, eventually_async, password_of};

/// `idle_in_transaction_ms`, in addition to the defaults of the harness.
const SHORT_IDLE: &str = "idle_in_transaction_ms = 500\n";

/// The number of sessions of dexar's role whose last statement contains these words.
pub(crate) fn sessions(site: &Site, words: &str) -> String {
    let sql = format!(
        "select count(*) from pg_stat_activity where usename = 'dexar' and datname = current_database() and query ilike '%{words}%'"
    );
    site.services.admin_sql(&site.database, &sql)
}

fn lacks(gateway: &Gateway) -> (u16, serde_json::Value) {
    let (status, ready) = gateway.admin("/readyz").expect("a response");
    (status, ready["brands"]["dexar"]["lacks"].clone())
}

/// Log lines with these words about one brand.
fn lines(gateway: &Gateway, brand: &str, words: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(words) && line.contains(&format!("brand=\"{brand}\""))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_stops_in_a_checkout_does_not_keep_its_locks() {
    let mut shop = Shop::start();
    shop.site.change_brand("dexar", |brand| brand.pool = format!("{SHORT_IDLE}pool_size = 1\n"));
    shop.gateway.kill();
    shop.gateway = shop.site.start();
    let replica = shop.site.replica();
    let other = replica.start();
    let browser = shop.browser();
    browser.add_to_cart(14, 1).await;
    // Prepares the statements, which would wait for the table before the owner is locked.
    shop.browser().post("/cart", &order("first", "3", &[(14, "3", Some(1))])).await.ok_json();
    let lock = TableLock::on_items(&shop.site, "dexar").await;
    let at_other = browser.at(other.client("dexar"));
    let body = order("stopped", "3", &[(14, "3", Some(1))]);
    let interrupted = browser.post("/cart", &body);
    let steps = async {
        eventually_async("the checkout has locked its owner and waits for items", 10, async || {
            let sql = "select count(*) from pg_locks a join pg_locks w using (pid) join pg_stat_activity s using (pid)
                       where a.locktype = 'advisory' and a.granted and w.locktype = 'relation' and not w.granted
                         and s.datname = current_database()";
            (shop.site.services.admin_sql(&shop.site.database, sql) != "0").then_some(())
        })
        .await;
        shop.gateway.signal("-STOP");
        lock.release().await;
        let opened = at_other.post("/cart", &body).await;
        assert!(opened.ok_json()["qrId"].is_string());
        shop.gateway.signal("-CONT");
    };
    let (interrupted, ()) = tokio::join!(interrupted, steps);
    assert_unavailable(&interrupted);
    assert_eq!(shop.count("select count(*) from payment where site_order_id = 'stopped'"), 1);
    let again = browser.post("/cart", &body).await;
    assert!(again.ok_json()["qrId"].is_string(), "the resumed gateway works");
}

#[tokio::test(flavor = "multi_thread")]
async fn import_that_is_killed_or_stopped_keeps_no_session() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| format!("{SHORT_IDLE}connection_check_ms = 200\n").clone_into(&mut brand.pool));
    let file = site.directory.write(
        "one.jsonl",
        "{\"categoryID\":1,\"name\":\"A\"}\n{\"itemID\":1,\"categoryID\":1,\"name\":\"B\",\"price\":1}\n",
    );
    for signal in ["-KILL", "-STOP"] {
        let lock = TableLock::on_items(&site, "dexar").await;
        let import = site.start_import("dexar", file.to_str().expect("UTF-8"));
        lock.await_waiting(1).await;
        import.signal(signal);
        if signal == "-STOP" {
            // The statement that waits for the lock ends, and the next one is never sent.
            lock.release().await;
            eventually("the session ends", 20, || (sessions(&site, "") == "0").then_some(()));
        } else {
            eventually("the session ends while the lock is held", 20, || (sessions(&site, "") == "0").then_some(()));
            lock.release().await;
        }
    }
}

#[tokio::test]
async fn reads_go_on_while_the_database_is_read_only() {
    let shop = Shop::on(Services::dedicated("read-only"), "");
    let (gateway, browser) = (&shop.gateway, shop.browser());
    browser.add_to_cart(14, 1).await;
    let set = |value: &str| {
        for sql in [&format!("alter system set default_transaction_read_only = {value}"), "select pg_reload_conf()"] {
            shop.site.services.admin_sql("postgres", sql);
        }
    };
    for round in 1..=2 {
        set("on");
        eventually("readiness says so", 10, || (lacks(gateway) == (200, json!(["postgresql_writes"]))).then_some(()));
        for _ in 0..5 {
            assert_unavailable(&browser.post("/cart", &json!({"itemID": 14})).await);
            assert_unavailable(&browser.post("/cart", &order("ro", "3", &[(14, "3", Some(1))])).await);
        }
        assert_eq!(gateway.client("dexar").get(&format!("/category/1?count={round}")).await.status, 200);
        assert_eq!(browser.cart().await.len(), 1, "the cart is readable");
        gateway.await_metric("brandgate_up{brand=\"dexar\",part=\"postgresql_writes\"} 0");
        assert!(shop.site.run(&["check"]).failure(1).contains("read-only"));
        set("off");
        eventually_async("carts are writable", 10, async || {
            (browser.post("/cart", &json!({"itemID": 14, "quantity": 1})).await.status == 200).then_some(())
        })
        .await;
        eventually("the end is logged", 10, || {
            (lines(gateway, "dexar", "PostgreSQL recovered") == round).then_some(())
        });
        assert_eq!(lines(gateway, "dexar", "PostgreSQL is read-only"), round, "{}", gateway.log());
        assert_eq!(lacks(gateway), (200, json!([])));
    }
}

/// Each of these closes all sessions of the role and keeps it from opening new ones.
#[tokio::test]
async fn outages_of_connections_are_reported_and_logged_once() {
    let shop = Shop::on(Services::dedicated("refused"), "");
    let (gateway, browser) = (&shop.gateway, shop.browser());
    browser.add_to_cart(14, 1).await;
    let admin = |sql: &str| shop.site.services.admin_sql("postgres", sql);
    let password = password_of("dexar").replace('\'', "''");
    let restore_password = format!("alter role dexar password '{password}'");
    let cases = [
        ("alter role dexar password 'another'", restore_password.as_str()),
        ("alter role dexar connection limit 0", "alter role dexar connection limit -1"),
        ("alter role dexar nologin", "alter role dexar login"),
    ];
    for (round, (fail, restore)) in cases.into_iter().enumerate() {
        admin(fail);
        admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'dexar'");
        eventually(fail, 10, || (lacks(gateway) == (503, json!(["postgresql"]))).then_some(()));
        for _ in 0..5 {
            assert_unavailable(&browser.post("/cart", &json!({"itemID": 14})).await);
        }
        assert_eq!(gateway.client("novo").get("/regions").await.status, 200, "the other brand's role works");
        admin(restore);
        eventually_async("carts are writable", 10, async || {
            let response = browser.post("/cart", &json!({"itemID": 14, "quantity": 1})).await;
            (response.status == 200).then_some(())
        })
        .await;
        eventually("the end is logged", 10, || {
            (lines(gateway, "dexar", "PostgreSQL recovered") == round + 1).then_some(())
        });
        assert_eq!(lines(gateway, "dexar", "PostgreSQL unavailable"), round + 1, "{fail}: {}", gateway.log());
    }
}

/// The pool is not full, so the next request opens a connection: that one fails, and the open ones serve.
#[tokio::test]
async fn lack_of_new_connections_is_reported_while_open_ones_work() {
    let shop = Shop::on(Services::dedicated("no-new"), "");
    let (gateway, browser) = (&shop.gateway, shop.browser());
    browser.add_to_cart(14, 1).await;
    let admin = |sql: &str| shop.site.services.admin_sql(&shop.site.database, sql);
    admin("alter role dexar connection limit 1");
    let lock = TableLock::on_items(&shop.site, "dexar").await;
    let browsers: Vec<BrowserClient> = (0..4).map(|_| shop.browser()).collect();
    let body = json!({"itemID": 14});
    let writes = futures_util::future::join_all(browsers.iter().map(|browser| browser.post("/cart", &body)));
    let steps = async {
        eventually_async("the outage is logged", 10, async || {
            gateway.log().contains("PostgreSQL unavailable").then_some(())
        })
        .await;
        lock.release().await;
    };
    let (responses, ()) = tokio::join!(writes, steps);
    assert!(responses.iter().any(|response| response.status == 503));
    assert_eq!(lacks(gateway), (200, json!(["postgresql_connections"])));
    assert_eq!(browser.cart().await, [(14, 1)]);
    admin("alter role dexar connection limit -1");
    eventually("the end is reported", 10, || (lacks(gateway) == (200, json!([]))).then_some(()));
}

/// The server's own errors of a full disk: a trigger reports one for every cart line, and an event trigger for what the end of the
/// outage is recognised by.
#[tokio::test]
async fn full_disk_is_an_outage_of_writes() {
    let shop = Shop::start();
    let (gateway, browser) = (&shop.gateway, shop.browser());
    browser.add_to_cart(14, 1).await;
    let admin = |sql: &str| shop.site.services.admin_sql(&shop.site.database, sql);
    let function = |name: &str, kind: &str, code: &str| {
        admin(&format!(
            "create or replace function public.{name}() returns {kind} language plpgsql as $$
             begin raise exception 'could not extend file' using errcode = '{code}'; end $$"
        ));
    };
    for (round, code) in ["53100", "53200", "58030"].into_iter().enumerate() {
        function("no_space", "trigger", code);
        function("no_space_at_all", "event_trigger", code);
        admin("create trigger no_space before insert or update on dexar.cart_line execute function public.no_space()");
        admin(
            "create event trigger no_space on ddl_command_start when tag in ('CREATE TABLE AS')
             execute function public.no_space_at_all()",
        );
        for _ in 0..5 {
            assert_unavailable(&browser.post("/cart", &json!({"itemID": 14})).await);
        }
        assert_eq!(lacks(gateway), (200, json!(["postgresql_writes"])), "{code}");
        gateway.await_metric("brandgate_up{brand=\"dexar\",part=\"postgresql_writes\"} 0");
        gateway.await_metric("brandgate_up{brand=\"novo\",part=\"postgresql_writes\"} 1");
        assert_eq!(browser.cart().await.len(), 1, "the cart is readable");
        assert_eq!(gateway.client("dexar").get(&format!("/category/1?count={}", round + 1)).await.status, 200);
        admin("drop event trigger no_space");
        admin("drop trigger no_space on dexar.cart_line");
        browser.add_to_cart(14, 1).await;
        eventually("the end is logged", 10, || {
            (lines(gateway, "dexar", "PostgreSQL recovered") == round + 1).then_some(())
        });
        assert_eq!(lines(gateway, "dexar", "PostgreSQL lacks disk space or memory"), round + 1, "{}", gateway.log());
        assert_eq!(lacks(gateway), (200, json!([])));
    }
    assert_eq!(lines(gateway, "novo", "PostgreSQL"), 0);
}

#[tokio::test]
async fn slow_statement_is_no_outage_of_a_server_that_responds() {
    let shop = Shop::start();
    let path = shop.site.brand_path("dexar");
    let text = std::fs::read_to_string(&path).expect("the brand's file");
    let impatient = text.replace("response_timeout_ms = 20000", "response_timeout_ms = 300");
    assert_ne!(impatient, text);
    std::fs::write(&path, impatient).expect("own file");
    shop.gateway.kill();
    let gateway = shop.site.start();
    let (client, browser) = (gateway.client("dexar"), BrowserClient::new(gateway.client("dexar")));
    browser.add_to_cart(14, 1).await;
    let lock = TableLock::on_items(&shop.site, "dexar").await;
    let uncached: Vec<String> = (0..4).map(|number| format!("/item/14?number={number}")).collect();
    for response in futures_util::future::join_all(uncached.iter().map(|path| client.get(path))).await {
        assert_unavailable(&response);
    }
    assert_unavailable(&browser.post("/cart", &json!({"itemID": 14})).await);
    lock.release().await;
    browser.add_to_cart(14, 1).await;
    assert_eq!(lacks(&gateway), (200, json!([])));
    assert_eq!(lines(&gateway, "dexar", "PostgreSQL unavailable"), 0, "{}", gateway.log());
}

/// A clock that was ahead has left times in the future.
#[tokio::test]
async fn times_in_the_future_do_not_stop_polling() {
    let shop = Shop::start();
    let browser = shop.browser();
    let opened = browser.post("/cart", &order("ahead", "3", &[(14, "3", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    let ahead = "update payment set looked_at = now() + interval '1 day', look_at = now() + interval '1 day'";
    shop.site.sql_as("dexar", ahead).expect("updated");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    eventually_async("the caller's poll", 10, async || {
        let status = browser.get(&format!("/qr/payment/{qr_id}")).await.ok_json();
        (status["paymentStatus"] == "COMPLETED").then_some(())
    })
    .await;
    let opened = browser.post("/cart", &order("ahead-2", "3", &[(14, "3", Some(1))])).await.ok_json();
    let qr_id = opened["qrId"].as_str().expect("a code").to_owned();
    shop.site.sql_as("dexar", &format!("{ahead} where status = 'CREATED'")).expect("updated");
    shop.sandbox.bank_action(&qr_id, "pay", json!({"notify": false})).await;
    let _workers = shop.site.start_workers();
    let completed = "select count(*) from payment where status = 'COMPLETED'";
    eventually("the worker's poll", 20, || (shop.count(completed) == 2).then_some(()));
}
