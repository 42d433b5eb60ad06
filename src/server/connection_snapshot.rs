//! What one connection is doing at one moment: the input of its state machine.

use tokio::time::Instant;

/// What a connection is doing at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub lifecycle: Lifecycle,
    /// Requests whose handler has not returned.
    pub requests: InProgress,
    /// HTTP/2 response bodies that are not yet handed to the socket, because of flow control.
    pub bodies: InProgress,
    pub write: WriteState,
    /// Bytes that the TLS connection took since it was opened.
    pub sent_bytes: u64,
    pub created_at: Instant,
    /// The end of the last request, or the last progress of a slow response; `created_at` before.
    pub last_activity: Instant,
    /// When the client last took part of a response, or when there was the first response that it has not taken.
    pub last_taken: Instant,
    pub head: Head,
    /// The connection has seen that the shutdown began to drain.
    pub is_draining: bool,
}

/// How far a connection is through its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifecycle {
    AwaitingFirstRequest,
    KeepAlive,
    /// HTTP/1.1: a response said `Connection: close`. What still arrives may be the rest of an unread body, never a
    /// request.
    LastResponse,
}

/// A request head that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    None,
    /// The socket became readable: part of a head, or a TLS message without application data.
    Possible {
        since: Instant,
    },
    /// Part of a head has been read.
    Partial {
        since: Instant,
    },
}

/// Whether written bytes are still in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteState {
    Flushed,
    Pending,
    /// Pending bytes belong to what was in progress when the drain began.
    PendingSinceBeforeDrain,
}

/// Whether anything is in progress, by when it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InProgress {
    pub before_drain: bool,
    pub during_drain: bool,
}

impl InProgress {
    pub(super) fn any(self) -> bool {
        self.before_drain || self.during_drain
    }
}

impl Snapshot {
    /// Whether a response is not completely written.
    pub(super) fn is_writing(&self) -> bool {
        self.write != WriteState::Flushed || self.bodies.any()
    }

    /// Whether something is in progress that the drain waits for: it started before the drain began.
    pub(super) fn delays_shutdown(&self) -> bool {
        self.is_draining
            && (self.requests.before_drain
                || self.bodies.before_drain
                || self.write == WriteState::PendingSinceBeforeDrain)
    }

    /// Since when a keep-alive connection is idle; `None` while anything is in progress or expected.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.lifecycle == Lifecycle::KeepAlive
            && !matches!(self.head, Head::Partial { .. })
            && !self.requests.any()
            && !self.is_writing();
        is_idle.then_some(self.last_activity)
    }
}

impl Lifecycle {
    /// The variant whose number this is.
    pub(super) fn from_u8(number: u8) -> Lifecycle {
        match number {
            0 => Lifecycle::AwaitingFirstRequest,
            1 => Lifecycle::KeepAlive,
            _ => Lifecycle::LastResponse,
        }
    }
}

impl WriteState {
    /// The variant whose number this is.
    pub(super) fn from_u8(number: u8) -> WriteState {
        match number {
            0 => WriteState::Flushed,
            1 => WriteState::Pending,
            _ => WriteState::PendingSinceBeforeDrain,
        }
    }
}
