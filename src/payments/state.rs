//! The payment's state machine: what a payment becomes when the bank is heard, whoever brought the news.
//!
//! Pure; called by `payments::apply` alone, which carries out what is decided here. What must never happen: a completed
//! payment becomes anything else, its stock is taken or its effects happen twice, or money that came late is lost.

use jiff::{SignedDuration, Timestamp};

/// A QR code may be paid at the bank a little after our clock says that it expired.
pub const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// As the API and the database name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A QR code is there, or will be, and nobody pays yet.
    Created,
    /// The payer's bank is at it.
    Waiting,
    /// The money came. Final.
    Completed,
    Expired,
    Cancelled,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Created => "CREATED",
            Status::Waiting => "WAITING",
            Status::Completed => "COMPLETED",
            Status::Expired => "EXPIRED",
            Status::Cancelled => "CANCELLED",
        }
    }

    /// From the database, whose constraint knows the same words.
    pub fn of(word: &str) -> Option<Status> {
        [Status::Created, Status::Waiting, Status::Completed, Status::Expired, Status::Cancelled]
            .into_iter()
            .find(|status| status.word() == word)
    }

    pub fn is_open(self) -> bool {
        matches!(self, Status::Created | Status::Waiting)
    }
}

/// What the bank says of a payment (contract section 5: first match wins).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderStatus {
    /// SUCCESS or PAID.
    Paid(BankTransaction),
    /// IN_PROGRESS.
    InProgress,
    Cancelled,
    Expired,
    /// The bank has no such code, or was asked of money alone and knows of none.
    Unknown,
    /// The QR code lives: nobody paid, or a payer was declined and may try again.
    Living,
}

/// How the money came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BankTransaction {
    pub id: Option<i64>,
    pub date: Option<Timestamp>,
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentState {
    pub status: Status,
    /// Whether its pieces are held.
    pub holds: bool,
    pub expires_at: Timestamp,
}

/// What happens to the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockMovement {
    Untouched,
    /// They are nobody's again.
    Release,
    /// They were held and are sold.
    Take,
    /// They were released before the money came: as many as are left are sold, and the shop settles the rest.
    TakeLate,
}

/// What a payment becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub status: Status,
    pub stock: StockMovement,
}

/// What the news changes; `None` when it is none.
pub fn change(standing: CurrentState, seen: &ProviderStatus, now: Timestamp) -> Option<Transition> {
    if standing.status == Status::Completed {
        return None;
    }
    let status = match seen {
        ProviderStatus::Paid(_) => Status::Completed,
        ProviderStatus::InProgress => Status::Waiting,
        ProviderStatus::Cancelled => Status::Cancelled,
        ProviderStatus::Expired => Status::Expired,
        // What was closed stays closed while nobody pays; a clock that is behind ours does not keep a code alive for ever.
        ProviderStatus::Living | ProviderStatus::Unknown if !standing.status.is_open() => return None,
        ProviderStatus::Living | ProviderStatus::Unknown if now > standing.expires_at + GRACE => Status::Expired,
        ProviderStatus::Living => Status::Created,
        ProviderStatus::Unknown => return None,
    };
    let stock = match (status, standing.holds) {
        (Status::Completed, true) => StockMovement::Take,
        (Status::Completed, false) => StockMovement::TakeLate,
        (Status::Expired | Status::Cancelled, true) => StockMovement::Release,
        _ => StockMovement::Untouched,
    };
    (status != standing.status || stock != StockMovement::Untouched).then_some(Transition { status, stock })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWS: [fn() -> ProviderStatus; 6] = [
        || ProviderStatus::Paid(BankTransaction::default()),
        || ProviderStatus::InProgress,
        || ProviderStatus::Cancelled,
        || ProviderStatus::Expired,
        || ProviderStatus::Living,
        || ProviderStatus::Unknown,
    ];

    /// A small generator of sequences, the same at every run (xorshift, Marsaglia 2003).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    #[test]
    fn whatever_comes_in_whatever_order_the_pieces_are_accounted_for() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for _ in 0..20_000 {
            let expires_at = Timestamp::from_second(1_000).expect("1970");
            let mut standing = CurrentState { status: Status::Created, holds: true, expires_at };
            let (mut taken, mut was_paid) = (0, false);
            let mut now = 0;
            for _ in 0..dice.below(12) {
                now += dice.below(400) as i64;
                let seen = NEWS[dice.below(6) as usize]();
                let before = standing;
                let Some(change) = change(standing, &seen, Timestamp::from_second(now).expect("1970")) else {
                    continue;
                };
                assert_ne!(before.status, Status::Completed, "completed is final");
                assert!(
                    change.status != before.status || change.stock != StockMovement::Untouched,
                    "no change is none"
                );
                match change.stock {
                    StockMovement::Take => assert!(before.holds),
                    StockMovement::TakeLate => assert!(!before.holds),
                    StockMovement::Release => assert!(before.holds && !change.status.is_open()),
                    StockMovement::Untouched => assert!(change.status.is_open() || !before.holds),
                }
                taken += i32::from(matches!(change.stock, StockMovement::Take | StockMovement::TakeLate));
                was_paid |= matches!(seen, ProviderStatus::Paid(_));
                standing.status = change.status;
                standing.holds &= change.stock == StockMovement::Untouched;
                assert!(standing.status.is_open() || !standing.holds, "what is closed holds nothing: {standing:?}");
            }
            assert_eq!(standing.status == Status::Completed, was_paid, "money that came is never lost");
            assert_eq!(taken, i32::from(was_paid), "the pieces are taken once");
        }
    }

    #[test]
    fn our_clock_alone_ends_nothing_that_the_bank_is_at() {
        let at = |second| Timestamp::from_second(second).expect("1970");
        let waiting = CurrentState { status: Status::Waiting, holds: true, expires_at: at(100) };
        assert_eq!(change(waiting, &ProviderStatus::InProgress, at(100_000)), None);
        let created = CurrentState { status: Status::Created, ..waiting };
        assert_eq!(change(created, &ProviderStatus::Living, at(219)), None, "within the grace");
        let expired = Transition { status: Status::Expired, stock: StockMovement::Release };
        assert_eq!(change(created, &ProviderStatus::Living, at(221)), Some(expired));
        let declined = Transition { status: Status::Created, stock: StockMovement::Untouched };
        assert_eq!(change(waiting, &ProviderStatus::Living, at(50)), Some(declined), "the payer may try again");
    }
}
