//! What others need to know of a connection to close it, and how they ask it to close.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::server::connection_snapshot::Lifecycle;
use crate::server::connection_state::ConnectionState;
use crate::server::connection_timeouts::CLOSE_GRACE;

/// A stalled connection with more refusals because of unread responses is closed.
const TOLERATED_REFUSALS: u32 = 50;

/// A connection without a complete first request is closed for others only when it is older: its client may be about to
/// send it.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A connection is closed for others only when it has been idle longer: browsers send requests in quick succession.
const IDLE_GRACE: Duration = Duration::from_millis(100);

/// A client that has taken nothing of its responses for this time is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// A connection that was asked to close and has not closed by then has got work in the meantime.
const CLOSING_TIME: Duration = CLOSE_GRACE.saturating_add(Duration::from_millis(200));

pub(crate) struct ConnectionHandle {
    accepted_at: Instant,
    /// Set after the handshake.
    state: OnceLock<Arc<ConnectionState>>,
    evicted_at: OnceLock<Instant>,
    is_aborted: AtomicBool,
    /// Requests that were refused because of what the client has not read.
    refusals: AtomicU32,
    waker: AtomicWaker,
}

impl ConnectionHandle {
    pub(super) fn new() -> ConnectionHandle {
        ConnectionHandle {
            accepted_at: Instant::now(),
            state: OnceLock::new(),
            evicted_at: OnceLock::new(),
            is_aborted: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// The handshake is complete: from now on the connection is idle when its state says so.
    pub(super) fn set_state(&self, state: &Arc<ConnectionState>) {
        // Set once: a connection has one handshake.
        let _ = self.state.set(state.clone());
    }

    /// Asks the connection to close as soon as what it does is done.
    pub(super) fn evict(&self) {
        // The first time counts.
        let _ = self.evicted_at.set(Instant::now());
        self.waker.wake();
    }

    /// Closes the connection at once, with all that waits to be sent.
    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Release);
        self.evict();
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted_at.get().is_some()
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Acquire)
    }

    /// Completes when the connection is to be closed. One task at a time may wait.
    pub(super) async fn evicted(&self) {
        self.wait_until(|| self.is_evicted()).await;
    }

    /// Completes when the connection is to be closed at once. One task at a time may wait.
    pub(super) async fn aborted(&self) {
        self.wait_until(|| self.is_aborted()).await;
    }

    async fn wait_until(&self, condition: impl Fn() -> bool) {
        let mut is_registered = false;
        std::future::poll_fn(|cx| {
            if !is_registered {
                self.waker.register(cx.waker());
                is_registered = true;
            }
            if condition() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// From when on closing it cuts nothing off; `None` while it is busy, and when it was asked to close before.
    pub(super) fn evictable_from(&self) -> Option<Instant> {
        if self.is_evicted() {
            return None;
        }
        let Some(state) = self.state.get() else { return Some(self.accepted_at + FIRST_REQUEST_GRACE) };
        let snapshot = state.snapshot();
        let evictable_from = match snapshot.lifecycle {
            Lifecycle::AwaitingFirstRequest => snapshot.created_at + FIRST_REQUEST_GRACE,
            Lifecycle::KeepAlive | Lifecycle::LastResponse => snapshot.last_activity + IDLE_GRACE,
        };
        (!snapshot.requests.any() && !snapshot.is_writing()).then_some(evictable_from)
    }

    /// Whether it was asked to close and is expected to be gone soon.
    pub(super) fn is_closing(&self, now: Instant) -> bool {
        self.evicted_at.get().is_some_and(|evicted_at| now < *evicted_at + CLOSING_TIME)
    }

    /// Whether its client leaves responses unread and is not about to be disconnected for it.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stalled_since(now).is_some()
    }

    /// When its client last took part of a response, if it is stalled.
    pub(super) fn stalled_since(&self, now: Instant) -> Option<Instant> {
        let snapshot = self.state.get().filter(|_| !self.is_aborted())?.snapshot();
        (snapshot.is_writing() && now >= snapshot.last_taken + STALLED_AFTER).then_some(snapshot.last_taken)
    }

    /// Notes a refusal because of unread responses; whether there were too many in a row.
    pub(super) fn refused(&self) -> bool {
        self.refusals.fetch_add(1, Ordering::Relaxed) >= TOLERATED_REFUSALS
    }

    /// Notes that the client has room for a response again.
    pub(super) fn granted(&self) {
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn abort_wakes_a_connection_that_was_asked_to_close_before() {
        let handle = Arc::new(ConnectionHandle::new());
        assert!(handle.evicted().now_or_never().is_none());
        handle.evict();
        assert!(handle.evicted().now_or_never().is_some());
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.aborted().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "an eviction is no abort");
        handle.abort();
        waiting.await.expect("it is woken");
    }

    #[test]
    fn only_a_client_that_takes_nothing_of_a_response_is_stalled() {
        let (handle, state) = (ConnectionHandle::new(), Arc::new(ConnectionState::new()));
        let later = Instant::now() + 2 * STALLED_AFTER;
        assert!(!handle.is_stalled(later), "in its handshake");
        handle.set_state(&state);
        let request = state.start_request();
        assert!(!handle.is_stalled(later), "its request is in progress");
        let body = request.into_body();
        assert!(handle.is_stalled(later) && !handle.is_stalled(Instant::now()));
        std::thread::sleep(Duration::from_millis(2));
        let before = state.snapshot().last_taken + STALLED_AFTER;
        body.progressed();
        assert!(!handle.is_stalled(before), "it takes something");
        handle.abort();
        assert!(!handle.is_stalled(later), "it is about to be closed");
    }
}
