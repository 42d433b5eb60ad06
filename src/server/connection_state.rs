//! What the watchdog of one connection knows: what runs, what is still leaving, since when nothing happens.
//!
//! Written by `connection` with each request, by `wire` (HTTP/1.1), `leaving` and `gathering` (HTTP/2) with what leaves; read by the loops that
//! drive a connection. What must never happen: a connection without a deadline, or one that is closed while its client reads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;

/// How long a connection on which nothing is asked may hold up the end of the process: whoever waits for the next one waits
/// for it too.
pub const SILENT_FOR: Duration = Duration::from_secs(1);

const NO_HEAD: u64 = u64::MAX;

/// Of one connection.
pub(super) struct ConnectionState {
    born: Instant,
    asked: AtomicBool,
    /// Requests in progress.
    running: Count,
    /// Answers over HTTP/2 that the client has not taken whole.
    sending: Count,
    /// Something was written that the client has not taken yet.
    leaving: AtomicBool,
    /// Milliseconds from `born` to the end of the last request, or to when the client last took something of a long answer.
    last_ms: AtomicU64,
    /// Milliseconds from `born` to when part of a request's head was here; [`NO_HEAD`] when none waits for the rest of its own.
    head_ms: AtomicU64,
    /// It was a part for certain.
    has_part_of_a_head: AtomicBool,
    /// Over HTTP/1.1: an answer said that it is the last, or the connection is closing. What follows may be the rest of a body that nobody read, never a request.
    is_last: AtomicBool,
    /// The process began to end: see [`ConnectionState::note_ending`].
    is_ending: AtomicBool,
    /// An answer to a request that began before is about to leave, and is leaving.
    answered_before: AtomicBool,
    leaving_since_before: AtomicBool,
}

/// How many there are of what began before the process began to end, and of what began since.
#[derive(Default)]
struct Count {
    before: AtomicUsize,
    since: AtomicUsize,
}

impl Count {
    fn of(&self, is_late: bool) -> &AtomicUsize {
        if is_late { &self.since } else { &self.before }
    }

    fn before(&self) -> bool {
        self.before.load(Ordering::Relaxed) > 0
    }

    fn since(&self) -> bool {
        self.since.load(Ordering::Relaxed) > 0
    }
}

impl ConnectionState {
    pub fn new() -> ConnectionState {
        ConnectionState {
            born: Instant::now(),
            asked: AtomicBool::new(false),
            running: Count::default(),
            sending: Count::default(),
            leaving: AtomicBool::new(false),
            last_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(NO_HEAD),
            has_part_of_a_head: AtomicBool::new(false),
            is_last: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            answered_before: AtomicBool::new(false),
            leaving_since_before: AtomicBool::new(false),
        }
    }

    /// A request begins; it ends with what is returned, also when the client goes away.
    pub fn begin(self: &Arc<ConnectionState>) -> InFlight {
        let is_late = self.is_ending.load(Ordering::Relaxed);
        self.running.of(is_late).fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        self.no_head();
        InFlight(Tracked { of: self.clone(), is_late })
    }

    /// Something is here: a head begins, which must be whole within its time, or TLS speaks for itself.
    pub fn head_may_begin(&self) {
        if self.head_ms.load(Ordering::Relaxed) == NO_HEAD {
            self.head_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Part of a head is here. Until all of it is the connection is not silent.
    pub fn head_begins(&self) {
        self.head_may_begin();
        self.has_part_of_a_head.store(true, Ordering::Relaxed);
    }

    /// No head is on its way, or all of it is here.
    pub fn no_head(&self) {
        self.head_ms.store(NO_HEAD, Ordering::Relaxed);
        self.has_part_of_a_head.store(false, Ordering::Relaxed);
    }

    /// The answer that is about to leave is the connection's last.
    pub fn answers_last(&self) {
        self.is_last.store(true, Ordering::Relaxed);
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

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note_now(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn at(&self, ms: u64) -> Instant {
        self.born + Duration::from_millis(ms)
    }

    fn last(&self) -> Instant {
        self.at(self.last_ms.load(Ordering::Relaxed))
    }

    fn is_running(&self) -> bool {
        self.running.before() || self.running.since()
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.sending.before() || self.sending.since()
    }

    /// The process begins to end: what is busy now is told from what comes later.
    pub fn shutdown_began(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.leaving_since_before.store(self.leaving.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether something runs or leaves that did before the process began to end.
    pub fn is_busy_since_before(&self) -> bool {
        self.running.before() || self.sending.before() || self.leaving_since_before.load(Ordering::Relaxed)
    }

    /// When the connection must be closed if nothing else happens until then.
    pub fn deadline(&self, timeouts: &Timeouts) -> Instant {
        if self.is_running() {
            // A request has a deadline of its own, which is enforced where it runs; look again afterwards.
            return Instant::now() + timeouts.request;
        }
        if !self.asked.load(Ordering::Relaxed) {
            return self.born + timeouts.head;
        }
        if self.is_last.load(Ordering::Relaxed) && !self.is_leaving() {
            return self.last() + SILENT_FOR.min(timeouts.idle);
        }
        let silent_until = self.last() + timeouts.idle;
        match self.head_ms.load(Ordering::Relaxed) {
            NO_HEAD => silent_until,
            ms => silent_until.min(self.at(ms) + timeouts.head),
        }
    }

    /// When the connection must be closed while connections are: what runs or leaves has time to the `last` moment, silence little.
    /// So has what was waited for with open doors, and did not end.
    pub fn last_deadline(&self, closing_since: Instant, last: Instant) -> Instant {
        let was_waited_for = self.is_ending.load(Ordering::Relaxed) && self.is_busy_since_before();
        let began_since = self.running.since() || self.sending.since();
        if (self.is_running() || self.is_leaving()) && (began_since || !was_waited_for) {
            return last;
        }
        (self.last().max(closing_since) + SILENT_FOR).min(last)
    }

    /// Since when nothing runs, leaves or comes; `None` while something does, before the first request and after the last.
    pub fn silent_since(&self) -> Option<Instant> {
        let expects_more = self.has_part_of_a_head.load(Ordering::Relaxed) || self.is_last.load(Ordering::Relaxed);
        let is_silent = self.asked.load(Ordering::Relaxed) && !expects_more && !self.is_running() && !self.is_leaving();
        is_silent.then(|| self.last())
    }
}

struct Tracked {
    of: Arc<ConnectionState>,
    /// It began after the process began to end.
    is_late: bool,
}

/// What is written to the connection, as its client takes it. Notes how far each step came, and gives that on.
pub(super) struct WriteTracker {
    activity: Arc<ConnectionState>,
    /// The client has not taken what it was offered.
    waits: bool,
}

impl WriteTracker {
    pub fn new(activity: Arc<ConnectionState>) -> WriteTracker {
        WriteTracker { activity, waits: false }
    }

    pub fn activity(&self) -> &ConnectionState {
        &self.activity
    }

    pub fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.wrote(self.waits && written.is_ready());
        self.waits = written.is_pending();
        written
    }

    pub fn flushed(&mut self, flushed: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if flushed.is_ready() {
            self.activity.flushed(self.waits);
        }
        self.waits = flushed.is_pending();
        flushed
    }
}

/// A request in progress.
pub(super) struct InFlight(Tracked);

impl InFlight {
    /// Its answer is there, and begins to leave over HTTP/2.
    pub fn answered(self) -> BodyInFlight {
        let Tracked { of, is_late } = &self.0;
        of.sending.of(*is_late).fetch_add(1, Ordering::Relaxed);
        BodyInFlight(Tracked { of: of.clone(), is_late: *is_late })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Tracked { of, is_late } = &self.0;
        of.note_now();
        if !is_late && of.is_ending.load(Ordering::Relaxed) {
            of.answered_before.store(true, Ordering::Relaxed);
        }
        of.running.of(*is_late).fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer over HTTP/2 on its way; it ends when the last of it was handed to `gathering`, or nobody wants it any more.
pub(super) struct BodyInFlight(Tracked);

impl BodyInFlight {
    /// A part of it was.
    pub fn moved(&self) {
        self.0.of.note_now();
    }
}

impl Drop for BodyInFlight {
    fn drop(&mut self) {
        self.0.of.sending.of(self.0.is_late).fetch_sub(1, Ordering::Relaxed);
    }
}
