//! A running gateway.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::brand_file::free_port;
use super::client::Client;
use super::process::Process;
use super::services::{eventually, eventually_async};
use super::site::Site;

/// The environment variable of the allocator's options.
const ALLOCATOR_SETTING: &str = "_RJEM_MALLOC_CONF";

/// The allocator's options in the unit.
fn allocator_options() -> String {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/brandgate.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let prefix = format!("Environment={ALLOCATOR_SETTING}=");
    unit.lines().find_map(|line| line.strip_prefix(&prefix)).expect("the unit sets them").to_owned()
}

pub(crate) struct Gateway {
    process: Process,
    ports: HashMap<String, u16>,
    admin_port: u16,
    /// The runtime directory, as `RuntimeDirectory=` creates it.
    pub runtime_directory: PathBuf,
}

impl Gateway {
    pub(crate) fn start(site: &Site) -> Gateway {
        Gateway::start_with(site, &[])
    }

    /// With these additional arguments of `serve`.
    pub(crate) fn start_with(site: &Site, arguments: &[&str]) -> Gateway {
        let admin_port = free_port();
        let runtime_directory = site.directory.path().join(format!("run-{admin_port}"));
        std::fs::create_dir(&runtime_directory).expect("the test's directory is writable");
        let process = Process::start("gateway", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |command| {
            command.arg("serve").args(arguments);
            site.set_environment(command);
            command.env("BRANDGATE_ADMIN", format!("127.0.0.1:{admin_port}"));
            command.env("RUNTIME_DIRECTORY", &runtime_directory);
            command.env(ALLOCATOR_SETTING, allocator_options());
        });
        let ports = site.brands.iter().map(|brand| (brand.name.clone(), brand.port)).collect();
        Gateway { process, ports, admin_port, runtime_directory }
    }

    pub(crate) fn address(&self, brand: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[brand]))
    }

    /// An HTTP/2 client of one brand.
    pub(crate) fn client(&self, brand: &str) -> Client {
        Client::new(self.address(brand))
    }

    /// Status and JSON of a path on the admin listener.
    pub(crate) fn admin(&self, path: &str) -> std::io::Result<(u16, Value)> {
        let (head, body) = plain_http_get(self.admin_port, path)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    pub(crate) fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        plain_http_get(self.admin_port, "/metrics").expect("the admin listener answers").1
    }

    /// Waits until a scrape contains this line, the name and labels of a series and its value.
    pub(crate) fn await_metric(&self, line: &str) {
        eventually(line, 20, || self.metrics().lines().any(|found| found == line).then_some(()));
    }

    /// The counts of cache hits, misses and stale hits of a brand.
    pub(crate) fn cache_lookups(&self, brand: &str) -> [u64; 3] {
        let text = self.metrics();
        ["hit", "miss", "stale"].map(|result| {
            let series = format!("brandgate_cache_lookups_total{{brand=\"{brand}\",result=\"{result}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&series)).expect("the series is there");
            value.parse().expect("a count")
        })
    }

    /// Requests a path until it is a cache hit. The first check over a new invalidation connection clears the cache, so earlier
    /// entries are lost.
    pub(crate) async fn await_cached(&self, brand: &str, path: &str) {
        let client = self.client(brand);
        eventually_async("the response is cached", 20, async || {
            let hits = self.cache_lookups(brand)[0];
            client.get(path).await;
            (self.cache_lookups(brand)[0] > hits).then_some(())
        })
        .await;
    }

    /// Waits until every brand accepts connections, ready or not.
    pub(crate) fn await_listening(&self) {
        eventually("every brand accepts connections", 20, || {
            assert!(self.exit_status().is_none(), "the gateway exited unexpectedly:\n{}", self.log());
            self.ports.values().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()).then_some(())
        });
    }

    /// Waits one second, the limit for the propagation of a change by another process.
    pub(crate) async fn await_propagation(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    pub(crate) fn await_ready(&self) {
        eventually("the gateway is ready", 20, || {
            assert!(self.exit_status().is_none(), "the gateway exited unexpectedly:\n{}", self.log());
            self.admin("/readyz").ok().filter(|(status, _)| *status == 200)
        });
    }
}

/// The head and the body of a response of an admin listener.
pub(crate) fn plain_http_get(port: u16, path: &str) -> std::io::Result<(String, String)> {
    plain_http_get_accepting(port, path, "*/*")
}

/// The same with a value of `Accept`.
pub(crate) fn plain_http_get_accepting(port: u16, path: &str, accept: &str) -> std::io::Result<(String, String)> {
    plain_http(port, &format!("GET {path} HTTP/1.1\r\nAccept: {accept}"))
}

/// The head and the body of the response to a request without a body; `request` lacks `Host`.
pub(crate) fn plain_http(port: u16, request: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.to_owned(), body.to_owned()))
}

impl Deref for Gateway {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
