//! How the bot waits: for the next attempt, and for PostgreSQL.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::foundation::error::{Error, Result};

const MIN_BACKOFF: Duration = Duration::from_millis(500);
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The longest time that a query of the bot takes.
pub(super) const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Growing delays between attempts.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { next: MIN_BACKOFF }
    }

    /// The delay before the next attempt; doubles up to [`MAX_BACKOFF`].
    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(MAX_BACKOFF);
        delay
    }
}

/// Sleeps, unless shutdown begins.
pub(super) async fn pause(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = shutdown.cancelled() => {}
    }
}

/// # Errors
/// 504 after [`DATABASE_TIMEOUT`].
pub(super) async fn with_timeout<T>(query: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DATABASE_TIMEOUT, query).await.unwrap_or_else(|elapsed| Err(Error::timeout(elapsed)))
}
