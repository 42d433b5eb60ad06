//! `brandgate serve`: the HTTPS listeners of all brands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use brandgate::config::{LoadedBrands, UnavailableConfig};
use brandgate::platform::postgres::Purpose;
use brandgate::routes::{SharedRoutes, routes};
use brandgate::search::{self, query_counts};
use brandgate::server::brand_listener::BrandListener;
use brandgate::server::shutdown::Shutdown;
use brandgate::server::unavailable_listener::UnavailableListener;
use brandgate::server::{accept, admin_listener};
use brandgate::telemetry::traces;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::brands::SharedBrands;
use brandgate::tenant::reload::ConfigSource;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::process_role::ProcessRole;
use crate::supervisor::{RetryArguments, Signals, Supervisor};
use crate::systemd::{self, InheritedSockets};

#[derive(clap::Args)]
pub(crate) struct ServeArguments {
    /// Answer /metrics, /healthz and /readyz at this loopback address, in plain HTTP
    #[arg(long, env = "BRANDGATE_ADMIN", default_value = "127.0.0.1:9445")]
    admin: SocketAddr,
    #[command(flatten)]
    retry: RetryArguments,
}

struct Gateway {
    router: SharedRoutes,
    brands: BTreeMap<String, Endpoint>,
    inherited: InheritedSockets,
    serving: TaskTracker,
    shutdown: Shutdown,
    /// Whether systemd holds the listening sockets.
    has_inherited_sockets: bool,
}

/// The sockets of a brand and what accepts on them.
#[derive(Default)]
struct Endpoint {
    listener: Option<BrandListener>,
    /// Whether its cache follows the catalogue.
    is_following: bool,
    sockets: Sockets,
}

#[derive(Default)]
enum Sockets {
    #[default]
    None,
    /// Until the start, clients wait in the kernel's accept queue instead of being refused.
    Idle(Vec<TcpListener>),
    Unavailable(UnavailableListener),
    Serving,
}

impl ProcessRole for Gateway {
    const ACTIVITY: &'static str = "serving";
    const UNIT: &'static str = "brandgate";
    const IN_PROGRESS: &'static str = "requests";
    const PURPOSE: Purpose = Purpose::Visitors;

    fn prepare(&mut self, brand: &Arc<Brand>) -> Result<(), String> {
        self.open_sockets(brand)?;
        let endpoint = self.brands.entry(brand.name().to_owned()).or_default();
        match &endpoint.listener {
            Some(listener) => {
                listener.apply(listener.prepare(brand.clone())?);
                // Once its database is ready: until then each attempt has a cache of its own.
                endpoint.is_following = false;
            }
            None => {
                let listener = BrandListener::new(brand.clone(), self.router.clone(), self.shutdown.clone())?;
                if let Some(problem) = listener.certificate_problem() {
                    let file = brand.config.tls.certificate.display();
                    tracing::error!(brand = brand.name(), "{file} {problem}: browsers refuse it");
                }
                let counted = listener.clone();
                tokio::spawn(query_counts::keep_writing(move || counted.brand()));
                endpoint.listener = Some(listener);
                endpoint.is_following = true;
                brand.follow_catalog_changes();
                search::follow(brand);
            }
        }
        Ok(())
    }

    fn start(&mut self, brand: &Arc<Brand>) {
        let Some(endpoint) = self.brands.get_mut(brand.name()) else { return };
        let Some(listener) = endpoint.listener.clone() else { return };
        if brand.is_ready() && !std::mem::replace(&mut endpoint.is_following, true) {
            brand.follow_catalog_changes();
            search::follow(brand);
        }
        match std::mem::replace(&mut endpoint.sockets, Sockets::Serving) {
            Sockets::Idle(sockets) => drop(self.serving.spawn(listener.serve(sockets))),
            Sockets::Unavailable(unavailable) => {
                let stopped = unavailable.stop();
                self.serving.spawn(async move { listener.serve(stopped.await).await });
            }
            Sockets::None | Sockets::Serving => {}
        }
    }

    fn refuse(&mut self, name: &str, config: Option<&UnavailableConfig>) {
        let endpoint = self.brands.entry(name.to_owned()).or_default();
        let sockets = match std::mem::take(&mut endpoint.sockets) {
            Sockets::None => self.inherited.take_listeners(name).unwrap_or_default(),
            Sockets::Idle(sockets) => sockets,
            Sockets::Unavailable(unavailable) => {
                unavailable.configure(config);
                endpoint.sockets = Sockets::Unavailable(unavailable);
                return;
            }
            // Its own service answers.
            Sockets::Serving => {
                endpoint.sockets = Sockets::Serving;
                return;
            }
        };
        if !sockets.is_empty() {
            let unavailable = UnavailableListener::start(name, sockets, config, &self.shutdown);
            endpoint.sockets = Sockets::Unavailable(unavailable);
        }
    }

    fn check_certificates(&mut self) {
        for listener in self.brands.values().filter_map(|endpoint| endpoint.listener.as_ref()) {
            let brand = listener.brand();
            match listener.reload_certificate() {
                None => {}
                Some(Ok(not_after)) => tracing::info!(brand = brand.name(), %not_after, "loaded a new certificate"),
                Some(Err(message)) => {
                    let brand = brand.name();
                    tracing::error!(
                        brand,
                        "failed to load the new certificate; the current one stays in use: {message}"
                    );
                }
            }
        }
    }

    fn reconfigure(&mut self, brand: &Arc<Brand>) -> Result<(), String> {
        let endpoint = self.brands.get(brand.name());
        let Some(listener) = endpoint.and_then(|endpoint| endpoint.listener.as_ref()) else { return Ok(()) };
        listener.apply(listener.prepare(brand.clone())?);
        Ok(())
    }

    async fn shut_down(self, brands: &[Arc<Brand>]) {
        // Without a start there are no requests to drain.
        let is_started = |brand: &&Arc<Brand>| {
            self.brands.get(brand.name()).is_some_and(|endpoint| matches!(endpoint.sockets, Sockets::Serving))
        };
        let drain = brands.iter().filter(is_started).map(|brand| brand.config.timeouts.drain).max();
        let idle = |endpoint: Endpoint| matches!(endpoint.sockets, Sockets::Idle(_)).then_some(endpoint.sockets);
        // Closes the sockets that nothing accepts on; the others are closed by their accept loops.
        drop(self.brands.into_values().filter_map(idle).collect::<Vec<_>>());
        self.shutdown.run(drain.unwrap_or_default(), self.has_inherited_sockets).await;
        self.serving.close();
        self.serving.wait().await;
        let mut writes = JoinSet::new();
        for brand in brands.iter().filter(|brand| brand.is_ready()) {
            writes.spawn(query_counts::write_rest(brand.clone()));
        }
        writes.join_all().await;
    }
}

impl Gateway {
    /// Takes the brand's sockets from systemd or binds them, unless it has them.
    fn open_sockets(&mut self, brand: &Brand) -> Result<(), String> {
        let name = brand.name();
        let endpoint = self.brands.entry(name.to_owned()).or_default();
        if !matches!(endpoint.sockets, Sockets::None) {
            return Ok(());
        }
        let mut sockets = self.inherited.take_listeners(name)?;
        if sockets.is_empty() {
            let bound = brand.config.listen.iter().map(|address| accept::bind(*address)).collect::<Result<_, _>>();
            sockets = bound.map_err(|message| match self.has_inherited_sockets {
                true => format!(
                    "{message}; systemd has no socket {name}, run systemctl enable --now brandgate@{name}.socket"
                ),
                false => message,
            })?;
        }
        let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok());
        let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
        tracing::info!(brand = name, listen = addresses.join(", "), "listening");
        endpoint.sockets = Sockets::Idle(sockets);
        Ok(())
    }
}

/// # Errors
/// A socket or option that cannot be used; no brand that can be served.
pub(crate) async fn run(loaded: LoadedBrands, source: ConfigSource, arguments: ServeArguments) -> Result<(), String> {
    let signals = Signals::listen();
    traces::start()?;
    let mut inherited = InheritedSockets::from_environment()?;
    let has_inherited_sockets = !inherited.is_empty();
    let admin_socket = admin_socket(&mut inherited, arguments.admin)?;
    let known = loaded.valid.iter().map(|config| &config.name).chain(loaded.invalid.iter().map(|brand| &brand.name));
    for name in inherited.names_except(&known.map(String::as_str).collect::<Vec<_>>()) {
        tracing::warn!(brand = name, "ignoring a socket of systemd: there is no brand of its name");
    }
    let brands = SharedBrands::default();
    tokio::spawn(admin_listener::serve(admin_socket, brands.clone()));
    tokio::spawn(systemd::notify_watchdog());
    let gateway = Gateway {
        router: Arc::new(routes()),
        brands: BTreeMap::new(),
        inherited,
        serving: TaskTracker::new(),
        shutdown: Shutdown::default(),
        has_inherited_sockets,
    };
    let ended = Supervisor::new(gateway, brands, source, signals, &arguments.retry).run(loaded).await;
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
