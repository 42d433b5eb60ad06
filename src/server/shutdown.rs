//! Graceful shutdown: the phases that all listeners and connections of the process go through together.
//!
//! 1. *Draining* (socket activation alone): clients are served as before while the process waits for what was in
//!    progress. Under systemd new clients wait in the socket's queue from the moment this process stops accepting until
//!    the next one starts; they are not to wait for one slow upload.
//! 2. *Refusing new*: no connection is accepted, HTTP/1.1 responses say `Connection: close`.
//! 3. *Closing*: connections finish what is in progress and close.
//!
//! # Invariants
//!
//! - No listener stops accepting while another brand's slow request is still waited for.
//! - Clients are notified before their connection is closed (`Connection: close`, GOAWAY).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long connections have to take a [`Shutdown::delay_token`] once draining has begun.
const REGISTRATION_PERIOD: Duration = Duration::from_millis(400);

/// From the last accepted connection to the first closed one, so that a client that has just connected gets its
/// response.
pub const REFUSAL_PERIOD: Duration = Duration::from_millis(300);

/// Clones share their phase.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Phases>);

#[derive(Default)]
struct Phases {
    /// Set before the first phase is entered.
    has_started: AtomicBool,
    draining: CancellationToken,
    refusing_new: CancellationToken,
    closing: CancellationToken,
    /// When closing began, and the divisor of each brand's drain timeout from then on.
    closing_since: OnceLock<(Instant, u32)>,
    /// Holds a token for each connection with work from before the drain.
    delays: TaskTracker,
}

impl Shutdown {
    /// Goes through the phases and returns when closing has begun.
    ///
    /// `drain` is the longest drain timeout of all brands. With `drain_first` three quarters of it are spent draining,
    /// and the last quarter is left for what started meanwhile; otherwise all of it is left for closing.
    pub async fn run(&self, drain: Duration, drain_first: bool) {
        let phases = &self.0;
        phases.has_started.store(true, Ordering::Release);
        if drain_first {
            phases.draining.cancel();
            tokio::time::sleep(REGISTRATION_PERIOD.min(drain)).await;
            phases.delays.close();
            // On timeout, closing gives the rest only its grace period.
            let _ = tokio::time::timeout(drain * 3 / 4, phases.delays.wait()).await;
        }
        phases.refusing_new.cancel();
        tokio::time::sleep(REFUSAL_PERIOD).await;
        let divisor = if drain_first { 4 } else { 1 };
        phases.closing_since.get_or_init(|| (Instant::now(), divisor));
        phases.closing.cancel();
    }

    /// When connections are closed whatever is in progress, for a brand with this drain timeout. Only while closing.
    pub fn close_deadline(&self, drain: Duration) -> Instant {
        let (since, divisor) = *self.0.closing_since.get_or_init(|| (Instant::now(), 1));
        since + (drain / divisor).max(REFUSAL_PERIOD)
    }

    pub fn is_draining(&self) -> bool {
        self.has_entered(&self.0.draining)
    }

    pub async fn draining(&self) {
        self.entered(&self.0.draining).await;
    }

    /// Delays the end of draining until the token is dropped.
    pub fn delay_token(&self) -> TaskTrackerToken {
        self.0.delays.token()
    }

    pub fn is_refusing_new(&self) -> bool {
        self.has_entered(&self.0.refusing_new)
    }

    pub async fn refusing_new(&self) {
        self.entered(&self.0.refusing_new).await;
    }

    pub async fn closing(&self) {
        self.entered(&self.0.closing).await;
    }

    fn has_started(&self) -> bool {
        self.0.has_started.load(Ordering::Acquire)
    }

    /// Until shutdown starts this reads one atomic: a token takes a lock that all connections share.
    fn has_entered(&self, phase: &CancellationToken) -> bool {
        self.has_started() && phase.is_cancelled()
    }

    /// Waits for a phase. Every request of a connection polls this, so the token is polled once for each task, and
    /// again only when shutdown has started.
    async fn entered(&self, phase: &CancellationToken) {
        let mut cancelled = pin!(phase.cancelled());
        let mut registered: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            let is_registered = registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_registered && !self.has_started() {
                return Poll::Pending;
            }
            registered = Some(cx.waker().clone());
            cancelled.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn phases_follow_each_other_and_wake_every_waiter() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.is_draining() && !shutdown.is_refusing_new());
        let token = shutdown.delay_token();
        let run = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.run(LONG, true).await }
        });
        shutdown.draining().await;
        tokio::time::sleep(2 * REGISTRATION_PERIOD).await;
        assert!(shutdown.is_draining() && !shutdown.is_refusing_new(), "a token delays the next phase");
        assert!(shutdown.closing().now_or_never().is_none());
        drop(token);
        shutdown.refusing_new().await;
        assert!(shutdown.closing().now_or_never().is_none(), "clients are notified before connections close");
        shutdown.closing().await;
        run.await.expect("no panic");
        let quarter = shutdown.close_deadline(LONG) - shutdown.close_deadline(Duration::ZERO);
        assert_eq!(quarter, LONG / 4 - REFUSAL_PERIOD, "three quarters were for draining");
    }

    #[tokio::test]
    async fn drain_timeout_bounds_the_wait_for_a_token() {
        let shutdown = Shutdown::default();
        let _never_dropped = shutdown.delay_token();
        shutdown.run(Duration::from_millis(200), true).await;
        assert!(shutdown.is_refusing_new() && shutdown.closing().now_or_never().is_some());
    }

    #[tokio::test]
    async fn without_socket_activation_nothing_is_drained_first() {
        let shutdown = Shutdown::default();
        let _token = shutdown.delay_token();
        shutdown.run(LONG, false).await;
        assert!(!shutdown.is_draining() && shutdown.is_refusing_new());
        let whole = shutdown.close_deadline(LONG) - shutdown.close_deadline(Duration::ZERO);
        assert_eq!(whole, LONG - REFUSAL_PERIOD);
    }

    #[tokio::test]
    async fn waiter_is_woken_although_it_polls_the_token_only_once() {
        let shutdown = Shutdown::default();
        let mut waiting = Box::pin(shutdown.closing());
        assert!(waiting.as_mut().now_or_never().is_none() && waiting.as_mut().now_or_never().is_none());
        tokio::join!(waiting, shutdown.run(Duration::ZERO, false));
    }
}
