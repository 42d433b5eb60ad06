//! When a payment is polled next.

use jiff::{SignedDuration, Timestamp};

use super::state::{CurrentState, Status};
use crate::config::PaymentsConfig;

/// The delay before the first poll of an open payment that no client polls. It doubles with every poll.
pub(super) const FIRST_POLL_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// The longest delay between two polls of an open payment.
const MAX_OPEN_DELAY: SignedDuration = SignedDuration::from_mins(1);

/// Returns when to poll a payment next, or `None` when there is nothing more to learn.
///
/// An open payment is polled with backoff and once at its expiry; a closed one more rarely for `config.follow_up`, because money may
/// arrive late; one in progress for as long as it is in progress.
pub(super) fn next_poll_at(
    state: CurrentState,
    polls: i32,
    now: Timestamp,
    config: &PaymentsConfig,
) -> Option<Timestamp> {
    let max_delay = SignedDuration::try_from(config.max_poll_interval).unwrap_or(SignedDuration::MAX);
    let delay = FIRST_POLL_DELAY * 2_i32.saturating_pow(u32::try_from(polls).unwrap_or(0).min(16));
    let at = match state.status {
        Status::Completed => return None,
        Status::Created | Status::Waiting => {
            let at = now + delay.min(MAX_OPEN_DELAY).min(max_delay);
            let expiry = state.expires_at + SignedDuration::from_secs(1);
            if now < expiry { at.min(expiry) } else { at }
        }
        Status::Expired | Status::Cancelled => now + (delay * 12).min(max_delay),
    };
    let last = state.expires_at + config.follow_up;
    match state.status {
        Status::Waiting if now >= last => Some(now + max_delay),
        _ => (now < last).then(|| at.min(last)),
    }
}

/// Returns a time after which no poll is scheduled at `now`, neither by [`next_poll_at`] nor with a new payment.
pub(super) fn latest_poll_at(now: Timestamp, config: &PaymentsConfig) -> Timestamp {
    now + config.qr_lifetime.max(config.max_poll_interval)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{OrderLimits, Rounding, UnitLimit};

    const CONFIG: PaymentsConfig = PaymentsConfig {
        rounding: Rounding::Kopeck,
        qr_lifetime: Duration::from_secs(900),
        open_per_owner: 5,
        open_per_address: 20,
        limits: OrderLimits {
            max_order: 1,
            open_per_user: 1,
            open_per_visitor: 1,
            visitor: UnitLimit { units: 1, percent: 0 },
            all_visitors: UnitLimit { units: 1, percent: 0 },
            free_units_per_day: 1,
        },
        min_poll_interval: Duration::from_secs(2),
        poll_wait: Duration::from_secs(1),
        follow_up: Duration::from_secs(86_400),
        max_poll_interval: Duration::from_secs(1_800),
        refund_poll_interval: Duration::from_secs(30),
        receipt_search: Duration::from_secs(86_400),
    };

    /// The seconds from `now_s` to the next poll of a payment that expires at 900 s.
    fn delay_s(status: Status, polls: i32, now_s: i64) -> Option<i64> {
        let at = |second| Timestamp::from_second(second).expect("1970");
        let state = CurrentState { status, holds_stock: true, expires_at: at(900) };
        next_poll_at(state, polls, at(now_s), &CONFIG).map(|next| next.as_second() - now_s)
    }

    #[test]
    fn open_payments_are_polled_with_backoff_and_at_their_expiry() {
        assert_eq!(delay_s(Status::Created, 0, 0), Some(5));
        assert_eq!(delay_s(Status::Created, 2, 0), Some(20));
        assert_eq!(delay_s(Status::Waiting, 30, 0), Some(60));
        assert_eq!(delay_s(Status::Created, 30, 890), Some(11), "a second after its expiry");
        assert_eq!(delay_s(Status::Created, 30, 901), Some(60));
    }

    #[test]
    fn closed_payments_are_polled_for_a_while() {
        assert_eq!(delay_s(Status::Completed, 0, 0), None);
        assert_eq!(delay_s(Status::Expired, 0, 1_000), Some(60));
        assert_eq!(delay_s(Status::Cancelled, 30, 1_000), Some(1_800));
        assert_eq!(delay_s(Status::Expired, 30, 87_200), Some(100), "the last poll");
        assert_eq!(delay_s(Status::Expired, 0, 87_300), None);
        assert_eq!(delay_s(Status::Created, 0, 87_300), None);
        assert_eq!(delay_s(Status::Waiting, 0, 87_300), Some(1_800), "in progress");
    }

    #[test]
    fn no_poll_is_scheduled_after_the_latest() {
        let now = Timestamp::from_second(0).expect("1970");
        let expires_at = now + CONFIG.qr_lifetime;
        for status in [Status::Created, Status::Waiting, Status::Expired, Status::Cancelled] {
            for polls in 0..40 {
                let state = CurrentState { status, holds_stock: false, expires_at };
                let at = next_poll_at(state, polls, now, &CONFIG).expect("polled for a day");
                assert!(at <= latest_poll_at(now, &CONFIG), "{status:?} after {polls} polls: {at}");
            }
        }
    }
}
