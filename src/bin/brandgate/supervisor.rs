//! The event loop of `serve` and `work`: start, reloads and graceful shutdown.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use brandgate::telemetry::metrics;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::{ConfigSource, Reloaded};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval};

use crate::reload::{ReloadRequest, ReloadSocket};
use crate::systemd;

/// How long a start waits for the databases of all brands. Then the process starts, and what needs a database is answered with 503.
const MAX_OPENING_TIME: Duration = Duration::from_secs(2);

const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The brands of a process, replaced by a reload.
pub(crate) type Brands = Arc<ArcSwap<Vec<Arc<Brand>>>>;

/// What a long-running process does between the events that [`Supervisor`] handles.
pub(crate) trait ProcessRole {
    /// What the status line says before the brands' names.
    const ACTIVITY: &'static str;

    /// Starts. Called at most twice: when the wait for the databases times out, and when all are ready.
    fn start(&mut self, brands: &[Arc<Brand>], all_ready: bool);

    /// Called every [`CERTIFICATE_CHECK_INTERVAL`].
    fn check_certificates(&mut self) {}

    /// Puts a new configuration in force.
    ///
    /// # Errors
    /// Why it is refused; the current configuration then stays in force.
    fn apply(&mut self, _reloaded: &Reloaded) -> Result<(), String> {
        Ok(())
    }

    /// Called after a reload, when `brands` are the brands of the process.
    async fn reloaded(&mut self, _brands: &[Arc<Brand>]) {}

    /// Finishes what is in progress.
    async fn shut_down(self, brands: &[Arc<Brand>]);
}

enum Event {
    /// The databases of all brands are ready, or one is unfit.
    Opened(Result<(), String>),
    /// Some databases are still unavailable; the process starts without them.
    OpenTimeout,
    CertificateTick,
    Reload(ReloadRequest),
    Stop,
}

pub(crate) struct Supervisor<R> {
    role: R,
    brands: Brands,
    source: ConfigSource,
    signals: Signals,
    reload_socket: ReloadSocket,
    opening: JoinHandle<Result<(), String>>,
    open_timeout_at: Instant,
    certificate_ticks: Interval,
    is_started: bool,
    all_ready: bool,
}

impl<R: ProcessRole> Supervisor<R> {
    /// From here on `brandgate reload` reaches this process. `opening` is the task of [`open_all`].
    pub(crate) fn new(
        role: R,
        brands: Brands,
        source: ConfigSource,
        signals: Signals,
        opening: JoinHandle<Result<(), String>>,
    ) -> Supervisor<R> {
        Supervisor {
            role,
            brands,
            source,
            signals,
            reload_socket: ReloadSocket::from_environment(),
            opening,
            open_timeout_at: Instant::now() + MAX_OPENING_TIME,
            certificate_ticks: tokio::time::interval(CERTIFICATE_CHECK_INTERVAL),
            is_started: false,
            all_ready: false,
        }
    }

    /// Runs until SIGTERM or SIGINT, and shuts down gracefully.
    ///
    /// # Errors
    /// A database that answers but is unfit.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let ended = loop {
            match self.next_event().await {
                Event::Opened(Ok(())) => {
                    self.all_ready = true;
                    self.start();
                }
                Event::Opened(Err(message)) => break Err(message),
                Event::OpenTimeout => self.start(),
                Event::CertificateTick => self.role.check_certificates(),
                Event::Reload(request) => self.reload(request).await,
                Event::Stop => break Ok(()),
            }
        };
        tracing::info!("stopping: draining what is in progress");
        systemd::stopping();
        self.opening.abort();
        self.role.shut_down(&self.brands.load()).await;
        ended
    }

    async fn next_event(&mut self) -> Event {
        tokio::select! {
            opened = &mut self.opening, if !self.all_ready => {
                Event::Opened(opened.map_err(|error| error.to_string()).flatten())
            }
            () = tokio::time::sleep_until(self.open_timeout_at), if !self.is_started => Event::OpenTimeout,
            _ = self.certificate_ticks.tick() => Event::CertificateTick,
            event = self.signals.next() => event,
            request = self.reload_socket.next() => Event::Reload(request),
        }
    }

    fn start(&mut self) {
        let brands = self.brands.load();
        self.role.start(&brands, self.all_ready);
        self.is_started = true;
        let status = status(R::ACTIVITY, &brands);
        if self.all_ready {
            tracing::info!("{status}");
        }
        systemd::ready(&status);
    }

    /// Reads the configuration again and applies it, or keeps the current one; log, systemd and the requester receive the outcome.
    async fn reload(&mut self, request: ReloadRequest) {
        systemd::reloading();
        let current = self.brands.load_full();
        let reloaded = self.source.reload(&current).and_then(|reloaded| self.role.apply(&reloaded).map(|()| reloaded));
        metrics::reload_finished(reloaded.is_ok());
        let (is_applied, status) = match reloaded {
            Ok(reloaded) => (true, self.finish_reload(reloaded).await),
            Err(problems) => {
                for problem in problems.lines() {
                    tracing::error!("reload refused: {problem}");
                }
                let first = problems.lines().next().unwrap_or_default();
                (false, format!("reload refused: {first}; {} as before", status(R::ACTIVITY, &current)))
            }
        };
        systemd::ready(&status);
        request.respond(is_applied, &status);
    }

    /// Returns the status line, with a warning for each change that needs a restart.
    async fn finish_reload(&mut self, reloaded: Reloaded) -> String {
        let mut status = status(R::ACTIVITY, &reloaded.brands);
        for warning in &reloaded.needs_restart {
            tracing::warn!("{warning}");
            status.push_str("; ");
            status.push_str(warning);
        }
        self.brands.store(Arc::new(reloaded.brands));
        self.role.reloaded(&self.brands.load_full()).await;
        tracing::info!("reloaded the configuration");
        status
    }
}

/// Waits until every brand's database is ready.
///
/// # Errors
/// A database that answers but is unfit; waiting would not help.
pub(crate) async fn open_all(brands: Vec<Arc<Brand>>) -> Result<(), String> {
    let opening = brands.iter().map(|brand| async move {
        brand.wait_until_ready().await?;
        tracing::info!(brand = brand.name(), url = brand.config.public_url, "database is ready");
        Ok::<_, String>(())
    });
    futures_util::future::try_join_all(opening).await.map(|_| ())
}

/// `serving dexar; waiting for PostgreSQL of novo`.
fn status(activity: &str, brands: &[Arc<Brand>]) -> String {
    let names = |is_ready: bool| -> Vec<&str> {
        brands.iter().filter(|brand| brand.is_ready() == is_ready).map(|brand| brand.name()).collect()
    };
    match (names(true).join(", "), names(false).join(", ")) {
        (ready, waiting) if waiting.is_empty() => format!("{activity} {ready}"),
        (ready, waiting) if ready.is_empty() => format!("waiting for PostgreSQL of {waiting}"),
        (ready, waiting) => format!("{activity} {ready}; waiting for PostgreSQL of {waiting}"),
    }
}

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on these signals do not terminate the process by themselves.
    pub(crate) fn listen() -> Signals {
        let listen = |kind| signal(kind).expect("handlers can be installed for these signals");
        Signals {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
            hangup: listen(SignalKind::hangup()),
        }
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload(ReloadRequest::default()),
        }
    }
}
