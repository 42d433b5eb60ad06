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
    /// Requests that began before the process began to end, and those that began since.
    running: AtomicUsize,
    running_since: AtomicUsize,
    is_ending: AtomicBool,
    /// An answer to one that began before is about to leave, and is leaving.
    answered_before: AtomicBool,
    leaving_since_before: AtomicBool,
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
            running_since: AtomicUsize::new(0),
            is_ending: AtomicBool::new(false),
            answered_before: AtomicBool::new(false),
            leaving_since_before: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            last_ms: AtomicU64::new(0),
        }
    }

    /// A request begins; it ends with what is returned, also when the client goes away.
    pub fn begin(self: &Arc<Activity>) -> Running {
        let is_late = self.is_ending.load(Ordering::Relaxed);
        self.count(is_late).fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        Running { of: self.clone(), is_late }
    }

    fn count(&self, is_late: bool) -> &AtomicUsize {
        if is_late { &self.running_since } else { &self.running }
    }

    /// The process begins to end: what is busy now is told from what comes later.
    pub fn note_ending(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.leaving_since_before.store(self.is_leaving(), Ordering::Relaxed);
    }

    /// Whether something runs or leaves that did before the process began to end.
    pub fn is_busy_since_before(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0 || self.leaving_since_before.load(Ordering::Relaxed)
    }

    /// Something was written. A clock is asked only when the client took it after it had kept us waiting.
    pub fn wrote(&self, after_waiting: bool) {
        self.leaving.store(true, Ordering::Relaxed);
        if self.answered_before.load(Ordering::Relaxed) {
            self.leaving_since_before.store(true, Ordering::Relaxed);
        }
        if after_waiting {
            self.note_now();
        }
    }

    /// Everything that was written is on its way.
    pub fn flushed(&self, after_waiting: bool) {
        self.leaving.store(false, Ordering::Relaxed);
        self.answered_before.store(false, Ordering::Relaxed);
        self.leaving_since_before.store(false, Ordering::Relaxed);
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
        self.running.load(Ordering::Relaxed) > 0 || self.running_since.load(Ordering::Relaxed) > 0
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

    /// When the connection must be closed while connections are: what runs or leaves has time to the `last` moment, silence little.
    pub fn last_deadline(&self, closing_since: Instant, last: Instant) -> Instant {
        if self.is_running() || self.is_leaving() {
            return last;
        }
        (self.last().max(closing_since) + SILENT_FOR).min(last)
    }

    /// Since when nothing runs and nothing leaves; `None` while something does, and before the first request.
    pub fn silent_since(&self) -> Option<Instant> {
        let is_silent = self.asked.load(Ordering::Relaxed) && !self.is_running() && !self.is_leaving();
        is_silent.then(|| self.last())
    }
}

/// A request in progress.
pub(super) struct Running {
    of: Arc<Activity>,
    /// It began after the process began to end.
    is_late: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let activity = &self.of;
        activity.note_now();
        if !self.is_late && activity.is_ending.load(Ordering::Relaxed) {
            activity.answered_before.store(true, Ordering::Relaxed);
        }
        activity.count(self.is_late).fetch_sub(1, Ordering::Relaxed);
    }
}
