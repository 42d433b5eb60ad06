//! Request heads that HTTP forbids or restricts: Host, transfer codings, expectations.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::h2_writes::{frame, frame_types};
use crate::harness::{connect_tls, demo_shops, request, send_raw};

/// The status and `code` of the response to a raw HTTP/1.1 request.
async fn raw_error(request: &str) -> (String, String) {
    let response = send_raw(demo_shops().gateway.address("dexar"), request.as_bytes()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:?}: {response:?}"));
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    let code =
        serde_json::from_str::<serde_json::Value>(body).ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
    (status, code.unwrap_or_default())
}

fn is(status: &str, code: &str) -> (String, String) {
    (status.to_owned(), code.to_owned())
}

#[tokio::test]
async fn unknown_transfer_coding_is_501() {
    let send = async |coding: &str| {
        let head = "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
        raw_error(&format!("{head}Transfer-Encoding: {coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n")).await
    };
    for coding in ["foo, chunked", "gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        assert_eq!(send(coding).await, is("501", "unknown_transfer_coding"), "{coding}");
    }
    // Without chunked at the end, the end of the body is unknown (RFC 9112, 6.3).
    for coding in ["foo", "gzip", "identity", "chunked, gzip"] {
        assert_eq!(send(coding).await, is("400", ""), "{coding}");
    }
    for coding in ["chunked", "Chunked", ", chunked"] {
        assert_eq!(send(coding).await, is("400", "bad_cart_body"), "{coding}");
    }
}

/// RFC 9112, 6.1: what follows such a request may be part of it for a proxy in front.
#[tokio::test]
async fn connection_is_closed_after_a_request_with_two_lengths() {
    let address = demo_shops().gateway.address("dexar");
    let next = "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (target, status) in [
        ("POST /cart", "400"),
        ("GET /ping", "200"),
        ("GET /category", "200"),
        ("GET /randomitems", "200"),
        ("POST /nowhere", "404"),
        ("POST /ping", "405"),
    ] {
        for length in ["Content-Length: 0\r\n", "Content-Length: 5\r\n", "Content-Length: 50\r\nContent-Length: 50\r\n"]
        {
            for lengths in [format!("{chunked}{length}"), format!("{length}{chunked}")] {
                let head = format!("{target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
                let response = send_raw(address, format!("{head}{lengths}\r\n0\r\n\r\n{next}").as_bytes()).await;
                assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {lengths:?}: {response}");
                assert!(
                    response.to_lowercase().contains("\r\nconnection: close\r\n"),
                    "{target} {lengths:?}: {response}"
                );
                assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{target} {lengths:?}: {response}");
            }
        }
    }
    for lengths in [
        "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
        "Content-Length: 0, 5\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        format!("Content-Length: x\r\n{chunked}"),
        format!("{chunked}Transfer-Encoding: identity\r\n"),
    ] {
        let request = format!("GET /ping HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n0\r\n\r\n{next}");
        let response = send_raw(address, request.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{lengths:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{lengths:?}: {response}");
    }
}

#[tokio::test]
async fn body_that_is_refused_is_not_invited() {
    let send = async |method_and_path: &str, headers: &str| {
        let head =
            format!("{method_and_path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n");
        send_raw(demo_shops().gateway.address("dexar"), head.as_bytes()).await
    };
    for (target, headers, status) in [
        ("POST /cart", "Content-Length: 2\r\nOrigin: https://novo.market\r\n", "403 Forbidden"),
        ("POST /nowhere", "Content-Length: 2\r\n", "404 Not Found"),
        ("POST /ping", "Transfer-Encoding: chunked\r\n", "405 Method Not Allowed"),
        ("POST /cart", "Content-Length: 262145\r\n", "413 Payload Too Large"),
    ] {
        let response = send(target, &format!("{headers}Expect: 100-continue\r\n")).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{target} {headers:?}: {response:?}");
        assert!(response.to_lowercase().contains("\r\nconnection: close\r\n"), "{target} {headers:?}: {response:?}");
    }
    let address = demo_shops().gateway.address("dexar");
    let mut stream = connect_tls(address, &["http/1.1"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    let head = "POST /cart HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
                Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("open");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.expect("an interim response");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.expect("open");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("the final response");
    assert!(response.starts_with("HTTP/1.1 400 ") && response.contains("\"bad_cart_body\""), "{response:?}");
}

#[tokio::test]
async fn unknown_expectation_is_417() {
    let gateway = &demo_shops().gateway;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        for expectation in ["200-ok", "100-continue, something"] {
            let response = client.send(request("/ping").header("expect", expectation)).await;
            assert_eq!(response.error_code(417), "unknown_expectation", "{expectation}");
        }
        assert_eq!(client.send(request("/ping").header("expect", "100-continue")).await.status, 200);
    }
    // HTTP/1.0 has no expectations.
    let response = send_raw(gateway.address("dexar"), b"GET /ping HTTP/1.0\r\nExpect: 200-ok\r\n\r\n").await;
    assert!(response.split(' ').nth(1) == Some("200"), "{response:?}");
}

#[tokio::test]
async fn invalid_host_is_400() {
    let close = "Connection: close\r\n\r\n";
    for host in [
        "",
        ":445",
        "a b",
        "anna@localhost",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "<a>",
        "%zz",
        "a:1:2",
        "a:x",
        "a:65536",
        "[zz]",
        "пример",
    ] {
        let error = raw_error(&format!("GET /ping HTTP/1.1\r\nHost: {host}\r\n{close}")).await;
        assert_eq!(error, is("400", "bad_host"), "{host}");
        let error = raw_error(&format!("GET https://localhost/ping HTTP/1.1\r\nHost: {host}\r\n{close}")).await;
        assert_eq!(error, is("400", "bad_host"), "absolute form, {host}");
    }
    let error = raw_error(&format!("GET https://anna@localhost/ping HTTP/1.1\r\nHost: localhost\r\n{close}")).await;
    assert_eq!(error, is("400", "bad_host"), "user information");
    for host in ["localhost", "api.novo.market:444", "[::1]:445", "LOCALHOST:"] {
        let status = raw_error(&format!("GET /ping HTTP/1.1\r\nHost: {host}\r\n{close}")).await;
        assert_eq!(status, is("200", ""), "{host}");
    }
    let client = demo_shops().gateway.client("dexar");
    for host in ["anna@localhost", "anna:secret@localhost:445"] {
        assert_eq!(client.send(request("/ping").host(host)).await.error_code(400), "bad_host", "{host}");
    }
    let differs = client.send(request("/ping").host("localhost:445").header("host", "localhost:444")).await;
    assert_eq!(differs.error_code(400), "bad_host");
}

/// The frames of the response to a raw HTTP/2 request with these fields, up to the end of stream 1.
async fn h2_response(frames: &[Vec<u8>]) -> Vec<u8> {
    let address = demo_shops().gateway.address("dexar");
    let mut stream = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    stream.write_all(&[preface, frames.concat()].concat()).await.expect("open");
    let mut received = Vec::new();
    while !ends_stream_1(&received) {
        assert!(stream.read_buf(&mut received).await.expect("open") > 0, "closed without a response: {received:?}");
    }
    received
}

/// Whether a RST_STREAM, or a frame with END_STREAM, of stream 1 was received whole.
fn ends_stream_1(mut frames: &[u8]) -> bool {
    while let [a, b, c, frame_type, flags, _, _, _, stream, rest @ ..] = frames {
        let Some(next) = rest.get(usize::from(*a) * 65_536 + usize::from(*b) * 256 + usize::from(*c)..) else {
            return false;
        };
        if *stream == 1 && (*frame_type == 3 || (*frame_type <= 1 && flags & 1 == 1)) {
            return true;
        }
        frames = next;
    }
    false
}

/// A type of a frame (RFC 9113, 6.4).
const RST_STREAM: u8 = 3;

#[tokio::test]
async fn authority_that_is_no_uri_authority_is_a_stream_error() {
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    let get = |authority: &str| [vec![0x82, 0x87], literal(0x04, "/ping"), literal(0x01, authority)].concat();
    for (authority, is_reset) in [("localhost", false), ("a b", true), ("a/b", true), ("<a>", true), ("[zz", true)] {
        let received = h2_response(&[frame(1, 0x5, 1, &get(authority))]).await;
        assert_eq!(frame_types(&received).contains(&RST_STREAM), is_reset, "{authority}: {received:?}");
    }
}
