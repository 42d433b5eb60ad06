//! Processes that are stopped (SIGSTOP) for longer than their timeouts and resumed: what was in progress ends, nothing is done
//! twice, and everything works at once.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::shop::{Shop, order};
use crate::harness::{TableLock, eventually_async};
use crate::hostile_clients::await_nothing_held;
use crate::mail::{arrivals, await_all_sent, queue, setup};

/// Longer than every timeout of these tests.
const STOPPED: Duration = Duration::from_secs(3);

/// When a test gives up on an event that must happen. No assertion depends on it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

const SHORT_TIMEOUTS: &str = "handshake_ms = 1000\nhead_ms = 1000\nidle_ms = 1000\nrequest_ms = 2000";

#[tokio::test(flavor = "multi_thread")]
async fn gateway_serves_at_once_and_what_was_in_progress_has_ended() {
    let mut shop = Shop::start();
    shop.site.change_brand("dexar", |brand| SHORT_TIMEOUTS.clone_into(&mut brand.timeouts));
    shop.gateway.kill();
    shop.gateway = shop.site.start();
    let gateway = &shop.gateway;
    let idle = [gateway.client("dexar"), gateway.client("dexar").http1()];
    for client in &idle {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    let mut handshake = TcpStream::connect(gateway.address("dexar")).await.expect("listening");
    // The beginning of a ClientHello.
    handshake.write_all(b"\x16\x03\x01").await.expect("open");
    let lock = TableLock::on_items(&shop.site, "dexar").await;
    let client = gateway.client("dexar");
    let steps = async {
        lock.await_waiting(1).await;
        gateway.signal("-STOP");
        tokio::time::sleep(STOPPED).await;
        gateway.signal("-CONT");
    };
    let (interrupted, ()) = tokio::join!(client.get("/item/14"), steps);
    assert!(matches!(interrupted.status, 503 | 504), "{}", interrupted.status);
    let closed = tokio::time::timeout(TEST_TIMEOUT, handshake.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
    for client in &idle {
        assert_eq!(client.get("/ping").await.status, 200, "on a new connection where its own was closed");
    }
    lock.release().await;
    eventually_async("the catalogue is served", 20, async || {
        (client.get("/item/14").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(gateway.admin("/readyz").expect("a response").0, 200);
    drop((client, idle));
    await_nothing_held(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_stops_while_the_bank_is_called_opens_one_payment() {
    let shop = Shop::start();
    let browser = shop.browser();
    browser.add_to_cart(16, 1).await;
    shop.sandbox.inject_bank_fault(json!({"call": "register", "how": "slow", "times": 1, "ms": 2000})).await;
    let body = order("stopped", "7", &[(16, "7", Some(1))]);
    let steps = async {
        eventually_async("the payment is there", 20, async || {
            (shop.count("select count(*) from payment where site_order_id = 'stopped'") == 1).then_some(())
        })
        .await;
        shop.gateway.signal("-STOP");
        tokio::time::sleep(STOPPED).await;
        shop.gateway.signal("-CONT");
    };
    let (interrupted, ()) = tokio::join!(browser.post("/cart", &body), steps);
    assert!(matches!(interrupted.status, 200 | 502 | 503 | 504), "{}", interrupted.status);
    let opened = eventually_async("the same order is answered", 30, async || {
        let response = browser.post("/cart", &body).await;
        (response.status == 200).then_some(response)
    })
    .await;
    assert!(opened.ok_json()["qrId"].is_string());
    assert_eq!(shop.count("select count(*) from payment where site_order_id = 'stopped'"), 1);
    assert_eq!(shop.count("select held from item_stock where item_id = 16"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_stop_while_they_send_mail_lose_none() {
    let (site, sandbox) = setup();
    for number in 1..=20 {
        queue(&site, "dexar", &format!("payment:{number}"), "anna@example.org", "Заказ", "Спасибо");
    }
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 2000})).await;
    let workers = site.start_workers();
    // Its acceptance is reported while they are stopped.
    sandbox.await_emails(1).await;
    workers.signal("-STOP");
    tokio::time::sleep(STOPPED).await;
    workers.signal("-CONT");
    await_all_sent(&site, "dexar");
    let emails = sandbox.emails().await;
    // One whose acceptance came too late is sent again, as the same email.
    assert_eq!(arrivals(&emails).len(), 20, "none is lost");
    assert!(emails.len() <= 21, "only the one in progress may arrive twice: {}", emails.len());
}
