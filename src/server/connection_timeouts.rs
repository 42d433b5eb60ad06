//! The state machine of a connection: when it waits, releases its buffers, sends GOAWAY or closes.
//!
//! # Invariants
//!
//! - Every [`Action::Wait`] has an end, whatever the client sends or does not send.
//! - A connection is not closed while its client reads a response, unless shutdown has used up its time.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;
use crate::server::connection_snapshot::{Head, Lifecycle, Snapshot};
use crate::server::send_window::{SendRate, SendWindow};

/// How long a client may take to react to the close of an idle connection, and how long such a connection may delay
/// shutdown.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long an HTTP/1.1 connection is idle before it releases its buffers.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// How often a connection that shutdown waits for checks whether its work is done: the end of a write wakes no task.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// HTTP/2: an idle timeout passed and GOAWAY was sent. The connection closes at `close_at`, later if a request
    /// overtook the frame.
    GoingAway {
        close_at: Instant,
    },
    /// Shutdown closes connections: requests and responses in progress have until `deadline`.
    Closing {
        since: Instant,
        deadline: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Poll the connection, and decide again at that moment.
    Wait { until: Instant },
    /// HTTP/1.1: release the buffers until the client sends something.
    Park,
    /// HTTP/2: send GOAWAY and enter [`Phase::GoingAway`], so that the client knows which requests were not processed.
    GoAway { close_at: Instant },
    /// Close the connection: its deadline has passed.
    Close,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    /// `parkable_from`: no earlier than [`PARK_AFTER`] after this the connection is parked (again).
    Http1 {
        parkable_from: Instant,
    },
    Http2,
}

/// How often a connection is checked while its client has not taken all of its responses.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How often an HTTP/2 connection is checked otherwise: the start of a write wakes no task.
const IDLE_SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// What decides besides the state of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub timeouts: Timeouts,
    pub send_rate: SendRate,
    pub protocol: Protocol,
}

impl Policy {
    /// What to do with a connection that is in this phase and state.
    pub(super) fn next(&self, phase: Phase, snapshot: &Snapshot, window: Option<SendWindow>, now: Instant) -> Action {
        if window.is_some_and(|window| self.send_rate.is_stalled(&window, snapshot, now)) {
            return Action::Close;
        }
        let is_busy = snapshot.requests.any() || snapshot.is_writing();
        let close_at = match phase {
            Phase::Serving => self.idle_deadline(snapshot, now),
            Phase::GoingAway { close_at } if is_busy => close_at.max(self.idle_deadline(snapshot, now)),
            Phase::GoingAway { close_at } => close_at,
            Phase::Closing { since, deadline } => closing_deadline(snapshot, since, deadline),
        };
        if close_at <= now {
            return match (phase, self.protocol) {
                (Phase::Serving, Protocol::Http2) => Action::GoAway { close_at: now + CLOSE_GRACE },
                _ => Action::Close,
            };
        }
        let mut until = close_at;
        if let (Phase::Serving, Protocol::Http1 { parkable_from }) = (phase, self.protocol) {
            let idle_since = snapshot.idle_since().map_or(now, |since| since.max(parkable_from));
            if idle_since + PARK_AFTER <= now {
                return Action::Park;
            }
            until = until.min(idle_since + PARK_AFTER);
        }
        if let Some(window) = window {
            until = until.min(now + SAMPLE_INTERVAL).min(window.since + self.send_rate.slow_read);
        } else if matches!(self.protocol, Protocol::Http2) && self.send_rate.min_bytes_per_s > 0 {
            until = until.min(now + self.send_rate.slow_read.min(IDLE_SAMPLE_INTERVAL));
        }
        if matches!(phase, Phase::Closing { .. }) || snapshot.delays_shutdown() {
            until = until.min(now + POLL_INTERVAL);
        }
        Action::Wait { until }
    }

    /// When to close a connection on which nothing else happens.
    pub(super) fn idle_deadline(&self, snapshot: &Snapshot, now: Instant) -> Instant {
        let timeouts = &self.timeouts;
        if snapshot.requests.any() {
            // The service enforces the deadline of a request itself; decide again afterwards.
            return now + timeouts.request;
        }
        match snapshot.lifecycle {
            Lifecycle::AwaitingFirstRequest => return snapshot.created_at + timeouts.head,
            Lifecycle::LastResponse if !snapshot.is_writing() => {
                return snapshot.last_activity + CLOSE_GRACE.min(timeouts.idle);
            }
            Lifecycle::KeepAlive | Lifecycle::LastResponse => {}
        }
        let idle_until = snapshot.last_activity + timeouts.idle;
        match snapshot.head {
            Head::None => idle_until,
            Head::Possible { since } | Head::Partial { since } => idle_until.min(since + timeouts.head),
        }
    }
}

/// When to close a connection during shutdown: what is in progress has time until `deadline`, an idle connection
/// [`CLOSE_GRACE`]. So has one whose work from before the drain is not done: the drain has waited for it already.
fn closing_deadline(snapshot: &Snapshot, since: Instant, deadline: Instant) -> Instant {
    let started_during_drain = snapshot.requests.during_drain || snapshot.bodies.during_drain;
    let is_busy = snapshot.requests.any() || snapshot.is_writing();
    if is_busy && (started_during_drain || !snapshot.delays_shutdown()) {
        return deadline;
    }
    (snapshot.last_activity.max(since) + CLOSE_GRACE).min(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection_snapshot::{InProgress, WriteState};

    const BEFORE_DRAIN: InProgress = InProgress { before_drain: true, during_drain: false };
    const DURING_DRAIN: InProgress = InProgress { before_drain: false, during_drain: true };

    /// A connection created at `start`, and its policy: head 2 s, idle 60 s, request 10 s.
    struct Fixture {
        start: Instant,
        policy: Policy,
        snapshot: Snapshot,
    }

    impl Fixture {
        fn new(protocol: fn(Instant) -> Protocol) -> Fixture {
            let start = Instant::now();
            let timeouts = Timeouts {
                handshake: Duration::from_secs(1),
                head: Duration::from_secs(2),
                idle: Duration::from_secs(60),
                request: Duration::from_secs(10),
                slow_read: Duration::from_secs(30),
                drain: Duration::from_secs(30),
            };
            let send_rate = SendRate { min_bytes_per_s: 0, slow_read: timeouts.slow_read };
            let snapshot = Snapshot {
                lifecycle: Lifecycle::KeepAlive,
                requests: InProgress::default(),
                bodies: InProgress::default(),
                write: WriteState::Flushed,
                sent_bytes: 0,
                created_at: start,
                last_activity: start,
                last_taken: start,
                head: Head::None,
                is_draining: false,
            };
            Fixture { start, policy: Policy { timeouts, send_rate, protocol: protocol(start) }, snapshot }
        }

        fn h1() -> Fixture {
            Fixture::new(|start| Protocol::Http1 { parkable_from: start })
        }

        fn h2() -> Fixture {
            Fixture::new(|_| Protocol::Http2)
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn with(mut self, change: impl FnOnce(&mut Snapshot)) -> Fixture {
            change(&mut self.snapshot);
            self
        }

        /// The action in a phase, `now_ms` after the start.
        fn next(&self, phase: Phase, now_ms: u64) -> Action {
            self.policy.next(phase, &self.snapshot, None, self.at(now_ms))
        }

        fn wait(&self, until_ms: u64) -> Action {
            Action::Wait { until: self.at(until_ms) }
        }

        fn closing(&self, since_ms: u64, deadline_ms: u64) -> Phase {
            Phase::Closing { since: self.at(since_ms), deadline: self.at(deadline_ms) }
        }
    }

    #[test]
    fn first_request_has_the_head_timeout() {
        let h2 = Fixture::h2().with(|it| it.lifecycle = Lifecycle::AwaitingFirstRequest);
        assert_eq!(h2.next(Phase::Serving, 0), h2.wait(2_000));
        assert_eq!(h2.next(Phase::Serving, 2_000), Action::GoAway { close_at: h2.at(3_000) });
        let h1 = Fixture::h1().with(|it| it.lifecycle = Lifecycle::AwaitingFirstRequest);
        assert_eq!(h1.next(Phase::Serving, 1_950), h1.wait(2_000), "not parked before its first request");
        assert_eq!(h1.next(Phase::Serving, 2_000), Action::Close);
    }

    #[test]
    fn request_head_has_the_head_timeout_from_its_first_byte() {
        for partial in [false, true] {
            let h1 = Fixture::h1();
            let since = h1.at(5_000);
            let head = if partial { Head::Partial { since } } else { Head::Possible { since } };
            let h1 = h1.with(|it| it.head = head);
            assert_eq!(h1.next(Phase::Serving, 7_000), Action::Close, "{head:?}");
            let early = h1.next(Phase::Serving, 6_990);
            assert_eq!(early, if partial { h1.wait(7_000) } else { Action::Park }, "{head:?}");
        }
    }

    #[test]
    fn request_in_flight_is_left_to_its_own_deadline() {
        for requests in [BEFORE_DRAIN, DURING_DRAIN] {
            let h2 = Fixture::h2().with(|it| it.requests = requests);
            assert_eq!(h2.next(Phase::Serving, 500_000), h2.wait(510_000));
        }
    }

    #[test]
    fn idle_http2_connection_is_sent_goaway_before_it_is_closed() {
        let h2 = Fixture::h2();
        assert_eq!(h2.next(Phase::Serving, 0), h2.wait(60_000));
        assert_eq!(h2.next(Phase::Serving, 60_000), Action::GoAway { close_at: h2.at(61_000) });
        let going_away = Phase::GoingAway { close_at: h2.at(61_000) };
        assert_eq!(h2.next(going_away, 60_000), h2.wait(61_000));
        assert_eq!(h2.next(going_away, 61_000), Action::Close);
        let overtaken = h2.with(|it| it.requests = BEFORE_DRAIN);
        assert_eq!(overtaken.next(going_away, 61_000), overtaken.wait(71_000), "a request overtook the GOAWAY");
    }

    #[test]
    fn idle_http1_connection_is_parked_and_never_sent_goaway() {
        let h1 = Fixture::h1();
        assert_eq!(h1.next(Phase::Serving, 30), h1.wait(100));
        assert_eq!(h1.next(Phase::Serving, 100), Action::Park);
        assert_eq!(h1.next(Phase::Serving, 60_000), Action::Close);
        let mut rebuilt = Fixture::h1();
        rebuilt.policy.protocol = Protocol::Http1 { parkable_from: rebuilt.at(5_000) };
        assert_eq!(rebuilt.next(Phase::Serving, 5_000), rebuilt.wait(5_100), "buffers were just allocated again");
        let busy = Fixture::h1().with(|it| it.write = WriteState::Pending);
        assert_eq!(busy.next(Phase::Serving, 1_000), busy.wait(1_100), "a response is being written");
    }

    #[test]
    fn connection_is_closed_soon_after_its_last_response() {
        let h1 = Fixture::h1().with(|it| it.lifecycle = Lifecycle::LastResponse);
        assert_eq!(h1.next(Phase::Serving, 999), h1.wait(1_000), "closing connections are not parked");
        assert_eq!(h1.next(Phase::Serving, 1_000), Action::Close);
        let writing = h1.with(|it| it.write = WriteState::Pending);
        assert_eq!(writing.next(Phase::Serving, 59_999), writing.wait(60_000), "its last response is being read");
    }

    #[test]
    fn slow_reader_has_the_idle_timeout_between_two_steps() {
        let h2 = Fixture::h2().with(|it| it.bodies = BEFORE_DRAIN);
        assert_eq!(h2.next(Phase::Serving, 59_999), h2.wait(60_000));
        assert!(matches!(h2.next(Phase::Serving, 60_000), Action::GoAway { .. }));
        let read_on = h2.at(59_000);
        let h2 = h2.with(|it| it.last_activity = read_on);
        assert_eq!(h2.next(Phase::Serving, 60_000), h2.wait(119_000));
    }

    /// Samples every second a client that takes so many bytes between two samples; returns when it is disconnected.
    fn disconnected_after(bytes_per_s: impl Fn(u64) -> u64) -> Option<u64> {
        let mut h2 = Fixture::h2().with(|it| it.bodies = BEFORE_DRAIN);
        h2.policy.send_rate.min_bytes_per_s = 1_000;
        let mut window = None;
        (0..200).find(|second| {
            let now = h2.at(second * 1_000);
            h2.snapshot.sent_bytes += bytes_per_s(*second);
            // Each step is progress for the idle timeout.
            h2.snapshot.last_activity = now;
            window = h2.policy.send_rate.window(window, &h2.snapshot, now);
            h2.policy.next(Phase::Serving, &h2.snapshot, window, now) == Action::Close
        })
    }

    #[test]
    fn client_that_takes_too_little_is_disconnected_however_often_it_takes_something() {
        for (name, bytes_per_s, expected) in [
            ("nothing", (|_| 0) as fn(u64) -> u64, Some(30)),
            ("a byte each second", |_| 1, Some(30)),
            ("999 bytes each second", |_| 999, Some(30)),
            ("1,000 bytes each second", |_| 1_000, None),
            ("all of it in the last second", |second| if second % 30 == 0 { 30_000 } else { 0 }, None),
            ("enough at first", |second| if second <= 60 { 5_000 } else { 10 }, Some(90)),
        ] {
            assert_eq!(disconnected_after(bytes_per_s), expected, "{name}");
        }
    }

    #[test]
    fn client_that_takes_everything_now_and_then_is_never_too_slow() {
        let mut h2 = Fixture::h2();
        h2.policy.send_rate.min_bytes_per_s = 1_000;
        let mut window = None;
        for second in 0..59 {
            h2.snapshot.write = if second % 20 == 0 { WriteState::Flushed } else { WriteState::Pending };
            window = h2.policy.send_rate.window(window, &h2.snapshot, h2.at(second * 1_000));
            let action = h2.policy.next(Phase::Serving, &h2.snapshot, window, h2.at(second * 1_000));
            assert!(matches!(action, Action::Wait { .. }), "{second}: {action:?}");
        }
    }

    #[test]
    fn evicted_connection_closes_soon_unless_it_is_busy() {
        let h2 = Fixture::h2();
        let going_away = Phase::GoingAway { close_at: h2.at(1_000) };
        assert_eq!(h2.next(going_away, 1_000), Action::Close, "long before its idle timeout");
        let busy = h2.with(|it| it.bodies = BEFORE_DRAIN);
        assert_eq!(busy.next(going_away, 1_000), busy.wait(60_000));
    }

    #[test]
    fn drain_polls_while_work_from_before_it_is_in_progress() {
        let draining = |it: &mut Snapshot| it.is_draining = true;
        let idle = Fixture::h2().with(draining);
        assert_eq!(idle.next(Phase::Serving, 0), idle.wait(60_000));
        for change in [
            (|it: &mut Snapshot| it.requests = BEFORE_DRAIN) as fn(&mut Snapshot),
            |it| it.bodies = BEFORE_DRAIN,
            |it| it.write = WriteState::PendingSinceBeforeDrain,
        ] {
            let busy = Fixture::h2().with(draining).with(change);
            assert_eq!(busy.next(Phase::Serving, 0), busy.wait(25), "{:?}", busy.snapshot);
        }
        let later = Fixture::h2().with(draining).with(|it| it.requests = DURING_DRAIN);
        assert_eq!(later.next(Phase::Serving, 0), later.wait(10_000), "started after the drain began");
    }

    #[test]
    fn closing_gives_idle_connections_a_grace_period_and_work_in_progress_the_deadline() {
        let close_at = |fixture: &Fixture| {
            let phase = fixture.closing(5_000, 30_000);
            assert_eq!(fixture.next(phase, 5_000), fixture.wait(5_025), "closing connections poll");
            let closes = |ms: &u64| fixture.next(phase, *ms) == Action::Close;
            (5_000..40_000).step_by(1_000).find(closes).expect("it is closed")
        };
        assert_eq!(close_at(&Fixture::h2()), 6_000);
        assert_eq!(close_at(&Fixture::h1()), 6_000);
        assert_eq!(close_at(&Fixture::h2().with(|it| it.requests = BEFORE_DRAIN)), 30_000);
        assert_eq!(close_at(&Fixture::h2().with(|it| it.bodies = BEFORE_DRAIN)), 30_000);
        assert_eq!(close_at(&Fixture::h1().with(|it| it.write = WriteState::Pending)), 30_000);
        let mut drained = Fixture::h2().with(|it| (it.is_draining, it.requests) = (true, BEFORE_DRAIN));
        assert_eq!(close_at(&drained), 6_000, "the drain waited for it already");
        drained.snapshot.requests.during_drain = true;
        assert_eq!(close_at(&drained), 30_000, "a later request keeps its time");
        let short = Fixture::h2();
        assert_eq!(short.next(short.closing(5_000, 5_300), 5_300), Action::Close, "never later than the deadline");
    }
}
