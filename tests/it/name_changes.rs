//! A dependency that moves to another address under its name: it is reached there without a restart.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::harness::shop::{Shop, order};
use crate::harness::{BrowserClient, LocalhostName, eventually_async, free_port};

/// How long a dependency may take to be found at its new address on a busy machine.
const RECOVERY_S: u64 = 30;

/// Where a server really listens.
#[derive(Clone)]
enum Server {
    Socket(PathBuf),
    Port(u16),
}

/// Forwards the connections of one address to the servers of a site until it is dropped, which cuts them off.
struct Address {
    _forwarders: JoinSet<()>,
}

impl Address {
    async fn open(address: Ipv4Addr, servers: &[(u16, Server)]) -> Address {
        let mut forwarders = JoinSet::new();
        for (port, server) in servers {
            let listener = TcpListener::bind(SocketAddr::from((address, *port))).await.expect("a free port");
            let server = server.clone();
            forwarders.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(forward(client, server.clone()));
                }
            });
        }
        Address { _forwarders: forwarders }
    }
}

async fn forward(mut client: TcpStream, server: Server) {
    // Either side may close the connection.
    let _ = match server {
        Server::Socket(path) => {
            copy_bidirectional(&mut client, &mut UnixStream::connect(path).await.expect("the server listens")).await
        }
        Server::Port(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
            copy_bidirectional(&mut client, &mut server).await
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_followed_to_their_new_addresses() {
    let [old, new] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let shop = Shop::start();
    let mut site = shop.site.replica();
    let (database, redis, api) = (free_port(), free_port(), free_port());
    let servers = [
        (database, Server::Socket(site.services.postgres_socket())),
        (redis, Server::Socket(site.services.redis_socket())),
        (api, Server::Port(shop.sandbox.port)),
    ];
    let (schema, number) = (site.database.clone(), site.redis_number());
    let direct = format!("127.0.0.1:{}", shop.sandbox.port);
    site.change_brand("dexar", |file| {
        file.database_url = format!("postgresql://localhost:{database}/{schema}");
        file.redis_url = format!("redis://localhost:{redis}/{number}");
        file.bank = file.bank.replace(&direct, &format!("localhost:{api}"));
    });
    let name = LocalhostName::install(&mut site, old);
    let at_old = Address::open(old, &servers).await;
    let gateway = site.start();
    let browser = BrowserClient::new(gateway.client("dexar"));
    let mug = |name: &str| order(name, "3", &[(14, "3", Some(1))]);
    browser.post("/cart", &json!({"itemID": 14})).await.ok_json();
    browser.post("/cart", &mug("before")).await.ok_json();

    drop(at_old);
    name.change(new);
    let _at_new = Address::open(new, &servers).await;
    eventually_async("the cart is read at the new address of PostgreSQL", RECOVERY_S, async || {
        (browser.get("/cart").await.status == 200).then_some(())
    })
    .await;
    eventually_async("a payment is registered at the new address of the bank", RECOVERY_S, async || {
        (browser.post("/cart", &mug("after")).await.status == 200).then_some(())
    })
    .await;
    eventually_async("PostgreSQL and Redis are available", RECOVERY_S, async || {
        let (_, ready) = gateway.admin("/readyz").ok()?;
        (ready["brands"]["dexar"]["lacks"] == json!([])).then_some(())
    })
    .await;
}
