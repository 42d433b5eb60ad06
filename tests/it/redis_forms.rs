//! The forms of Redis: TLS, the master that Sentinels name, a Cluster; and URLs that do not fit their server.

use std::process::Command;

use serde_json::json;

use crate::harness::login::log_in;
use crate::harness::{
    Gateway, Process, Sandbox, Site, TelegramUser, certificates, eventually, eventually_async, free_port,
    issue_certificate,
};

/// A Redis server of one test.
struct RedisServer {
    process: Process,
    port: u16,
    /// For redis-cli.
    tls: Vec<String>,
}

impl RedisServer {
    /// Starts a server on a free port and waits until it responds.
    fn start(site: &Site, arguments: &[&str]) -> RedisServer {
        RedisServer::start_on(site, free_port(), &[], arguments)
    }

    fn start_on(site: &Site, port: u16, tls: &[String], arguments: &[&str]) -> RedisServer {
        let directory = site.directory.path().join(format!("redis-{port}"));
        std::fs::create_dir(&directory).expect("a new directory");
        let process = Process::start("redis", "redis-server", site.directory.path(), |command| {
            // Sentinel rewrites its file, and needs one.
            if arguments.contains(&"--sentinel") {
                std::fs::write(directory.join("redis.conf"), "").expect("a new file");
                command.arg(directory.join("redis.conf"));
            }
            let plain_port = if tls.is_empty() { port } else { 0 };
            command.args(["--port", &plain_port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.arg("--dir").arg(&directory).args(arguments);
        });
        let server = RedisServer { process, port, tls: tls.to_vec() };
        eventually("Redis responds", 20, || (server.cli(&["ping"]) == "PONG").then_some(()));
        server
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(&self.tls).args(arguments).output();
        String::from_utf8(output.expect("redis-cli runs").stdout).expect("UTF-8").trim_end().to_owned()
    }

    fn field(&self, section: &str, name: &str) -> String {
        let info = self.cli(&["info", section]);
        let field = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        info.lines().find_map(field).unwrap_or_default()
    }

    fn replica_of(site: &Site, master: &RedisServer) -> RedisServer {
        let replica = RedisServer::start(site, &["--replicaof", "127.0.0.1", &master.port.to_string()]);
        eventually("replication", 20, || (replica.field("replication", "master_link_status") == "up").then_some(()));
        replica
    }
}

fn site() -> Site {
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    site
}

fn use_redis(site: &mut Site, url: &str) {
    site.change_brand("dexar", |brand| url.clone_into(&mut brand.redis_url));
}

/// What `brandgate check` says about Redis.
fn check(site: &Site) -> String {
    let output = site.run(&["check"]).stdout;
    output.lines().filter(|line| line.contains(" redis ")).collect::<Vec<_>>().join("\n")
}

async fn starts_login(gateway: &Gateway) -> u16 {
    let browser = crate::harness::BrowserClient::new(gateway.client("dexar"));
    browser.post("/auth/telegram/start", &json!({})).await.status
}

#[tokio::test]
async fn a_url_that_does_not_fit_its_server_is_reported_everywhere() {
    let mut site = site();
    let _sandbox = Sandbox::start(&mut site);
    let master = RedisServer::start(&site, &[]);
    let replica = RedisServer::replica_of(&site, &master);
    let sentinel = RedisServer::start(&site, &["--sentinel"]);
    let node = RedisServer::start(&site, &["--cluster-enabled", "yes"]);
    assert_eq!(node.cli(&["cluster", "addslotsrange", "0", "16383"]), "OK");
    eventually("the cluster works", 20, || node.cli(&["cluster", "info"]).contains("cluster_state:ok").then_some(()));
    for (server, words, login) in [
        (
            &replica,
            "is a read-only replica: set [redis] url to the primary, or to its Sentinels: redis+sentinel://",
            503,
        ),
        (&sentinel, "is a Sentinel: write [redis] url as redis+sentinel://HOST:PORT,HOST:PORT/MASTER", 503),
        (&node, "is a node of a Redis Cluster: write [redis] url as redis+cluster://HOST:PORT,HOST:PORT", 200),
    ] {
        use_redis(&mut site, &format!("redis://127.0.0.1:{}", server.port));
        let found = check(&site);
        assert!(found.contains(words) && found.contains("ERROR"), "{found}");
        let gateway = site.start();
        let (_, ready) = gateway.admin("/readyz").expect("a response");
        assert_eq!(ready["brands"]["dexar"]["lacks"], json!(["redis"]), "{words}");
        gateway.await_log(words);
        // A node that has all slots could serve, but would fail with the first other one.
        assert_eq!(starts_login(&gateway).await, login, "{words}");
    }
    use_redis(&mut site, &format!("redis://127.0.0.1:{}", master.port));
    assert!(!check(&site).contains("ERROR"));
    assert_eq!(starts_login(&site.start()).await, 200);
}

#[tokio::test]
async fn rediss_verifies_the_server_and_shows_a_client_certificate() {
    let mut site = site();
    let _sandbox = Sandbox::start(&mut site);
    let path = |name: &str| certificates().join(name).display().to_string();
    let (authority, certificate, key) = (path("ca.pem"), path("dexar.pem"), path("dexar.key"));
    let (own_certificate, own_key) = issue_certificate(&site, "client", "clientAuth", true, "20990101000000Z");
    let (own_certificate, own_key) = (own_certificate.display().to_string(), own_key.display().to_string());
    let tls = ["--tls", "--cacert", &authority, "--cert", &own_certificate, "--key", &own_key].map(str::to_owned);
    let port = free_port();
    let arguments = ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let arguments =
        [&arguments[..], &["--tls-ca-cert-file", &authority, "--user", "shop", "on", ">s3cret", "~dexar:*", "+@all"]]
            .concat();
    let server = RedisServer::start_on(&site, port, &tls, &arguments);
    let url = format!("rediss://shop:s3cret@localhost:{port}");
    use_redis(&mut site, &url);
    assert!(check(&site).contains("UnknownIssuer"), "{}", check(&site));
    // The harness writes the closing quotation mark of the last value.
    let redis = |lines: &[(&str, &str)]| {
        let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = \"{value}\"")).collect();
        format!("{url}\"\n{}", lines.join("\n")).trim_end_matches('"').to_owned()
    };
    use_redis(&mut site, &redis(&[("authority", &authority)]));
    let found = check(&site);
    assert!(found.contains("ERROR"), "the server demands a client certificate: {found}");
    use_redis(&mut site, &redis(&[("authority", &authority), ("certificate", &own_certificate), ("key", &own_key)]));
    let found = check(&site);
    assert!(!found.contains("ERROR"), "{found}");
    let gateway = site.start();
    assert_eq!(starts_login(&gateway).await, 200);
    assert!(server.cli(&["keys", "dexar:*"]).contains("dexar:{"), "{}", server.cli(&["keys", "*"]));
}

#[tokio::test]
async fn sentinels_name_the_new_master_after_a_failover() {
    let mut site = site();
    let master = RedisServer::start(&site, &[]);
    let replica = RedisServer::replica_of(&site, &master);
    let sentinels = [(); 3].map(|()| RedisServer::start(&site, &["--sentinel"]));
    for sentinel in &sentinels {
        assert_eq!(sentinel.cli(&["sentinel", "monitor", "shop", "127.0.0.1", &master.port.to_string(), "2"]), "OK");
        assert_eq!(sentinel.cli(&["sentinel", "set", "shop", "down-after-milliseconds", "500"]), "OK");
    }
    let known = |words: &str| sentinels.iter().all(|sentinel| sentinel.field("sentinel", "master0").contains(words));
    eventually("the sentinels know each other and the replica", 30, || known("slaves=1,sentinels=3").then_some(()));
    let [one, two, three] = sentinels.each_ref().map(|sentinel| sentinel.port);
    use_redis(&mut site, &format!("redis+sentinel://127.0.0.1:{one},127.0.0.1:{two},127.0.0.1:{three}/other?db=0"));
    assert!(check(&site).contains("knows no master"), "{}", check(&site));
    use_redis(&mut site, &format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{two},127.0.0.1:{three}/shop?db=0"));
    assert!(!check(&site).contains("ERROR"), "{}", check(&site));

    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    let _workers = site.start_workers();
    let browser = crate::harness::BrowserClient::new(gateway.client("dexar"));
    log_in(&sandbox, "dexar", &browser, &TelegramUser::new(42, "Anna", "ru")).await;
    // A planned failover: the old master lives on, and refuses writes.
    assert_eq!(sentinels[0].cli(&["sentinel", "failover", "shop"]), "OK");
    eventually("the replica is the master", 60, || (replica.field("replication", "role") == "master").then_some(()));
    eventually_async("logins work", 30, async || (starts_login(&gateway).await == 200).then_some(())).await;
    assert_eq!(browser.get("/auth/session").await.status, 200, "the session was replicated");
    eventually("the old master follows", 60, || {
        (master.field("replication", "master_link_status") == "up" && known("slaves=1,sentinels=3")).then_some(())
    });
    replica.process.kill();
    eventually("the old master is the master again", 60, || {
        (master.field("replication", "role") == "master").then_some(())
    });
    eventually_async("logins work again", 30, async || (starts_login(&gateway).await == 200).then_some(())).await;
    assert_eq!(browser.get("/auth/session").await.status, 200);
}

#[tokio::test]
async fn a_cluster_keeps_sessions_and_limits_and_survives_a_master() {
    let mut site = site();
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let mut nodes: Vec<RedisServer> = (0..6).map(|_| RedisServer::start(&site, &arguments)).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let create = [&["--cluster", "create"][..], &addresses, &["--cluster-replicas", "1", "--cluster-yes"]].concat();
    let created = nodes[0].cli(&create);
    assert!(created.contains("All 16384 slots covered"), "{created}");
    let is_ok = |node: &RedisServer| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
    eventually("every node sees the cluster", 60, || nodes.iter().all(is_ok).then_some(()));
    let follows = |node: &RedisServer| {
        let (role, link) = (node.field("replication", "role"), node.field("replication", "master_link_status"));
        role == "master" || link == "up"
    };
    eventually("every replica follows", 60, || nodes.iter().all(follows).then_some(()));
    use_redis(&mut site, &format!("redis+cluster://{}", addresses.join(",")));
    let found = check(&site);
    assert!(!found.contains("ERROR"), "{found}");

    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    let _workers = site.start_workers();
    let browsers: Vec<_> = (0..6).map(|_| crate::harness::BrowserClient::new(gateway.client("dexar"))).collect();
    for (number, browser) in browsers.iter().enumerate() {
        log_in(&sandbox, "dexar", browser, &TelegramUser::new(50 + number as i64, "Anna", "ru")).await;
    }
    let (_, ready) = gateway.admin("/readyz").expect("a response");
    assert_eq!(ready["brands"]["dexar"]["lacks"], json!([]));
    let masters: Vec<usize> = (0..6).filter(|at| nodes[*at].field("replication", "role") == "master").collect();
    for at in &masters {
        assert!(nodes[*at].cli(&["keys", "dexar:*"]).contains("dexar:{"), "every slot range has keys");
    }
    let dead = nodes.remove(masters[0]);
    dead.process.kill();
    eventually("a replica takes over", 60, || nodes.iter().all(is_ok).then_some(()));
    for browser in &browsers {
        eventually_async("every session is found", 30, async || {
            (browser.get("/auth/session").await.status == 200).then_some(())
        })
        .await;
    }
}
