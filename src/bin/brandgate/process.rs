//! What both long-running commands do alike: what they are asked, the first opening of the brands, the sentences of a reload.
//!
//! Used by `serve` and `work`.

use std::sync::Arc;
use std::time::Duration;

use crate::systemd;
use brandgate::telemetry::metrics;
use brandgate::tenant::brand::Brand;
use brandgate::tenant::reload::{ConfigSource, Reloaded};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::reload::{Asker, Listener};

/// So long a start waits for the databases of all brands; then it goes on, and what needs them is answered with 503.
pub const LONGEST_OPENING: Duration = Duration::from_secs(2);

/// What a person or systemd asks of the process.
pub enum Asked {
    Stop,
    Reload(Asker),
}

pub struct Requests {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reloads: Listener,
}

impl Requests {
    /// From here on no signal ends the process by itself.
    pub fn new() -> Requests {
        let listen = |kind| signal(kind).expect("these signals can be listened to");
        Requests {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
            hangup: listen(SignalKind::hangup()),
            reloads: Listener::default(),
        }
    }

    /// From here on `brandgate reload` finds this process.
    pub fn take_reloads(&mut self) {
        self.reloads = Listener::from_environment();
    }

    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload(Asker::default()),
            asker = self.reloads.next() => Asked::Reload(asker),
        }
    }
}

/// Waits until every brand's database is there and fit; one that is unfit ends the process, for a person to mend.
pub async fn open_all(brands: Vec<Arc<Brand>>) -> Result<(), String> {
    let opening = brands.iter().map(|brand| async move {
        brand.wait_until_ready().await?;
        tracing::info!(brand = brand.name(), url = brand.config.public_url, "the database is open");
        Ok::<_, String>(())
    });
    futures_util::future::try_join_all(opening).await.map(|_| ())
}

/// The status line of a process that goes on under these brands.
pub fn status(doing: &str, brands: &[Arc<Brand>]) -> String {
    let names = |wanted: bool| -> Vec<&str> {
        brands.iter().filter(|brand| brand.is_ready() == wanted).map(|brand| brand.name()).collect()
    };
    match (names(true).join(", "), names(false).join(", ")) {
        (open, closed) if closed.is_empty() => format!("{doing} {open}"),
        (open, closed) if open.is_empty() => format!("waiting for PostgreSQL of {closed}"),
        (open, closed) => format!("{doing} {open}; waiting for PostgreSQL of {closed}"),
    }
}

/// A reload that nothing keeps from counting any more.
pub struct Renewal {
    pub brands: Vec<Arc<Brand>>,
    status: String,
    asker: Asker,
}

impl Renewal {
    /// It counts: tells log, systemd and whoever asked.
    pub fn tell(self) {
        tracing::info!("reloaded");
        systemd::ready(&self.status);
        self.asker.tell(true, &self.status);
    }
}

/// Reads everything again and hands it to `exchange`, which may still refuse it. What is refused is told to log, systemd and whoever
/// asked, and is `None`: the former configuration stays in force.
pub fn reload(
    asker: Asker,
    source: &ConfigSource,
    former: &[Arc<Brand>],
    doing: &str,
    exchange: impl FnOnce(&Reloaded) -> Result<(), String>,
) -> Option<Renewal> {
    systemd::reloading();
    let renewed = source.reload(former).and_then(|renewed| exchange(&renewed).map(|()| renewed));
    metrics::reload_finished(renewed.is_ok());
    match renewed {
        Ok(Reloaded { brands, needs_restart }) => {
            let mut status = status(doing, &brands);
            for sentence in &needs_restart {
                tracing::warn!("{sentence}");
                status.push_str("; ");
                status.push_str(sentence);
            }
            Some(Renewal { brands, status, asker })
        }
        Err(faults) => {
            for fault in faults.lines() {
                tracing::error!("reload refused: {fault}");
            }
            let first = faults.lines().next().unwrap_or_default();
            let line = format!("reload refused: {first}; {} as before", status(doing, former));
            systemd::ready(&line);
            asker.tell(false, &line);
            None
        }
    }
}
