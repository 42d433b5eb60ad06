//! `brandgate serve`: the HTTPS listeners of all brands.

use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use brandgate::config::BrandConfig;
use brandgate::platform::postgres::Purpose;
use brandgate::routes::routes;
use brandgate::server::brand_listener::BrandListener;
use brandgate::server::shutdown::Shutdown;
use brandgate::server::{accept, admin};
use brandgate::telemetry::traces;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::{ConfigSource, Reloaded};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::supervisor::{ProcessRole, Signals, Supervisor, open_all};
use crate::systemd::{self, InheritedSockets};

#[derive(clap::Args)]
pub(crate) struct ServeArguments {
    /// Answer /metrics, /healthz and /readyz at this loopback address, in plain HTTP
    #[arg(long, env = "BRANDGATE_ADMIN", default_value = "127.0.0.1:9445")]
    admin: SocketAddr,
}

struct Gateway {
    listeners: Vec<BrandListener>,
    /// Until the start, clients wait in the kernel's accept queue instead of being refused.
    unserved: Vec<(BrandListener, Vec<TcpListener>)>,
    serving: TaskTracker,
    shutdown: Shutdown,
    /// Whether systemd holds the listening sockets.
    has_inherited_sockets: bool,
}

impl ProcessRole for Gateway {
    const ACTIVITY: &'static str = "serving";

    fn start(&mut self, _brands: &[Arc<Brand>], _all_ready: bool) {
        for (listener, sockets) in self.unserved.drain(..) {
            self.serving.spawn(listener.serve(sockets));
        }
    }

    fn check_certificates(&mut self) {
        for listener in &self.listeners {
            let brand = listener.brand();
            match listener.reload_certificate() {
                None => {}
                Some(Ok(not_after)) => tracing::info!(brand = brand.name(), %not_after, "loaded a new certificate"),
                Some(Err(message)) => {
                    tracing::error!("failed to load the new certificate; the current one stays in use: {message}");
                }
            }
        }
    }

    /// For all listeners or none.
    fn apply(&mut self, reloaded: &Reloaded) -> Result<(), String> {
        let prepared = self.listeners.iter().zip(&reloaded.brands);
        let prepared: Vec<_> =
            prepared.map(|(listener, brand)| listener.prepare(brand.clone())).collect::<Result<_, _>>()?;
        for (listener, state) in self.listeners.iter().zip(prepared) {
            listener.apply(state);
        }
        Ok(())
    }

    async fn shut_down(self, brands: &[Arc<Brand>]) {
        // Without a start there are no requests to drain.
        let is_started = self.unserved.is_empty();
        let drain = brands.iter().map(|brand| brand.config.timeouts.drain).max().filter(|_| is_started);
        drop(self.unserved);
        self.shutdown.run(drain.unwrap_or_default(), self.has_inherited_sockets).await;
        self.serving.close();
        self.serving.wait().await;
    }
}

pub(crate) async fn run(
    configs: Vec<BrandConfig>,
    source: ConfigSource,
    arguments: ServeArguments,
) -> Result<(), String> {
    let signals = Signals::listen();
    traces::start()?;
    let mut inherited = InheritedSockets::from_environment()?;
    let has_inherited_sockets = !inherited.is_empty();
    let admin_socket = admin_socket(&mut inherited, arguments.admin)?;
    let brands = crate::build_brands(configs, Purpose::Visitors)?;
    // The databases open while the certificates are loaded: the first use of cryptography is slow.
    let opening = tokio::spawn(open_all(brands.clone()));
    brands.iter().for_each(|brand| brand.follow_catalog_changes());
    let shutdown = Shutdown::default();
    let (listeners, sockets) = prepare(&brands, &mut inherited, &shutdown)?;
    for name in inherited.remaining_names() {
        tracing::warn!("ignoring the socket {name} of systemd: there is no brand of that name");
    }
    let brands = Arc::new(ArcSwap::from_pointee(brands));
    tokio::spawn(admin::serve(admin_socket, brands.clone()));
    tokio::spawn(systemd::notify_watchdog());
    let unserved = listeners.iter().cloned().zip(sockets).collect();
    let gateway = Gateway { listeners, unserved, serving: TaskTracker::new(), shutdown, has_inherited_sockets };
    let ended = Supervisor::new(gateway, brands, source, signals, opening).run().await;
    tokio::task::spawn_blocking(traces::flush).await.map_err(|e| e.to_string())?;
    ended
}

/// The admin listener's socket: systemd's, or one bound to `address`.
///
/// # Errors
/// An address that is not loopback or cannot be bound.
pub(crate) fn admin_socket(inherited: &mut InheritedSockets, address: SocketAddr) -> Result<TcpListener, String> {
    let socket = match inherited.take("admin").pop() {
        Some(socket) => {
            TcpListener::from_std(socket).map_err(|e| format!("failed to use the socket admin of systemd: {e}"))?
        }
        None => {
            require_loopback(address)?;
            accept::bind(address)?
        }
    };
    require_loopback(socket.local_addr().map_err(|e| e.to_string())?)?;
    Ok(socket)
}

fn require_loopback(address: SocketAddr) -> Result<(), String> {
    match address.ip().is_loopback() {
        true => Ok(()),
        false => Err(format!("--admin {address}: expected a loopback address, because it shows data of all brands")),
    }
}

/// Takes or binds every brand's sockets and loads its certificate.
///
/// # Errors
/// Every problem of every brand.
fn prepare(
    brands: &[Arc<Brand>],
    inherited: &mut InheritedSockets,
    shutdown: &Shutdown,
) -> Result<(Vec<BrandListener>, Vec<Vec<TcpListener>>), String> {
    let router = Arc::new(routes());
    let has_inherited_sockets = !inherited.is_empty();
    let (mut problems, mut listeners, mut all_sockets) = (Vec::new(), Vec::new(), Vec::new());
    for brand in brands {
        let name = brand.name();
        match sockets_of(brand, inherited.take(name)) {
            Ok(sockets) => {
                let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok());
                let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
                tracing::info!(brand = name, listen = addresses.join(", "), "listening");
                all_sockets.push(sockets);
            }
            Err(message) if has_inherited_sockets => problems.push(format!(
                "{name}: {message}; systemd has no socket {name}, run systemctl enable --now brandgate@{name}.socket"
            )),
            Err(message) => problems.push(format!("{name}: {message}")),
        }
    }
    // After all sockets, because loading a certificate is slow: clients of every brand already wait in the accept queue.
    for brand in brands {
        match BrandListener::new(brand.clone(), router.clone(), shutdown.clone()) {
            Ok(listener) => {
                if let Some(problem) = listener.certificate_problem() {
                    let file = brand.config.tls.certificate.display();
                    tracing::error!(brand = brand.name(), "{file} {problem}: browsers refuse it");
                }
                listeners.push(listener);
            }
            Err(message) => problems.push(message),
        }
    }
    if problems.is_empty() { Ok((listeners, all_sockets)) } else { Err(problems.join("\nbrandgate: ")) }
}

fn sockets_of(brand: &Brand, inherited: Vec<StdTcpListener>) -> Result<Vec<TcpListener>, String> {
    if inherited.is_empty() {
        return brand.config.listen.iter().map(|address| accept::bind(*address)).collect();
    }
    inherited.into_iter().map(|socket| TcpListener::from_std(socket).map_err(|e| e.to_string())).collect()
}
