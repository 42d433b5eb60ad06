//! Connections on which nothing is asked for a while, and answers that are read slowly.

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

use crate::h2_writes::asking;
use crate::harness::{Gateway, Site, connect_tls, eventually};

/// Longer than the gateway keeps buffers for a client that asks nothing.
const PAUSE: Duration = Duration::from_millis(300);

/// What a page of [`shop`] has at least; more than the buffers of two sockets take.
pub const PAGE_BYTES: usize = 18_000_000;

fn shop(idle_ms: u32) -> (Site, Gateway) {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = format!("head_ms = 2000\nidle_ms = {idle_ms}"));
    import_long(&site);
    let gateway = site.start();
    (site, gateway)
}

/// A category 1 whose page of 200 items has more than [`PAGE_BYTES`].
pub fn import_long(site: &Site) {
    let long = "слово ".repeat(8_300);
    let mut shop = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n".to_owned();
    for id in 11..211 {
        shop += &format!(
            "{{\"itemID\":{id},\"categoryID\":1,\"name\":\"Стул\",\"price\":100,\"description\":\"{long}\"}}\n"
        );
    }
    site.import_text("dexar", "shop.jsonl", shop, &[]).success();
}

async fn open(gateway: &Gateway) -> TlsStream<TcpStream> {
    let address = gateway.address("dexar");
    connect_tls(address, &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
}

/// Reads until so many answers with this end are here.
async fn read_answers(stream: &mut TlsStream<TcpStream>, end: &str, count: usize) -> String {
    let mut got = Vec::new();
    let reading = async {
        while String::from_utf8_lossy(&got).matches(end).count() < count {
            assert!(stream.read_buf(&mut got).await.expect("it is open") > 0, "closed after {got:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the answers come");
    String::from_utf8(got).expect("UTF-8")
}

const ASK: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PONG: &str = "{\"message\":\"pong\"}";

/// The rest of a body that nobody read is never a request, however long its client pauses.
#[tokio::test]
async fn nothing_is_a_request_after_an_answer_that_closes() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "request_ms = 300".to_owned());
    let gateway = site.start();
    for (path, framing) in [
        ("/cart", "Content-Length: 5000\r\n\r\n "),
        ("/cart", "Transfer-Encoding: chunked\r\n\r\n1388\r\n "),
        ("/comment", "Content-Length: 5000\r\n\r\n "),
    ] {
        let stream = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await;
        let mut stream = stream.expect("a handshake");
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}");
        stream.write_all(head.as_bytes()).await.expect("it is open");
        let mut buffer = vec![0; 8192];
        let count = stream.read(&mut buffer).await.expect("it is open");
        let answer = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
        assert!(answer.starts_with("http/1.1 504") && answer.contains("connection: close"), "{answer}");
        tokio::time::sleep(PAUSE).await;
        for _ in 0..3 {
            // It may be closed by now.
            let _ = stream.write_all(ASK.as_bytes()).await;
        }
        let mut more = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut more)).await;
        assert!(ended.is_ok(), "{path}: it is not closed");
        assert!(more.is_empty(), "{path}: {}", String::from_utf8_lossy(&more));
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_pauses_wherever_they_fall() {
    let (_site, gateway) = shop(60_000);
    let mut stream = open(&gateway).await;
    for parts in [
        // Whole, in two halves, byte by byte at its beginning, two at once, and one and a half.
        vec![(ASK, 1)],
        vec![(&ASK[..9], 0), (&ASK[9..], 1)],
        vec![("G", 0), ("E", 0), (&ASK[2..], 1)],
        vec![(&*[ASK, ASK].concat(), 2)],
        vec![(&*[ASK, &ASK[..20]].concat(), 1), (&ASK[20..], 1)],
    ] {
        for (bytes, answers) in parts {
            stream.write_all(bytes.as_bytes()).await.expect("it is open");
            stream.flush().await.expect("it is open");
            let said = read_answers(&mut stream, PONG, answers).await;
            assert_eq!(said.matches("HTTP/1.1 200").count(), answers, "{bytes:?}: {said}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    // A body that comes after its head, in two parts.
    let line = "{\"itemID\":11}";
    let head = format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        line.len()
    );
    for bytes in [&*head, &line[..5], &line[5..]] {
        tokio::time::sleep(PAUSE).await;
        stream.write_all(bytes.as_bytes()).await.expect("it is open");
        stream.flush().await.expect("it is open");
    }
    let said = read_answers(&mut stream, "}", 1).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    tokio::time::sleep(PAUSE).await;
    // It takes leave, and is let go.
    stream.shutdown().await.expect("it is open");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    ended.expect("the gateway ends it too").expect("in order");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_resting_connection_is_closed_in_order_after_its_time_and_at_the_end_of_the_process() {
    let (_site, gateway) = shop(1_000);
    let mut stream = open(&gateway).await;
    stream.write_all(ASK.as_bytes()).await.expect("it is open");
    read_answers(&mut stream, PONG, 1).await;
    let begun = Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).await.expect("TLS says that it is the end"), 0);
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
    let mut stream = open(&gateway).await;
    stream.write_all(ASK.as_bytes()).await.expect("it is open");
    read_answers(&mut stream, PONG, 1).await;
    tokio::time::sleep(PAUSE).await;
    gateway.terminate();
    assert_eq!(stream.read(&mut [0; 16]).await.expect("TLS says that it is the end"), 0);
    assert!(gateway.await_exit().success());
}

#[tokio::test]
async fn an_answer_may_be_read_slowly_but_not_left_lying() {
    let idle = Duration::from_millis(1_000);
    let (_site, gateway) = shop(1_000);
    let request = "GET /category/1?count=200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut streams = [open(&gateway).await, open(&gateway).await];
    for stream in &mut streams {
        stream.write_all(request.as_bytes()).await.expect("it is open");
        stream.flush().await.expect("it is open");
    }
    let [mut slow, mut lying] = streams;
    let begun = Instant::now();
    let mut got = Vec::new();
    let mut part = vec![0; 2_000_000];
    loop {
        let mut count = 0;
        while count < part.len() {
            let read = slow.read(&mut part[count..]).await;
            match read
                .unwrap_or_else(|error| panic!("after {:?} and {} bytes: {error}", begun.elapsed(), got.len() + count))
            {
                0 => break,
                more => count += more,
            }
        }
        got.extend_from_slice(&part[..count]);
        if count < part.len() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(begun.elapsed() > 2 * idle, "{:?}: it was not slow", begun.elapsed());
    assert!(got.len() > PAGE_BYTES && got.ends_with(b"]"), "{} bytes", got.len());
    eventually("nobody is served any more", 5, || {
        gateway.metrics().contains("brandgate_connections{brand=\"dexar\"} 0\n").then_some(())
    });
    let mut got = Vec::new();
    let _ = lying.read_to_end(&mut got).await;
    assert!(got.len() < PAGE_BYTES, "{} bytes", got.len());
}

#[tokio::test]
async fn an_answer_over_http2_may_be_read_slowly_but_not_left_lying() {
    let (_site, gateway) = shop(1_000);
    let address = gateway.address("dexar");
    let (mut slow, mut lying) = (ask_for_page(address).await, ask_for_page(address).await);
    let (begun, mut bytes) = (Instant::now(), 0);
    while let Some(frame) = slow.frame().await {
        let data = frame.unwrap_or_else(|error| panic!("after {:?} and {bytes} bytes: {error}", begun.elapsed()));
        bytes += data.into_data().expect("data").len();
        if bytes < 300_000 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(3) && bytes > PAGE_BYTES, "{:?}, {bytes}", begun.elapsed());
    eventually("nobody is served any more", 15, || {
        gateway.metrics().contains("brandgate_connections{brand=\"dexar\"} 0\n").then_some(())
    });
    let mut bytes = 0;
    while let Some(Ok(frame)) = lying.frame().await {
        bytes += frame.into_data().map_or(0, |data| data.len());
    }
    assert!(bytes < PAGE_BYTES, "{bytes}");
}

/// Browsers open windows that hold a whole answer; then only TCP tells how slowly they read.
#[tokio::test]
async fn an_answer_over_http2_may_be_read_slowly_behind_large_windows() {
    let (_site, gateway) = shop(1_500);
    let mut stream =
        connect_tls(gateway.address("dexar"), &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("TLS");
    stream.write_all(&asking("/category/1?count=200", 1)).await.expect("it is open");
    stream.flush().await.expect("it is open");
    let begun = Instant::now();
    let mut bytes = 0;
    let mut part = vec![0; 1_500_000];
    while bytes < PAGE_BYTES {
        let read = stream.read_exact(&mut part).await;
        bytes += read.unwrap_or_else(|error| panic!("after {:?} and {bytes} bytes: {error}", begun.elapsed()));
        tokio::time::sleep(PAUSE).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}: it was not slow", begun.elapsed());
}

/// The body of a page of [`import_long`], asked for over an HTTP/2 connection with small windows.
pub async fn ask_for_page(address: SocketAddr) -> Incoming {
    let stream = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("https://localhost/category/1?count=200").body(Full::<Bytes>::default());
    let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}
