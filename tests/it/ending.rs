//! How the gateway ends: what had been begun is finished, and nobody waits for it at the door. Under systemd the next process
//! starts when this one is gone, so whoever is not let in by this one waits for the slowest of its requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{Gateway, Site, connect_tls, eventually};

type Tls = TlsStream<TcpStream>;

const BODY: &[u8] = br#"{"itemID": 11, "quantity": 2}"#;

/// A request whose handler waits for the second half of its body.
async fn begin_upload(gateway: &Gateway) -> Tls {
    let connected = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await;
    let mut upload = connected.expect("a handshake");
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
async fn rest_of(mut connection: Tls) -> String {
    let mut rest = Vec::new();
    // A connection may end without TLS's own goodbye.
    let _ = connection.read_to_end(&mut rest).await;
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn a_slow_upload_is_finished_and_nobody_waits_for_it() {
    let site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let mut upload = begin_upload(&gateway).await;
    gateway.terminate();
    gateway.await_log("stopping: ");
    // Far longer than a listener would be closed after, were it not for the upload; the other brand's stays open as well.
    for brand in ["dexar", "novo"].repeat(8) {
        let connected = connect_tls(gateway.address(brand), &["h2", "http/1.1"], "localhost", rustls::ALL_VERSIONS);
        connected.await.expect("visitors are let in");
        let answer = gateway.client(brand).get("/ping").await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(gateway.exit_status(), None);
    upload.write_all(&BODY[7..]).await.expect("it is open");
    let answered = rest_of(upload).await;
    assert!(answered.starts_with("HTTP/1.1 404 ") && answered.contains("not_found"), "{answered}");
    let status = eventually("the end of the gateway", 8, || gateway.exit_status());
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn an_upload_that_never_ends_is_cut_at_the_drains_end() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.timeouts = "drain_ms = 2000\nrequest_ms = 60000".to_owned());
    let gateway = site.start();
    let upload = begin_upload(&gateway).await;
    gateway.terminate();
    eventually("the end of the gateway, long before the request's own", 20, || gateway.exit_status());
    assert_eq!(rest_of(upload).await, "");
}
