//! How the gateway ends under systemd: what had been begun is finished, and nobody waits for it at the door. The next process starts
//! when this one is gone, so whoever is not let in by this one waits for the slowest of its requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::h2_writes::{GOAWAY, asking, frame, kinds};
use crate::harness::{Client, Process, Site, connect_tls, eventually, free_port, trusting_client_config};
use crate::slow_readers::{PAGE_BYTES, ask_for_page, import_long};
use crate::systemd::Unit;

const BODY: &[u8] = br#"{"itemID": 11, "quantity": 2}"#;

/// A gateway with a socket of systemd's for each brand.
fn start(site: &Site) -> (Unit, Vec<SocketAddr>) {
    let sockets: Vec<(&str, u16)> = site.brands.iter().map(|brand| (&*brand.name, free_port())).collect();
    let admin = format!("127.0.0.1:{}", free_port());
    let unit = Unit::start(site, &["serve", "--admin", &admin], &sockets);
    unit.process.await_log("Listening on");
    unit.discard_notifications();
    (unit, sockets.iter().map(|(_, port)| ([127, 0, 0, 1], *port).into()).collect())
}

async fn connect(address: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
    connect_tls(address, alpn, "localhost", rustls::ALL_VERSIONS).await.expect("visitors are let in")
}

/// A request whose handler waits for the second half of its body.
async fn begin_upload(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut upload = connect(address, &["http/1.1"]).await;
    let head = format!(
        "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        BODY.len()
    );
    upload.write_all(head.as_bytes()).await.expect("it is open");
    let mut told = [0; 25];
    upload.read_exact(&mut told).await.expect("it waits for the body");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    upload.write_all(&BODY[..7]).await.expect("it is open");
    upload
}

/// All that still comes, to the end of the connection.
async fn rest_of(mut connection: TlsStream<TcpStream>) -> String {
    let mut rest = Vec::new();
    // A connection may end without TLS's own goodbye.
    let _ = connection.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

/// Asks at each address, over new connections, for far longer than a listener would be open that nobody holds up.
async fn visitors_are_served(process: &Process, addresses: &[SocketAddr]) {
    process.await_log("stopping: ");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_200) {
        for address in addresses {
            let answer = Client::new(*address).get("/ping").await;
            assert_eq!((answer.status, answer.header("connection")), (200, None));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(process.exit_status(), None);
}

#[tokio::test]
async fn a_slow_upload_is_finished_and_nobody_waits_for_it() {
    let site = Site::new(&["dexar", "novo"]);
    let (unit, addresses) = start(&site);
    let mut upload = begin_upload(addresses[0]).await;
    unit.process.terminate();
    visitors_are_served(&unit.process, &addresses).await;
    upload.write_all(&BODY[7..]).await.expect("it is open");
    let answered = rest_of(upload).await;
    assert!(answered.starts_with("HTTP/1.1 404 ") && answered.contains("not_found"), "{answered}");
    assert!(unit.process.await_exit().success());
}

#[tokio::test]
async fn answers_that_are_read_slowly_are_read_to_their_end_and_nobody_waits_for_them() {
    let site = Site::new(&["dexar"]);
    import_long(&site);
    let (unit, addresses) = start(&site);
    let request = "GET /category/1?count=200 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut slow = connect(addresses[0], &["http/1.1"]).await;
    slow.write_all(request.as_bytes()).await.expect("it is open");
    let mut got = vec![0; 1_000_000];
    slow.read_exact(&mut got).await.expect("its beginning");
    let mut slow_h2 = ask_for_page(addresses[0]).await;
    unit.process.terminate();
    visitors_are_served(&unit.process, &addresses).await;
    slow.read_to_end(&mut got).await.expect("the rest");
    assert!(got.len() > PAGE_BYTES && got.ends_with(b"]"), "{} bytes", got.len());
    visitors_are_served(&unit.process, &addresses).await;
    let mut bytes = 0;
    while let Some(frame) = slow_h2.frame().await {
        bytes += frame.expect("the rest").into_data().expect("data").len();
    }
    assert!(bytes > PAGE_BYTES, "{bytes} bytes");
    assert!(unit.process.await_exit().success());
}

/// The kernel has all of an answer, the client reads it slowly, and opens its window for each part: a socket that is closed by then
/// would answer with a reset, and what was not read would be lost.
#[tokio::test]
async fn an_answer_over_http2_that_the_kernel_holds_is_read_to_its_end() {
    let site = Site::new(&["dexar"]);
    import_long(&site);
    let (unit, addresses) = start(&site);
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16_384).expect("a small buffer");
    let socket = socket.connect(addresses[0]).await.expect("it listens");
    let connector = tokio_rustls::TlsConnector::from(trusting_client_config(&["h2"]));
    let mut stream = connector.connect("localhost".try_into().expect("a name"), socket).await.expect("a handshake");
    stream.write_all(&asking("/category/1?count=5", 1)).await.expect("it is open");
    stream.flush().await.expect("it is open");
    let (mut bytes, mut part) = (0, [0; 16_384]);
    while bytes < PAGE_BYTES / 200 * 5 {
        let read = stream.read(&mut part).await.unwrap_or_else(|error| panic!("after {bytes} bytes: {error}"));
        assert!(read > 0, "closed after {bytes} bytes");
        if bytes == 0 {
            unit.process.terminate();
        }
        bytes += read;
        stream.write_all(&frame(8, 0, 0, &[0, 0, 0x40, 0])).await.expect("it is open");
        stream.flush().await.expect("it is open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(stream);
    assert!(unit.process.await_exit().success());
}

#[tokio::test]
async fn an_upload_that_never_ends_is_cut_at_the_drains_end() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "drain_ms = 2000\nrequest_ms = 60000".to_owned());
    let (unit, addresses) = start(&site);
    let upload = begin_upload(addresses[0]).await;
    unit.process.terminate();
    eventually("the end of the gateway, long before the request's own", 20, || unit.process.exit_status());
    assert_eq!(rest_of(upload).await, "");
}

#[tokio::test]
async fn a_brand_with_little_patience_is_not_cut_while_another_is_waited_for() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.change_brand("dexar", |brand| brand.timeouts = "drain_ms = 1000".to_owned());
    site.change_brand("novo", |brand| brand.timeouts = "drain_ms = 6000\nrequest_ms = 60000".to_owned());
    let (unit, addresses) = start(&site);
    let mut idle = connect(addresses[0], &["h2"]).await;
    // A client's preface and its settings, all of them as they are (RFC 9113, 3.4).
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is open");
    let _stuck = begin_upload(addresses[1]).await;
    unit.process.terminate();
    let mut said = Vec::new();
    let ended = idle.read_to_end(&mut said).await;
    assert!(kinds(&said).contains(&GOAWAY), "it is told that it is the end: {:?}, {ended:?}", kinds(&said));
    assert!(unit.process.await_exit().success());
}
