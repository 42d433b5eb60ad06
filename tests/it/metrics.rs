//! `/metrics`: that the values are correct per brand, and that clients cannot add time series.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    Process, Site, eventually, free_port, plain_http, plain_http_get, plain_http_get_accepting, request,
    trusting_client_config,
};

/// The value of a time series, if it exists.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

fn requests(brand: &str, method: &str, route: &str, status: u16) -> String {
    format!(
        "brandgate_http_requests_total{{brand=\"{brand}\",method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
    )
}

#[tokio::test]
async fn requests_are_counted_by_brand_route_and_status() {
    let site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let (dexar, novo) = (gateway.client("dexar"), gateway.client("novo"));
    for path in ["/ping", "/ping", "/item/1", "/item/2", "/no/such/path", "/another", "/category?count=x"] {
        dexar.get(path).await;
    }
    dexar.send(request("/ping").method("DELETE")).await;
    dexar.send(request("/ping").method("BREW")).await;
    novo.get("/ping").await;
    let text = gateway.metrics();
    for (series, count) in [
        (requests("dexar", "GET", "/ping", 200), 2.0),
        (requests("dexar", "GET", "/item/{id}", 404), 2.0),
        (requests("dexar", "GET", "none", 404), 2.0),
        (requests("dexar", "DELETE", "none", 405), 1.0),
        (requests("dexar", "other", "none", 405), 1.0),
        (requests("novo", "GET", "/ping", 200), 1.0),
        (
            "brandgate_http_request_duration_seconds_count{brand=\"dexar\",method=\"GET\",route=\"/item/{id}\"}".into(),
            2.0,
        ),
        ("brandgate_connections{brand=\"dexar\"}".into(), 1.0),
        ("brandgate_connections{brand=\"novo\"}".into(), 1.0),
        ("brandgate_up{brand=\"dexar\",part=\"postgresql\"}".into(), 1.0),
        ("brandgate_up{brand=\"novo\",part=\"redis\"}".into(), 1.0),
        ("brandgate_queue_waiting{brand=\"dexar\",queue=\"mail\"}".into(), 0.0),
        ("brandgate_queue_failed{brand=\"dexar\",queue=\"receipts\"}".into(), 0.0),
        ("brandgate_payments{brand=\"novo\",state=\"COMPLETED\"}".into(), 0.0),
        ("brandgate_config_last_reload_successful".into(), 1.0),
    ] {
        assert_eq!(value(&text, &series), Some(count), "{series}\n{text}");
    }
    assert!(!text.contains("/no/such") && !text.contains("BREW"), "{text}");
    assert!(value(&text, "process_resident_memory_bytes").expect("a value") > 1e6);
    assert!(value(&text, "process_open_fds").expect("a value") > 3.0);
    let expires_at = value(&text, "brandgate_tls_certificate_not_after_timestamp_seconds{brand=\"dexar\"}");
    let left_s = expires_at.expect("a value") - jiff::Timestamp::now().as_second() as f64;
    assert!((0.0..=400.0 * 86_400.0).contains(&left_s), "{left_s}");
    assert!(text.contains("brandgate_build_info{version=\""), "{text}");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_the_scraper_accepts_and_start_at_zero() {
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, content_type, types) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "# TYPE brandgate_http_requests_total counter\n"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8", "# TYPE brandgate_build_info gauge\n"),
        (
            prometheus,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE brandgate_http_requests counter\n",
        ),
    ] {
        let (head, text) = plain_http_get_accepting(gateway.admin_port(), "/metrics", accept).expect("a response");
        assert!(head.to_lowercase().contains(&format!("content-type: {content_type}\r\n")), "{accept}: {head}");
        assert!(text.contains(types), "{accept}: {text}");
        assert_eq!(text.ends_with("# EOF\n"), accept == prometheus, "{accept}");
        for series in [
            requests("dexar", "POST", "/cart", 200),
            requests("dexar", "GET", "/item/{id}", 500),
            "brandgate_http_request_duration_seconds_count{brand=\"dexar\",method=\"POST\",route=\"/comment\"}".into(),
            "brandgate_tls_handshakes_total{brand=\"dexar\",result=\"failed\"}".into(),
            "brandgate_rate_limited_total{brand=\"dexar\",budget=\"anonymous-reviews\"}".into(),
            "brandgate_cache_lookups_total{brand=\"dexar\",result=\"stale\"}".into(),
        ] {
            assert_eq!(value(&text, &series), Some(0.0), "{series}\n{text}");
        }
    }
}

#[tokio::test]
async fn admin_listener_allows_reads_alone() {
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    for (request, status, allow) in [
        ("GET /healthz HTTP/1.1", 200, None),
        ("HEAD /readyz HTTP/1.1", 200, None),
        ("GET /metrics HTTP/1.1", 200, None),
        ("GET /nowhere HTTP/1.1", 404, None),
        ("POST /metrics HTTP/1.1", 405, Some("GET, HEAD")),
        ("DELETE /healthz HTTP/1.1", 405, Some("GET, HEAD")),
    ] {
        let (head, _) = plain_http(gateway.admin_port(), request).expect("a response");
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert_eq!((header("allow"), header("x-content-type-options")), (allow, Some("nosniff")), "{request}: {head}");
    }
}

#[tokio::test]
async fn full_resumed_and_failed_handshakes_are_counted_separately() {
    let site = Site::new(&["dexar"]);
    let gateway = site.start();
    let connector = tokio_rustls::TlsConnector::from(trusting_client_config(&["http/1.1"]));
    for _ in 0..2 {
        let tcp = tokio::net::TcpStream::connect(gateway.address("dexar")).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, tcp).await.expect("a handshake");
        // The session ticket arrives with the response.
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("an response");
    }
    let mut plain = tokio::net::TcpStream::connect(gateway.address("dexar")).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let _ = plain.read_to_end(&mut Vec::new()).await;
    let series = |result: &str| format!("brandgate_tls_handshakes_total{{brand=\"dexar\",result=\"{result}\"}}");
    eventually("three handshakes", 20, || {
        let text = gateway.metrics();
        let counts = ["full", "resumed", "failed"].map(|result| value(&text, &series(result)));
        (counts == [Some(1.0), Some(1.0), Some(1.0)]).then_some(())
    });
    eventually("all connections closed", 20, || {
        (value(&gateway.metrics(), "brandgate_connections{brand=\"dexar\"}") == Some(0.0)).then_some(())
    });
}

#[tokio::test]
async fn queues_rate_limits_and_reloads_are_exposed() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.more = "[rates]\nreviews_per_address = 1\n".to_owned());
    site.sql_as(
        "dexar",
        "insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html, \
                                  queued_at, tried_since, next_try_at) \
         values ('payment:1', 'a@example.com', '<1@example.com>', 'ru', 's', 't', 'h', \
                 now() - interval '1 hour', now(), now())",
    )
    .expect("a mail");
    site.sql_as(
        "dexar",
        "insert into payment (owner, site_order_id, bank_order_id, status, amount, address, created_at, expires_at, to_settle, completed_at) \
         select 'visitor:' || n, 'o' || n, 'b' || n, case when n < 3 then 'WAITING' else 'COMPLETED' end, 1, '127.0.0.1', \
                now(), now() + interval '1 hour', n = 7, case when n >= 3 then now() end \
         from generate_series(1, 7) n",
    )
    .expect("payments");
    let gateway = site.start();
    let client = gateway.client("dexar");
    for _ in 0..3 {
        client.send(request("/comment").method("POST").header("content-type", "application/json").body("{}")).await;
    }
    site.change_brand("dexar", |brand| brand.limits = "connections = 0".to_owned());
    gateway.signal("-HUP");
    gateway.await_log("reload refused");
    let text = gateway.metrics();
    assert_eq!(value(&text, "brandgate_queue_waiting{brand=\"dexar\",queue=\"mail\"}"), Some(1.0));
    let oldest_s = value(&text, "brandgate_queue_oldest_seconds{brand=\"dexar\",queue=\"mail\"}").expect("a value");
    assert!((3_600.0..4_200.0).contains(&oldest_s), "{oldest_s}");
    assert_eq!(value(&text, "brandgate_rate_limited_total{brand=\"dexar\",budget=\"reviews\"}"), Some(2.0));
    assert_eq!(value(&text, "brandgate_config_last_reload_successful"), Some(0.0));
    assert_eq!(value(&text, &requests("dexar", "POST", "/comment", 429)), Some(2.0));
    for owner in ["users", "visitors"] {
        let series = format!("brandgate_stock_held_ratio{{brand=\"dexar\",owner=\"{owner}\"}}");
        assert_eq!(value(&text, &series), Some(0.0), "{series}");
    }
    for (state, count) in [("CREATED", 0.0), ("WAITING", 2.0), ("COMPLETED", 5.0), ("EXPIRED", 0.0), ("to_settle", 1.0)]
    {
        let series = format!("brandgate_payments{{brand=\"dexar\",state=\"{state}\"}}");
        assert_eq!(value(&text, &series), Some(count), "{series}");
    }
}

#[tokio::test]
async fn unknown_values_are_absent_while_the_database_is_unavailable() {
    let mut site = Site::new(&["dexar", "novo"]);
    site.change_brand("dexar", |brand| brand.database_url = "postgresql://127.0.0.1:1/nowhere".to_owned());
    let gateway = site.start_without_waiting();
    gateway.await_log("database is ready");
    assert_eq!(gateway.client("dexar").get("/item/1").await.status, 503);
    let text = gateway.metrics();
    for (series, expected) in [
        (requests("dexar", "GET", "/item/{id}", 503), Some(1.0)),
        ("brandgate_up{brand=\"dexar\",part=\"postgresql\"}".into(), Some(0.0)),
        ("brandgate_up{brand=\"dexar\",part=\"redis\"}".into(), Some(1.0)),
        ("brandgate_up{brand=\"novo\",part=\"postgresql\"}".into(), Some(1.0)),
        ("brandgate_queue_waiting{brand=\"dexar\",queue=\"mail\"}".into(), None),
        ("brandgate_payments{brand=\"dexar\",state=\"COMPLETED\"}".into(), None),
        ("brandgate_stock_held_ratio{brand=\"dexar\",owner=\"visitors\"}".into(), None),
        ("brandgate_queue_waiting{brand=\"novo\",queue=\"mail\"}".into(), Some(0.0)),
    ] {
        assert_eq!(value(&text, &series), expected, "{series}\n{text}");
    }
}

/// The names of the gateway's metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("brandgate_")).collect()
}

#[tokio::test]
async fn alerts_and_dashboard_use_existing_metrics() {
    let mut site = Site::new(&["dexar"]);
    site.directory.write("credentials/dexar.telegram-bot-token", "4711:nobody");
    site.change_brand("dexar", |brand| {
        brand.more = "[rates]\nreviews_per_address = 1\n".to_owned();
        brand.telegram = "[telegram]\nbot = \"nobody_bot\"\ntoken = \"dexar.telegram-bot-token\"\n\
                          api_url = \"http://127.0.0.1:1\"\n"
            .to_owned();
    });
    let gateway = site.start();
    for _ in 0..2 {
        let review = request("/comment").method("POST").header("content-type", "application/json").body("{}");
        gateway.client("dexar").send(review).await;
    }
    let (workers, port) = workers(&site);
    let worker_metrics = eventually("a failed run of an unreachable bot, and the first check of the books", 30, || {
        let (_, text) = plain_http_get(port, "/metrics").ok()?;
        let failed = "brandgate_worker_pass_failures_total{brand=\"dexar\",pass=\"telegram\"}";
        let checked = "brandgate_book_errors{brand=\"dexar\",book=\"payments\"}";
        value(&text, failed).and(value(&text, checked)).map(|_| text)
    });
    let started_at_s = value(
        &worker_metrics,
        "brandgate_worker_pass_last_success_timestamp_seconds{brand=\"dexar\",pass=\"telegram\"}",
    );
    assert!(started_at_s.expect("the start time") > 1.7e9, "{worker_metrics}");
    let gateway_metrics = gateway.metrics();
    let exposed: BTreeSet<&str> = names(&gateway_metrics).into_iter().chain(names(&worker_metrics)).collect();
    for file in ["alerts.yml", "brandgate.json"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/monitoring").join(file);
        let text = std::fs::read_to_string(path).expect("in the repository");
        let named = names(&text);
        assert!(named.len() > 5, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{file} uses unknown metrics: {unknown:?}");
    }
    drop(workers);
}

/// The workers, and the port of their admin listener.
fn workers(site: &Site) -> (Process, u16) {
    let port = free_port();
    let workers = Process::start("workers", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |command| {
        command.arg("work");
        site.set_environment(command);
        command.env("BRANDGATE_WORK_ADMIN", format!("127.0.0.1:{port}"));
    });
    workers.await_log("working for ");
    (workers, port)
}

#[test]
fn workers_expose_metrics_of_their_jobs() {
    let site = Site::new(&["dexar"]);
    let (workers, port) = workers(&site);
    let of = |name: &str, pass: &str| format!("brandgate_worker_{name}{{brand=\"dexar\",pass=\"{pass}\"}}");
    let text = eventually("a run of the job", 20, || {
        let (_, text) = plain_http_get(port, "/metrics").ok()?;
        value(&text, &of("passes_total", "follow payments")).filter(|count| *count >= 1.0).map(|_| text)
    });
    let at = value(&text, &of("pass_last_success_timestamp_seconds", "follow payments")).expect("a time");
    assert!((jiff::Timestamp::now().as_second() as f64 - at).abs() < 60.0, "{at}");
    assert_eq!(value(&text, &of("pass_failures_total", "follow payments")), Some(0.0), "nothing failed");
    assert!(plain_http_get(port, "/readyz").expect("a response").0.starts_with("HTTP/1.1 200"));
    drop(workers);
}
