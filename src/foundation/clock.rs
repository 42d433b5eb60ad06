//! The clock of a brand, which follows its database's and which tests can move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The origin of the monotonic time in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time on which all instances of a brand agree: that of its database, once it was measured, until then this machine's. Between two
/// measurements it runs with the monotonic clock, so a step of this machine's clock does not change it. Tests may move it. Clones
/// share the time.
#[derive(Debug, Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    offset_ms: AtomicI64,
    /// The time at `ORIGIN` in microseconds since 1970; `i64::MIN` before the first measurement.
    origin_us: AtomicI64,
}

impl Default for Clock {
    fn default() -> Clock {
        LazyLock::force(&ORIGIN);
        Clock { inner: Arc::new(Inner { offset_ms: AtomicI64::new(0), origin_us: AtomicI64::new(i64::MIN) }) }
    }
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        let measured = match self.inner.origin_us.load(Ordering::Relaxed) {
            i64::MIN => None,
            origin_us => Timestamp::from_microsecond(origin_us.saturating_add(monotonic_us(Instant::now()))).ok(),
        };
        let offset = SignedDuration::from_millis(self.inner.offset_ms.load(Ordering::Relaxed));
        measured.unwrap_or_else(Timestamp::now).checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// Sets the clock to the database's: it was `time` at some moment between `sent_at` and `received_at`.
    pub fn set(&self, time: Timestamp, sent_at: Instant, received_at: Instant) {
        let between_us = i64::midpoint(monotonic_us(sent_at), monotonic_us(received_at));
        self.inner.origin_us.store(time.as_microsecond() - between_us, Ordering::Relaxed);
    }

    /// How far this clock is ahead of the machine's.
    pub fn ahead_of_machine(&self) -> SignedDuration {
        self.now().duration_since(Timestamp::now())
    }

    /// Moves this clock and all its clones forward, or back by a negative number.
    pub fn advance_ms(&self, ms: i64) {
        self.inner.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// Negative for a moment before the first clock was made.
fn monotonic_us(at: Instant) -> i64 {
    let us = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    us(at.saturating_duration_since(*ORIGIN)) - us(ORIGIN.saturating_duration_since(at))
}

/// RFC 3339 in UTC without fractions of a second, the format of every time in the API.
pub fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time of day for people, with the zone's abbreviation: `15:04 MSK`.
pub fn local_time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%H:%M %Z").to_string()
}

/// A date and time of day for people: `2026-02-28 15:04 MSK`.
pub fn local_date_time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_offset() {
        let clock = Clock::default();
        let clone = clock.clone();
        clock.advance_ms(3_600_000);
        assert!(clone.now().duration_since(Timestamp::now()) > SignedDuration::from_mins(59));
    }

    #[test]
    fn clock_follows_the_database_and_keeps_the_offset_of_a_test() {
        let clock = Clock::default();
        let clone = clock.clone();
        let (sent_at, an_hour) = (Instant::now(), SignedDuration::from_hours(1));
        clock.set(Timestamp::now() - an_hour, sent_at, sent_at);
        let behind = |clock: &Clock| (Timestamp::now().duration_since(clock.now()) - an_hour).abs();
        assert!(behind(&clone) < SignedDuration::from_mins(1), "{}", clone.now());
        clock.advance_ms(3_600_000);
        assert!(clone.ahead_of_machine().abs() < SignedDuration::from_mins(1));
        let before = clock.now();
        assert!(clock.now() >= before, "it runs");
    }
}
