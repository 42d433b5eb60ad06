//! Clients that say nothing, or say it slowly, and more clients than there is room for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::h2_writes::{GOAWAY, kinds};
use crate::harness::{Client, Site, connect_tls, request};

/// Longer than the longest deadline of the brand file below, shorter than any default.
const PATIENCE: Duration = Duration::from_secs(5);

/// A brand whose deadlines are short.
fn impatient() -> Site {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| {
        brand.timeouts = "handshake_ms = 500\nhead_ms = 500\nidle_ms = 1000".to_owned();
    });
    site
}

/// Reads until the gateway ends the connection; how long that took, and what it said.
async fn await_end(mut stream: impl AsyncRead + Unpin) -> (Duration, Vec<u8>) {
    let begun = Instant::now();
    let mut got = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("the gateway ends it");
    (begun.elapsed(), got)
}

async fn tls(address: SocketAddr, alpn: &[&str]) -> tokio_rustls::client::TlsStream<TcpStream> {
    connect_tls(address, alpn, "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
}

/// What a client sends before it falls silent.
async fn silent_after(address: SocketAddr, alpn: &[&str], bytes: &[u8]) -> (Duration, Vec<u8>) {
    let mut stream = tls(address, alpn).await;
    stream.write_all(bytes).await.expect("it is open");
    await_end(stream).await
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The head of a HEADERS frame of 100 bytes for stream 1, and five of the hundred.
const HALF_HEADERS: &[u8] = &[0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 0x8a];

#[tokio::test]
async fn every_kind_of_silence_ends() {
    let site = impatient();
    let gateway = site.start();
    let address = gateway.address("dexar");
    let client_hello_half = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.expect("it is open");
        await_end(stream).await
    };
    let tcp_only = async { await_end(TcpStream::connect(address).await.expect("it listens")).await };
    let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let half_head = silent_after(address, &["http/1.1"], b"GET /ping HTTP/1.1\r\nHost: local");
    let half_h2 = [PREFACE, SETTINGS, HALF_HEADERS].concat();
    let idle_h2 = [PREFACE, SETTINGS].concat();
    let (tcp, hello, h1, none, half, after, h2, half_preface, idle, headers) = tokio::join!(
        tcp_only,
        client_hello_half,
        silent_after(address, &["http/1.1"], b""),
        silent_after(address, &[], b""),
        half_head,
        silent_after(address, &["http/1.1"], request),
        silent_after(address, &["h2"], b""),
        silent_after(address, &["h2"], &PREFACE[..10]),
        silent_after(address, &["h2"], &idle_h2),
        silent_after(address, &["h2"], &half_h2),
    );
    for (name, (took, _)) in [
        ("TCP alone", &tcp),
        ("half a ClientHello", &hello),
        ("TLS, then nothing", &h1),
        ("TLS without ALPN, then nothing", &none),
        ("half a head", &half),
        ("a request, then nothing", &after),
        ("h2, then nothing", &h2),
        ("half a preface", &half_preface),
        ("h2 settings, then nothing", &idle),
        ("half an h2 head", &headers),
    ] {
        assert!(*took >= Duration::from_millis(300), "{name}: ended after {took:?} already");
        assert!(*took <= Duration::from_millis(4_000), "{name}: ended after {took:?} only");
    }
    assert!(String::from_utf8_lossy(&after.1).contains("pong"), "the request itself was answered");
    assert!(kinds(&idle.1).contains(&GOAWAY), "it is told before it is closed: {:?}", kinds(&idle.1));
    assert_eq!(gateway.client("dexar").get("/ping").await.status, 200);
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for() {
    let mut site = impatient();
    // Silence has all the time of the test, a head has not.
    site.change_brand("dexar", |brand| brand.timeouts = "head_ms = 500\nidle_ms = 20000".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    // `after`: how long ago the client was answered another request on that connection, if it was.
    let drip = async |alpn: &'static str, after: Option<Duration>, bytes: Vec<u8>| {
        let mut stream = tls(address, &[alpn]).await;
        if let Some(after) = after {
            stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
            let count = stream.read(&mut [0; 4096]).await.expect("it is open");
            assert!(count > 0, "no answer");
            tokio::time::sleep(after).await;
        }
        let begun = Instant::now();
        let (mut read, mut write) = tokio::io::split(stream);
        let dripping = async {
            for byte in bytes {
                if write.write_all(&[byte]).await.is_err() || write.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut got = Vec::new();
        // Whichever ends first: all bytes are sent (five seconds from now), or the gateway has had enough.
        tokio::select! {
            () = dripping => {}
            _ = read.read_to_end(&mut got) => {}
        }
        begun.elapsed()
    };
    let head =
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Long: ".iter().copied().chain(std::iter::repeat_n(b'x', 100));
    let frames = [PREFACE, SETTINGS, HALF_HEADERS].concat().into_iter().chain(std::iter::repeat_n(0x84, 80));
    let head: Vec<u8> = head.collect();
    let (at_once, rested) = (Some(Duration::ZERO), Some(Duration::from_millis(300)));
    let (one, next, later, two) = tokio::join!(
        drip("http/1.1", None, head.clone()),
        drip("http/1.1", at_once, head.clone()),
        drip("http/1.1", rested, head),
        drip("h2", None, frames.collect())
    );
    for (what, took) in [("a first", one), ("a second", next), ("one after a pause", later)] {
        assert!(took < Duration::from_secs(3), "HTTP/1.1, {what} head: {took:?}");
    }
    assert!(two < Duration::from_secs(4), "HTTP/2: {two:?}");
}

#[tokio::test]
async fn a_client_that_asks_now_and_then_is_not_silent() {
    let site = impatient();
    let gateway = site.start();
    let address = gateway.address("dexar");
    let mut stream = tls(address, &["http/1.1"]).await;
    let begun = Instant::now();
    let mut buffer = [0; 4096];
    for _ in 0..8 {
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
        let count = stream.read(&mut buffer).await.expect("it is open");
        assert!(String::from_utf8_lossy(&buffer[..count]).starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "longer than any of its deadlines");
}

#[tokio::test]
async fn silent_clients_keep_nobody_out() {
    let site = impatient();
    let gateway = site.start();
    let address = gateway.address("dexar");
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let begun = Instant::now();
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_over_the_limit_wait_their_turn_and_none_is_lost() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.limits = "connections = 2".to_owned());
    let gateway = site.start();
    let mut held = Vec::new();
    for _ in 0..2 {
        let client = gateway.client("dexar");
        assert_eq!(client.get("/ping").await.status, 200);
        held.push(client);
    }
    let third = gateway.client("dexar");
    let mut asking = Box::pin(third.get("/ping"));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut asking).await;
    assert!(early.is_err(), "a third connection was let in while two are open");
    held.pop();
    assert_eq!(tokio::time::timeout(PATIENCE, asking).await.expect("there is room now").status, 200);
    drop((held, third));

    let address = gateway.address("dexar");
    let crowd = (0..30).map(|number| async move {
        let client = Client::new(address);
        let client = if number % 2 == 0 { client.http1() } else { client };
        let answer = client.send(request("/ping")).await;
        drop(client);
        answer.status
    });
    let statuses = futures_util::future::join_all(crowd).await;
    assert_eq!(statuses, [200; 30]);
}
