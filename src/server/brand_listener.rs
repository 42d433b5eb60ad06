//! A brand's door: its listening sockets, its certificate, and the gate behind them, which a reload exchanges.
//!
//! Opened by `bin/brandgate serve`, one a brand. Connections live through an exchange: each keeps the TLS and the timeouts that
//! it began with, and asks for the present gate with every request. What must never happen: a connection is cut or a request
//! lost because a configuration changed, or a certificate that browsers refuse takes the place of one that they take.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::config::TlsConfig;
use crate::http::router::Router;
use crate::server::connection::SILENT_FOR;
use crate::server::connection::{self, Settings};
use crate::server::service::BrandService;
use crate::server::shutdown::{LEAVING_FOR, Shutdown};
use crate::server::{accept as listen, tls};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// Clones are the same door.
#[derive(Clone)]
pub struct BrandListener(Arc<Inner>);

struct Inner {
    present: ArcSwap<ListenerState>,
    router: Arc<Router<RequestContext>>,
    permits: Arc<Semaphore>,
    /// How many permits there are, taken or not.
    most_connections: AtomicUsize,
    ending: Shutdown,
    /// The certificate's files as they were last looked at.
    seen: Mutex<CertificateFiles>,
}

/// What an exchange replaces, whole.
pub struct ListenerState {
    gate: BrandService,
    settings: Settings,
    server: Arc<ServerConfig>,
    leaf: tls::Leaf,
    /// The certificate's files as they were before they were loaded.
    files: Files,
}

/// Time of change, size and inode of each; `None` for one that cannot be looked at.
type Files = Vec<Option<(i64, i64, u64, u64)>>;

#[derive(Default)]
struct CertificateFiles {
    files: Files,
    /// They did not fit each other: perhaps they are just being replaced.
    failed_before: bool,
}

impl BrandListener {
    /// A door that nobody is let in by yet.
    ///
    /// # Errors
    /// A sentence: the certificate cannot be read or does not fit its key.
    pub fn new(
        brand: Arc<Brand>,
        router: Arc<Router<RequestContext>>,
        ending: Shutdown,
    ) -> Result<BrandListener, String> {
        let files = look_at(&brand.config.tls);
        let seen = CertificateFiles { files: files.clone(), failed_before: false };
        let identity = load_identity(&brand)?;
        let most_connections = brand.config.limits.connections;
        let present = ListenerState::new(brand, router.clone(), (files, identity), &ending);
        present.tell_certificate();
        Ok(BrandListener(Arc::new(Inner {
            present: ArcSwap::from_pointee(present),
            router,
            permits: Arc::new(Semaphore::new(most_connections)),
            most_connections: AtomicUsize::new(most_connections),
            ending,
            seen: Mutex::new(seen),
        })))
    }

    /// The brand under its present configuration.
    pub fn brand(&self) -> Arc<Brand> {
        self.0.present.load().gate.brand().clone()
    }

    /// Why browsers refuse the present certificate, if they do.
    pub fn refusal(&self) -> Option<String> {
        self.0.present.load().refusal()
    }

    /// What would be behind the door under another configuration; nothing is changed yet.
    ///
    /// # Errors
    /// As [`BrandListener::new`]; also a certificate that browsers refuse, while the present one is good.
    pub fn prepare(&self, brand: Arc<Brand>) -> Result<ListenerState, String> {
        let files = look_at(&brand.config.tls);
        let identity = load_identity(&brand)?;
        let present = self.0.present.load();
        if let Some(refusal) = identity.leaf.refusal(brand.config.host(), brand.clock.now()) {
            let sentence = format!("{} {refusal}", brand.config.tls.certificate.display());
            // One without any subjectAltName is nobody's by mistake: somebody made it for a trial.
            if present.refusal().is_none() && !identity.leaf.names.is_empty() {
                return Err(format!("{}: {sentence}", brand.name()));
            }
            tracing::error!(brand = brand.name(), "{sentence}: browsers refuse it");
        }
        let identity = identity.resuming(&present.server);
        Ok(ListenerState::new(brand, self.0.router.clone(), (files, identity), &self.0.ending))
    }

    /// Puts it there: every later request and connection meets it.
    pub fn apply(&self, present: ListenerState) {
        let most = present.gate.brand().config.limits.connections;
        let before = self.0.most_connections.swap(most, Ordering::Relaxed);
        self.0.permits.add_permits(most.saturating_sub(before));
        if let Ok(fewer @ 1..) = u32::try_from(before.saturating_sub(most)) {
            let permits = self.0.permits.clone();
            // They may all be taken: connections that are too many now end by themselves.
            tokio::spawn(async move { permits.acquire_many_owned(fewer).await.map(|taken| taken.forget()) });
        }
        let files = present.files.clone();
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = CertificateFiles { files, failed_before: false };
        present.tell_certificate();
        let brand = present.gate.brand().clone();
        self.0.present.store(Arc::new(present));
        brand.cache.reconfigure(brand.config.cache_bytes);
    }

    /// Looks whether the certificate's files were replaced, and takes the new ones when they fit.
    ///
    /// `None` when there was nothing to do; an error is told once for files that do not fit, and not while they may be half
    /// replaced.
    pub fn renew(&self) -> Option<Result<Timestamp, String>> {
        let brand = self.brand();
        let files = look_at(&brand.config.tls);
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = seen.files != files;
        if !replaced && !seen.failed_before {
            return None;
        }
        match self.prepare(brand) {
            Ok(present) => {
                let not_after = present.leaf.not_after;
                present.tell_certificate();
                self.0.present.store(Arc::new(present));
                *seen = CertificateFiles { files, failed_before: false };
                Some(Ok(not_after))
            }
            Err(sentence) => {
                *seen = CertificateFiles { files, failed_before: replaced };
                (!replaced).then_some(Err(sentence))
            }
        }
    }

    /// How a connection to this address is served.
    fn settings(&self, bound_to: Option<SocketAddr>) -> Settings {
        let present = self.0.present.load();
        let mut settings = present.settings.clone();
        let spoken_on = &present.gate.brand().config.proxy_protocol.listen;
        if !spoken_on.is_empty() && !bound_to.is_some_and(|address| spoken_on.contains(&address)) {
            settings.trusted = [].into();
        }
        settings
    }

    /// Serves until the process is ending and the last connection has ended or used up its time.
    pub async fn serve(self, sockets: Vec<TcpListener>) {
        let (connections, ending) = (TaskTracker::new(), self.0.ending.clone());
        for socket in sockets {
            let (permits, door) = (self.0.permits.clone(), self.clone());
            let bound_to = socket.local_addr().ok();
            let enter = move || (door.settings(bound_to), door.clone());
            connections.spawn(listen::run(socket, permits, connections.clone(), ending.clone(), enter));
        }
        ending.closing().await;
        connections.close();
        let brand = self.brand();
        let last = ending.last_moment(brand.config.timeouts.drain).max(Instant::now() + SILENT_FOR) + LEAVING_FOR;
        if tokio::time::timeout_at(last, connections.wait()).await.is_err() {
            tracing::warn!(brand = brand.name(), "some requests were still running at the end of the drain time");
        }
    }
}

impl connection::ConnectionHandler for BrandListener {
    fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<> {
        let present = self.0.present.load();
        match present.gate.try_cached(request) {
            Ok(response) => Either::Left(std::future::ready(response)),
            Err(asking) => {
                let present = Guard::into_inner(present);
                // In a box, because a connection keeps room for the answer to come as long as it lives.
                Either::Right(Box::pin(async move { present.gate.answer(asking, client).await }))
            }
        }
    }
}

impl ListenerState {
    fn new(
        brand: Arc<Brand>,
        router: Arc<Router<RequestContext>>,
        (files, identity): (Files, tls::Identity),
        ending: &Shutdown,
    ) -> ListenerState {
        let settings = Settings {
            tls: TlsAcceptor::from(identity.server.clone()),
            limits: brand.config.limits,
            timeouts: brand.config.timeouts,
            trusted: brand.config.proxy_protocol.trusted.clone().into(),
            metrics: brand.metrics.clone(),
            ending: ending.clone(),
        };
        ListenerState {
            gate: BrandService::new(brand, router),
            settings,
            server: identity.server,
            leaf: identity.leaf,
            files,
        }
    }

    fn tell_certificate(&self) {
        self.gate.brand().metrics.tls_certificate_not_after_timestamp_seconds().set(self.leaf.not_after.as_second());
    }

    fn refusal(&self) -> Option<String> {
        let brand = self.gate.brand();
        self.leaf.refusal(brand.config.host(), brand.clock.now())
    }
}

fn load_identity(brand: &Brand) -> Result<tls::Identity, String> {
    tls::load(&brand.config.tls, brand.name(), &brand.clock).map_err(|sentence| format!("{}: {sentence}", brand.name()))
}

fn look_at(tls: &TlsConfig) -> Files {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    };
    [&tls.certificate, &tls.key].map(|path| stamp(path)).to_vec()
}
