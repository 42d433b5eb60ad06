//! The event loop of `serve` and `work`: start, retries, reloads and graceful shutdown.

use std::num::NonZeroU64;
use std::time::Duration;

use brandgate::config::LoadedBrands;
use brandgate::telemetry::metrics;
use brandgate::tenant::brands::SharedBrands;
use brandgate::tenant::reload::ConfigSource;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::Id;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::brand_registry::{BrandRegistry, MAX_OPENING_TIME, ReloadOutcome, first_line};
use crate::process_role::ProcessRole;
use crate::reload::{ReloadRequest, ReloadSocket};
use crate::systemd;

const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct RetryArguments {
    /// Retry brands that cannot be served at this interval, in milliseconds
    #[arg(long = "retry-ms", env = "BRANDGATE_RETRY_MS", default_value = "5000", value_name = "MS")]
    retry_ms: NonZeroU64,
}

enum Event {
    /// A brand's database is ready, or unfit.
    Opened(Id, Result<(), String>),
    /// Some databases are still unavailable; the process starts without them.
    OpenTimeout,
    CertificateTick,
    RetryTick,
    Reload(ReloadRequest),
    Stop,
}

pub(crate) struct Supervisor<R> {
    brands: BrandRegistry<R>,
    source: ConfigSource,
    signals: Signals,
    reload_socket: ReloadSocket,
    open_timeout_at: Instant,
    certificate_ticks: Interval,
    retry_ticks: Interval,
}

impl<R: ProcessRole> Supervisor<R> {
    /// From here on `brandgate reload` reaches this process. Other tasks see its brands in `published`.
    pub(crate) fn new(
        role: R,
        published: SharedBrands,
        source: ConfigSource,
        signals: Signals,
        arguments: &RetryArguments,
    ) -> Supervisor<R> {
        let retry_interval = Duration::from_millis(arguments.retry_ms.get());
        let mut retry_ticks = tokio::time::interval_at(Instant::now() + retry_interval, retry_interval);
        retry_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Supervisor {
            brands: BrandRegistry::new(role, published),
            source,
            signals,
            reload_socket: ReloadSocket::from_environment(),
            open_timeout_at: Instant::now() + MAX_OPENING_TIME,
            certificate_ticks: tokio::time::interval(CERTIFICATE_CHECK_INTERVAL),
            retry_ticks,
        }
    }

    /// Runs until SIGTERM or SIGINT, and shuts down gracefully.
    ///
    /// # Errors
    /// Every problem of every brand, if none can be served and none could before.
    pub(crate) async fn run(mut self, loaded: LoadedBrands) -> Result<(), String> {
        self.brands.load(loaded);
        let ended = loop {
            if let Some(problems) = self.brands.fatal_problems() {
                break Err(problems);
            }
            self.brands.start_when_resolved();
            match self.next_event().await {
                Event::Opened(id, result) => self.brands.opened(id, result),
                Event::OpenTimeout => self.brands.start(),
                Event::CertificateTick => self.brands.role.check_certificates(),
                Event::RetryTick => self.retry(),
                Event::Reload(request) => self.reload(request).await,
                Event::Stop => break Ok(()),
            }
        };
        tracing::info!("shutting down: finishing {} in progress", R::IN_PROGRESS);
        systemd::stopping();
        self.brands.shut_down().await;
        ended
    }

    async fn next_event(&mut self) -> Event {
        let (is_started, are_all_ready) = (self.brands.is_started(), self.brands.are_all_ready());
        tokio::select! {
            Some((id, result)) = self.brands.next_opened() => Event::Opened(id, result),
            () = tokio::time::sleep_until(self.open_timeout_at), if !is_started => Event::OpenTimeout,
            _ = self.certificate_ticks.tick() => Event::CertificateTick,
            _ = self.retry_ticks.tick(), if !are_all_ready => Event::RetryTick,
            event = self.signals.next() => event,
            request = self.reload_socket.next() => Event::Reload(request),
        }
    }

    fn retry(&mut self) {
        // With an unreadable directory the failures stay as they are.
        if let Ok(loaded) = self.source.load() {
            self.brands.retry(&loaded);
        }
    }

    /// Reads the configuration again and applies it to each brand whose file is valid; log, systemd and the requester receive the
    /// outcome.
    async fn reload(&mut self, request: ReloadRequest) {
        systemd::reloading();
        let outcome = match self.source.load() {
            Ok(loaded) => self.brands.reload(&loaded).await,
            Err(problem) => ReloadOutcome { refused: vec![(String::new(), problem)], ..ReloadOutcome::default() },
        };
        let is_applied = outcome.refused.is_empty();
        metrics::reload_finished(is_applied);
        for (brand, change) in &outcome.needs_restart {
            tracing::warn!(brand, "{change}; takes effect after systemctl restart {}", R::UNIT);
        }
        for (brand, problems) in &outcome.refused {
            problems.lines().for_each(|problem| tracing::error!(brand, "reload refused: {problem}"));
        }
        match (is_applied, outcome.applied.is_empty()) {
            (true, _) => tracing::info!("reloaded the configuration"),
            (false, false) => tracing::info!("applied the configuration of the other brands"),
            (false, true) => {}
        }
        let status = reload_status(&outcome, self.brands.status());
        systemd::ready(&status);
        request.respond(is_applied, &status);
    }
}

/// The outcome of a reload in one line; `status` is that of the brands.
fn reload_status(outcome: &ReloadOutcome, status: String) -> String {
    let changes = outcome.needs_restart.iter().map(|(brand, change)| format!("{brand}: {change}, restart needed"));
    let status = std::iter::once(status).chain(changes).collect::<Vec<_>>().join("; ");
    let Some((_, problems)) = outcome.refused.first() else { return status };
    let problem = first_line(problems);
    if outcome.applied.is_empty() {
        return format!("reload refused: {problem}; {status} as before");
    }
    let refused: Vec<_> = outcome.refused.iter().map(|(name, _)| name.as_str()).collect();
    let applied: Vec<_> = outcome.applied.iter().map(|brand| brand.name()).collect();
    format!("reload refused for {}: {problem}; applied to {}; {status}", refused.join(", "), applied.join(", "))
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
