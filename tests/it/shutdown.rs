//! Graceful shutdown under systemd, whose sockets queue new clients until the next process starts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::h2_writes::{GOAWAY, frame, frame_types, request_bytes};
use crate::harness::{Client, Process, Site, connect_tls, eventually, free_port, trusting_client_config};
use crate::slow_readers::{PAGE_BYTES, import_large_page, request_page};
use crate::systemd::Unit;

const BODY: &[u8] = br#"{"itemID": 11, "quantity": 2}"#;

/// A gateway with an inherited socket for each brand, which serves all of them.
async fn start(site: &Site) -> (Unit, Vec<SocketAddr>) {
    let sockets: Vec<(&str, u16)> = site.brands.iter().map(|brand| (&*brand.name, free_port())).collect();
    let admin = format!("127.0.0.1:{}", free_port());
    let unit = Unit::start(site, &["serve", "--admin", &admin], &sockets);
    unit.process.await_log("Listening on");
    unit.discard_notifications();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|(_, port)| ([127, 0, 0, 1], *port).into()).collect();
    for address in &addresses {
        // The first connection starts the process; each waits until its brand is served.
        assert_eq!(Client::new(*address).get("/ping").await.status, 200);
    }
    (unit, addresses)
}

async fn connect(address: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
    connect_tls(address, alpn, "localhost", rustls::ALL_VERSIONS).await.expect("the gateway accepts")
}

/// A request whose handler waits for the rest of its body.
async fn start_upload(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut upload = connect(address, &["http/1.1"]).await;
    let head = format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        BODY.len()
    );
    upload.write_all(head.as_bytes()).await.expect("open");
    let mut interim = [0; 25];
    upload.read_exact(&mut interim).await.expect("the handler reads the body");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    upload.write_all(&BODY[..7]).await.expect("open");
    upload
}

/// Reads until the connection closes.
async fn read_rest(mut connection: TlsStream<TcpStream>) -> String {
    let mut rest = Vec::new();
    // The connection may close without close_notify.
    let _ = connection.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

/// Sends requests over new connections for far longer than the gateway would accept if it did not drain.
async fn assert_new_clients_are_served(process: &Process, addresses: &[SocketAddr]) {
    process.await_log("shutting down: finishing ");
    let started_at = Instant::now();
    while started_at.elapsed() < Duration::from_millis(1_200) {
        for address in addresses {
            let response = Client::new(*address).get("/ping").await;
            assert_eq!((response.status, response.header("connection")), (200, None));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(process.exit_status(), None);
}

#[tokio::test]
async fn slow_upload_completes_while_new_clients_are_served() {
    let site = Site::new(&["dexar", "novo"]);
    let (unit, addresses) = start(&site).await;
    let mut upload = start_upload(addresses[0]).await;
    unit.process.terminate();
    assert_new_clients_are_served(&unit.process, &addresses).await;
    upload.write_all(&BODY[7..]).await.expect("open");
    let response = read_rest(upload).await;
    assert!(response.starts_with("HTTP/1.1 404 ") && response.contains("not_found"), "{response}");
    assert!(unit.process.await_exit().success());
}

#[tokio::test]
async fn slow_readers_get_their_responses_while_new_clients_are_served() {
    let mut site = Site::new(&["dexar"]);
    import_large_page(&mut site);
    let (unit, addresses) = start(&site).await;
    let request = "GET /category/1?count=200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut slow = connect(addresses[0], &["http/1.1"]).await;
    slow.write_all(request.as_bytes()).await.expect("open");
    let mut received = vec![0; 1_000_000];
    slow.read_exact(&mut received).await.expect("the first part");
    let mut slow_h2 = request_page(addresses[0]).await;
    unit.process.terminate();
    assert_new_clients_are_served(&unit.process, &addresses).await;
    slow.read_to_end(&mut received).await.expect("the rest");
    assert!(received.len() > PAGE_BYTES && received.ends_with(b"]"), "{} bytes", received.len());
    assert_new_clients_are_served(&unit.process, &addresses).await;
    let mut bytes = 0;
    while let Some(frame) = slow_h2.frame().await {
        bytes += frame.expect("the rest").into_data().expect("data").len();
    }
    assert!(bytes > PAGE_BYTES, "{bytes} bytes");
    assert!(unit.process.await_exit().success());
}

/// The kernel holds the rest of a response, and the slow client still sends WINDOW_UPDATEs: a closed socket would
/// answer them with a reset, which discards what the client has not read.
#[tokio::test]
async fn http2_response_in_the_socket_buffer_is_not_lost() {
    let mut site = Site::new(&["dexar"]);
    import_large_page(&mut site);
    let (unit, addresses) = start(&site).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16_384).expect("a small buffer");
    let socket = socket.connect(addresses[0]).await.expect("listening");
    let connector = tokio_rustls::TlsConnector::from(trusting_client_config(&["h2"]));
    let mut stream = connector.connect("localhost".try_into().expect("a name"), socket).await.expect("a handshake");
    stream.write_all(&request_bytes("/category/1?count=5", 1)).await.expect("open");
    stream.flush().await.expect("open");
    let (mut bytes, mut part) = (0, [0; 16_384]);
    while bytes < PAGE_BYTES / 200 * 5 {
        let read = stream.read(&mut part).await.unwrap_or_else(|error| panic!("after {bytes} bytes: {error}"));
        assert!(read > 0, "closed after {bytes} bytes");
        if bytes == 0 {
            unit.process.terminate();
        }
        bytes += read;
        stream.write_all(&frame(8, 0, 0, &[0, 0, 0x40, 0])).await.expect("open");
        stream.flush().await.expect("open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(stream);
    assert!(unit.process.await_exit().success());
}

#[tokio::test]
async fn stalled_upload_is_aborted_at_the_drain_timeout() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "drain_ms = 2000\nrequest_ms = 600000".to_owned());
    let (unit, addresses) = start(&site).await;
    let upload = start_upload(addresses[0]).await;
    unit.process.terminate();
    eventually("the gateway exits, long before the request timeout", 60, || unit.process.exit_status());
    assert_eq!(read_rest(upload).await, "");
}

#[tokio::test]
async fn short_drain_timeout_of_one_brand_does_not_cut_its_clients_while_another_brand_drains() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.change_brand("dexar", |brand| brand.timeouts = "drain_ms = 1000".to_owned());
    site.change_brand("novo", |brand| brand.timeouts = "drain_ms = 6000\nrequest_ms = 60000".to_owned());
    let (unit, addresses) = start(&site).await;
    let mut idle = connect(addresses[0], &["h2"]).await;
    // A client's preface with an empty SETTINGS frame (RFC 9113, 3.4).
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("open");
    let _stuck = start_upload(addresses[1]).await;
    unit.process.terminate();
    let mut received = Vec::new();
    let closed = idle.read_to_end(&mut received).await;
    let types = frame_types(&received);
    assert!(types.contains(&GOAWAY), "the client is notified before the connection closes: {types:?}, {closed:?}");
    assert!(unit.process.await_exit().success());
}
