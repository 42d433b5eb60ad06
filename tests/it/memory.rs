//! Memory: what a flood of requests took is returned to the system, with the options of the allocator that the unit sets.

use tokio::io::AsyncWriteExt;

use crate::harness::{Site, connect_tls, eventually, eventually_async};
use crate::hostile_clients::{await_nothing_held, held};

const MB: u64 = 1 << 20;

const BODY_BYTES: usize = 4_000_000;

const UPLOADS: u64 = 30;

#[tokio::test]
async fn memory_of_a_flood_is_returned_to_the_system() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| {
        brand.limits = format!(
            "body_bytes = {BODY_BYTES}\nbuffered_bytes_per_connection = 8000000\nbuffered_bytes_per_address = 200000000"
        );
        brand.timeouts = "request_ms = 60000".to_owned();
    });
    let gateway = site.start();
    assert_eq!(gateway.client("dexar").get("/category").await.status, 200);
    let before = gateway.resident_bytes();
    let mut uploads = Vec::new();
    for _ in 0..UPLOADS {
        let stream = connect_tls(gateway.address("dexar"), &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await;
        let mut stream = stream.expect("a handshake");
        let head = format!("POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("open");
        // All but the last byte, so that it is waited for.
        stream.write_all(&vec![b' '; BODY_BYTES - 1]).await.expect("open");
        stream.flush().await.expect("open");
        uploads.push(stream);
    }
    eventually_async("the bodies are received", 60, async || {
        (held(&gateway, "bytes") >= UPLOADS * (BODY_BYTES as u64 - 1)).then_some(())
    })
    .await;
    let during = gateway.resident_bytes();
    assert!(during > before + 100 * MB, "{} MB → {} MB", before / MB, during / MB);
    drop(uploads);
    await_nothing_held(&gateway).await;
    eventually("the memory is returned", 60, || (gateway.resident_bytes() < before + 20 * MB).then_some(()));
}
