//! Clients that hold what others need: connections, requests without their bodies, responses that they do not read. Each is
//! refused or disconnected at its own limits, while a client at another address is served.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::h2_writes::{frame, frame_types, request_bytes};

use crate::harness::{
    Gateway, Sandbox, Site, TableLock, bank_key_of, connect_tls, eventually_async, merchant_of, request, send_raw,
};
use crate::openapi_answers::with_body;

/// When a test gives up on an event that must happen. No assertion depends on it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;

/// An address of the loopback network, of which 127.0.0.1 is that of the other clients of a test.
pub(crate) fn host(number: u8) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(127, 0, 0, number).into()
}

async fn tls(address: SocketAddr, alpn: &str) -> TlsStream<TcpStream> {
    connect_tls(address, &[alpn], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
}

/// The value of a gauge or counter of dexar.
fn metric(gateway: &Gateway, series: &str) -> u64 {
    let text = gateway.metrics();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{series}: {value}")))
}

pub(crate) fn held(gateway: &Gateway, limit: &str) -> u64 {
    metric(gateway, &format!("brandgate_limit_held{{brand=\"dexar\",limit=\"{limit}\"}}"))
}

pub(crate) fn refusals(gateway: &Gateway, limit: &str, level: &str) -> u64 {
    let labels = format!("{{brand=\"dexar\",limit=\"{limit}\",level=\"{level}\"}}");
    metric(gateway, &format!("brandgate_limit_refusals_total{labels}"))
}

async fn await_refusal(gateway: &Gateway, level: &str) {
    eventually_async("the client is refused", 30, async || (refusals(gateway, "bytes", level) > 0).then_some(())).await;
}

pub(crate) async fn await_nothing_held(gateway: &Gateway) {
    eventually_async("nothing is held any more", 30, async || {
        ["connections", "uploads", "requests", "bytes"].iter().all(|limit| held(gateway, limit) == 0).then_some(())
    })
    .await;
}

/// The bytes of a client with a window of 0 for every response.
pub(crate) fn stalled_requests(path: &str, requests: u32) -> Vec<u8> {
    let mut bytes = request_bytes(path, requests);
    // The value of the initial window in the SETTINGS frame behind the preface.
    let at = 24 + 9 + 2;
    bytes[at..at + 4].fill(0);
    bytes
}

/// A head of stream 1 with END_HEADERS and without END_STREAM, whose body never comes.
pub(crate) fn head_without_body(stream: u32, path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let head = [vec![0x83, 0x87], literal(0x04, path), literal(0x01, "localhost")].concat();
    frame(1, 0x4, stream, &head)
}

pub(crate) fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// A signed notification about an order that does not exist: it is accepted.
async fn notify(gateway: &Gateway) -> u16 {
    use hmac::{Hmac, KeyInit, Mac};
    let notification = json!({"amount": 100.5, "sbpMerchantId": merchant_of("dexar"), "order": "unknown", "qrId": null,
                              "paymentStatus": "SUCCESS", "transactionDate": "2026-02-28T15:01:00.000000+03:00"});
    let message = format!("100.5|{}|unknown|SUCCESS|2026-02-28T15:01:00.000000+03:00", merchant_of("dexar"));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(bank_key_of("dexar").as_bytes()).expect("any length");
    mac.update(message.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = with_body("/payments/raiffeisen/notify", &notification)
        .method("POST")
        .header("x-api-signature-sha256", signature);
    gateway.client("dexar").from(host(9)).http1().send(request).await.status
}

#[tokio::test]
async fn responses_that_nobody_reads_are_bounded_and_others_are_served() {
    let mut site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let limit = 1_000_000;
    site.change_brand("dexar", |brand| {
        brand.limits = format!(
            "buffered_bytes_per_connection = 300000\nbuffered_bytes_per_address = {limit}\nbuffered_bytes = 4000000"
        );
    });
    let gateway = site.start();
    let mut stalled = Vec::new();
    for number in 0..10 {
        let mut stream = tls(gateway.address("dexar"), "h2").await;
        stream.write_all(&stalled_requests("/randomitems?count=200", 50)).await.expect("open");
        stream.flush().await.expect("open");
        stalled.push(stream);
        if number == 0 {
            // Together, the connections reach the bound of their address before one of them reaches its own.
            await_refusal(&gateway, "connection").await;
        }
    }
    await_refusal(&gateway, "address").await;
    // Refusals of the same client are held beyond its limit.
    assert!(held(&gateway, "bytes") < 2 * limit, "{}", held(&gateway, "bytes"));
    let other = gateway.client("dexar").from(host(2));
    assert_eq!(other.get("/randomitems?count=200").await.status, 200);
    assert_eq!(other.get("/ping").await.status, 200);
    drop((stalled, other));
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn client_that_reads_keeps_its_connection_however_many_requests_are_refused() {
    const REQUESTS: u32 = 100;
    let mut site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    site.change_brand("dexar", |brand| brand.limits = "buffered_bytes_per_connection = 65536".to_owned());
    let gateway = site.start();
    let path = "/randomitems?count=200";
    let mut stream = tls(gateway.address("dexar"), "h2").await;
    stream.write_all(&request_bytes(path, REQUESTS)).await.expect("open");
    stream.flush().await.expect("open");
    let mut ended = 0;
    let responses = async {
        while ended < REQUESTS {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("the connection stays open");
            let (length, kind, flags) = (u32::from_be_bytes([0, head[0], head[1], head[2]]), head[3], head[4]);
            stream.read_exact(&mut vec![0; length as usize]).await.expect("the connection stays open");
            // DATA or HEADERS with END_STREAM.
            ended += u32::from(kind <= 1 && flags & 1 == 1);
            assert_ne!(kind, RST_STREAM);
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, responses).await.expect("every request is answered");
    assert!(refusals(&gateway, "bytes", "connection") > 0, "{}", gateway.metrics());
}

#[tokio::test]
async fn bodies_that_never_arrive_take_no_request_from_others() {
    let mut site = Site::new(&["dexar", "novo"]);
    let _sandbox = Sandbox::start(&mut site);
    site.import_demo("dexar");
    site.change_brand("dexar", |brand| {
        brand.limits = "requests = 20\nrequests_per_address = 20\nuploads = 20\nuploads_per_address = 8".to_owned();
    });
    let gateway = site.start();
    let mut withheld = Vec::new();
    for path in ["/payments/raiffeisen/notify", "/cart", "/nope"] {
        let mut stream = tls(gateway.address("dexar"), "h2").await;
        let heads: Vec<u8> = (0..60).flat_map(|number| head_without_body(2 * number + 1, path)).collect();
        stream.write_all(&[preface(), heads].concat()).await.expect("open");
        stream.flush().await.expect("open");
        withheld.push(stream);
    }
    eventually_async("the client is refused", 30, async || {
        (refusals(&gateway, "uploads", "address") > 0).then_some(())
    })
    .await;
    assert!(held(&gateway, "uploads") <= 8 && held(&gateway, "requests") == 0, "{}", gateway.metrics());
    let other = gateway.client("dexar").from(host(2));
    assert_eq!(other.get("/ping").await.status, 200);
    assert_eq!(other.get("/cart").await.status, 200);
    let cart = with_body("/cart", &json!([1])).method("DELETE");
    assert_eq!(other.send(cart).await.status, 200);
    assert_eq!(notify(&gateway).await, 200);
    drop((withheld, other));
    await_nothing_held(&gateway).await;
}

#[tokio::test]
async fn heads_of_many_fields_are_refused_alike_over_both_protocols() {
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    let (most, more) = ("x-a: b\r\n".repeat(99), "x-a: b\r\n".repeat(100));
    for (fields, status) in [(most, "200"), (more, "431")] {
        let request = format!("GET /ping HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n");
        let request = if status == "200" { request.replacen("x-a: b\r\n", "", 1) } else { request };
        let response = send_raw(gateway.address("dexar"), request.as_bytes()).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
    }
    let client = gateway.client("dexar");
    let with_fields = |count: usize| (0..count).fold(request("/ping"), |request, _| request.header("x-a", "b"));
    assert_eq!(client.send(with_fields(90)).await.status, 200);
    assert_eq!(client.send(with_fields(101)).await.error_code(431), "head_too_large");
}

#[tokio::test]
async fn silent_connections_of_some_addresses_leave_room_for_others() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.limits = "connections = 20\nconnections_per_address = 5".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    let connect = async |number: u8| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(host(number), 0)).expect("a loopback address");
        socket.connect(address).await.expect("listening")
    };
    let mut silent = Vec::new();
    for number in 11..15 {
        for _ in 0..5 {
            silent.push(connect(number).await);
        }
    }
    let mut refused = connect(11).await;
    let closed = tokio::time::timeout(TEST_TIMEOUT, refused.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert_eq!(refusals(&gateway, "connections", "address"), 1);
    // All 20 are taken by silent ones, of which some are closed now.
    for number in 2..5 {
        assert_eq!(gateway.client("dexar").from(host(number)).get("/ping").await.status, 200);
    }
    drop(silent);
}

#[tokio::test]
async fn client_that_takes_a_byte_now_and_then_is_disconnected() {
    let mut site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    site.change_brand("dexar", |brand| brand.timeouts = "idle_ms = 600000\nslow_read_ms = 2000".to_owned());
    let gateway = site.start();
    let mut stream = tls(gateway.address("dexar"), "h2").await;
    stream.write_all(&stalled_requests("/category", 20)).await.expect("open");
    stream.flush().await.expect("open");
    let (mut read, mut write) = tokio::io::split(stream);
    let one_byte = [1, 3].map(|stream| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1])).concat();
    let trickle = async {
        while write.write_all(&one_byte).await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut received = Vec::new();
    let closed = async {
        tokio::select! {
            () = trickle => {}
            _ = read.read_to_end(&mut received) => {}
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, closed).await.expect("it is closed long before its idle timeout");
    assert!(received.len() < 50_000, "it was given little more than heads: {}", received.len());
    await_nothing_held(&gateway).await;
}

/// Some clients discard the response when its stream is reset before they have sent the whole request.
#[tokio::test]
async fn small_body_that_no_handler_needs_is_read_before_the_response() {
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    for path in ["/auth/logout", "/nope", "/ping"] {
        let mut stream = tls(gateway.address("dexar"), "h2").await;
        stream.write_all(&[preface(), head_without_body(1, path)].concat()).await.expect("open");
        stream.flush().await.expect("open");
        let mut received = Vec::new();
        let early = async { while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {} };
        let _ = tokio::time::timeout(Duration::from_millis(300), early).await;
        assert!(!frame_types(&received).contains(&1), "{path}: answered before the request was complete");
        stream.write_all(&frame(0, 1, 1, b"{}")).await.expect("open");
        stream.flush().await.expect("open");
        let answered = async {
            while !frame_types(&received).contains(&1) {
                assert!(stream.read_buf(&mut received).await.expect("open") > 0, "{path}: closed");
            }
        };
        tokio::time::timeout(TEST_TIMEOUT, answered).await.expect("it is answered");
        assert!(!frame_types(&received).contains(&RST_STREAM), "{path}: the stream is not reset");
    }
}

#[tokio::test]
async fn reads_leave_requests_and_connections_to_what_matters_more() {
    let mut site = Site::new(&["dexar", "novo"]);
    let _sandbox = Sandbox::start(&mut site);
    site.import_demo("dexar");
    site.change_brand("dexar", |brand| {
        brand.limits = "requests = 10\nrequests_per_address = 10".to_owned();
        brand.pool = "pool_size = 4".to_owned();
    });
    let gateway = site.start();
    let lock = TableLock::on_items(&site, "dexar").await;
    let client = gateway.client("dexar").from(host(2));
    let paths: Vec<_> = (0..30).map(|number| format!("/category?number={number}")).collect();
    let reads = futures_util::future::join_all(paths.iter().map(|path| client.get(path)));
    let rest = async {
        eventually_async("reads are refused", 20, async || (refusals(&gateway, "requests", "brand") > 0).then_some(()))
            .await;
        assert_eq!(held(&gateway, "requests"), 8, "reads take 80 %");
        assert_eq!(gateway.client("dexar").get("/ping").await.status, 200);
        assert_eq!(notify(&gateway).await, 200, "connections to the database are left to it, too");
        lock.release().await;
    };
    let (responses, ()) = tokio::join!(reads, rest);
    let count = |status| responses.iter().filter(|response| response.status == status).count();
    assert_eq!((count(200), count(503)), (8, 22));
    assert!(responses.iter().all(|response| response.status == 200 || response.header("retry-after").is_some()));
    drop(client);
    await_nothing_held(&gateway).await;
}
