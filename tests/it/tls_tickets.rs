//! TLS session resumption: at every instance with the brand's ticket secret, and nowhere else.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Gateway, Site, trusting_client_config};

/// Connects, sends a request so that a ticket is received, and returns whether the session was resumed.
async fn is_resumed(gateway: &Gateway, brand: &str, config: &Arc<ClientConfig>) -> bool {
    let tcp = tokio::net::TcpStream::connect(gateway.address(brand)).await.expect("listening");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let mut stream = connector.connect(name, tcp).await.expect("a handshake");
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.expect("a response");
    assert!(response.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&response));
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// Both brands with a ticket secret, the same one by mistake.
fn site_with_secrets() -> Site {
    let mut site = Site::new(&["dexar", "novo"]);
    for brand in ["dexar", "novo"] {
        site.directory.write(&format!("credentials/{brand}.ticket-secret"), "5ec7e75ec7e75ec7e75ec7e75ec7e75ec7e7");
        site.change_brand(brand, |file| file.tls = format!("ticket_secret = \"{brand}.ticket-secret\"\n"));
    }
    site
}

#[tokio::test]
async fn session_is_resumed_at_another_instance_and_after_a_restart() {
    let site = site_with_secrets();
    let sibling = site.replica();
    let (first, second) = (site.start(), sibling.start());
    let config = trusting_client_config(&["http/1.1"]);
    assert!(!is_resumed(&first, "dexar", &config).await, "there is no session yet");
    assert!(is_resumed(&second, "dexar", &config).await, "the other instance decrypts the ticket");
    drop(first);
    let restarted = site.start();
    assert!(is_resumed(&restarted, "dexar", &config).await, "and so does a new process");
    assert!(!is_resumed(&restarted, "novo", &config).await, "the other brand does not");
}

#[tokio::test]
async fn without_a_secret_no_session_outlives_its_process() {
    let site = Site::new(&["dexar"]);
    let config = trusting_client_config(&["http/1.1"]);
    let gateway = site.start();
    assert!(!is_resumed(&gateway, "dexar", &config).await);
    assert!(is_resumed(&gateway, "dexar", &config).await);
    drop(gateway);
    let gateway = site.start();
    assert!(!is_resumed(&gateway, "dexar", &config).await);
}

#[test]
fn short_secret_is_rejected() {
    let site = site_with_secrets();
    site.directory.write("credentials/novo.ticket-secret", "short");
    let output = site.run(&["check", "--offline"]).failure(2);
    assert!(
        output.contains("novo.toml:") && output.contains("tls.ticket_secret") && output.contains("rand -hex 32"),
        "{output}"
    );
}

#[tokio::test]
async fn changed_secret_needs_a_restart() {
    let site = site_with_secrets();
    let gateway = site.start();
    site.directory.write("credentials/dexar.ticket-secret", "another5ec7e7another5ec7e7another5ec7e7");
    gateway.signal("-HUP");
    let line = gateway.await_log("ticket_secret changed; takes effect after systemctl restart brandgate");
    assert!(line.contains("brand=\"dexar\""), "{line}");
    assert_eq!(gateway.client("novo").get("/ping").await.status, 200);
}
