//! Shortage of connections, bytes and permits: what a client holds after it has disconnected, and whose connection is closed for whom.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::h2_writes::{frame, frame_types, request_bytes};
use crate::harness::{Gateway, Services, Site, TableLock, connect_tls_from, eventually_async};
use crate::hostile_clients::{await_nothing_held, head_without_body, held, host, preface, refusals, stalled_requests};
use crate::openapi_answers::with_body;

/// When a test gives up on an event that must happen. No assertion depends on it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

const PING: u8 = 6;
const END_STREAM: u8 = 1;

async fn tls_from(number: u8, gateway: &Gateway, alpn: &str) -> TlsStream<TcpStream> {
    let address = gateway.address("dexar");
    let stream = connect_tls_from(Some(host(number)), address, &[alpn], "localhost", rustls::ALL_VERSIONS).await;
    stream.expect("a handshake")
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("open");
    stream.flush().await.expect("open");
}

fn with_limits(limits: &str, timeouts: &str) -> Site {
    let mut site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    site.change_brand("dexar", |brand| (brand.limits, brand.timeouts) = (limits.to_owned(), timeouts.to_owned()));
    site
}

#[tokio::test]
async fn handlers_that_outlive_their_connection_stay_accounted_to_its_address() {
    let site = with_limits("requests = 100\nrequests_per_address = 2", "");
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(tls_from(3, &gateway, "h2").await);
        let stream = streams.last_mut().expect("just opened");
        let body = json!({"itemID": 123, "comment": "x".repeat(100)}).to_string();
        // `content-type` is entry 31 of HPACK's static table.
        let media_type = [&[0x0f, 0x10, 16], b"application/json".as_slice()].concat();
        let head = [&head_without_body(1, "/cart")[9..], &media_type].concat();
        send(stream, &[preface(), frame(1, 0x4, 1, &head), frame(0, END_STREAM, 1, body.as_bytes())].concat()).await;
    }
    lock.await_waiting(2).await;
    drop(streams);
    eventually_async("the connections are closed", 20, async || (held(&gateway, "connections") == 0).then_some(()))
        .await;
    assert_eq!(held(&gateway, "requests"), 2, "the handlers run detached");
    assert!(held(&gateway, "bytes") > 200, "and hold their bodies: {}", held(&gateway, "bytes"));
    let same = gateway.client("dexar").from(host(3));
    assert_eq!(same.get("/ping").await.error_code(503), "overloaded");
    assert_eq!(refusals(&gateway, "requests", "address"), 1);
    assert_eq!(gateway.client("dexar").from(host(4)).get("/ping").await.status, 200);
    lock.release().await;
    eventually_async("the handlers end", 20, async || (held(&gateway, "requests") == 0).then_some(())).await;
    assert_eq!(same.get("/ping").await.status, 200);
    drop(same);
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn handshake_behind_a_balancer_is_closed_when_others_need_its_connection() {
    let mut site = with_limits("connections = 2\nconnections_per_address = 2", "handshake_ms = 60000");
    site.change_brand("dexar", |brand| brand.more = "[proxy_protocol]\ntrusted = [\"127.0.0.9/32\"]".to_owned());
    let gateway = site.start();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(host(9), 0)).expect("a loopback address");
        let mut stream = socket.connect(gateway.address("dexar")).await.expect("listening");
        stream.write_all(b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n").await.expect("open");
        waiting.push(stream);
    }
    eventually_async("both are admitted", 20, async || (held(&gateway, "connections") == 2).then_some(())).await;
    // Its own timeout is that of a response, a third of that of a handshake.
    assert_eq!(gateway.client("dexar").from(host(2)).get("/ping").await.status, 200);
    drop(waiting);
}

#[tokio::test]
async fn evicted_client_that_goes_on_sending_delays_neither_others_nor_shutdown() {
    let site = with_limits("connections = 2\nconnections_per_address = 2", "idle_ms = 600000\ndrain_ms = 120000");
    let gateway = site.start();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = tls_from(3, &gateway, "h2").await;
        send(&mut stream, &request_bytes("/ping", 1)).await;
        let mut received = Vec::new();
        while !frame_types(&received).contains(&0) {
            assert!(stream.read_buf(&mut received).await.expect("open") > 0);
        }
        streams.push(stream);
    }
    let dripping = streams.into_iter().map(|mut stream| async move {
        while stream.write_all(&frame(PING, 0, 0, b"dripping")).await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let dripping = tokio::spawn(futures_util::future::join_all(dripping));
    let others = gateway.client("dexar").from(host(2));
    assert_eq!(others.get("/ping").await.status, 200, "the evicted one has given its place");
    drop(others);
    gateway.terminate();
    assert!(gateway.await_exit().success(), "long before the idle and the drain timeout");
    tokio::time::timeout(TEST_TIMEOUT, dripping).await.expect("it is disconnected").expect("no panic");
}

#[tokio::test]
async fn neighbour_of_stalled_clients_gets_its_responses_and_they_are_disconnected() {
    let limits = "buffered_bytes_per_connection = 300000\nbuffered_bytes_per_address = 1000000";
    let site = with_limits(limits, "idle_ms = 600000\nslow_read_ms = 600000");
    let gateway = site.start();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut stream = tls_from(3, &gateway, "h2").await;
        send(&mut stream, &stalled_requests("/randomitems?count=200", 20)).await;
        stalled.push(stream);
    }
    eventually_async("the network is at its bound", 30, async || {
        (refusals(&gateway, "bytes", "address") > 0 && held(&gateway, "bytes") > 900_000).then_some(())
    })
    .await;
    let neighbour = gateway.client("dexar").from(host(3));
    // A client that still takes something of its responses has not stalled and gives nothing.
    eventually_async("ten rounds in a row are served", 60, async || {
        for _ in 0..10 {
            if neighbour.get("/randomitems?count=200").await.status != 200 {
                return None;
            }
            let cart = with_body("/cart", &json!([1])).method("DELETE");
            if neighbour.send(cart).await.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    assert!(held(&gateway, "bytes") <= 1_100_000, "{}", held(&gateway, "bytes"));
    drop((stalled, neighbour));
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn neighbour_of_clients_that_read_no_response_gets_a_permit() {
    let site = with_limits("requests = 100\nrequests_per_address = 10", "idle_ms = 600000\nslow_read_ms = 600000");
    let gateway = site.start();
    let mut stream = tls_from(3, &gateway, "h2").await;
    send(&mut stream, &stalled_requests("/randomitems?count=5", 30)).await;
    eventually_async("the client is refused", 30, async || {
        (refusals(&gateway, "requests", "connection") > 0 && held(&gateway, "requests") == 10).then_some(())
    })
    .await;
    let neighbour = gateway.client("dexar").from(host(3));
    eventually_async("the stalled client gives its permits", 20, async || {
        (neighbour.get("/ping").await.status == 200).then_some(())
    })
    .await;
    drop((stream, neighbour));
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn requests_that_wait_for_their_rate_limit_hold_a_permit() {
    let mut site = Site::on(Services::dedicated("paused-redis"), &["dexar"]);
    site.migrate().success();
    site.change_brand("dexar", |brand| brand.limits = "requests = 2\nrequests_per_address = 2".to_owned());
    let gateway = site.start();
    assert_eq!(site.redis(&["client", "pause", "60000"]), "OK");
    let mut stream = tls_from(3, &gateway, "h2").await;
    // In one write, so that all of them are there while the first ones wait.
    let requests = (0..5).flat_map(|number| {
        let mut head = head_without_body(2 * number + 1, "/auth/logout");
        head[4] |= END_STREAM;
        head
    });
    send(&mut stream, &[preface(), requests.collect()].concat()).await;
    eventually_async("those above the limit are refused", 20, async || {
        (refusals(&gateway, "requests", "connection") == 3).then_some(())
    })
    .await;
    drop(stream);
}
