//! One brand that cannot be served: the others are served, it is reported everywhere, and it recovers without a restart.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::harness::{BrandFile, Client, Gateway, Site, connect_tls, free_port, password_of, plain_http_get, request};
use crate::systemd::Unit;

/// What may be held while a brand is broken.
type Held = Option<TcpListener>;

/// A way in which novo cannot be served.
struct Breakage {
    name: &'static str,
    /// Part of the reason.
    reason: &'static str,
    breaks: fn(&mut Site) -> Held,
    /// Whether the background workers need it too.
    concerns_workers: bool,
}

/// Replaces a text of novo's file.
fn rewrite(site: &Site, from: &str, to: &str) {
    let text = site.brand("novo").toml();
    assert!(text.contains(from), "{from} is not in {text}");
    site.directory.write("brands/novo.toml", text.replace(from, to));
}

const MAIL: &str = "[mail]\nhost = \"127.0.0.1\"\nuser = \"shop\"\npassword = \"novo.smtp-password\"\nfrom = \"Novo <shop@novo.market>\"\n";

const BANK: &str = "[bank]\nmerchant_id = \"MA0000000444\"\nkeys = [\"novo.bank-key\"]\n";

const BREAKAGES: [Breakage; 14] = [
    Breakage {
        name: "unreadable file",
        reason: "failed to read",
        breaks: |site| {
            // Root reads files whatever their mode, but not a link to itself.
            let path = site.brand_path("novo");
            std::fs::remove_file(&path).expect("it is there");
            std::os::unix::fs::symlink(&path, &path).expect("a new name");
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "syntax error",
        reason: "unclosed table",
        breaks: |site| {
            rewrite(site, "[limits]", "[limits");
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "unknown setting",
        reason: "unknown key limits.pieces",
        breaks: |site| {
            rewrite(site, "[limits]", "[limits]\npieces = 7");
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "missing SMTP password",
        reason: "novo.smtp-password",
        breaks: |site| {
            rewrite(site, "[limits]", &format!("{MAIL}[limits]"));
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "empty SMTP password",
        reason: "novo.smtp-password is empty",
        breaks: |site| {
            site.directory.write("credentials/novo.smtp-password", "\n");
            rewrite(site, "[limits]", &format!("{MAIL}[limits]"));
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "missing bank key",
        reason: "novo.bank-key",
        breaks: |site| {
            rewrite(site, "[limits]", &format!("{BANK}[limits]"));
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "missing certificate authority of the bank",
        reason: "nowhere.pem",
        breaks: |site| {
            site.directory.write("credentials/novo.bank-key", "secret");
            rewrite(site, "[limits]", &format!("{BANK}authority = \"/nowhere.pem\"\n[limits]"));
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "missing certificate",
        reason: "there is no certificate /nowhere.pem",
        breaks: |site| {
            site.change_brand("novo", |brand| brand.certificate = "/nowhere.pem".into());
            None
        },
        concerns_workers: false,
    },
    Breakage {
        name: "key of another certificate",
        reason: "does not fit",
        breaks: |site| {
            let others = site.brand("dexar").key.clone();
            site.change_brand("novo", |brand| brand.key = others);
            None
        },
        concerns_workers: false,
    },
    Breakage {
        name: "address in use",
        reason: "is in use by another program",
        breaks: |site| Some(TcpListener::bind(("127.0.0.1", site.brand("novo").port)).expect("a free port")),
        concerns_workers: false,
    },
    Breakage {
        name: "address of another brand",
        reason: "is already used by dexar",
        breaks: |site| {
            let taken = site.brand("dexar").port;
            site.change_brand("novo", |brand| brand.port = taken);
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "unknown database",
        reason: "no_such_database",
        breaks: |site| {
            let url = site.services.brand_url("no_such_database");
            site.change_brand("novo", |brand| brand.database_url = url);
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "wrong database password",
        reason: "password authentication failed",
        breaks: |site| {
            site.directory.write("credentials/novo.database-password", "wrong");
            None
        },
        concerns_workers: true,
    },
    Breakage {
        name: "schema without migrations",
        reason: "run brandgate migrate",
        breaks: |site| {
            site.sql_as("novo", "alter table refinery_schema_history rename to aside").expect("its own table");
            None
        },
        concerns_workers: true,
    },
];

/// Undoes every [`Breakage`].
fn mend(site: &mut Site, good: &BrandFile) {
    let novo = good.clone();
    site.change_brand("novo", |brand| *brand = novo);
    site.directory.write("credentials/novo.database-password", password_of("novo"));
    site.sql_as("novo", "alter table if exists aside rename to refinery_schema_history").expect("its own table");
}

/// Requests the other brand until it is stopped, over new and open connections.
struct Traffic {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u32>,
}

impl Traffic {
    fn start(address: SocketAddr) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut served = 0;
            while !stopped.load(Ordering::Relaxed) {
                let client = Client::new(address);
                for _ in 0..5 {
                    assert_eq!(client.get("/category").await.status, 200, "after {served} requests");
                    served += 1;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        });
        Traffic { stop, task }
    }

    /// The number of requests, all of which were served.
    async fn finish(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("every request was served")
    }
}

fn readiness(admin: u16) -> (bool, Value) {
    let (head, body) = plain_http_get(admin, "/readyz").expect("the admin listener answers");
    (head.starts_with("HTTP/1.1 200 "), serde_json::from_str(&body).expect("JSON"))
}

fn is_up(admin: u16, brand: &str) -> bool {
    let (_, text) = plain_http_get(admin, "/metrics").expect("the admin listener answers");
    let series = format!("brandgate_brand_up{{brand=\"{brand}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).expect("the series is there") == "1"
}

/// Starts `brandgate COMMAND` while novo is broken, and mends it.
async fn break_and_mend(site: &mut Site, command: &str, activity: &str, breakage: &Breakage) {
    let good = site.brand("novo").clone();
    let held = (breakage.breaks)(site);
    let (admin, name) = (free_port(), breakage.name);
    // The socket of the former process.
    let _ = std::fs::remove_file(site.directory.path().join("notify"));
    let unit = Unit::start(site, &[command, "--admin", &format!("127.0.0.1:{admin}")], &[]);
    let ready = unit.await_notification("READY=1");
    assert!(ready.contains("STATUS=degraded: novo: ") && ready.contains(breakage.reason), "{name}: {ready}");
    assert!(ready.contains(&format!("{activity} dexar")), "{name}: {ready}");
    let (is_ready, state) = readiness(admin);
    assert!(!is_ready && state["serving"] == serde_json::json!(["dexar"]), "{name}: {state}");
    let failed = state["brands"]["novo"]["failed"].as_str().expect("a reason");
    assert!(failed.contains(breakage.reason) && !failed.contains('\n'), "{name}: {failed}");
    assert!(state["brands"]["dexar"].get("failed").is_none(), "{name}: {state}");
    assert!(is_up(admin, "dexar") && !is_up(admin, "novo"), "{name}");
    let line = unit.process.await_log("failed to serve the brand");
    assert!(line.contains("ERROR") && line.contains("novo"), "{name}: {line}");

    let traffic = (command == "serve").then(|| Traffic::start(([127, 0, 0, 1], site.brand("dexar").port).into()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(held);
    mend(site, &good);
    let recovered = unit.await_notification(&format!("STATUS={activity} dexar, novo"));
    assert!(!recovered.contains("degraded"), "{name}: {recovered}");
    unit.process.await_log("the brand is served again");
    assert!(readiness(admin).0 && is_up(admin, "novo"), "{name}");
    if let Some(traffic) = traffic {
        let novo = Client::new(([127, 0, 0, 1], site.brand("novo").port).into());
        assert_eq!(novo.get("/category").await.status, 200, "{name}");
        let (_, metrics) = plain_http_get(admin, "/metrics").expect("the admin listener answers");
        let series = "brandgate_limit_held{brand=\"novo\",limit=\"connections\"} ";
        let held = metrics.lines().find_map(|line| line.strip_prefix(series)).expect("the series is there");
        assert_ne!(held, "0", "{name}: its open connection is accounted where the metric looks");
        assert!(traffic.finish().await > 0);
    }
    let log = unit.process.log();
    let is_failure = |line: &&str| line.contains("failed to serve the brand") && line.contains(breakage.reason);
    assert_eq!(log.lines().filter(is_failure).count(), 1, "{name}: logged once, however often it is retried\n{log}");
    unit.process.terminate();
    assert!(unit.process.await_exit().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_serves_the_other_brand_and_recovers() {
    let mut site = Site::new(&["dexar", "novo"]);
    for breakage in &BREAKAGES {
        break_and_mend(&mut site, "serve", "serving", breakage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_work_for_the_other_brand_and_recover() {
    let mut site = Site::new(&["dexar", "novo"]);
    for breakage in BREAKAGES.iter().filter(|breakage| breakage.concerns_workers) {
        break_and_mend(&mut site, "work", "working for", breakage).await;
    }
}

/// Where the files of novo are broken, its certificate may still be known.
#[tokio::test]
async fn clients_of_a_failed_brand_do_not_wait() {
    let mut site = Site::new(&["dexar", "novo"]);
    let good = site.brand("novo").clone();
    rewrite(&site, "[limits]", &format!("{MAIL}[limits]"));
    let (dexar, novo) = (free_port(), free_port());
    let admin = format!("127.0.0.1:{}", free_port());
    let unit = Unit::start(&site, &["serve", "--admin", &admin], &[("dexar", dexar), ("novo", novo)]);
    unit.process.await_log("Listening on");
    let [dexar, novo] = [dexar, novo].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    // This connection starts the process.
    assert_eq!(Client::new(dexar).get("/category").await.status, 200);
    unit.await_notification("degraded: novo: ");
    for client in [Client::new(novo), Client::new(novo).http1()] {
        let upload = request("/cart").method("POST").header("content-type", "application/json").body("{\"itemID\":1}");
        for response in [client.get("/category").await, client.send(upload).await] {
            assert_eq!(response.error_code(503), "unavailable");
            assert_eq!(
                (response.header("retry-after"), response.header("cache-control"), response.header("vary")),
                (Some("5"), Some("no-store"), Some("Origin"))
            );
        }
        // A page of the storefront reads it, with the id that the log of its front end names; no other page does.
        let read = |origin: &'static str| request("/category").origin(origin).header("x-request-id", "page-7");
        let response = client.send(read("https://novo.market")).await;
        assert_eq!(
            ["access-control-allow-origin", "access-control-allow-credentials", "x-request-id"]
                .map(|name| response.header(name)),
            [Some("https://novo.market"), Some("true"), Some("page-7")]
        );
        assert_eq!(client.send(read("https://dexarmarket.ru")).await.header("access-control-allow-origin"), None);
        let preflight = request("/cart").method("OPTIONS").origin("https://novo.market");
        let preflight = client.send(preflight.header("access-control-request-method", "PATCH")).await;
        assert_eq!(
            (preflight.status, preflight.header("access-control-allow-methods")),
            (204, Some("GET, POST, PATCH, DELETE, OPTIONS"))
        );
    }

    // Without a certificate the connection is closed at once.
    std::fs::remove_file(site.brand_path("novo")).expect("it is there");
    unit.await_notification("its file was removed");
    let mut stream = tokio::net::TcpStream::connect(novo).await.expect("the socket is systemd's");
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert!(connect_tls(novo, &["h2"], "localhost", rustls::ALL_VERSIONS).await.is_err());

    site.directory.write("brands/novo.toml", "");
    mend(&mut site, &good);
    unit.await_notification("STATUS=serving dexar, novo");
    assert_eq!(Client::new(novo).get("/category").await.status, 200, "on the same socket");
    unit.process.terminate();
    assert!(unit.process.await_exit().success());
}

const NEW_ORIGIN: &str = "https://new.dexarmarket.ru";

async fn allows_new_origin(gateway: &Gateway) -> bool {
    let response = gateway.client("dexar").send(request("/ping").origin(NEW_ORIGIN)).await;
    response.header("access-control-allow-origin") == Some(NEW_ORIGIN)
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_keeps_a_broken_brand_and_applies_the_others() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let at = gateway.runtime_directory.to_str().expect("UTF-8").to_owned();
    let origins = site.brand("dexar").origins.clone();
    // A reload does not look at sockets and databases.
    for breakage in
        BREAKAGES.iter().filter(|breakage| !breakage.name.contains("database") && breakage.name != "address in use")
    {
        if breakage.name == "schema without migrations" {
            continue;
        }
        let name = breakage.name;
        let traffic = ["dexar", "novo"].map(|brand| Traffic::start(gateway.address(brand)));
        let good = site.brand("novo").clone();
        site.change_brand("dexar", |brand| brand.origins.push(NEW_ORIGIN.to_owned()));
        let held = (breakage.breaks)(&mut site);
        let output = site.run(&["reload", "--at", &at]).failure(1);
        assert!(output.contains("reload refused for novo: ") && output.contains(breakage.reason), "{name}: {output}");
        assert!(output.contains("applied to dexar; serving dexar, novo"), "{name}: {output}");
        assert!(allows_new_origin(&gateway).await, "{name}");
        assert!(is_up(gateway.admin_port(), "novo"), "{name}: it keeps its former configuration");
        drop(held);
        mend(&mut site, &good);
        site.change_brand("dexar", |brand| brand.origins.clone_from(&origins));
        assert_eq!(site.run(&["reload", "--at", &at]).success(), "reloaded: serving dexar, novo\n", "{name}");
        assert!(!allows_new_origin(&gateway).await, "{name}");
        for traffic in traffic {
            assert!(traffic.finish().await > 0);
        }
    }
}

#[tokio::test]
async fn reload_serves_a_mended_brand_at_once() {
    let mut site = Site::new(&["dexar", "novo"]);
    let good = site.brand("novo").clone();
    let url = site.services.brand_url("no_such_database");
    site.change_brand("novo", |brand| brand.database_url = url);
    // It retries on a reload alone.
    let gateway = Gateway::start_with(&site, &["--retry-ms", "3600000"]);
    gateway.await_log("failed to serve the brand");
    gateway.await_log("degraded: novo: ");
    let at = gateway.runtime_directory.to_str().expect("UTF-8").to_owned();
    let output = site.run(&["reload", "--at", &at]).failure(1);
    assert!(output.contains("reload refused for novo: ") && output.contains("no_such_database"), "{output}");
    assert_eq!(gateway.client("novo").get("/category").await.error_code(503), "unavailable");
    mend(&mut site, &good);
    assert_eq!(site.run(&["reload", "--at", &at]).success(), "reloaded: serving dexar, novo\n");
    assert_eq!(gateway.client("novo").get("/category").await.status, 200);
}
