//! SIGHUP and renewed certificates: what changes while connections live, and what a fault leaves as it was.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::{Client, Site, certificates, connect_tls, eventually_async, free_port, request};

const NEW_ORIGIN: &str = "https://new.dexarmarket.ru";

async fn is_allowed(client: &Client, origin: &str) -> bool {
    client.send(request("/ping").origin(origin)).await.header("access-control-allow-origin") == Some(origin)
}

#[tokio::test]
async fn a_reload_changes_what_open_connections_meet() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let clients = [gateway.client("dexar"), gateway.client("dexar").http1()];
    for client in &clients {
        assert!(!is_allowed(client, NEW_ORIGIN).await);
    }
    let stream = connect_tls(gateway.address("dexar"), &["h2"], "localhost", rustls::ALL_VERSIONS).await;
    let leaf_before = stream.expect("a handshake").get_ref().1.peer_certificates().expect("a chain")[0].clone();
    site.change_brand("dexar", |brand| brand.origins.push(NEW_ORIGIN.to_owned()));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    // The same connections as before: both clients keep theirs.
    for client in &clients {
        assert!(is_allowed(client, NEW_ORIGIN).await);
        assert_eq!(client.get("/category").await.status, 200);
    }
    assert!(!is_allowed(&gateway.client("novo"), NEW_ORIGIN).await, "the other brand is as it was");
    assert_eq!(leaf(gateway.address("dexar")).await, leaf_before.to_vec());
}

#[tokio::test]
async fn the_description_is_that_of_the_configuration_in_force() {
    let mut site = Site::new(&["dexar"]);
    let gateway = site.start();
    let client = gateway.client("dexar");
    let servers = async || client.json("/openapi.json").await["servers"].to_string();
    let before = servers().await;
    assert_eq!(servers().await, before, "it is remembered");
    site.change_brand("dexar", |brand| "https://localhost:9".clone_into(&mut brand.public_url));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    let after = servers().await;
    assert!(after.contains("localhost:9\"") && after != before, "{before} {after}");
}

#[tokio::test]
async fn a_faulty_file_leaves_everything_as_it_was() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    site.change_brand("dexar", |brand| brand.origins.push(NEW_ORIGIN.to_owned()));
    site.change_brand("novo", |brand| brand.limits = "connections = \"many\"".to_owned());
    gateway.signal("-HUP");
    let line = gateway.await_log("reload refused");
    assert!(line.contains("novo.toml:") && line.contains("connections") && line.contains("ERROR"), "{line}");
    let dexar = gateway.client("dexar");
    assert!(!is_allowed(&dexar, NEW_ORIGIN).await, "the good file is not taken either");
    assert_eq!(gateway.client("novo").get("/category").await.status, 200);

    // A certificate that cannot be read is found before anything is exchanged.
    site.change_brand("novo", |brand| {
        brand.limits.clear();
        brand.certificate = PathBuf::from("/nowhere/fullchain.pem");
    });
    gateway.signal("-HUP");
    gateway.await_log("/nowhere/fullchain.pem");
    assert!(!is_allowed(&dexar, NEW_ORIGIN).await);

    site.change_brand("novo", |brand| brand.certificate = certificates().join("novo.pem"));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    assert!(is_allowed(&dexar, NEW_ORIGIN).await);
}

/// `ExecReload=`: what the files say counts when the command returns, every time.
#[tokio::test]
async fn the_command_returns_when_it_is_done_and_fails_when_it_is_refused() {
    let mut site = Site::new(&["dexar"]);
    let gateway = site.start();
    let client = gateway.client("dexar");
    let at = gateway.runtime_directory.to_str().expect("UTF-8").to_owned();
    let before = site.brand("dexar").origins.clone();
    for round in 0..20 {
        let is_added = round % 2 == 0;
        site.change_brand("dexar", |brand| {
            brand.origins.clone_from(&before);
            brand.origins.extend(is_added.then(|| NEW_ORIGIN.to_owned()));
        });
        assert_eq!(site.run(&["reload", "--at", &at]).success(), "reloaded: serving dexar\n");
        assert_eq!(is_allowed(&client, NEW_ORIGIN).await, is_added, "round {round}");
    }

    site.change_brand("dexar", |brand| {
        brand.origins.push(NEW_ORIGIN.to_owned());
        brand.limits = "connections = \"many\"".to_owned();
    });
    let told = site.run(&["reload", "--at", &at]).failure(1);
    assert!(told.contains("reload refused: ") && told.contains("dexar.toml:") && told.contains("as before"), "{told}");
    assert!(!is_allowed(&client, NEW_ORIGIN).await);

    // As systemd names them to a unit that has several.
    let several = site.run(&["reload", "--at", &format!("{at}:/run/another")]).failure(1);
    assert_eq!(several, told);

    // Whoever asks and goes away, or asks for nothing, holds up nobody.
    drop(std::os::unix::net::UnixStream::connect(gateway.runtime_directory.join("reload.socket")));
    site.change_brand("dexar", |brand| brand.limits.clear());
    site.run(&["reload", "--at", &at]).success();
    assert!(is_allowed(&client, NEW_ORIGIN).await);

    gateway.kill();
    let told = site.run(&["reload", "--at", &at]).failure(1);
    assert!(told.contains(&at) && told.contains("Connection refused") && told.contains("does it run?"), "{told}");
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_rest_is_done() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let (address, other_port) = (gateway.address("dexar"), free_port());
    site.change_brand("dexar", |brand| {
        brand.port = other_port;
        brand.public_url = format!("https://localhost:{other_port}");
        brand.database_url.push_str("?connect_timeout=7");
        brand.origins.push(NEW_ORIGIN.to_owned());
    });
    site.add_brand("third");
    std::fs::remove_file(site.brand_path("novo")).expect("it was there");
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    for sentence in [
        "dexar: listen changed, which needs a restart",
        "dexar: [database] changed, which needs a restart",
        "novo: its file was removed; it is served until a restart",
        "third: new brand; it is served after a restart",
    ] {
        let line = gateway.await_log(sentence);
        assert!(line.contains("WARN"), "{line}");
    }
    assert!(is_allowed(&Client::new(address), NEW_ORIGIN).await);
    assert_eq!(gateway.client("novo").get("/category").await.status, 200);
}

/// The certificate that a new connection is shown.
async fn leaf(address: SocketAddr) -> Vec<u8> {
    let stream = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_by_itself_and_a_mixed_pair_never() {
    let mut site = Site::new(&["dexar"]);
    let copy = |site: &Site, from: &str, kind: &str| {
        let bytes = std::fs::read(certificates().join(format!("{from}.{kind}"))).expect("certs.sh made it");
        let name = format!("certs/{kind}");
        // As the deploy hook does it: written aside, then renamed.
        let aside = site.directory.write(&format!("{name}.new"), bytes);
        let path = site.directory.path().join(name);
        std::fs::rename(aside, &path).expect("the same directory");
        path
    };
    let (certificate, key) = (copy(&site, "dexar", "pem"), copy(&site, "dexar", "key"));
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (certificate, key));
    let gateway = site.start();
    let address = gateway.address("dexar");
    let (client, before) = (gateway.client("dexar").http1(), leaf(address).await);
    assert_eq!(client.get("/ping").await.status, 200);

    copy(&site, "novo", "pem");
    let line = gateway.await_log("the former stays in use");
    assert!(line.contains("does not fit") && line.contains("ERROR"), "{line}");
    assert_eq!(leaf(address).await, before);
    copy(&site, "novo", "key");
    gateway.await_log("a new certificate is in use");
    assert_ne!(leaf(address).await, before);
    assert_eq!(client.get("/ping").await.status, 200, "who was there goes on");
}

#[tokio::test]
async fn a_certificate_for_another_host_takes_the_place_of_no_good_one() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    let before = leaf(gateway.address("dexar")).await;
    let directory = site.directory.path().to_owned();
    let openssl = |file: &str, name: &str| {
        let [key, pem] = ["key", "pem"].map(|kind| directory.join(format!("{file}.{kind}")));
        let mut command = std::process::Command::new("openssl");
        command.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 9 -subj /CN=it".split(' '));
        command.args(["-addext", name]).arg("-keyout").arg(&key).arg("-out").arg(&pem);
        assert!(command.output().expect("it runs").status.success());
        (pem, key)
    };
    let others = openssl("other", "subjectAltName=DNS:shop.example");
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = others);
    gateway.signal("-HUP");
    let line = gateway.await_log("reload refused");
    assert!(line.contains("is for shop.example, but public_url says localhost") && line.contains("dexar"), "{line}");
    assert_eq!(leaf(gateway.address("dexar")).await, before);
    // Its own is taken again.
    let good = site.brand("novo").clone();
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (good.certificate, good.key));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    assert_ne!(leaf(gateway.address("dexar")).await, before);
}

#[tokio::test]
async fn workers_reload_too() {
    let mut site = Site::new(&["dexar"]);
    let workers = site.start_workers();
    site.change_brand("dexar", |brand| brand.mail = "[mail]\nfrom = 5\n".to_owned());
    workers.signal("-HUP");
    let line = workers.await_log("reload refused");
    assert!(line.contains("dexar.toml:"), "{line}");
    site.change_brand("dexar", |brand| brand.mail.clear());
    workers.signal("-HUP");
    workers.await_log("reloaded");
    workers.terminate();
    assert!(workers.await_exit().success());
}

#[tokio::test]
async fn fewer_and_more_connections_are_let_in_after_a_reload() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.limits = "connections = 40".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    let connect = || connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS);
    let held = [connect().await.expect("a handshake"), connect().await.expect("a handshake")];
    site.change_brand("dexar", |brand| brand.limits = "connections = 2".to_owned());
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    // The listener itself holds one permit for its next visitor, so a first one still comes in; then nobody does.
    let mut third = Box::pin(async { (connect().await, connect().await) });
    let waited = tokio::time::timeout(std::time::Duration::from_millis(700), &mut third).await;
    assert!(waited.is_err(), "over the limit, and let in");
    drop(held);
    eventually_async("room again", 20, async || {
        tokio::time::timeout(std::time::Duration::from_secs(10), &mut third).await.ok()
    })
    .await
    .1
    .expect("a handshake");
}
