//! Connections with pauses, and responses that are read slowly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::h2_writes::request_bytes;
use crate::harness::{Gateway, Site, connect_tls, eventually};

/// When a test gives up on an event that must happen. No assertion depends on it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than an idle HTTP/1.1 connection keeps its buffers.
const PAUSE: Duration = Duration::from_millis(300);

/// A lower bound of the page of [`import_large_page`]: more than the buffers of two sockets hold.
pub(crate) const PAGE_BYTES: usize = 18_000_000;

fn start_with_large_page(idle_ms: u32) -> (Site, Gateway) {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = format!("head_ms = 2000\nidle_ms = {idle_ms}"));
    import_large_page(&mut site);
    let gateway = site.start();
    (site, gateway)
}

/// Imports a category 1 whose page of 200 items has more than [`PAGE_BYTES`].
pub(crate) fn import_large_page(site: &mut Site) {
    // Several clients at one address read a page each.
    site.change_brand("dexar", |brand| brand.limits = "buffered_bytes_per_address = 200000000".to_owned());
    let description = "слово ".repeat(8_300);
    let mut shop = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n".to_owned();
    for id in 11..211 {
        shop += &format!(
            "{{\"itemID\":{id},\"categoryID\":1,\"name\":\"Стул\",\"price\":100,\"description\":\"{description}\"}}\n"
        );
    }
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
}

async fn open(gateway: &Gateway) -> TlsStream<TcpStream> {
    let address = gateway.address("dexar");
    connect_tls(address, &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
}

/// Reads until so many responses that end like this have been received.
async fn read_responses(stream: &mut TlsStream<TcpStream>, end: &str, count: usize) -> String {
    let mut received = Vec::new();
    let reading = async {
        while String::from_utf8_lossy(&received).matches(end).count() < count {
            assert!(stream.read_buf(&mut received).await.expect("open") > 0, "closed after {received:?}");
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("the responses are received");
    String::from_utf8(received).expect("UTF-8")
}

const REQUEST: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PONG: &str = "{\"message\":\"pong\"}";

/// The rest of an unread body is never parsed as a request, however long the client pauses. The idle timeout is ten
/// times the time of the test, so it is the last response that closes the connection.
#[tokio::test]
async fn no_request_is_read_after_connection_close() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 300\nidle_ms = 600000".to_owned());
    let gateway = site.start();
    for (path, framing) in [
        ("/cart", "Content-Length: 5000\r\n\r\n "),
        ("/cart", "Transfer-Encoding: chunked\r\n\r\n1388\r\n "),
        ("/comment", "Content-Length: 5000\r\n\r\n "),
    ] {
        let stream = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await;
        let mut stream = stream.expect("a handshake");
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}");
        stream.write_all(head.as_bytes()).await.expect("open");
        let mut buffer = vec![0; 8192];
        let count = stream.read(&mut buffer).await.expect("open");
        let response = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
        assert!(response.starts_with("http/1.1 408") && response.contains("connection: close"), "{response}");
        tokio::time::sleep(PAUSE).await;
        for _ in 0..3 {
            // The connection may be closed already.
            let _ = stream.write_all(REQUEST.as_bytes()).await;
        }
        let mut more = Vec::new();
        let closed = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut more)).await;
        assert!(closed.is_ok(), "{path}: it is not closed");
        assert!(more.is_empty(), "{path}: {}", String::from_utf8_lossy(&more));
    }
}

#[tokio::test]
async fn connection_continues_after_pauses_at_any_position() {
    let (_site, gateway) = start_with_large_page(60_000);
    let mut stream = open(&gateway).await;
    for parts in [
        // In one write, in two, byte by byte at first, two requests at once, and one and a half.
        vec![(REQUEST, 1)],
        vec![(&REQUEST[..9], 0), (&REQUEST[9..], 1)],
        vec![("G", 0), ("E", 0), (&REQUEST[2..], 1)],
        vec![(&*[REQUEST, REQUEST].concat(), 2)],
        vec![(&*[REQUEST, &REQUEST[..20]].concat(), 1), (&REQUEST[20..], 1)],
    ] {
        for (bytes, responses) in parts {
            stream.write_all(bytes.as_bytes()).await.expect("open");
            stream.flush().await.expect("open");
            let received = read_responses(&mut stream, PONG, responses).await;
            assert_eq!(received.matches("HTTP/1.1 200").count(), responses, "{bytes:?}: {received}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    // A body that follows its head in two parts.
    let body = "{\"itemID\":11}";
    let head = format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for bytes in [&*head, &body[..5], &body[5..]] {
        tokio::time::sleep(PAUSE).await;
        stream.write_all(bytes.as_bytes()).await.expect("open");
        stream.flush().await.expect("open");
    }
    let received = read_responses(&mut stream, "}", 1).await;
    assert!(received.starts_with("HTTP/1.1 200"), "{received}");
    tokio::time::sleep(PAUSE).await;
    // The client closes, and the gateway follows.
    stream.shutdown().await.expect("open");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut rest)).await;
    closed.expect("the gateway closes too").expect("with close_notify");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn parked_connection_gets_close_notify_at_idle_timeout_and_at_shutdown() {
    let (_site, gateway) = start_with_large_page(1_000);
    let mut stream = open(&gateway).await;
    stream.write_all(REQUEST.as_bytes()).await.expect("open");
    read_responses(&mut stream, PONG, 1).await;
    let started_at = Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).await.expect("close_notify"), 0);
    assert!(started_at.elapsed() >= Duration::from_millis(800), "{:?}", started_at.elapsed());
    let mut stream = open(&gateway).await;
    stream.write_all(REQUEST.as_bytes()).await.expect("open");
    read_responses(&mut stream, PONG, 1).await;
    tokio::time::sleep(PAUSE).await;
    gateway.terminate();
    assert_eq!(stream.read(&mut [0; 16]).await.expect("close_notify"), 0);
    assert!(gateway.await_exit().success());
}

#[tokio::test]
async fn slow_reader_gets_its_response_and_stalled_reader_is_disconnected() {
    let idle = Duration::from_millis(1_000);
    let (_site, gateway) = start_with_large_page(1_000);
    let request = "GET /category/1?count=200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut streams = [open(&gateway).await, open(&gateway).await];
    for stream in &mut streams {
        stream.write_all(request.as_bytes()).await.expect("open");
        stream.flush().await.expect("open");
    }
    let [mut slow, mut stalled] = streams;
    let started_at = Instant::now();
    let mut received = Vec::new();
    let mut part = vec![0; 2_000_000];
    loop {
        let mut count = 0;
        while count < part.len() {
            let read = slow.read(&mut part[count..]).await;
            match read.unwrap_or_else(|error| {
                panic!("after {:?} and {} bytes: {error}", started_at.elapsed(), received.len() + count)
            }) {
                0 => break,
                more => count += more,
            }
        }
        received.extend_from_slice(&part[..count]);
        if count < part.len() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(started_at.elapsed() > 2 * idle, "{:?}: not slow enough to test", started_at.elapsed());
    assert!(received.len() > PAGE_BYTES && received.ends_with(b"]"), "{} bytes", received.len());
    eventually("all connections are closed", 60, || {
        gateway.metrics().contains("brandgate_connections{brand=\"dexar\"} 0\n").then_some(())
    });
    let mut received = Vec::new();
    let _ = stalled.read_to_end(&mut received).await;
    assert!(received.len() < PAGE_BYTES, "{} bytes", received.len());
}

#[tokio::test]
async fn slow_http2_reader_gets_its_response_and_stalled_reader_is_disconnected() {
    let (_site, gateway) = start_with_large_page(1_000);
    let address = gateway.address("dexar");
    let (mut slow, mut stalled) = (request_page(address).await, request_page(address).await);
    let (started_at, mut bytes) = (Instant::now(), 0);
    while let Some(frame) = slow.frame().await {
        let data = frame.unwrap_or_else(|error| panic!("after {:?} and {bytes} bytes: {error}", started_at.elapsed()));
        bytes += data.into_data().expect("data").len();
        if bytes < 300_000 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    assert!(started_at.elapsed() > Duration::from_secs(3) && bytes > PAGE_BYTES, "{:?}, {bytes}", started_at.elapsed());
    eventually("all connections are closed", 60, || {
        gateway.metrics().contains("brandgate_connections{brand=\"dexar\"} 0\n").then_some(())
    });
    let mut bytes = 0;
    while let Some(Ok(frame)) = stalled.frame().await {
        bytes += frame.into_data().map_or(0, |data| data.len());
    }
    assert!(bytes < PAGE_BYTES, "{bytes}");
}

/// Browsers open windows that hold a whole response; then only TCP shows how slowly they read.
#[tokio::test]
async fn slow_http2_reader_with_large_windows_gets_its_response() {
    let (_site, gateway) = start_with_large_page(1_500);
    let mut stream =
        connect_tls(gateway.address("dexar"), &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("TLS");
    stream.write_all(&request_bytes("/category/1?count=200", 1)).await.expect("open");
    stream.flush().await.expect("open");
    let started_at = Instant::now();
    let mut bytes = 0;
    let mut part = vec![0; 1_500_000];
    while bytes < PAGE_BYTES {
        let read = stream.read_exact(&mut part).await;
        bytes += read.unwrap_or_else(|error| panic!("after {:?} and {bytes} bytes: {error}", started_at.elapsed()));
        tokio::time::sleep(PAUSE).await;
    }
    assert!(started_at.elapsed() > Duration::from_secs(3), "{:?}: not slow enough to test", started_at.elapsed());
}

/// Requests the page of [`import_large_page`] over an HTTP/2 connection with small windows.
pub(crate) async fn request_page(address: SocketAddr) -> Incoming {
    let stream = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("https://localhost/category/1?count=200").body(Full::<Bytes>::default());
    let response = sender.send_request(request.expect("a request")).await.expect("a response");
    assert_eq!(response.status(), 200);
    response.into_body()
}
