//! HTTP semantics: methods, caching, compression, request id, security headers, TLS versions.

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::shop::Shop;
use crate::harness::{Site, TestRequest, certificates, connect_tls, demo_shops, request, send_raw};

/// All headers of a response but its request id and date, sorted.
fn stable_headers(response: &crate::harness::TestResponse) -> Vec<(String, String)> {
    let unstable = ["x-request-id", "date"];
    let headers = response.headers.iter().filter(|(name, _)| !unstable.contains(&name.as_str()));
    let text = |value: &hyper::header::HeaderValue| value.to_str().expect("ASCII").to_owned();
    let mut all: Vec<_> = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let gateway = &demo_shops().gateway;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        for path in [
            "/ping",
            "/category",
            "/category/1?count=5",
            "/item/1013",
            "/searchitems?search=fruit",
            "/regions",
            "/item/0",
        ] {
            for encoding in ["identity", "br"] {
                let get = client.send(request(path).header("accept-encoding", encoding)).await;
                let head = client.send(request(path).method("HEAD").header("accept-encoding", encoding)).await;
                assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
                assert_eq!(stable_headers(&head), stable_headers(&get), "{path}");
                assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
            }
        }
        let random = client.send(request("/randomitems?count=200").method("HEAD")).await;
        assert_eq!((random.status, random.body.len()), (200, 0));
    }
}

#[tokio::test]
async fn unsupported_method_is_405_with_allow() {
    let client = demo_shops().gateway.client("novo");
    for path in ["/ping", "/category", "/category/1", "/item/1", "/searchitems", "/randomitems", "/regions"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
            let response = client.send(request(path).method(method)).await;
            assert_eq!(response.error_code(405), "method_not_allowed", "{method} {path}");
            assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
        let options = client.send(request(path).method("OPTIONS")).await;
        assert_eq!((options.status, options.body.len()), (204, 0));
        assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(client.send(request("/nowhere").method("POST")).await.error_code(404), "not_found");
    assert_eq!(client.send(request("/nowhere").method("OPTIONS")).await.error_code(404), "not_found");
}

#[tokio::test]
async fn catalogue_is_revalidated_and_everything_else_is_not_stored() {
    let client = demo_shops().gateway.client("dexar");
    for path in ["/regions", "/category", "/category/11", "/item/1013", "/searchitems?search=fruit"] {
        let response = client.get(path).await;
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{path}");
        let mut vary: Vec<_> = response.header("vary").expect("Vary").split(", ").collect();
        vary.sort_unstable();
        assert_eq!(vary, ["Accept-Encoding", "Origin", "X-Language", "X-Region"], "{path}");
        let etag = response.header("etag").expect("an entity tag");
        assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'), "{etag} is not a strong tag");
    }
    for path in ["/ping", "/randomitems", "/item/0", "/category?x=%ff", "/nowhere"] {
        let response = client.get(path).await;
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("etag"), None, "{path}");
    }
}

#[tokio::test]
async fn each_coding_has_its_own_entity_tag_and_the_same_content() {
    let client = demo_shops().gateway.client("dexar");
    let plain = client.get("/category").await;
    assert_eq!(plain.header("content-encoding"), None);
    let mut tags = vec![plain.header("etag").expect("a tag").to_owned()];
    for encoding in ["br", "zstd", "gzip"] {
        let with = |ask: TestRequest| ask.header("accept-encoding", encoding).origin("https://dexarmarket.ru");
        let response = client.send(with(request("/category"))).await;
        assert_eq!(response.header("content-encoding"), Some(encoding));
        assert!(response.body.len() < plain.body.len() / 2, "{encoding}: {} bytes", response.body.len());
        assert_eq!(response.decoded(), plain.body, "{encoding}");
        assert_eq!(
            response.body,
            client.send(with(request("/category"))).await.body,
            "a strong tag identifies the encoded bytes"
        );
        let tag = response.header("etag").expect("a tag").to_owned();
        let revalidated = client.send(with(request("/category")).header("if-none-match", &tag)).await;
        assert_eq!((revalidated.status, revalidated.body.len()), (304, 0));
        for name in ["etag", "vary", "cache-control", "access-control-allow-origin", "access-control-allow-credentials"]
        {
            assert!(revalidated.header(name).is_some(), "{name}");
            assert_eq!(revalidated.header(name), response.header(name), "{name}");
        }
        tags.push(tag);
    }
    for (index, tag) in tags.iter().enumerate() {
        assert!(!tags[..index].contains(tag), "{tags:?}");
        let other = client.send(request("/category").header("if-none-match", tag)).await;
        assert_eq!(other.status, if index == 0 { 304 } else { 200 }, "{tag} for the uncompressed body");
    }
}

#[tokio::test]
async fn if_none_match_accepts_lists_a_star_and_weak_tags() {
    let client = demo_shops().gateway.client("novo");
    let tag = client.get("/regions").await.header("etag").expect("a tag").to_owned();
    for (sent, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        assert_eq!(client.send(request("/regions").header("if-none-match", &sent)).await.status, status, "{sent}");
    }
    let head = client.send(request("/regions").method("HEAD").header("if-none-match", &tag)).await;
    assert_eq!(head.status, 304);
    let english = client.send(request("/regions").language("en").header("if-none-match", &tag)).await;
    assert_eq!(english.status, 200, "each language has its own entity tag");
}

#[tokio::test]
async fn accept_encoding_weights_choose_the_coding() {
    let client = demo_shops().gateway.client("dexar");
    for (accepted, encoding) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip;q=1.0, br;q=0.4, zstd;q=0.6", Some("gzip")),
        ("gzip;q=0.3, zstd;q=0.9", Some("zstd")),
        ("br;q=0, zstd;q=0, gzip", Some("gzip")),
        ("*", Some("br")),
        ("br;q=0, *;q=0.1", Some("zstd")),
        ("GZIP", Some("gzip")),
        ("gzip ; q=0.5", Some("gzip")),
        ("identity", None),
        ("deflate, compress", None),
        ("*;q=0", None),
        ("br;q=nonsense", None),
        ("", None),
    ] {
        let response = client.send(request("/category").header("accept-encoding", accepted)).await;
        assert_eq!(response.header("content-encoding"), encoding, "{accepted:?}");
    }
}

#[tokio::test]
async fn identity_has_a_weight_too() {
    let client = demo_shops().gateway.client("dexar");
    let response = client.send(request("/category").header("accept-encoding", "gzip;q=0.5, identity;q=1")).await;
    assert_eq!(response.header("content-encoding"), None, "RFC 9110, 12.5.3: the highest weight is preferred");
}

#[tokio::test]
async fn valid_request_id_is_kept_any_other_is_replaced_and_both_are_logged() {
    let gateway = &demo_shops().gateway;
    let client = gateway.client("dexar");
    let valid = "front-7f3a_42.b";
    let response = client.send(request("/item/0").header("x-request-id", valid)).await;
    assert_eq!(response.header("x-request-id"), Some(valid));
    let line = gateway.await_log(valid);
    assert!(line.contains("dexar") && line.contains("/item/{id}") && line.contains("404"), "{line}");

    let mut issued = Vec::new();
    for sent in ["a b", "x\"y", "<script>", &"x".repeat(500), "", "п"] {
        for path in ["/ping", "/nowhere", "/category?count=0"] {
            let response = client.send(request(path).header("x-request-id", sent)).await;
            let id = response.header("x-request-id").expect("every response has one").to_owned();
            assert_ne!(id, sent);
            gateway.await_log(&id);
            assert!(!issued.contains(&id), "{id} was issued twice");
            issued.push(id);
        }
    }
    let preflight = request("/cart")
        .method("OPTIONS")
        .origin("https://dexarmarket.ru")
        .header("access-control-request-method", "POST");
    assert!(client.send(preflight).await.header("x-request-id").is_some());
}

#[tokio::test]
async fn every_response_has_security_headers_and_hsts_except_on_localhost() {
    let client = demo_shops().gateway.client("dexar");
    for path in ["/ping", "/category", "/nowhere", "/category?count=x"] {
        let response = client.get(path).await;
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("strict-transport-security"), None, "{path}");
    }
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.public_url = "https://api.dexarmarket.ru:445".to_owned());
    let gateway = site.start();
    let client = gateway.client("dexar").sni("api.dexarmarket.ru");
    for path in ["/ping", "/category", "/nowhere"] {
        let response = client.get(path).await;
        assert_eq!(response.header("strict-transport-security"), Some("max-age=31536000"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_and_both_protocols_are_supported() {
    let address = demo_shops().gateway.address("novo");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1"], Some(b"http/1.1")),
            (&["http/1.1", "h2"], Some(b"h2")),
            (&[], None),
        ] {
            let stream = connect_tls(address, offered, "localhost", &[version]).await.expect("a handshake");
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), chosen, "{offered:?}");
        }
    }
    assert!(connect_tls(address, &["ftp"], "localhost", rustls::ALL_VERSIONS).await.is_err(), "no protocol in common");
}

#[tokio::test]
async fn options_of_the_server_and_of_the_root_are_answered() {
    let gateway = &demo_shops().gateway;
    let all = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";
    for (path, allow) in [("/", "OPTIONS"), ("/?check=1", "OPTIONS"), ("/cart", all)] {
        for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
            let response = client.send(request(path).method("OPTIONS")).await;
            assert_eq!((response.status, response.body.len()), (204, 0), "{path}");
            assert_eq!(response.header("allow"), Some(allow), "{path}");
        }
    }
    // A load balancer's check without further settings is HTTP/1.0 without Host.
    for (request, allow) in [
        ("OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS"),
        ("OPTIONS * HTTP/1.0\r\n\r\n", all),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", all),
    ] {
        let response = send_raw(gateway.address("dexar"), request.as_bytes()).await;
        assert!(
            response.starts_with("HTTP/1.1 204 ") || response.starts_with("HTTP/1.0 204 "),
            "{request:?}: {response:?}"
        );
        assert!(response.contains(&format!("\r\nallow: {allow}\r\n")), "{request:?}: {response:?}");
    }
    assert_eq!(gateway.client("dexar").get("/").await.error_code(404), "not_found");
}

/// What a client receives that shuts down its side behind its last byte, with `close_notify` or without.
async fn send_and_shut_down(
    bytes: &str,
    with_close_notify: bool,
    tls: &'static rustls::SupportedProtocolVersion,
) -> String {
    let address = demo_shops().gateway.address("dexar");
    let mut stream = connect_tls(address, &["http/1.1"], "localhost", &[tls]).await.expect("a handshake");
    stream.write_all(bytes.as_bytes()).await.expect("open");
    stream.flush().await.expect("open");
    match with_close_notify {
        true => stream.shutdown().await.expect("open"),
        false => stream.get_mut().0.shutdown().await.expect("open"),
    }
    let mut received = Vec::new();
    // With or without close_notify: the framing of HTTP says whether a response is complete.
    let _ = stream.read_to_end(&mut received).await;
    String::from_utf8(received).expect("UTF-8")
}

#[tokio::test]
async fn half_closed_client_gets_the_responses_to_its_complete_requests() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let post =
        "POST /comment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    for tls in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for with_close_notify in [true, false] {
            let send = async |bytes: &str| send_and_shut_down(bytes, with_close_notify, tls).await;
            // From the cache, from the database, and after a body.
            for (request, status) in
                [(get("/ping"), "200"), (get("/randomitems?count=3"), "200"), (format!("{post}{{}}"), "400")]
            {
                let response = send(&request).await;
                assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {response:?}");
            }
            let pipelined = send(&format!("{}{}", get("/randomitems?count=3"), get("/ping"))).await;
            assert_eq!(pipelined.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{pipelined:?}");
            assert!(pipelined.ends_with("{\"message\":\"pong\"}"), "{pipelined:?}");
            let cut_off = send(&format!("{post}{{")).await;
            assert!(cut_off.starts_with("HTTP/1.1 400 ") && cut_off.contains("\"bad_body\""), "{cut_off:?}");
            assert_eq!(send("GET /ping HTTP/1.1\r\nHost: loc").await, "", "half a head is no request");
        }
    }
}

/// curl 7.88 (Debian 12) loses a response that arrives before it has sent the end of its request.
#[tokio::test]
async fn curl_gets_every_response_to_a_body_that_no_handler_reads() {
    let shop = Shop::with_config("[rates]\nlogins_per_address = 1000\n");
    let ca = certificates().join("ca.pem");
    for path in ["/auth/logout", "/auth/telegram/start"] {
        let url = format!("https://localhost:{}{path}?number=[1-200]", shop.gateway.address("dexar").port());
        let mut curl = Command::new("curl");
        curl.args([
            "--http2",
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}\n",
            "--cacert",
        ]);
        curl.arg(&ca).args(["--header", "Content-Type: application/json", "--data", "{}", &url]);
        let output = tokio::task::spawn_blocking(move || curl.output()).await.expect("no panic").expect("curl runs");
        let text = String::from_utf8(output.stdout).expect("ASCII");
        let lost = text.lines().filter(|line| *line != "2 200").count();
        assert_eq!((text.lines().count(), lost), (200, 0), "{path}: {text}");
    }
}
