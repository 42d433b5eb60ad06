//! Invalid input: size limits, malformed HTTP, wrong parameters. Every response is a clear error, none a 500.

use crate::harness::{demo_shops, request, send_raw};

fn percent_encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn head_over_64_kb_is_431() {
    let gateway = &demo_shops().gateway;
    for (protocol, client) in [("h2", gateway.client("dexar")), ("h1", gateway.client("dexar").http1())] {
        let fine = client.send(request("/ping").header("x-padding", "x".repeat(60_000))).await;
        assert_eq!(fine.status, 200, "{protocol}");
        for size in [66_000, 100_000] {
            let response = client.send(request("/ping").header("x-padding", "x".repeat(size))).await;
            assert_eq!(response.status, 431, "{protocol} {size}");
        }
        let mut many = request("/ping");
        for number in 0..90 {
            many = many.header(&format!("x-padding-{number}"), "x".repeat(800));
        }
        assert_eq!(client.send(many).await.status, 431, "{protocol}: many headers");
        assert_eq!(client.get("/ping").await.status, 200, "{protocol}: the next request is served");
    }
}

#[tokio::test]
async fn body_over_256_kb_is_413() {
    let gateway = &demo_shops().gateway;
    let client = gateway.client("novo");
    for method in ["POST", "GET"] {
        for size in [262_145, 8_000_000] {
            let response = client.send(request("/ping").method(method).body(vec![b'x'; size])).await;
            assert_eq!(response.error_code(413), "body_too_large");
            assert_eq!(client.get("/ping").await.status, 200, "the connection stays open");
        }
        let response = send_raw(gateway.address("novo"), &http1_request(method, 8_000_000)).await;
        assert!(
            response.starts_with("HTTP/1.1 413 ") && response.contains("\"code\":\"body_too_large\""),
            "{response:?}"
        );
    }
    let fits = client.send(request("/ping").method("POST").body(vec![b'x'; 262_144])).await;
    assert_eq!(fits.error_code(405), "method_not_allowed");
    let fits = send_raw(gateway.address("novo"), &http1_request("POST", 262_144)).await;
    assert!(fits.starts_with("HTTP/1.1 405 "), "{fits:?}");
}

/// A request with a body, followed by another one on the same connection.
fn http1_request(method: &str, body_bytes: usize) -> Vec<u8> {
    let head = format!("{method} /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body_bytes}\r\n\r\n");
    let next = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    [head.as_bytes(), &vec![b'x'; body_bytes], next].concat()
}

#[tokio::test]
async fn response_before_a_close_says_connection_close() {
    for body_bytes in [262_144, 300_000] {
        let responses = send_raw(demo_shops().gateway.address("dexar"), &http1_request("POST", body_bytes)).await;
        let (first, next) = responses.split_once("\r\n\r\n").expect("a response head");
        let says_close = first.to_lowercase().contains("connection: close");
        assert!(says_close || next.contains("pong"), "the next request is lost without a notice: {responses:?}");
    }
}

#[tokio::test]
async fn malformed_http_is_400_without_a_body() {
    let address = demo_shops().gateway.address("dexar");
    for garbage in [
        &b"GARBAGE\r\n\r\n"[..],
        b"GET /ping HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nno colon here\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Null: a\0b\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /p\0ing HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ] {
        let response = send_raw(address, garbage).await;
        let shown = String::from_utf8_lossy(garbage);
        assert!(response.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{shown:?}: {response:?}");
        assert!(response.ends_with("\r\n\r\n"), "{shown:?}: no body, but {response:?}");
    }
    // A request smuggled behind contradictory lengths gets no response of its own.
    let smuggled = b"POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                     0\r\n\r\nGET /regions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let response = send_raw(address, smuggled).await;
    assert!(!response.contains("timezone"), "{response}");
}

#[tokio::test]
async fn invalid_paging_is_400_before_any_lookup() {
    let client = demo_shops().gateway.client("dexar");
    for (parameter, code) in [("count", "bad_count"), ("skip", "bad_skip")] {
        for value in
            ["abc", "-1", "1.5", "", "1e3", "+5", "%2B5", "0x10", "%D9%A3", "%00", "1%00", "NaN", "1,5", "%205"]
        {
            for path in
                ["/category/1", "/category/999", "/category/sub_none", "/searchitems?search=fruit", "/searchitems"]
            {
                let sign = if path.contains('?') { '&' } else { '?' };
                let response = client.get(&format!("{path}{sign}{parameter}={value}")).await;
                assert_eq!(response.error_code(400), code, "{path} {parameter}={value:?}");
            }
        }
    }
    for path in
        ["/category/1?count=0", "/category/999?count=0", "/randomitems?count=0", "/randomitems?count=abc&category=999"]
    {
        assert_eq!(client.get(path).await.error_code(400), "bad_count", "{path}");
    }
    let error = client.get("/category/1?count=abc").await;
    assert!(String::from_utf8_lossy(&error.body).contains("count: expected a whole number"), "it names the parameter");
}

#[tokio::test]
async fn search_needs_a_valid_query() {
    let client = demo_shops().gateway.client("dexar");
    let long = percent_encode(&"я".repeat(513));
    for search in [
        "",
        "search=",
        "search=+",
        "search=%20%09%0a",
        // Invisible characters.
        "search=%e2%80%8b",
        "search=%ef%bb%bf+%c2%ad",
        "query=x",
        "search=a%00b",
        "search=%00",
        &format!("search={long}"),
    ] {
        assert_eq!(client.get(&format!("/searchitems?{search}")).await.error_code(400), "bad_search", "{search:.40}");
    }
    for search in ["search=%ff", "search=%d0", "search=%ed%a0%80", "x=%ff&search=a"] {
        assert_eq!(client.get(&format!("/searchitems?{search}")).await.error_code(400), "bad_encoding", "{search}");
    }
    let max = percent_encode(&"я".repeat(512));
    assert_eq!(client.get(&format!("/searchitems?search={max}")).await.status, 200);
    // Operators of query languages are plain text here.
    for text in [
        "'",
        "\"",
        "a & | ! b",
        "<->",
        "(((",
        "a:*",
        "\\",
        "%",
        "_",
        "-",
        "\"a b",
        "or or",
        "--",
        "$1",
        "'; drop table item; --",
    ] {
        let response = client.get(&format!("/searchitems?search={}", percent_encode(text))).await;
        assert_eq!(response.status, 200, "{text}: {}", String::from_utf8_lossy(&response.body));
    }
}

#[tokio::test]
async fn unusual_ids_are_unknown_or_malformed_but_no_server_error() {
    let gateway = &demo_shops().gateway;
    let long = "x".repeat(4_096);
    let digits = "9".repeat(4_096);
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        for id in [
            &long,
            &digits,
            &percent_encode(&"я".repeat(600)),
            "%27%3B--",
            "%2e%2e",
            "%2F",
            "9223372036854775808",
            "%0a",
            "null",
        ] {
            for noun in ["item", "category"] {
                assert_eq!(client.get(&format!("/{noun}/{id}")).await.error_code(404), "not_found", "{noun} {id:.40}");
            }
            assert_eq!(client.json(&format!("/randomitems?category={id}")).await, serde_json::json!([]), "{id:.40}");
        }
        for id in ["%ff", "%d0", "a%c3%28", "%ed%a0%80", "%f5"] {
            for noun in ["item", "category"] {
                assert_eq!(client.get(&format!("/{noun}/{id}")).await.error_code(400), "bad_encoding", "{noun} {id}");
            }
        }
        for id in ["%00", "item_%00", "1%00"] {
            let response = client.get(&format!("/item/{id}")).await;
            assert!(matches!(response.status, 400 | 404), "{id}: {}", response.status);
            response.error_code(response.status);
        }
        let endless = client.get(&format!("/searchitems?search=a&x={}", "y".repeat(30_000))).await;
        assert_eq!(endless.error_code(414), "uri_too_long");
    }
}

#[tokio::test]
async fn unknown_region_leaves_what_is_available_everywhere() {
    let client = demo_shops().gateway.client("dexar");
    let everywhere = client.send(request("/category").region("atlantis")).await.ok_json();
    let regions =
        ["MOSCOW", "moscow,spb", "'; drop table region; --", "*", "%6d%6f", "Москва", "\u{e9}", "mos\u{fe}cow"];
    for region in regions {
        assert_eq!(client.send(request("/category").region(region)).await.ok_json(), everywhere, "{region}");
    }
    let all = client.json("/category").await;
    for region in ["", "  "] {
        assert_eq!(
            client.send(request("/category").region(region)).await.ok_json(),
            all,
            "an empty region is no region"
        );
    }
}

#[tokio::test]
async fn overlong_region_is_unknown_too() {
    let client = demo_shops().gateway.client("dexar");
    let everywhere = client.send(request("/category").region("atlantis")).await.ok_json();
    let response = client.send(request("/category").region(&"a".repeat(65))).await;
    assert_eq!(response.ok_json(), everywhere, "an unknown region is not an error");
}

#[tokio::test]
async fn pipelined_and_concurrent_requests_of_one_connection_are_all_answered() {
    let address = demo_shops().gateway.address("dexar");
    let two = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\nGET /ping HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    let responses = send_raw(address, two).await;
    assert_eq!(responses.matches("{\"message\":\"pong\"}").count(), 2, "{responses}");
    let client = demo_shops().gateway.client("dexar");
    let many =
        (0..100).map(|number| {
            let client = &client;
            async move {
                client.get(&format!("/category/{}?count=1", if number % 2 == 0 { "1" } else { "none" })).await.status
            }
        });
    let statuses = futures_util::future::join_all(many).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 50, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 50, "{statuses:?}");
}
