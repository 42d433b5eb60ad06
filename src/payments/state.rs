//! The state machine of a payment: what a provider's report turns a payment into.
//!
//! # Invariants
//! - `Completed` is final: its stock is taken once and its effects happen once.
//! - Money that arrives late still completes the payment.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// How long after its expiry by our clock a QR code may still be paid at the provider.
pub(super) const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// A payment's status, as the API and the database name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The QR code is registered, or is being registered, and no payer has used it.
    Created,
    /// The payer's bank is processing the payment.
    Waiting,
    /// The money arrived. Final.
    Completed,
    Expired,
    Cancelled,
}

impl Status {
    const ALL: [Status; 5] = [Status::Created, Status::Waiting, Status::Completed, Status::Expired, Status::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "CREATED",
            Status::Waiting => "WAITING",
            Status::Completed => "COMPLETED",
            Status::Expired => "EXPIRED",
            Status::Cancelled => "CANCELLED",
        }
    }

    /// Parses a value of the column `payment.status`.
    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the payment can still be paid by its QR code.
    pub fn is_open(self) -> bool {
        matches!(self, Status::Created | Status::Waiting)
    }
}

/// What the provider reports of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProviderStatus {
    Paid(ProviderTransaction),
    /// The payer's bank is processing the payment.
    InProgress,
    Cancelled,
    Expired,
    /// The provider has no such QR code, or no payment where only payments were queried.
    Unknown,
    /// The QR code can be paid: no payment was made, or one was declined and may be retried.
    Active,
}

/// The provider's transaction that paid for an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ProviderTransaction {
    pub id: Option<i64>,
    pub date: Option<Timestamp>,
}

/// The status of a refund, as the database and the command line name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundStatus {
    /// Requested; the provider's response was not received.
    Requested,
    InProgress,
    Completed,
    Declined,
}

impl RefundStatus {
    const ALL: [RefundStatus; 4] =
        [RefundStatus::Requested, RefundStatus::InProgress, RefundStatus::Completed, RefundStatus::Declined];

    pub fn as_str(self) -> &'static str {
        match self {
            RefundStatus::Requested => "ASKED",
            RefundStatus::InProgress => "IN_PROGRESS",
            RefundStatus::Completed => "COMPLETED",
            RefundStatus::Declined => "DECLINED",
        }
    }

    /// Parses a value of the column `refund.status`.
    pub fn parse(text: &str) -> Option<RefundStatus> {
        RefundStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for RefundStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The part of a payment that transitions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentState {
    pub status: Status,
    /// Whether the units of its lines are held in the stock.
    pub holds_stock: bool,
    pub expires_at: Timestamp,
}

/// What happens to the units of a payment's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StockMovement {
    Unchanged,
    /// Held units become available.
    Release,
    /// Held units are sold.
    Take,
    /// The units were released before the money arrived: as many as are available are sold; a shortage needs manual
    /// settlement.
    TakeLate,
}

/// A change of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    pub status: Status,
    pub stock: StockMovement,
}

/// Returns what `reported` changes, or `None` when it changes nothing.
pub(super) fn next(current: CurrentState, reported: &ProviderStatus, now: Timestamp) -> Option<Transition> {
    if current.status == Status::Completed {
        return None;
    }
    let status = match reported {
        ProviderStatus::Paid(_) => Status::Completed,
        ProviderStatus::InProgress => Status::Waiting,
        ProviderStatus::Cancelled => Status::Cancelled,
        ProviderStatus::Expired => Status::Expired,
        // A closed payment reopens only when it is paid; a provider whose clock lags does not keep it open.
        ProviderStatus::Active | ProviderStatus::Unknown if !current.status.is_open() => return None,
        ProviderStatus::Active | ProviderStatus::Unknown if now > current.expires_at + GRACE => Status::Expired,
        ProviderStatus::Active => Status::Created,
        ProviderStatus::Unknown => return None,
    };
    let stock = match (status, current.holds_stock) {
        (Status::Completed, true) => StockMovement::Take,
        (Status::Completed, false) => StockMovement::TakeLate,
        (Status::Expired | Status::Cancelled, true) => StockMovement::Release,
        _ => StockMovement::Unchanged,
    };
    (status != current.status || stock != StockMovement::Unchanged).then_some(Transition { status, stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: [fn() -> ProviderStatus; 6] = [
        || ProviderStatus::Paid(ProviderTransaction::default()),
        || ProviderStatus::InProgress,
        || ProviderStatus::Cancelled,
        || ProviderStatus::Expired,
        || ProviderStatus::Active,
        || ProviderStatus::Unknown,
    ];

    /// A deterministic pseudo-random number generator (xorshift, Marsaglia 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    #[test]
    fn stock_is_accounted_for_in_every_sequence_of_reports() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..20_000 {
            let expires_at = Timestamp::from_second(1_000).expect("1970");
            let mut state = CurrentState { status: Status::Created, holds_stock: true, expires_at };
            let (mut times_taken, mut was_paid) = (0, false);
            let mut now_s = 0;
            for _ in 0..random.below(12) {
                now_s += random.below(400) as i64;
                let reported = REPORTS[random.below(6) as usize]();
                let before = state;
                let Some(transition) = next(state, &reported, Timestamp::from_second(now_s).expect("1970")) else {
                    continue;
                };
                assert_ne!(before.status, Status::Completed, "completed is final");
                assert!(
                    transition.status != before.status || transition.stock != StockMovement::Unchanged,
                    "a transition changes something"
                );
                match transition.stock {
                    StockMovement::Take => assert!(before.holds_stock),
                    StockMovement::TakeLate => assert!(!before.holds_stock),
                    StockMovement::Release => assert!(before.holds_stock && !transition.status.is_open()),
                    StockMovement::Unchanged => assert!(transition.status.is_open() || !before.holds_stock),
                }
                times_taken += i32::from(matches!(transition.stock, StockMovement::Take | StockMovement::TakeLate));
                was_paid |= matches!(reported, ProviderStatus::Paid(_));
                state.status = transition.status;
                state.holds_stock &= transition.stock == StockMovement::Unchanged;
                assert!(state.status.is_open() || !state.holds_stock, "a closed payment holds no stock: {state:?}");
            }
            assert_eq!(state.status == Status::Completed, was_paid, "a paid payment is completed");
            assert_eq!(times_taken, i32::from(was_paid), "the stock is taken once");
        }
    }

    #[test]
    fn expiry_by_our_clock_needs_a_grace_period_and_no_payment_in_progress() {
        let at = |second| Timestamp::from_second(second).expect("1970");
        let waiting = CurrentState { status: Status::Waiting, holds_stock: true, expires_at: at(100) };
        assert_eq!(next(waiting, &ProviderStatus::InProgress, at(100_000)), None);
        let created = CurrentState { status: Status::Created, ..waiting };
        assert_eq!(next(created, &ProviderStatus::Active, at(219)), None, "within the grace period");
        let expired = Transition { status: Status::Expired, stock: StockMovement::Release };
        assert_eq!(next(created, &ProviderStatus::Active, at(221)), Some(expired));
        let declined = Transition { status: Status::Created, stock: StockMovement::Unchanged };
        assert_eq!(next(waiting, &ProviderStatus::Active, at(50)), Some(declined), "the payer may try again");
    }

    #[test]
    fn statuses_survive_the_database() {
        assert!(Status::ALL.iter().all(|status| Status::parse(status.as_str()) == Some(*status)));
        assert!(RefundStatus::ALL.iter().all(|status| RefundStatus::parse(status.as_str()) == Some(*status)));
        assert_eq!((Status::parse("created"), RefundStatus::parse("")), (None, None));
    }
}
