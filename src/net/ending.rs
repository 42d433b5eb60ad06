//! How a process ends without anybody waiting long: in steps that all listeners and connections take together.
//!
//! Made by `bin/brandgate serve`, one a process; watched by `listen` and `connection`. First everybody is served as before until what
//! had been begun is done: under systemd the next process starts only when this one is gone, so one slow upload would keep every new
//! visitor waiting. Then nobody new is let in, a moment later connections are closed. What must never happen: a brand's listener
//! stops while another brand's slow request still holds up the end.

use std::sync::{Arc, OnceLock};
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
pub struct Ending(Arc<Steps>);

#[derive(Default)]
struct Steps {
    begun_at: OnceLock<Instant>,
    /// The end was asked for; nothing changes for clients.
    begun: CancellationToken,
    /// No new connections; answers over HTTP/1.1 say `Connection: close`.
    leaving: CancellationToken,
    /// Running requests end, new ones are not begun.
    closing: CancellationToken,
    /// Has a token of each connection on which something had been begun before the end was.
    begun_before: TaskTracker,
}

impl Ending {
    /// Takes the steps, up to the one that closes connections; `drain`: how long what runs may take, the longest of all brands. In the
    /// first half of it visitors are served.
    pub async fn run(&self, drain: Duration) {
        let steps = &self.0;
        steps.begun_at.get_or_init(Instant::now);
        steps.begun.cancel();
        tokio::time::sleep(SAY_WITHIN.min(drain)).await;
        steps.begun_before.close();
        // Whoever is late is waited for with the rest.
        let _ = tokio::time::timeout(drain / 2, steps.begun_before.wait()).await;
        steps.leaving.cancel();
        tokio::time::sleep(LEAVING_FOR).await;
        steps.closing.cancel();
    }

    /// When whatever still runs is cut, for a brand with that `drain`; who was let in last has a moment in any case.
    pub fn last_moment(&self, drain: Duration) -> Instant {
        let begun_at = *self.0.begun_at.get_or_init(Instant::now);
        begun_at + drain + SAY_WITHIN + LEAVING_FOR
    }

    pub fn is_begun(&self) -> bool {
        self.0.begun.is_cancelled()
    }

    pub async fn begun(&self) {
        self.0.begun.cancelled().await;
    }

    /// What the first step waits for, until it is dropped.
    pub fn hold_up(&self) -> TaskTrackerToken {
        self.0.begun_before.token()
    }

    pub fn is_leaving(&self) -> bool {
        self.0.leaving.is_cancelled()
    }

    pub async fn leaving(&self) {
        self.0.leaving.cancelled().await;
    }

    pub async fn closing(&self) {
        self.0.closing.cancelled().await;
    }
}
