//! CORS and the Origin check of writes, per brand.

use crate::harness::{TestRequest, TestResponse, demo_shops, request};

const CORS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Origins that Dexar's configuration lists, and others.
const ALLOWED: [&str; 2] = ["https://dexarmarket.ru", "http://localhost:4200"];
const FOREIGN: [&str; 12] = [
    "null",
    "https://novo.market",
    "http://localhost:4201",
    "https://evil.example",
    "http://dexarmarket.ru",
    "https://dexarmarket.ru:443",
    "https://dexarmarket.ru.evil.example",
    "https://www.dexarmarket.ru",
    "https://dexarmarket.ru/",
    "HTTPS://DEXARMARKET.RU",
    "https://dexarmarket.ru, https://evil.example",
    "*",
];

fn words(value: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = value.unwrap_or_default().split(", ").map(str::to_ascii_lowercase).collect();
    words.sort();
    words
}

#[track_caller]
fn assert_no_cors(response: &TestResponse, what: &str) {
    for name in CORS {
        assert_eq!(response.header(name), None, "{what}: {name}");
    }
    assert!(words(response.header("vary")).contains(&"origin".to_owned()), "{what}: {:?}", response.header("vary"));
}

fn preflight(origin: &str) -> TestRequest {
    request("/cart")
        .method("OPTIONS")
        .origin(origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-region")
}

#[tokio::test]
async fn allowed_origin_may_read_every_response() {
    let client = demo_shops().gateway.client("dexar");
    for origin in ALLOWED {
        for path in ["/ping", "/category", "/item/0", "/category?count=x", "/nowhere", "/randomitems"] {
            let response = client.send(request(path).origin(origin)).await;
            assert_eq!(response.header("access-control-allow-origin"), Some(origin), "{path}");
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"), "{path}");
            let exposed = words(response.header("access-control-expose-headers"));
            for name in ["x-request-id", "etag", "retry-after", "ratelimit"] {
                assert!(exposed.iter().any(|exposed| exposed == name), "{name} is not in {exposed:?}");
            }
            assert!(words(response.header("vary")).contains(&"origin".to_owned()), "{path}");
        }
        let rejected = client.send(request("/ping").method("POST").origin(origin)).await;
        assert_eq!(rejected.error_code(405), "method_not_allowed");
        assert_eq!(rejected.header("access-control-allow-origin"), Some(origin));
    }
}

#[tokio::test]
async fn any_other_origin_gets_no_cors_headers() {
    let client = demo_shops().gateway.client("dexar");
    for origin in FOREIGN {
        for path in ["/ping", "/category", "/item/0", "/nowhere"] {
            let response = client.send(request(path).origin(origin)).await;
            assert_no_cors(&response, &format!("{origin} {path}"));
            assert_ne!(response.status, 403, "the browser rejects reads, not the server");
        }
        assert_no_cors(&client.send(preflight(origin)).await, origin);
    }
    let two = request("/category").origin(ALLOWED[0]).origin(ALLOWED[0]);
    assert_no_cors(&client.send(two).await, "two origins");
    assert_no_cors(&client.get("/category").await, "no origin");
    assert_no_cors(&client.get("/ping").await, "no origin");
    // Each brand allows its own origins.
    let novo = demo_shops().gateway.client("novo");
    for origin in ALLOWED {
        assert_no_cors(&novo.send(request("/category").origin(origin)).await, origin);
        assert_no_cors(&novo.send(preflight(origin)).await, origin);
    }
    let own = novo.send(request("/category").origin("https://novo.market")).await;
    assert_eq!(own.header("access-control-allow-origin"), Some("https://novo.market"));
}

#[tokio::test]
async fn preflight_response_has_exactly_the_documented_lists() {
    let gateway = &demo_shops().gateway;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        for origin in ALLOWED {
            let response = client.send(preflight(origin)).await;
            assert_eq!((response.status, response.body.len()), (204, 0));
            assert_eq!(response.header("access-control-allow-origin"), Some(origin));
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
            let methods = words(response.header("access-control-allow-methods"));
            assert_eq!(methods, ["delete", "get", "options", "patch", "post"]);
            let headers = words(response.header("access-control-allow-headers"));
            assert_eq!(headers, ["content-type", "x-language", "x-region"]);
            let seconds: u32 = response.header("access-control-max-age").expect("a header").parse().expect("seconds");
            assert!(seconds >= 600, "{seconds}");
            assert!(words(response.header("vary")).contains(&"origin".to_owned()));
        }
    }
}

#[tokio::test]
async fn write_from_a_foreign_origin_is_403_before_any_other_check() {
    let gateway = &demo_shops().gateway;
    for client in [gateway.client("dexar"), gateway.client("dexar").http1()] {
        for method in ["POST", "PATCH", "DELETE", "PUT"] {
            for origin in FOREIGN {
                // Before the path is routed and its parameters are parsed.
                for path in ["/cart", "/nowhere", "/category?count=x", "/item/%ff"] {
                    let response =
                        client.send(request(path).method(method).origin(origin).body("{\"itemID\":1}")).await;
                    assert_eq!(response.error_code(403), "origin_not_allowed", "{method} {path} {origin}");
                    assert_no_cors(&response, origin);
                }
            }
            let two = request("/ping").method(method).origin(ALLOWED[0]).origin(ALLOWED[0]);
            assert_eq!(client.send(two).await.error_code(403), "origin_not_allowed");
            for allowed in [request("/ping").method(method), request("/ping").method(method).origin(ALLOWED[0])] {
                assert_eq!(
                    client.send(allowed).await.error_code(405),
                    "method_not_allowed",
                    "no browser, or an allowed origin"
                );
            }
        }
    }
}
