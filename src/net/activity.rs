//! What the watchdog of one connection knows: what runs, what is still leaving, since when nothing happens.
//!
//! Written by `connection` with each request and by `wire` with what leaves; read by the loops that drive a connection. What must
//! never happen: a connection without a deadline, or one that is closed while its client reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;

/// How long a connection on which nothing is asked may hold up the end of the process: whoever waits for the next one waits
/// for it too.
pub(super) const SILENT_FOR: Duration = Duration::from_secs(1);

/// Of one connection.
pub(super) struct Activity {
    born: Instant,
    running: AtomicUsize,
    asked: AtomicBool,
    /// Something was written that the client has not taken yet.
    leaving: AtomicBool,
    /// Milliseconds from `born` to the end of the last request, or to when the client last took something of a long answer.
    last_ms: AtomicU64,
}

impl Activity {
    pub fn new() -> Activity {
        Activity {
            born: Instant::now(),
            running: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            last_ms: AtomicU64::new(0),
        }
    }

    /// A request begins; it ends with what is returned, also when the client goes away.
    pub fn begin(self: &Arc<Activity>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Something was written. A clock is asked only when the client took it after it had kept us waiting.
    pub fn wrote(&self, after_waiting: bool) {
        self.leaving.store(true, Ordering::Relaxed);
        if after_waiting {
            self.note_now();
        }
    }

    /// Everything that was written is on its way.
    pub fn flushed(&self, after_waiting: bool) {
        self.leaving.store(false, Ordering::Relaxed);
        if after_waiting {
            self.note_now();
        }
    }

    fn note_now(&self) {
        let now_ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.born + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// When the connection must be closed if nothing else happens until then.
    pub fn deadline(&self, timeouts: &Timeouts) -> Instant {
        if self.is_running() {
            // A request has a deadline of its own, which is enforced where it runs; look again afterwards.
            return Instant::now() + timeouts.request;
        }
        self.last() + if self.asked.load(Ordering::Relaxed) { timeouts.idle } else { timeouts.head }
    }

    /// When the connection must be closed after the process began to end: what runs or leaves has `drain`, silence little.
    pub fn last_deadline(&self, closing_since: Instant, drain: Duration) -> Instant {
        if self.is_running() || self.is_leaving() {
            return closing_since + drain;
        }
        (self.last().max(closing_since) + SILENT_FOR.min(drain)).min(closing_since + drain)
    }

    /// Since when nothing runs and nothing leaves; `None` while something does, and before the first request.
    pub fn silent_since(&self) -> Option<Instant> {
        let is_silent = self.asked.load(Ordering::Relaxed) && !self.is_running() && !self.is_leaving();
        is_silent.then(|| self.last())
    }
}

/// A request in progress.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.note_now();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
