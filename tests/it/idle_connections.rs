//! Idle connections, slow request heads, and the limit of connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::h2_writes::{GOAWAY, frame_types};
use crate::harness::{Client, Site, connect_tls, request};

/// When a test gives up on an event that must happen. No assertion depends on it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

const HEAD_TIMEOUT: Duration = Duration::from_millis(500);

/// Dexar with short timeouts.
fn site_with_short_timeouts() -> Site {
    let mut site = Site::new(&["dexar"]);
    shorten_timeouts(&mut site);
    site
}

fn shorten_timeouts(site: &mut Site) {
    site.change_brand("dexar", |brand| {
        brand.timeouts = "handshake_ms = 500\nhead_ms = 500\nidle_ms = 1000".to_owned();
    });
}

/// Reads until the gateway closes the connection.
async fn read_until_closed(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut received = Vec::new();
    // A reset closes it as well.
    let _ = stream.read_to_end(&mut received).await;
    received
}

async fn tls(address: SocketAddr, alpn: &[&str]) -> tokio_rustls::client::TlsStream<TcpStream> {
    connect_tls(address, alpn, "localhost", rustls::ALL_VERSIONS).await.expect("a handshake")
}

/// Sends these bytes over TLS and nothing more, until the gateway closes the connection.
async fn idle_after(address: SocketAddr, alpn: &[&str], bytes: &[u8]) -> (Duration, Vec<u8>) {
    let started_at = Instant::now();
    let mut stream = tls(address, alpn).await;
    stream.write_all(bytes).await.expect("open");
    let received = read_until_closed(stream).await;
    (started_at.elapsed(), received)
}

/// The same over TCP, without a handshake.
async fn idle_after_tcp(address: SocketAddr, bytes: &[u8]) -> (Duration, Vec<u8>) {
    let started_at = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream.write_all(bytes).await.expect("open");
    let received = read_until_closed(stream).await;
    (started_at.elapsed(), received)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The header of a HEADERS frame with 100 bytes for stream 1, and five of these bytes.
const PARTIAL_HEADERS: &[u8] = &[0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 0x8a];

/// All connections of the brand with short timeouts close before one of the brand with timeouts sixty times as long.
#[tokio::test]
async fn every_kind_of_idle_connection_is_closed() {
    let mut site = Site::new(&["dexar", "novo"]);
    shorten_timeouts(&mut site);
    site.change_brand("novo", |brand| {
        brand.timeouts = "handshake_ms = 60000\nhead_ms = 60000\nidle_ms = 60000".to_owned();
    });
    let gateway = site.start();
    let address = gateway.address("dexar");
    let reference = tls(gateway.address("novo"), &["http/1.1"]).await;
    let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let idle_h2_bytes = [PREFACE, SETTINGS].concat();
    let partial_h2_bytes = [PREFACE, SETTINGS, PARTIAL_HEADERS].concat();
    let all_closed = async {
        tokio::join!(
            idle_after_tcp(address, b""),
            idle_after_tcp(address, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
            idle_after(address, &["http/1.1"], b""),
            idle_after(address, &[], b""),
            idle_after(address, &["http/1.1"], b"GET /ping HTTP/1.1\r\nHost: local"),
            idle_after(address, &["http/1.1"], request),
            idle_after(address, &["h2"], b""),
            idle_after(address, &["h2"], &PREFACE[..10]),
            idle_after(address, &["h2"], &idle_h2_bytes),
            idle_after(address, &["h2"], &partial_h2_bytes),
        )
    };
    let (tcp, hello, h1, no_alpn, partial_head, after_request, h2, partial_preface, idle_h2, partial_headers) = tokio::select! {
        closed = all_closed => closed,
        _ = read_until_closed(reference) => panic!("an idle connection outlived timeouts sixty times as long as its own"),
    };
    for (name, (took, _)) in [
        ("TCP alone", &tcp),
        ("part of a ClientHello", &hello),
        ("TLS, then nothing", &h1),
        ("TLS without ALPN, then nothing", &no_alpn),
        ("part of a head", &partial_head),
        ("a request, then nothing", &after_request),
        ("h2, then nothing", &h2),
        ("part of a preface", &partial_preface),
        ("h2 settings, then nothing", &idle_h2),
        ("part of an h2 head", &partial_headers),
    ] {
        assert!(*took >= HEAD_TIMEOUT, "{name}: closed after {took:?} already");
    }
    assert!(String::from_utf8_lossy(&after_request.1).contains("pong"), "the request itself was answered");
    let types = frame_types(&idle_h2.1);
    assert!(types.contains(&GOAWAY), "the client is notified before the connection closes: {types:?}");
    assert_eq!(gateway.client("dexar").get("/ping").await.status, 200);
}

/// The gateway closes the connection before the client, which needs ten times the head timeout, has sent all bytes.
#[tokio::test]
async fn head_sent_byte_by_byte_is_cut_off() {
    let mut site = site_with_short_timeouts();
    // The idle timeout plays no part.
    site.change_brand("dexar", |brand| brand.timeouts = "head_ms = 500\nidle_ms = 600000".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    // Whether the connection was closed first. `pause_after_request`: a request was answered on it that long before.
    let is_cut_off = async |alpn: &'static str, pause_after_request: Option<Duration>, bytes: Vec<u8>| {
        let mut stream = tls(address, &[alpn]).await;
        if let Some(pause) = pause_after_request {
            stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("open");
            let count = stream.read(&mut [0; 4096]).await.expect("open");
            assert!(count > 0, "no response");
            tokio::time::sleep(pause).await;
        }
        let (read, mut write) = tokio::io::split(stream);
        let interval = HEAD_TIMEOUT / 10;
        let sending = async {
            for byte in bytes {
                if write.write_all(&[byte]).await.is_err() || write.flush().await.is_err() {
                    return std::future::pending().await;
                }
                tokio::time::sleep(interval).await;
            }
        };
        tokio::select! {
            () = sending => false,
            _ = read_until_closed(read) => true,
        }
    };
    let head = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Long: ".iter().copied();
    let head: Vec<u8> = head.chain(std::iter::repeat_n(b'x', 100)).collect();
    let frames = [PREFACE, SETTINGS, PARTIAL_HEADERS].concat().into_iter().chain(std::iter::repeat_n(0x84, 80));
    let (immediately, after_parking) = (Some(Duration::ZERO), Some(Duration::from_millis(300)));
    let (first, second, after_pause, h2) = tokio::join!(
        is_cut_off("http/1.1", None, head.clone()),
        is_cut_off("http/1.1", immediately, head.clone()),
        is_cut_off("http/1.1", after_parking, head),
        is_cut_off("h2", None, frames.collect())
    );
    for (name, cut_off) in [("a first", first), ("a second", second), ("one after a pause", after_pause)] {
        assert!(cut_off, "HTTP/1.1, {name} head");
    }
    assert!(h2, "HTTP/2");
}

#[tokio::test]
async fn connection_with_occasional_requests_stays_open() {
    let site = site_with_short_timeouts();
    let gateway = site.start();
    let mut stream = tls(gateway.address("dexar"), &["http/1.1"]).await;
    let started_at = Instant::now();
    let mut buffer = [0; 4096];
    for _ in 0..8 {
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("open");
        let count = stream.read(&mut buffer).await.expect("open");
        assert!(String::from_utf8_lossy(&buffer[..count]).starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(started_at.elapsed() > Duration::from_millis(1_500), "longer than each of its timeouts");
}

#[tokio::test]
async fn idle_connections_do_not_delay_others() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "handshake_ms = 600000".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(address).await.expect("listening"));
    }
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    let is_open = |stream: &TcpStream| {
        stream.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(idle.iter().all(is_open), "they were answered while all idle connections were open");
}

#[tokio::test]
async fn connections_over_the_limit_replace_idle_ones_and_none_is_lost() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.limits = "connections = 2\nconnections_per_address = 100".to_owned());
    let gateway = site.start();
    let mut open = Vec::new();
    for _ in 0..3 {
        let client = gateway.client("dexar");
        assert_eq!(client.get("/ping").await.status, 200, "an idle one is closed for the third");
        open.push(client);
    }
    drop(open);

    // Two that are in the middle of a request.
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = tls(gateway.address("dexar"), &["http/1.1"]).await;
        let head = "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("open");
        stream.flush().await.expect("open");
        busy.push(stream);
    }
    let third = gateway.client("dexar");
    let mut pending = Box::pin(third.get("/ping"));
    let early = tokio::time::timeout(Duration::from_millis(1_500), &mut pending).await;
    assert!(early.is_err(), "a third connection was served while two are busy");
    busy.pop();
    assert_eq!(tokio::time::timeout(TEST_TIMEOUT, pending).await.expect("there is room").status, 200);
    drop((busy, third));

    let address = gateway.address("dexar");
    let crowd = (0..30).map(|number| async move {
        let client = Client::new(address);
        let client = if number % 2 == 0 { client.http1() } else { client };
        let response = client.send(request("/ping")).await;
        drop(client);
        response.status
    });
    let statuses = futures_util::future::join_all(crowd).await;
    assert_eq!(statuses, [200; 30]);
}
