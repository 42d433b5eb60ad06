//! Rate limits, who shares one, and client addresses from the PROXY protocol.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::shop::{Shop, order};
use crate::harness::{
    BrowserClient, Client, Gateway, Sandbox, Services, Site, connect_tls, free_port, request, trusting_client_config,
};

fn start(more: &str) -> (Site, Gateway) {
    start_on(Services::shared(), more)
}

fn start_on(services: std::sync::Arc<Services>, more: &str) -> (Site, Gateway) {
    let mut site = Site::on(services, &["dexar", "novo"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    drop(sandbox);
    for brand in ["dexar", "novo"] {
        site.import_text(brand, "shop.jsonl", "{\"categoryID\":1,\"name\":\"Д\",\"parentID\":0}\n{\"itemID\":11,\"categoryID\":1,\"name\":\"С\",\"price\":1}", &[]).success();
    }
    site.change_brand("dexar", |file| more.clone_into(&mut file.more));
    let gateway = site.start();
    (site, gateway)
}

#[tokio::test]
async fn documented_limits_hold_and_headers_report_them() {
    let (_site, gateway) = start("");
    let client = gateway.client("dexar");
    for used in 1..=60 {
        let response = client.send(request("/auth/telegram/start").method("POST")).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit-policy"), Some("\"logins-address\";q=60;w=60"));
        let remaining = response.header("ratelimit").expect("a header");
        assert!(remaining.starts_with(&format!("\"logins-address\";r={};t=", 60 - used)), "{remaining}");
    }
    for request in [
        request("/auth/telegram/start").method("POST").origin("https://dexarmarket.ru"),
        request("/auth/telegram/callback?id=1"),
    ] {
        let rejected = client.send(request).await;
        assert_eq!(rejected.error_code(429), "too_many_requests");
        let retry_after: u32 = rejected.header("retry-after").expect("a header").parse().expect("seconds");
        assert!((1..=60).contains(&retry_after), "{retry_after}");
        assert!(rejected.header("ratelimit").expect("a header").contains(";r=0;"));
    }
    // Neither the catalogue nor the other brand shares the limit.
    assert_eq!(client.get("/category").await.header("ratelimit"), None);
    assert_eq!(client.get("/auth/session").await.status, 401);
    assert_eq!(gateway.client("novo").send(request("/auth/telegram/start").method("POST")).await.status, 200);
}

#[tokio::test]
async fn visitor_limit_is_shared_by_all_instances() {
    let (site, gateway) = start("[rates]\ncart_writes_per_visitor = 5\n");
    let other = site.replica().start();
    let browser = BrowserClient::new(gateway.client("dexar"));
    browser.get("/cart").await;
    let other_instance = browser.at(other.client("dexar"));
    let add = json!({"itemID": 11});
    for number in 0..5 {
        let response =
            if number % 2 == 0 { browser.post("/cart", &add).await } else { other_instance.post("/cart", &add).await };
        assert_eq!(response.status, 200);
    }
    for client in [&browser, &other_instance] {
        assert_eq!(client.post("/cart", &add).await.error_code(429), "too_many_requests");
        assert_eq!(client.write("DELETE", "/cart", &json!([11])).await.status, 429);
    }
    assert_eq!(browser.cart().await, [(11, 5)], "rejected requests changed nothing");
    BrowserClient::new(gateway.client("dexar")).add_to_cart(11, 1).await;
}

#[tokio::test]
async fn no_request_is_rejected_while_redis_is_unavailable() {
    let services = Services::dedicated("rates-redis");
    let (_site, gateway) = start_on(services.clone(), "[rates]\ncart_writes_per_address = 1\n");
    let browser = BrowserClient::new(gateway.client("dexar"));
    browser.add_to_cart(11, 1).await;
    assert_eq!(browser.post("/cart", &json!({"itemID": 11})).await.status, 429);
    services.stop("redis");
    for _ in 0..3 {
        let response = browser.post("/cart", &json!({"itemID": 11})).await;
        assert_eq!((response.status, response.header("ratelimit")), (200, None));
    }
}

#[tokio::test]
async fn an_address_creates_a_bounded_number_of_keys_whatever_cookies_it_invents() {
    let (site, gateway) = start("");
    let client = gateway.client("dexar");
    let send = async |number: usize| {
        let (path, cookies) = match number % 8 {
            0 => ("/auth/logout", format!("__Host-dexar_session={number:064x}; __Host-dexar_attempt={number:064x}")),
            1 => ("/auth/telegram/start", format!("__Host-dexar_attempt={number:064x}")),
            _ => ("/cart", format!("__Host-dexar_visitor={number:064x}")),
        };
        let request = request(path).method("POST").header("content-type", "application/json").body("{}");
        client.send(request.header("cookie", cookies)).await.status
    };
    // Until the cart's limit is exceeded by as many requests as a refused one must not create a key for.
    let (mut number, mut refused) = (0, 0);
    while refused < 800 {
        assert!(number < 10_000, "{refused} of {number} requests were refused");
        let statuses = futures_util::future::join_all((0..20).map(|more| send(number + more))).await;
        refused += statuses.iter().filter(|status| **status == 429).count();
        number += 20;
    }
    let keys: usize = site.redis(&["dbsize"]).trim().parse().expect("a number");
    // 1,200 cart writes with a visitor each, 60 attempts, and the address's own counters.
    assert!(keys <= 1_300, "{keys} keys");
}

#[tokio::test]
async fn requests_that_other_sites_cause_use_up_nobodys_limit() {
    let (_site, gateway) = start("");
    let client = gateway.client("dexar");
    for path in ["/auth/telegram/start", "/auth/telegram/callback?id=1"] {
        let foreign = |mode, dest| {
            let cross = request(path).header("sec-fetch-site", "cross-site");
            cross.header("sec-fetch-mode", mode).header("sec-fetch-dest", dest)
        };
        for planted in [
            foreign("no-cors", "image"),
            foreign("navigate", "iframe").header("accept", "text/html"),
            foreign("cors", "empty").origin("https://evil.example"),
            foreign("cors", "empty").method("POST").origin("https://evil.example"),
            foreign("no-cors", "empty").method("POST"),
            request(path).header("referer", "https://evil.example/").header("accept", "image/*"),
        ] {
            let answer = client.send(planted).await;
            assert_eq!((answer.status, answer.header("ratelimit")), (403, None), "{path}");
        }
    }
    let navigation =
        request("/auth/telegram/start").header("accept", "text/html").header("sec-fetch-site", "cross-site");
    let navigation = navigation.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", "document");
    assert_eq!(client.send(navigation.clone()).await.error_code(403), "not_for_browsers", "no click, not our page");
    let clicked = client.send(navigation.clone().header("sec-fetch-user", "?1")).await;
    assert_eq!(clicked.status, 200);
    assert!(clicked.header("ratelimit").expect("a header").contains(";r=59;"), "the first request that counts");
    assert_eq!(client.send(navigation.header("referer", "http://localhost:4200/")).await.status, 200);
}

/// Sends `POST /auth/telegram/start` behind a PROXY header; the status, or `None` when the connection was closed.
async fn login_through_balancer(address: SocketAddr, header: &[u8]) -> Option<u16> {
    let request = "POST /auth/telegram/start HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    send_through_balancer(address, header, request).await
}

async fn send_through_balancer(address: SocketAddr, header: &[u8], request: &str) -> Option<u16> {
    let mut tcp = tokio::net::TcpStream::connect(address).await.expect("listening");
    tcp.write_all(header).await.expect("sent");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut stream =
        tokio_rustls::TlsConnector::from(trusting_client_config(&["http/1.1"])).connect(name, tcp).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.ok()?;
    String::from_utf8_lossy(&response).split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn trusted_balancer_states_whose_limit_counts() {
    let (_site, gateway) = start("[rates]\nlogins_per_address = 1\n[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n");
    let address = gateway.address("dexar");
    let v1 = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 5000 445\r\n").into_bytes();
    let v1_6 = |client: &str| format!("PROXY TCP6 {client} 2001:db8::1 5000 445\r\n").into_bytes();
    assert_eq!(login_through_balancer(address, &v1("203.0.113.7")).await, Some(200));
    assert_eq!(login_through_balancer(address, &v1("203.0.113.7")).await, Some(429), "the same client again");
    assert_eq!(login_through_balancer(address, &v1("203.0.113.8")).await, Some(200), "another client");
    assert_eq!(login_through_balancer(address, &v1_6("2001:db8:0:1::1")).await, Some(200));
    assert_eq!(login_through_balancer(address, &v1_6("2001:db8:0:1::2")).await, Some(429), "the same /64");
    assert_eq!(login_through_balancer(address, &v1_6("2001:db8:0:2::1")).await, Some(200));
    assert_eq!(login_through_balancer(address, b"").await, None, "a balancer that sends no header");
    let line = gateway.await_log("sent no PROXY header");
    assert!(line.contains("WARN") && line.contains("127.0.0.1") && line.contains("brand=\"dexar\""), "{line}");
    assert_eq!(login_through_balancer(address, b"PROXY TCP4 nonsense\r\n").await, None);
    assert_eq!(login_through_balancer(address, b"PROXY UNKNOWN\r\n").await, Some(200), "the balancer's health check");
}

#[tokio::test]
async fn ipv6_network_shares_the_limit_of_open_payments() {
    let shop = Shop::with_config("[payments]\nopen_per_address = 1\n[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n");
    let pay = async |client: &str, item: u64| {
        let body = order("o", "3", &[(item, "3", Some(1))]).to_string();
        let request = format!(
            "POST /cart HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let header = format!("PROXY TCP6 {client} 2001:db8::1 5000 445\r\n");
        send_through_balancer(shop.gateway.address("dexar"), header.as_bytes(), &request).await
    };
    assert_eq!(pay("2001:db8:0:1::1", 14).await, Some(200));
    assert_eq!(pay("2001:db8:0:1::2", 14).await, Some(429), "another visitor of the same /64");
    assert_eq!(pay("2001:db8:0:2::1", 14).await, Some(200));
}

#[tokio::test]
async fn proxy_header_of_an_untrusted_peer_closes_the_connection() {
    let (_site, gateway) = start("[proxy_protocol]\ntrusted = [\"10.0.0.0/8\", \"fd00::1\"]\n");
    let address = gateway.address("dexar");
    assert_eq!(login_through_balancer(address, b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n").await, None);
    assert_eq!(login_through_balancer(address, b"").await, Some(200));
    let forwarded = Client::new(address).send(request("/ping").header("x-forwarded-for", "203.0.113.7")).await;
    assert_eq!(forwarded.status, 200);
    let tls = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await;
    assert!(tls.is_ok());
}

#[tokio::test]
async fn proxy_header_is_expected_only_at_the_configured_addresses() {
    let (site, first) = start("");
    drop(first);
    let (own, second) = (site.brand("dexar").port, free_port());
    let file = std::fs::read_to_string(site.brand_path("dexar")).expect("the brand's file");
    let listen = format!("listen = [\"127.0.0.1:{second}\", ");
    let trusted = "[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n";
    let write = |proxied_port: u16| {
        let file =
            file.replacen("listen = [", &listen, 1) + trusted + &format!("listen = [\"127.0.0.1:{proxied_port}\"]\n");
        std::fs::write(site.brand_path("dexar"), file).expect("the brand's file");
    };
    write(1);
    let output = site.run(&["check"]).failure(2);
    assert!(output.contains("127.0.0.1:1 is not one of the brand's own addresses"), "{output}");
    write(second);
    let gateway = site.start();
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n";
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(login_through_balancer(at(second), header).await, Some(200));
    assert_eq!(login_through_balancer(at(second), b"").await, None);
    assert_eq!(login_through_balancer(at(own), header).await, None, "an address without PROXY protocol");
    assert_eq!(login_through_balancer(at(own), b"").await, Some(200));
    drop(gateway);
}
