//! How often one may ask, who counts as one, and whom the balancer speaks for.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::shop::{Shop, order};
use crate::harness::{
    BrowserClient, Client, Gateway, Sandbox, Services, Site, connect_tls, free_port, request, trusting_client_config,
};

fn setup(more: &str) -> (Site, Gateway) {
    town_on(Services::shared(), more)
}

fn town_on(services: std::sync::Arc<Services>, more: &str) -> (Site, Gateway) {
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
async fn the_contracts_numbers_hold_and_the_headers_tell_them() {
    let (_site, gateway) = setup("");
    let client = gateway.client("dexar");
    for used in 1..=60 {
        let answer = client.send(request("/auth/telegram/start").method("POST")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"logins-address\";q=60;w=60"));
        let left = answer.header("ratelimit").expect("a header");
        assert!(left.starts_with(&format!("\"logins-address\";r={};t=", 60 - used)), "{left}");
    }
    for request in [
        request("/auth/telegram/start").method("POST").origin("https://dexarmarket.ru"),
        request("/auth/telegram/callback?id=1"),
    ] {
        let refused = client.send(request).await;
        assert_eq!(refused.error_code(429), "too_many_requests");
        let after: u32 = refused.header("retry-after").expect("a header").parse().expect("seconds");
        assert!((1..=60).contains(&after), "{after}");
        assert!(refused.header("ratelimit").expect("a header").contains(";r=0;"));
    }
    // Neither the catalogue nor the other brand counts with it.
    assert_eq!(client.get("/category").await.header("ratelimit"), None);
    assert_eq!(client.get("/auth/session").await.status, 401);
    assert_eq!(gateway.client("novo").send(request("/auth/telegram/start").method("POST")).await.status, 200);
}

#[tokio::test]
async fn a_visitor_has_a_budget_of_their_own_over_all_instances() {
    let (site, gateway) = setup("[rates]\ncart_writes_per_visitor = 5\n");
    let other = site.replica().start();
    let browser = BrowserClient::new(gateway.client("dexar"));
    browser.get("/cart").await;
    let elsewhere = browser.at(other.client("dexar"));
    let add = json!({"itemID": 11});
    for number in 0..5 {
        let answer =
            if number % 2 == 0 { browser.post("/cart", &add).await } else { elsewhere.post("/cart", &add).await };
        assert_eq!(answer.status, 200);
    }
    for one in [&browser, &elsewhere] {
        assert_eq!(one.post("/cart", &add).await.error_code(429), "too_many_requests");
        assert_eq!(one.write("DELETE", "/cart", &json!([11])).await.status, 429);
    }
    assert_eq!(browser.cart().await, [(11, 5)], "what was refused changed nothing");
    BrowserClient::new(gateway.client("dexar")).add_to_cart(11, 1).await;
}

#[tokio::test]
async fn while_redis_is_away_everybody_may() {
    let services = Services::dedicated("rates-redis");
    let (_site, gateway) = town_on(services.clone(), "[rates]\ncart_writes_per_address = 1\n");
    let browser = BrowserClient::new(gateway.client("dexar"));
    browser.add_to_cart(11, 1).await;
    assert_eq!(browser.post("/cart", &json!({"itemID": 11})).await.status, 429);
    services.stop("redis");
    for _ in 0..3 {
        let answer = browser.post("/cart", &json!({"itemID": 11})).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    }
}

/// One `POST /auth/telegram/start` behind a PROXY header; the status, or `None` when the connection was closed.
async fn through_balancer(address: SocketAddr, header: &[u8]) -> Option<u16> {
    let request = "POST /auth/telegram/start HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    sent_through_balancer(address, header, request).await
}

async fn sent_through_balancer(address: SocketAddr, header: &[u8], request: &str) -> Option<u16> {
    let mut tcp = tokio::net::TcpStream::connect(address).await.expect("it listens");
    tcp.write_all(header).await.expect("sent");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut stream =
        tokio_rustls::TlsConnector::from(trusting_client_config(&["http/1.1"])).connect(name, tcp).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_trusted_balancer_says_whose_budget_it_is() {
    let (_site, gateway) = setup("[rates]\nlogins_per_address = 1\n[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n");
    let address = gateway.address("dexar");
    let v1 = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 5000 445\r\n").into_bytes();
    let v1_6 = |client: &str| format!("PROXY TCP6 {client} 2001:db8::1 5000 445\r\n").into_bytes();
    assert_eq!(through_balancer(address, &v1("203.0.113.7")).await, Some(200));
    assert_eq!(through_balancer(address, &v1("203.0.113.7")).await, Some(429), "the same client again");
    assert_eq!(through_balancer(address, &v1("203.0.113.8")).await, Some(200), "another client");
    assert_eq!(through_balancer(address, &v1_6("2001:db8:0:1::1")).await, Some(200));
    assert_eq!(through_balancer(address, &v1_6("2001:db8:0:1::2")).await, Some(429), "the same household");
    assert_eq!(through_balancer(address, &v1_6("2001:db8:0:2::1")).await, Some(200));
    assert_eq!(through_balancer(address, b"").await, None, "a balancer that does not say whom it speaks for");
    let told = gateway.await_log("sent no PROXY header");
    assert!(told.contains("WARN") && told.contains("127.0.0.1") && told.contains("brand=\"dexar\""), "{told}");
    assert_eq!(through_balancer(address, b"PROXY TCP4 nonsense\r\n").await, None);
    assert_eq!(through_balancer(address, b"PROXY UNKNOWN\r\n").await, Some(200), "its own health check");
}

#[tokio::test]
async fn a_household_has_one_number_of_open_payments() {
    let shop = Shop::with_config("[payments]\nopen_per_address = 1\n[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n");
    let pay = async |client: &str, item: u64| {
        let body = order("o", "3", &[(item, "3", Some(1))]).to_string();
        let request = format!(
            "POST /cart HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let header = format!("PROXY TCP6 {client} 2001:db8::1 5000 445\r\n");
        sent_through_balancer(shop.gateway.address("dexar"), header.as_bytes(), &request).await
    };
    assert_eq!(pay("2001:db8:0:1::1", 14).await, Some(200));
    assert_eq!(pay("2001:db8:0:1::2", 14).await, Some(429), "another visitor of the same household");
    assert_eq!(pay("2001:db8:0:2::1", 14).await, Some(200));
}

#[tokio::test]
async fn nobody_else_may_say_whom_they_are() {
    let (_site, gateway) = setup("[proxy_protocol]\ntrusted = [\"10.0.0.0/8\", \"fd00::1\"]\n");
    let address = gateway.address("dexar");
    assert_eq!(through_balancer(address, b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n").await, None);
    assert_eq!(through_balancer(address, b"").await, Some(200));
    let forwarded = Client::new(address).send(request("/ping").header("x-forwarded-for", "203.0.113.7")).await;
    assert_eq!(forwarded.status, 200);
    let tls = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await;
    assert!(tls.is_ok());
}

#[tokio::test]
async fn of_several_addresses_only_the_balancers_is_told_whom_it_serves() {
    let (site, first) = setup("");
    drop(first);
    let (own, second) = (site.brand("dexar").port, free_port());
    let file = std::fs::read_to_string(site.brand_path("dexar")).expect("the site's own");
    let listen = format!("listen = [\"127.0.0.1:{second}\", ");
    let trusted = "[proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n";
    let write = |spoken_on: u16| {
        let file =
            file.replacen("listen = [", &listen, 1) + trusted + &format!("listen = [\"127.0.0.1:{spoken_on}\"]\n");
        std::fs::write(site.brand_path("dexar"), file).expect("the site's own");
    };
    write(1);
    let said = site.run(&["check"]).failure(2);
    assert!(said.contains("127.0.0.1:1 is none of the brand's own addresses"), "{said}");
    write(second);
    let gateway = site.start();
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 445\r\n";
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(through_balancer(at(second), header).await, Some(200));
    assert_eq!(through_balancer(at(second), b"").await, None);
    assert_eq!(through_balancer(at(own), header).await, None, "a visitor's address");
    assert_eq!(through_balancer(at(own), b"").await, Some(200));
    drop(gateway);
}
