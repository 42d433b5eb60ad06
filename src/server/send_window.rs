//! How fast a client takes its responses: the deadline of one that takes too little.

use std::time::Duration;

use tokio::time::Instant;

use crate::server::connection_snapshot::Snapshot;

/// Since when a client has not taken all of its responses, and how much had been sent until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendWindow {
    pub since: Instant,
    sent_bytes: u64,
}

/// A client that takes less of its responses, averaged over `slow_read`, is disconnected; 0: never.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendRate {
    pub min_bytes_per_s: u32,
    pub slow_read: Duration,
}

impl SendRate {
    /// The window of the next decision, from that of the last one. A window ends when all is sent, and begins again when
    /// its time has passed and the client took enough.
    pub(super) fn window(&self, window: Option<SendWindow>, snapshot: &Snapshot, now: Instant) -> Option<SendWindow> {
        if !snapshot.is_writing() || self.min_bytes_per_s == 0 {
            return None;
        }
        window
            .filter(|window| now < window.since + self.slow_read || self.is_stalled(window, snapshot, now))
            .or(Some(SendWindow { since: now, sent_bytes: snapshot.sent_bytes }))
    }

    /// Whether a window has ended in which the client took too little.
    pub(super) fn is_stalled(&self, window: &SendWindow, snapshot: &Snapshot, now: Instant) -> bool {
        let slow_read = self.slow_read;
        let expected = u128::from(self.min_bytes_per_s) * slow_read.as_millis() / 1_000;
        now >= window.since + slow_read && u128::from(snapshot.sent_bytes - window.sent_bytes) < expected
    }
}
