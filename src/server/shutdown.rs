//! How a process ends without anybody waiting long: in steps that all listeners and connections take together.
//!
//! Made by `bin/brandgate serve`, one a process; watched by `listen` and `connection`. Nobody new is let in, a moment later connections
//! are closed, and what runs is finished. With systemd's sockets a step comes before: everybody is served until what had been begun
//! is done, because there visitors wait in the queue until this process is gone and the next one is there, and one slow upload would
//! keep all of them waiting. What must never happen: a brand's listener stops while another brand's slow request still holds up
//! the end, or a connection is closed without a word.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long connections have to say that something had been begun on them.
const SAY_WITHIN: Duration = Duration::from_millis(100);

/// Between the last accepted connection and the first closed one: whoever just shook hands gets an answer.
pub const LEAVING_FOR: Duration = Duration::from_millis(300);

/// Clones are the same.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Steps>);

#[derive(Default)]
struct Steps {
    /// Some step was or is being taken: set before any of them is.
    is_ending: AtomicBool,
    /// With systemd's sockets the end was asked for; nothing changes for clients.
    begun: CancellationToken,
    /// No new connections; answers over HTTP/1.1 say `Connection: close`.
    leaving: CancellationToken,
    /// Running requests end, new ones are not begun.
    closing: CancellationToken,
    /// When connections were closed, and by what a brand's drain is divided from then on.
    closing_since: OnceLock<(Instant, u32)>,
    /// Has a token of each connection on which something had been begun before the end was.
    begun_before: TaskTracker,
}

impl Shutdown {
    /// Takes the steps, up to the one that closes connections; `drain`: how long what runs may take, the longest of all brands.
    /// `with_open_doors`: three quarters of it are for what was begun before, while visitors are served, the rest is for what was begun since.
    pub async fn run(&self, drain: Duration, with_open_doors: bool) {
        let steps = &self.0;
        steps.is_ending.store(true, Ordering::Release);
        if with_open_doors {
            steps.begun.cancel();
            tokio::time::sleep(SAY_WITHIN.min(drain)).await;
            steps.begun_before.close();
            // What has not ended by then is not waited for again.
            let _ = tokio::time::timeout(drain * 3 / 4, steps.begun_before.wait()).await;
        }
        steps.leaving.cancel();
        tokio::time::sleep(LEAVING_FOR).await;
        let parts = if with_open_doors { 4 } else { 1 };
        steps.closing_since.get_or_init(|| (Instant::now(), parts));
        steps.closing.cancel();
    }

    /// When whatever still runs is cut, for a brand with that `drain`; who was let in last has a moment in any case. For connections
    /// that are being closed.
    pub fn last_moment(&self, drain: Duration) -> Instant {
        let (since, parts) = *self.0.closing_since.get_or_init(|| (Instant::now(), 1));
        since + (drain / parts).max(LEAVING_FOR)
    }

    pub fn is_draining(&self) -> bool {
        self.has_taken(&self.0.begun)
    }

    pub async fn draining(&self) {
        self.until_taken(&self.0.begun).await;
    }

    /// What the first step waits for, until it is dropped.
    pub fn delay_token(&self) -> TaskTrackerToken {
        self.0.begun_before.token()
    }

    pub fn is_refusing_new(&self) -> bool {
        self.has_taken(&self.0.leaving)
    }

    pub async fn refusing_new(&self) {
        self.until_taken(&self.0.leaving).await;
    }

    pub async fn closing(&self) {
        self.until_taken(&self.0.closing).await;
    }

    fn is_ending(&self) -> bool {
        self.0.is_ending.load(Ordering::Acquire)
    }

    /// A token asks for locks that all connections share; until the end nobody has to.
    fn has_taken(&self, step: &CancellationToken) -> bool {
        self.is_ending() && step.is_cancelled()
    }

    /// Every request of a connection polls this, so the token is asked once for each task, and again when the end has begun.
    async fn until_taken(&self, step: &CancellationToken) {
        let mut taken = pin!(step.cancelled());
        let mut heard_by: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            let is_heard = heard_by.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_heard && !self.is_ending() {
                return Poll::Pending;
            }
            heard_by = Some(cx.waker().clone());
            taken.as_mut().poll(cx)
        })
        .await;
    }
}
