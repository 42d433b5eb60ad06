//! The state of one connection: requests in flight, bytes not yet written, time of the last activity.
//!
//! # Invariants
//!
//! - Keeping it up to date costs relaxed atomics alone: no lock, and a clock read only where a request ends, where the
//!   first byte of a request head arrives, and where a blocked write makes progress.
//! - A connection with a request in flight or a response body in flight is never idle.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::server::connection_snapshot::{Head, InProgress, Lifecycle, Snapshot, WriteState};

/// What a connection is doing, written by its service and streams. Its state machine reads a [`Snapshot`].
pub(super) struct ConnectionState {
    // Requests and responses.
    /// A [`Lifecycle`].
    lifecycle: AtomicU8,
    /// Requests whose handler has not returned.
    requests: Counter,
    /// HTTP/2 response bodies that are not yet handed to the stream.
    bodies: Counter,
    /// A [`WriteState`].
    write: AtomicU8,
    /// Bytes that the TLS connection took. Written by the connection's task alone.
    sent_bytes: AtomicU64,

    // Times, in milliseconds from `created_at`.
    created_at: Instant,
    /// The end of the last request, or the last progress of a slow response.
    last_activity_ms: AtomicU64,
    /// When the client last took part of a response, or when there was the first response that it has not taken.
    last_taken_ms: AtomicU64,
    /// A [`Head`]: [`NO_HEAD`], or the time shifted left by one with the lowest bit set for [`Head::Partial`].
    head: AtomicU64,

    // Graceful shutdown.
    /// The connection has seen that the shutdown began to drain.
    is_draining: AtomicBool,
    /// A response to a request from before the drain is complete and not yet written. HTTP/1.1 writes it after the
    /// request ended.
    owes_write: AtomicBool,
}

const NO_HEAD: u64 = u64::MAX;

/// Counts what is in progress, by when it started.
#[derive(Default)]
struct Counter {
    before_drain: AtomicUsize,
    during_drain: AtomicUsize,
}

impl Counter {
    fn of(&self, during_drain: bool) -> &AtomicUsize {
        if during_drain { &self.during_drain } else { &self.before_drain }
    }

    fn load(&self) -> InProgress {
        InProgress {
            before_drain: self.before_drain.load(Relaxed) > 0,
            during_drain: self.during_drain.load(Relaxed) > 0,
        }
    }
}

impl ConnectionState {
    pub(super) fn new() -> ConnectionState {
        ConnectionState {
            lifecycle: AtomicU8::new(Lifecycle::AwaitingFirstRequest as u8),
            requests: Counter::default(),
            bodies: Counter::default(),
            write: AtomicU8::new(WriteState::Flushed as u8),
            sent_bytes: AtomicU64::new(0),
            created_at: Instant::now(),
            last_activity_ms: AtomicU64::new(0),
            last_taken_ms: AtomicU64::new(0),
            head: AtomicU64::new(NO_HEAD),
            is_draining: AtomicBool::new(false),
            owes_write: AtomicBool::new(false),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let head = self.head.load(Relaxed);
        Snapshot {
            lifecycle: self.lifecycle(),
            requests: self.requests.load(),
            bodies: self.bodies.load(),
            write: self.write_state(),
            sent_bytes: self.sent_bytes.load(Relaxed),
            created_at: self.created_at,
            last_activity: self.at(self.last_activity_ms.load(Relaxed)),
            last_taken: self.at(self.last_taken_ms.load(Relaxed)),
            head: match (head, head & 1) {
                (NO_HEAD, _) => Head::None,
                (_, 0) => Head::Possible { since: self.at(head >> 1) },
                _ => Head::Partial { since: self.at(head >> 1) },
            },
            is_draining: self.is_draining.load(Relaxed),
        }
    }

    fn lifecycle(&self) -> Lifecycle {
        Lifecycle::from_u8(self.lifecycle.load(Relaxed))
    }

    fn write_state(&self) -> WriteState {
        WriteState::from_u8(self.write.load(Relaxed))
    }

    /// Starts a request, which ends when the returned value is dropped, also when the client disconnects.
    pub(super) fn start_request(self: &Arc<ConnectionState>) -> InFlight {
        let during_drain = self.is_draining.load(Relaxed);
        self.requests.of(during_drain).fetch_add(1, Relaxed);
        if self.lifecycle() == Lifecycle::AwaitingFirstRequest {
            self.lifecycle.store(Lifecycle::KeepAlive as u8, Relaxed);
        }
        self.head_complete();
        InFlight(Tracked { state: self.clone(), during_drain })
    }

    /// Starts the deadline of a request head, unless it is running.
    pub(super) fn head_possible(&self) {
        if self.head.load(Relaxed) == NO_HEAD {
            self.head.store(self.now_ms() << 1, Relaxed);
        }
    }

    /// Part of a request head was read: the connection is not idle until the rest arrives.
    pub(super) fn head_partial(&self) {
        self.head_possible();
        self.head.fetch_or(1, Relaxed);
    }

    /// No request head is on its way.
    pub(super) fn head_complete(&self) {
        self.head.store(NO_HEAD, Relaxed);
    }

    /// The response in progress is the last one of the connection.
    pub(super) fn set_last_response(&self) {
        if self.lifecycle() == Lifecycle::KeepAlive {
            self.lifecycle.store(Lifecycle::LastResponse as u8, Relaxed);
        }
    }

    /// Bytes were written to the TLS connection. `was_blocked`: the socket had refused them before.
    pub(super) fn wrote(&self, was_blocked: bool) {
        if self.owes_write.load(Relaxed) {
            self.write.store(WriteState::PendingSinceBeforeDrain as u8, Relaxed);
        } else if self.write_state() == WriteState::Flushed {
            self.write.store(WriteState::Pending as u8, Relaxed);
        }
        if was_blocked {
            self.taken();
        }
    }

    /// The TLS connection took so many bytes.
    fn sent(&self, bytes: usize) {
        // No other task writes it, so that a load and a store are enough.
        self.sent_bytes.store(self.sent_bytes.load(Relaxed) + bytes as u64, Relaxed);
    }

    /// The kernel has all bytes. `was_blocked`: the socket had refused them before.
    pub(super) fn flushed(&self, was_blocked: bool) {
        self.write.store(WriteState::Flushed as u8, Relaxed);
        self.owes_write.store(false, Relaxed);
        if was_blocked {
            self.taken();
        }
    }

    /// The shutdown began to drain: what is in progress now is distinguished from what starts later.
    pub(super) fn drain_started(&self) {
        self.is_draining.store(true, Relaxed);
        if self.write_state() == WriteState::Pending {
            self.write.store(WriteState::PendingSinceBeforeDrain as u8, Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records activity at the present moment.
    fn touch(&self) {
        self.last_activity_ms.store(self.now_ms(), Relaxed);
    }

    /// Records that the client takes its responses.
    fn taken(&self) {
        self.touch();
        self.last_taken_ms.store(self.last_activity_ms.load(Relaxed), Relaxed);
    }

    /// Records the end of a request: a client that has taken all other responses begins to take this one.
    fn request_ended(&self) {
        if self.write_state() == WriteState::Flushed && !self.bodies.load().any() {
            self.taken();
        } else {
            self.touch();
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.created_at + Duration::from_millis(ms)
    }
}

struct Tracked {
    state: Arc<ConnectionState>,
    /// It started after the drain began.
    during_drain: bool,
}

/// A request in progress.
pub(super) struct InFlight(Tracked);

impl InFlight {
    /// Ends the request and starts its response body (HTTP/2).
    pub(super) fn into_body(self) -> BodyInFlight {
        let Tracked { state, during_drain } = &self.0;
        // Before its own body counts.
        state.request_ended();
        state.bodies.of(*during_drain).fetch_add(1, Relaxed);
        BodyInFlight(Tracked { state: state.clone(), during_drain: *during_drain })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Tracked { state, during_drain } = &self.0;
        state.request_ended();
        if !during_drain && state.is_draining.load(Relaxed) {
            state.owes_write.store(true, Relaxed);
        }
        state.requests.of(*during_drain).fetch_sub(1, Relaxed);
    }
}

/// A response body over HTTP/2, until its last byte is handed to the connection's stream or the client resets it.
pub(super) struct BodyInFlight(Tracked);

impl BodyInFlight {
    /// Part of the body was handed over.
    pub(super) fn progressed(&self) {
        self.0.state.taken();
    }
}

impl Drop for BodyInFlight {
    fn drop(&mut self) {
        self.0.state.bodies.of(self.0.during_drain).fetch_sub(1, Relaxed);
    }
}

/// Records the writes of a connection in its state. Each method takes the outcome of a poll and returns it.
pub(super) struct WriteTracker {
    state: Arc<ConnectionState>,
    /// The last write or flush was refused by the socket.
    is_blocked: bool,
}

impl WriteTracker {
    pub(super) fn new(state: Arc<ConnectionState>) -> WriteTracker {
        WriteTracker { state, is_blocked: false }
    }

    pub(super) fn state(&self) -> &ConnectionState {
        &self.state
    }

    pub(super) fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.state.wrote(self.is_blocked && written.is_ready());
        if let Poll::Ready(Ok(bytes)) = written {
            self.state.sent(bytes);
        }
        self.is_blocked = written.is_pending();
        written
    }

    pub(super) fn flushed(&mut self, flushed: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if flushed.is_ready() {
            self.state.flushed(self.is_blocked);
        }
        self.is_blocked = flushed.is_pending();
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_is_idle_only_between_requests() {
        let state = Arc::new(ConnectionState::new());
        assert_eq!(state.snapshot().idle_since(), None, "before the first request");
        let request = state.start_request();
        assert!(state.snapshot().requests.before_drain && state.snapshot().idle_since().is_none());
        let body = request.into_body();
        assert!(!state.snapshot().requests.any() && state.snapshot().is_writing());
        state.wrote(false);
        drop(body);
        assert!(state.snapshot().is_writing(), "the bytes are still here");
        state.flushed(false);
        assert!(state.snapshot().idle_since().is_some());
        state.set_last_response();
        assert_eq!(state.snapshot().idle_since(), None, "no further request is read");
    }

    #[test]
    fn only_what_the_client_takes_counts_as_taken() {
        let state = Arc::new(ConnectionState::new());
        let pause = || std::thread::sleep(Duration::from_millis(2));
        pause();
        let first = state.start_request().into_body();
        let since = state.snapshot().last_taken;
        assert!(since > state.created_at, "it begins to take the first response");
        pause();
        let second = state.start_request().into_body();
        drop(state.start_request());
        let snapshot = state.snapshot();
        assert!(snapshot.last_taken == since && snapshot.last_activity > since, "it sends requests, and takes nothing");
        second.progressed();
        assert!(state.snapshot().last_taken > since);
        let since = state.snapshot().last_taken;
        drop((first, second));
        pause();
        drop(state.start_request());
        assert!(state.snapshot().last_taken > since, "HTTP/1.1, where the stream tells what was written");
    }

    #[test]
    fn partial_head_keeps_the_time_of_its_first_byte() {
        let state = Arc::new(ConnectionState::new());
        drop(state.start_request());
        state.head_possible();
        let Head::Possible { since } = state.snapshot().head else { panic!("{:?}", state.snapshot().head) };
        assert!(state.snapshot().idle_since().is_some(), "it may be TLS alone");
        state.head_partial();
        assert_eq!(state.snapshot().head, Head::Partial { since });
        assert_eq!(state.snapshot().idle_since(), None);
        state.head_complete();
        assert_eq!(state.snapshot().head, Head::None);
    }

    #[test]
    fn connection_that_closes_before_its_first_request_keeps_its_head_deadline() {
        let state = ConnectionState::new();
        state.set_last_response();
        assert_eq!(state.snapshot().lifecycle, Lifecycle::AwaitingFirstRequest);
    }

    #[test]
    fn drain_waits_for_requests_from_before_until_their_responses_are_written() {
        let state = Arc::new(ConnectionState::new());
        let before = state.start_request();
        assert!(!state.snapshot().delays_shutdown(), "no drain yet");
        state.drain_started();
        let during = state.start_request();
        assert!(state.snapshot().delays_shutdown());
        drop(before);
        state.wrote(false);
        assert!(state.snapshot().delays_shutdown(), "its response is not written yet");
        state.flushed(false);
        assert!(!state.snapshot().delays_shutdown(), "what started later is not waited for");
        drop(during);
        state.wrote(false);
        assert!(!state.snapshot().delays_shutdown() && state.snapshot().is_writing());
    }

    #[test]
    fn drain_waits_for_bytes_that_were_pending_when_it_began() {
        let state = Arc::new(ConnectionState::new());
        state.wrote(false);
        state.drain_started();
        assert_eq!(state.snapshot().write, WriteState::PendingSinceBeforeDrain);
        state.wrote(false);
        assert!(state.snapshot().delays_shutdown());
        state.flushed(false);
        assert!(!state.snapshot().delays_shutdown());
    }
}
