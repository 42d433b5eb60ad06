//! Reloads by SIGHUP and `brandgate reload`, and renewed certificates: open connections, refused configurations, restarts.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::harness::{Client, Site, certificates, connect_tls, eventually_async, free_port, request};

const NEW_ORIGIN: &str = "https://new.dexarmarket.ru";

async fn is_allowed(client: &Client, origin: &str) -> bool {
    client.send(request("/ping").origin(origin)).await.header("access-control-allow-origin") == Some(origin)
}

#[tokio::test]
async fn a_reload_applies_to_open_connections() {
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
    // On the connections that were open before the reload.
    for client in &clients {
        assert!(is_allowed(client, NEW_ORIGIN).await);
        assert_eq!(client.get("/category").await.status, 200);
    }
    assert!(!is_allowed(&gateway.client("novo"), NEW_ORIGIN).await, "the other brand is unchanged");
    assert_eq!(leaf(gateway.address("dexar")).await, leaf_before.to_vec());
}

#[tokio::test]
async fn the_openapi_document_follows_a_reload() {
    let mut site = Site::new(&["dexar"]);
    let gateway = site.start();
    let client = gateway.client("dexar");
    let servers = async || client.json("/openapi.json").await["servers"].to_string();
    let before = servers().await;
    assert_eq!(servers().await, before, "it is cached");
    site.change_brand("dexar", |brand| "https://localhost:9".clone_into(&mut brand.public_url));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    let after = servers().await;
    assert!(after.contains("localhost:9\"") && after != before, "{before} {after}");
}

#[tokio::test]
async fn an_invalid_file_leaves_its_brand_as_it_was() {
    let mut site = Site::new(&["dexar", "novo"]);
    let gateway = site.start();
    site.change_brand("dexar", |brand| brand.origins.push(NEW_ORIGIN.to_owned()));
    site.change_brand("novo", |brand| brand.limits = "connections = \"many\"".to_owned());
    gateway.signal("-HUP");
    let line = gateway.await_log("reload refused");
    assert!(line.contains("novo.toml:") && line.contains("connections") && line.contains("ERROR"), "{line}");
    let dexar = gateway.client("dexar");
    gateway.await_log("applied the configuration of the other brands");
    assert!(is_allowed(&dexar, NEW_ORIGIN).await, "the valid file is applied");
    assert_eq!(gateway.client("novo").get("/category").await.status, 200);

    // An unreadable certificate is found before anything of its brand is applied.
    let novo = gateway.client("novo");
    site.change_brand("novo", |brand| {
        brand.limits.clear();
        brand.origins.push(NEW_ORIGIN.to_owned());
        brand.certificate = PathBuf::from("/nowhere/fullchain.pem");
    });
    gateway.signal("-HUP");
    gateway.await_log("/nowhere/fullchain.pem");
    assert!(!is_allowed(&novo, NEW_ORIGIN).await);

    site.change_brand("novo", |brand| brand.certificate = certificates().join("novo.pem"));
    gateway.signal("-HUP");
    gateway.await_log("reloaded the configuration");
    assert!(is_allowed(&novo, NEW_ORIGIN).await);
}

/// `ExecReload=`: the files are applied when the command returns, every time.
#[tokio::test]
async fn the_reload_command_waits_for_the_outcome() {
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
    let output = site.run(&["reload", "--at", &at]).failure(1);
    assert!(
        output.contains("reload refused: ") && output.contains("dexar.toml:") && output.contains("as before"),
        "{output}"
    );
    assert!(!is_allowed(&client, NEW_ORIGIN).await);

    // The format of $RUNTIME_DIRECTORY for a unit with several directories.
    let several = site.run(&["reload", "--at", &format!("{at}:/run/another")]).failure(1);
    assert_eq!(several, output);

    // A client that disconnects at once blocks no other.
    drop(std::os::unix::net::UnixStream::connect(gateway.runtime_directory.join("reload.socket")));
    site.change_brand("dexar", |brand| brand.limits.clear());
    site.run(&["reload", "--at", &at]).success();
    assert!(is_allowed(&client, NEW_ORIGIN).await);

    gateway.kill();
    let output = site.run(&["reload", "--at", &at]).failure(1);
    assert!(output.contains(&at) && output.contains("Connection refused") && output.contains("is running"), "{output}");
}

#[tokio::test]
async fn changes_that_need_a_restart_are_logged_and_the_rest_is_applied() {
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
    for (brand, change) in [
        ("dexar", "listen changed"),
        ("dexar", "[database] changed"),
        ("novo", "its file was removed"),
        ("third", "new brand"),
    ] {
        let line = gateway.await_log(&format!("{change}; takes effect after systemctl restart brandgate"));
        assert!(line.contains("WARN") && line.contains(&format!("brand=\"{brand}\"")), "{line}");
    }
    let log = gateway.log();
    let ready = log.rfind("database is ready").expect("one line per brand");
    assert!(log.find("serving dexar, novo") > Some(ready), "the line of all brands follows theirs: {log}");
    assert!(is_allowed(&Client::new(address), NEW_ORIGIN).await);
    assert_eq!(gateway.client("novo").get("/category").await.status, 200);
}

/// The certificate of a new connection.
async fn leaf(address: SocketAddr) -> Vec<u8> {
    let stream = connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_loaded_and_a_mismatched_pair_is_not() {
    let mut site = Site::new(&["dexar"]);
    let copy = |site: &Site, from: &str, kind: &str| {
        let bytes = std::fs::read(certificates().join(format!("{from}.{kind}"))).expect("certs.sh made it");
        let name = format!("certs/{kind}");
        // Written under another name and renamed, as the deploy hook does.
        let new_path = site.directory.write(&format!("{name}.new"), bytes);
        let path = site.directory.path().join(name);
        std::fs::rename(new_path, &path).expect("the same directory");
        path
    };
    let (certificate, key) = (copy(&site, "dexar", "pem"), copy(&site, "dexar", "key"));
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (certificate, key));
    let gateway = site.start();
    let address = gateway.address("dexar");
    let (client, before) = (gateway.client("dexar").http1(), leaf(address).await);
    assert_eq!(client.get("/ping").await.status, 200);

    copy(&site, "novo", "pem");
    let line = gateway.await_log("the current one stays in use");
    assert!(line.contains("does not fit") && line.contains("ERROR"), "{line}");
    assert_eq!(leaf(address).await, before);
    copy(&site, "novo", "key");
    gateway.await_log("loaded a new certificate");
    assert_ne!(leaf(address).await, before);
    assert_eq!(client.get("/ping").await.status, 200, "open connections stay open");
}

#[tokio::test]
async fn a_certificate_for_another_host_does_not_replace_a_good_one() {
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
    // A certificate for the right host is applied again.
    let good = site.brand("novo").clone();
    site.change_brand("dexar", |brand| (brand.certificate, brand.key) = (good.certificate, good.key));
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    assert_ne!(leaf(gateway.address("dexar")).await, before);
}

#[tokio::test]
async fn workers_reload() {
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
async fn a_reload_changes_the_connection_limit() {
    let mut site = Site::new(&["dexar"]);
    site.change_brand("dexar", |brand| brand.limits = "connections = 40\nconnections_per_address = 10".to_owned());
    let gateway = site.start();
    let address = gateway.address("dexar");
    let connect = || connect_tls(address, &["h2"], "localhost", rustls::ALL_VERSIONS);
    let held = [connect().await.expect("a handshake"), connect().await.expect("a handshake")];
    site.change_brand("dexar", |brand| brand.limits = "connections = 40\nconnections_per_address = 2".to_owned());
    gateway.signal("-HUP");
    gateway.await_log("reloaded");
    assert!(connect().await.is_err(), "a connection over the limit was accepted");
    drop(held);
    eventually_async("room again", 20, async || connect().await.ok()).await;
}
