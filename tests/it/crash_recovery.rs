//! Gateways, workers, PostgreSQL and Redis that are killed or stopped under load: no acknowledged write is lost, no effect happens
//! twice, the books agree, and a graceful restart fails no request.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::login::{now_s, sign};
use crate::harness::shop::{Shop, order};
use crate::harness::{
    BrowserClient, Client, Gateway, Process, Sandbox, Services, Site, TestRequest, bot_token_of, eventually_async,
    free_port, request,
};

/// Rate limits that the load does not reach.
const NO_RATE_LIMITS: &str = "[rates]\ncart_writes_per_address = 1000000\ncart_writes_per_visitor = 1000000\n\
                              payments_per_address = 1000000\nreviews_per_address = 1000000\n\
                              anonymous_reviews_per_hour = 1000000\n";
const CLIENTS: usize = 8;
const RESTARTS: usize = 10;

/// Orders of each client; `CRASH_ORDERS`, the number of all, makes the test longer.
fn orders_per_client() -> usize {
    let all = std::env::var("CRASH_ORDERS").map_or(104, |text| text.parse().expect("CRASH_ORDERS is a number"));
    all / CLIENTS
}

/// The answers that one visitor received.
struct JournalEntry {
    name: String,
    browser: BrowserClient,
    /// How often the item was sent to be put into the cart, and how often that was acknowledged.
    add_attempts: usize,
    adds: usize,
    /// Every code that was shown for the order.
    qr_ids: BTreeSet<String>,
}

struct Load {
    sandbox: Sandbox,
    address: SocketAddr,
    /// Answers so far.
    answers: AtomicUsize,
}

impl Load {
    /// Repeats a request over as many crashes as it takes; returns the JSON of the answer and the number of attempts.
    async fn until_answered(&self, browser: &BrowserClient, request: TestRequest) -> (Value, usize) {
        let mut attempts = 0;
        let answer = eventually_async("an answer", 300, async || {
            attempts += 1;
            let response = browser.try_send(request.clone()).await.ok()?;
            // What a client may repeat: the gateway has just started, or its predecessor died with the bank's answer.
            (![502, 503, 504].contains(&response.status)).then(|| response.ok_json())
        })
        .await;
        self.answers.fetch_add(1, Ordering::Relaxed);
        (answer, attempts)
    }

    async fn post(&self, browser: &BrowserClient, path: &str, body: &Value) -> (Value, usize) {
        let request = request(path).method("POST").header("content-type", "application/json");
        self.until_answered(browser, request.body(body.to_string())).await
    }

    /// A new visitor fills a cart, pays, writes a review and asks for the email.
    async fn visit(&self, name: String) -> JournalEntry {
        let browser = BrowserClient::new(Client::new(self.address));
        self.until_answered(&browser, request("/cart")).await;
        let (_, add_attempts) = self.post(&browser, "/cart", &json!({"itemID": 14, "quantity": 1})).await;
        let payment = order(&name, "90.45", &[(11, "90.45", Some(1))]);
        let mut qr_ids = BTreeSet::new();
        for _ in 0..2 {
            let (opened, _) = self.post(&browser, "/cart", &payment).await;
            qr_ids.insert(opened["qrId"].as_str().expect("a code").to_owned());
        }
        let qr_id = qr_ids.first().expect("just inserted").clone();
        self.sandbox.bank_action(&qr_id, "pay", json!({"notify": name.ends_with('1'), "copies": 2})).await;
        eventually_async("the payment is completed", 300, async || {
            let (status, _) = self.until_answered(&browser, request(&format!("/qr/payment/{qr_id}"))).await;
            (status["paymentStatus"] == "COMPLETED").then_some(())
        })
        .await;
        let review = json!({"itemID": 14, "rating": 5, "comment": format!("review of {name}")});
        self.post(&browser, "/comment", &review).await;
        let purchase = json!({"email": format!("{name}@example.com"), "items": [{"itemID": 11}]});
        self.post(&browser, "/purchase-email", &purchase).await;
        JournalEntry { name, browser, add_attempts, adds: 1, qr_ids }
    }
}

#[tokio::test]
async fn killed_processes_lose_no_acknowledged_write_and_repeat_no_effect() {
    tokio::task::LocalSet::new().run_until(kill_under_load()).await;
}

async fn kill_under_load() {
    let services = Services::durable("crashes");
    let Shop { site, sandbox, mut gateway } = Shop::on(services.clone(), NO_RATE_LIMITS);
    let mut workers = site.start_workers();
    let user = log_in(&gateway).await;
    let load = Arc::new(Load { sandbox, address: gateway.address("dexar"), answers: AtomicUsize::new(0) });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let load = load.clone();
            tokio::task::spawn_local(async move {
                let mut journal = Vec::new();
                for number in 0..orders_per_client() {
                    journal.push(load.visit(format!("order-{client}-{number}")).await);
                }
                journal
            })
        })
        .collect();
    let orders = CLIENTS * orders_per_client();
    let (all_answers, kills) = (7 * orders, (orders / 50).max(8));
    for kill in 1..=kills {
        eventually_async("more answers", 300, async || {
            (load.answers.load(Ordering::Relaxed) >= kill * all_answers / (kills + 1)).then_some(())
        })
        .await;
        match kill % 4 {
            0 => crash(&services, "pg").await,
            1 => crash(&services, "redis").await,
            _ => {
                gateway.kill();
                gateway = site.start_without_waiting();
            }
        }
        if kill % 3 == 0 {
            workers.kill();
            workers = site.start_workers();
        }
    }
    let mut journal = Vec::new();
    for client in clients {
        journal.extend(client.await.expect("no client panicked"));
    }
    assert_eq!(journal.len(), orders);
    println!("{orders} orders, {kills} kills");
    assert_matches_the_database(&site, &load.sandbox, &journal).await;
    let session = user.at(gateway.client("dexar")).get("/auth/session").await.ok_json();
    assert_eq!(session["active"], true, "Redis has lost no session: {session}");
    let books = site.run(&["check", "--books"]).success();
    assert!(books.lines().all(|line| line.contains("no row disagrees")), "{books}");
    workers.terminate();
}

/// Crashes a server and starts it again; meanwhile the clients go on.
async fn crash(services: &Arc<Services>, what: &'static str) {
    let services = services.clone();
    let crashed = tokio::task::spawn_blocking(move || {
        match what {
            "pg" => services.crash_postgres(),
            _ => services.crash_redis(),
        }
        services.restart(what);
    });
    crashed.await.expect("the server is up again");
}

/// A user whose session has been written to disk.
async fn log_in(gateway: &Gateway) -> BrowserClient {
    let user = BrowserClient::new(gateway.client("dexar"));
    let data = json!({"id": 7, "first_name": "Anna", "auth_date": now_s()});
    user.post("/auth/telegram/callback", &sign(data, &bot_token_of("dexar"))).await.ok_json();
    user
}

/// Compares the journal with the database, the bank and the mailbox.
async fn assert_matches_the_database(site: &Site, sandbox: &Sandbox, journal: &[JournalEntry]) {
    let orders = journal.len();
    let number = |sql: &str| -> usize {
        let text = site.sql_as("dexar", sql).expect("the statement runs");
        text.parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
    };
    for entry in journal {
        let JournalEntry { name, browser, add_attempts, adds, qr_ids } = entry;
        assert_eq!(qr_ids.len(), 1, "{name} was shown two codes");
        let cart = browser.cart().await;
        let quantity = cart.iter().find(|(item, _)| *item == 14).map_or(0, |(_, quantity)| *quantity as usize);
        assert!((*adds..=*add_attempts).contains(&quantity), "{name}: {quantity} in the cart, {adds} acknowledged");
        let stored = format!("select count(*) from payment where site_order_id = '{name}' and status = 'COMPLETED'");
        assert_eq!(number(&stored), 1, "{name}");
        let written = format!("select count(*) from review where content = 'review of {name}'");
        assert_eq!(number(&written), 1, "the review of {name}");
    }
    assert_eq!(number("select count(*) from payment"), orders);
    assert_eq!(number("select quantity from item_stock where item_id = 11"), 2_000 - orders, "each unit is taken once");
    assert_eq!(number("select held from item_stock where item_id = 11"), 0);
    assert_eq!(number("select count(*) from payment where to_settle"), 0);
    assert_eq!(number("select count(*) from mail_outbox"), orders, "one email per order");
    let paid = sandbox.qrs().await.iter().filter(|qr| qr["status"] == "PAID").count();
    assert_eq!(paid, orders, "one charge per order");
    eventually_async("every email is delivered", 60, async || {
        (number("select count(*) from mail_outbox where sent_at is not null") == orders).then_some(())
    })
    .await;
    let emails = sandbox.emails().await;
    let recipients: BTreeSet<String> = emails.iter().map(|mail| mail["to"].to_string()).collect();
    let ids: BTreeSet<String> = emails.iter().map(|mail| mail["messageId"].to_string()).collect();
    // A worker that dies between the server's reply and its own commit sends the same Message-ID again.
    assert_eq!((recipients.len(), ids.len()), (orders, orders));
}

/// A gateway on a socket that outlives it, as systemd holds it.
fn serve_on(site: &Site, listener: &TcpListener) -> Process {
    let socket = OwnedFd::from(listener.try_clone().expect("a descriptor"));
    let process = Process::start("gateway", "sh", site.directory.path(), |command| {
        command.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_brandgate")]);
        command.args(["serve", "--admin", &format!("127.0.0.1:{}", free_port())]);
        site.set_environment(command);
        command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "dexar").stdin(Stdio::from(socket));
    });
    process.await_log("serving");
    process
}

/// Requests over kept and new connections of both protocols until told to stop.
struct Traffic {
    address: SocketAddr,
    answers: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Traffic {
    async fn send(&self, client: &Client, number: usize) {
        let request = match number % 3 {
            0 => request("/category"),
            1 => request("/cart"),
            _ => {
                let post = request("/cart").method("POST").header("content-type", "application/json");
                post.body(r#"{"itemID": 14}"#)
            }
        };
        let mut answer = client.try_send(request.clone()).await;
        // Of a request beyond the last stream that GOAWAY names nothing was processed, so clients repeat it (RFC 9113, 6.8).
        if answer.as_ref().is_err_and(|error| format!("{error:?}").contains("GoAway(b\"\", NO_ERROR, Remote)")) {
            answer = client.try_send(request).await;
        }
        let failure = match answer {
            Ok(response) if response.status == 200 => None,
            Ok(response) => Some(format!("{} {}", response.status, String::from_utf8_lossy(&response.body))),
            Err(error) => Some(format!("{error}: {error:?}")),
        };
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.failures.lock().expect("no panic while locked").extend(failure);
    }

    async fn keep_sending(self: Arc<Traffic>, client: Arc<Client>) {
        let mut number = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            self.send(&client, number).await;
            number += 1;
        }
    }

    /// A new connection for each request.
    async fn keep_connecting(self: Arc<Traffic>) {
        let mut number = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let client = Client::new(self.address);
            let client = if number % 2 == 0 { client.http1() } else { client };
            self.send(&client, number).await;
            number += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graceful_restarts_under_load_fail_no_request() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| NO_RATE_LIMITS.clone_into(&mut brand.more));
    let items = "{\"categoryID\":1,\"name\":\"Дом\",\"parentID\":0}\n\
                 {\"itemID\":14,\"categoryID\":1,\"name\":\"Кружка\",\"price\":3}\n";
    site.import_text("dexar", "items.jsonl", items, &[]).success();
    let listener = TcpListener::bind(("127.0.0.1", free_port())).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let traffic = Arc::new(Traffic {
        address,
        answers: AtomicUsize::new(0),
        failures: Mutex::default(),
        stopped: AtomicBool::new(false),
    });
    let mut gateway = serve_on(&site, &listener);
    let (kept, multiplexed) = (Arc::new(Client::new(address).http1()), Arc::new(Client::new(address)));
    let mut clients = vec![
        tokio::spawn(traffic.clone().keep_sending(kept)),
        tokio::spawn(traffic.clone().keep_connecting()),
        tokio::spawn(traffic.clone().keep_connecting()),
    ];
    clients.extend((0..4).map(|_| tokio::spawn(traffic.clone().keep_sending(multiplexed.clone()))));
    for restart in 1..=RESTARTS {
        let before = traffic.answers.load(Ordering::Relaxed);
        eventually_async("more answers", 60, async || {
            (traffic.answers.load(Ordering::Relaxed) >= before + 100).then_some(())
        })
        .await;
        gateway.terminate();
        assert!(gateway.await_exit().success(), "restart {restart}: {}", gateway.log());
        gateway = serve_on(&site, &listener);
    }
    traffic.stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no client panicked");
    }
    let failures = traffic.failures.lock().expect("no panic while locked");
    let answers = traffic.answers.load(Ordering::Relaxed);
    println!("{answers} requests, {RESTARTS} restarts");
    assert!(failures.is_empty(), "{} of {answers} requests failed: {failures:#?}", failures.len());
}
