//! Spans exported over OTLP, as a collector receives them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::harness::{Process, Site, eventually, free_port, request};

/// A collector that stores the bodies of requests to `/v1/traces`.
fn collector() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let stored: Arc<Mutex<Vec<u8>>> = Arc::default();
    let store = stored.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, store) = (stream.expect("a connection"), store.clone());
            std::thread::spawn(move || {
                let mut received = Vec::new();
                let mut buffer = [0; 65_536];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..read]);
                    let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    let length: usize = length.and_then(|length| length.trim().parse().ok()).expect("a length");
                    if received.len() < end + 4 + length {
                        continue;
                    }
                    assert!(head.starts_with("post /v1/traces ") && head.contains("application/x-protobuf"), "{head}");
                    store.lock().expect("no panic").extend(received.drain(..end + 4 + length).skip(end + 4));
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("the client reads");
                }
            });
        }
    });
    (port, stored)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn request_is_a_span_of_the_trace_in_its_traceparent() {
    let site = Site::new(&["dexar"]);
    let (port, stored) = collector();
    let gateway = Process::start("gateway", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |command| {
        command.arg("serve");
        site.set_environment(command);
        command.env("BRANDGATE_ADMIN", format!("127.0.0.1:{}", free_port()));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    });
    gateway.await_log("serving dexar");
    let address = ([127, 0, 0, 1], site.brand("dexar").port).into();
    let client = crate::harness::Client::new(address);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = request("/item/77?secret=what-a-visitor-wrote").header("traceparent", parent);
    assert_eq!(client.send(request.header("x-request-id", "req-4711")).await.status, 404);
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    let spans = eventually("a span", 20, || {
        let spans = stored.lock().expect("no panic").clone();
        contains(&spans, &trace_id).then_some(spans)
    });
    for part in ["brandgate", "GET /item/{id}", "dexar", "req-4711", "http.response.status_code"] {
        assert!(contains(&spans, part.as_bytes()), "{part}");
    }
    assert!(!contains(&spans, b"what-a-visitor-wrote"));
    client.get("/regions").await;
    gateway.terminate();
    assert!(gateway.await_exit().success());
    assert!(
        contains(&stored.lock().expect("no panic"), b"GET /regions"),
        "the last span is exported before the process exits"
    );
}

#[tokio::test]
async fn unavailable_collector_does_not_affect_requests() {
    let site = Site::new(&["dexar"]);
    let gateway = Process::start("gateway", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |command| {
        command.arg("serve");
        site.set_environment(command);
        command.env("BRANDGATE_ADMIN", format!("127.0.0.1:{}", free_port()));
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", free_port()));
        command.env("OTEL_BSP_SCHEDULE_DELAY", "10");
    });
    gateway.await_log("serving dexar");
    let client = crate::harness::Client::new(([127, 0, 0, 1], site.brand("dexar").port).into());
    for _ in 0..100 {
        assert_eq!(client.get("/ping").await.status, 200);
    }
    gateway.terminate();
    assert!(gateway.await_exit().success());
}
