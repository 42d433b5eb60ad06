//! The listener of a brand: its sockets, its certificate, and the service behind them, which a reload replaces.
//!
//! # Invariants
//!
//! - A reload closes no connection and loses no request. A connection keeps the TLS settings and timeouts that it began
//!   with; each request is handled by the service that is current when it arrives.
//! - A certificate that browsers accept is never replaced by one that they reject.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::{Request, Response};
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::config::TlsConfig;
use crate::http::router::Router;
use crate::server::clients::{Clients, ConnectionClient};
use crate::server::connection::{self, CLOSE_GRACE, ConnectionSettings};
use crate::server::response_body::ResponseBody;
use crate::server::service::BrandService;
use crate::server::shutdown::{REFUSAL_PERIOD, Shutdown};
use crate::server::{accept, tls};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// Clones share one listener.
#[derive(Clone)]
pub struct BrandListener(Arc<Inner>);

struct Inner {
    state: ArcSwap<ListenerState>,
    router: Arc<Router<RequestContext>>,
    clients: Arc<Clients>,
    shutdown: Shutdown,
    certificate_files: Mutex<CertificateFiles>,
}

/// What a reload replaces as a whole.
pub struct ListenerState {
    service: BrandService,
    settings: ConnectionSettings,
    tls_config: Arc<ServerConfig>,
    certificate: tls::CertificateInfo,
    /// The certificate's files as they were before they were loaded.
    files: FileStamps,
}

/// Modification time (s, ns), size and inode of each file; `None` for one that cannot be read.
type FileStamps = Vec<Option<(i64, i64, u64, u64)>>;

/// The certificate's files when they were last checked.
#[derive(Default)]
struct CertificateFiles {
    stamps: FileStamps,
    /// They could not be loaded, perhaps because only one of them had been replaced.
    has_failed: bool,
}

impl BrandListener {
    /// Loads the certificate; nothing is accepted before [`BrandListener::serve`].
    ///
    /// # Errors
    /// The certificate cannot be read or does not fit its key.
    pub fn new(
        brand: Arc<Brand>,
        router: Arc<Router<RequestContext>>,
        shutdown: Shutdown,
    ) -> Result<BrandListener, String> {
        let stamps = stamp_files(&brand.config.tls);
        let certificate_files = Mutex::new(CertificateFiles { stamps: stamps.clone(), has_failed: false });
        let identity = load_identity(&brand)?;
        let clients = Clients::new(brand.account.clone(), brand.config.limits, brand.metrics.clone());
        let state = ListenerState::new(brand, router.clone(), (stamps, identity), &clients, &shutdown);
        state.record_expiry();
        Ok(BrandListener(Arc::new(Inner {
            state: ArcSwap::from_pointee(state),
            router,
            clients,
            shutdown,
            certificate_files,
        })))
    }

    /// The brand with its current configuration.
    pub fn brand(&self) -> Arc<Brand> {
        self.0.state.load().service.brand().clone()
    }

    /// Why browsers reject the current certificate; `None` when they accept it.
    pub fn certificate_problem(&self) -> Option<String> {
        self.0.state.load().certificate_problem()
    }

    /// The state under another configuration; nothing is replaced before [`BrandListener::apply`].
    ///
    /// # Errors
    /// As [`BrandListener::new`]; also a certificate that browsers reject, while they accept the current one.
    pub fn prepare(&self, brand: Arc<Brand>) -> Result<ListenerState, String> {
        let stamps = stamp_files(&brand.config.tls);
        let identity = load_identity(&brand)?;
        let current = self.0.state.load();
        if let Some(problem) = identity.certificate.problem(brand.config.host(), brand.clock.now()) {
            let message = format!("{} {problem}", brand.config.tls.certificate.display());
            // A certificate without subjectAltName is no renewal gone wrong: it was made for a test.
            if current.certificate_problem().is_none() && !identity.certificate.names.is_empty() {
                return Err(format!("{}: {message}", brand.name()));
            }
            tracing::error!(brand = brand.name(), "{message}: browsers refuse it");
        }
        let identity = identity.resuming(&current.tls_config);
        let Inner { router, clients, shutdown, .. } = &*self.0;
        Ok(ListenerState::new(brand, router.clone(), (stamps, identity), clients, shutdown))
    }

    /// Replaces the state for all later requests and connections.
    pub fn apply(&self, state: ListenerState) {
        // Connections over a lower limit are not closed.
        self.0.clients.set_limits(state.service.brand().config.limits);
        let stamps = state.files.clone();
        *self.certificate_files() = CertificateFiles { stamps, has_failed: false };
        state.record_expiry();
        let (former, brand) = (self.brand(), state.service.brand().clone());
        self.0.state.store(Arc::new(state));
        // Otherwise the responses are still right, and during an outage there would be no others.
        if former.config != brand.config {
            brand.cache.reconfigure(brand.config.cache_bytes);
        }
    }

    /// Loads the certificate again if its files have changed; returns when the new one expires.
    ///
    /// `None` when there is nothing to do. Files that do not fit are an error only at the second attempt, and once: the
    /// first may have met them half replaced.
    pub fn reload_certificate(&self) -> Option<Result<Timestamp, String>> {
        let brand = self.brand();
        let stamps = stamp_files(&brand.config.tls);
        let mut files = self.certificate_files();
        let has_changed = files.stamps != stamps;
        if !has_changed && !files.has_failed {
            return None;
        }
        match self.prepare(brand) {
            Ok(state) => {
                let not_after = state.certificate.not_after;
                state.record_expiry();
                self.0.state.store(Arc::new(state));
                *files = CertificateFiles { stamps, has_failed: false };
                Some(Ok(not_after))
            }
            Err(message) => {
                *files = CertificateFiles { stamps, has_failed: has_changed };
                (!has_changed).then_some(Err(message))
            }
        }
    }

    fn certificate_files(&self) -> MutexGuard<'_, CertificateFiles> {
        self.0.certificate_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How connections to this address are served: with a PROXY header where the configuration expects one.
    fn settings(&self, bound_to: Option<SocketAddr>) -> ConnectionSettings {
        let state = self.0.state.load();
        let mut settings = state.settings.clone();
        let proxied = &state.service.brand().config.proxy_protocol.listen;
        if !proxied.is_empty() && !bound_to.is_some_and(|address| proxied.contains(&address)) {
            settings.trusted_proxies = [].into();
        }
        settings
    }

    /// Serves until shutdown, and returns when the last connection has closed or the drain timeout has passed.
    pub async fn serve(self, sockets: Vec<TcpListener>) {
        let (connections, shutdown) = (TaskTracker::new(), self.0.shutdown.clone());
        for socket in sockets {
            let listener = self.clone();
            let bound_to = socket.local_addr().ok();
            let serve_with = move || (listener.settings(bound_to), listener.clone());
            connections.spawn(accept::run(socket, connections.clone(), shutdown.clone(), serve_with));
        }
        shutdown.closing().await;
        connections.close();
        let brand = self.brand();
        let deadline = shutdown.close_deadline(brand.config.timeouts.drain).max(Instant::now() + CLOSE_GRACE);
        if tokio::time::timeout_at(deadline + REFUSAL_PERIOD, connections.wait()).await.is_err() {
            tracing::warn!(brand = brand.name(), "drain timeout passed; requests in progress are aborted");
        }
    }
}

impl connection::ConnectionHandler for BrandListener {
    fn brand_name(&self) -> String {
        self.brand().name().to_owned()
    }

    fn handle(
        &self,
        request: Request<Incoming>,
        client: &Arc<ConnectionClient>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + use<> {
        let state = self.0.state.load();
        match state.service.try_cached(request) {
            Ok(response) => Either::Left(std::future::ready(response.map(ResponseBody::shared))),
            Err(pending) => {
                let (state, client) = (Guard::into_inner(state), client.clone());
                // Boxed, because a connection holds room for this future all its life.
                Either::Right(Box::pin(async move { state.service.handle(pending, client).await }))
            }
        }
    }
}

impl ListenerState {
    fn new(
        brand: Arc<Brand>,
        router: Arc<Router<RequestContext>>,
        (files, identity): (FileStamps, tls::TlsIdentity),
        clients: &Arc<Clients>,
        shutdown: &Shutdown,
    ) -> ListenerState {
        let settings = ConnectionSettings {
            tls: TlsAcceptor::from(identity.config.clone()),
            limits: brand.config.limits,
            timeouts: brand.config.timeouts,
            trusted_proxies: brand.config.proxy_protocol.trusted.clone().into(),
            metrics: brand.metrics.clone(),
            shutdown: shutdown.clone(),
            clients: clients.clone(),
        };
        ListenerState {
            service: BrandService::new(brand, router),
            settings,
            tls_config: identity.config,
            certificate: identity.certificate,
            files,
        }
    }

    /// Sets the metric of the certificate's expiry.
    fn record_expiry(&self) {
        self.service
            .brand()
            .metrics
            .tls_certificate_not_after_timestamp_seconds()
            .set(self.certificate.not_after.as_second());
    }

    fn certificate_problem(&self) -> Option<String> {
        let brand = self.service.brand();
        self.certificate.problem(brand.config.host(), brand.clock.now())
    }
}

fn load_identity(brand: &Brand) -> Result<tls::TlsIdentity, String> {
    tls::load(&brand.config.tls, brand.name(), &brand.clock).map_err(|message| format!("{}: {message}", brand.name()))
}

fn stamp_files(tls: &TlsConfig) -> FileStamps {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
    };
    [&tls.certificate, &tls.key].map(|path| stamp(path)).to_vec()
}
