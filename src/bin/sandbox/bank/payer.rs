//! The payer's side: what a buyer does in the app of a bank, and what the merchant is then told.
//!
//! Called by the page, by scripts, by the demonstration payer, and by the trouble that notifies before the registration
//! is answered. What must never happen: a notification about a payment that is not in the books.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::notify::{self, Notice};
use super::office::Office;
use super::qr::Attempt;

/// An operation and how the merchant hears of it.
pub struct Operation {
    pub attempt: Attempt,
    pub notify: bool,
    pub copies: usize,
    pub delay: Duration,
    /// How the amount is written in the notification.
    pub amount_text: Option<Box<RawValue>>,
}

impl Operation {
    /// Paid, and told once at once.
    pub fn plain_payment() -> Operation {
        let attempt = Attempt { success: true, amount: None, force: false, keep_status: false };
        Operation { attempt, notify: true, copies: 1, delay: Duration::ZERO, amount_text: None }
    }
}

/// Why nothing happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    Conflict(String),
}

/// The first attempts of the notifications that were sent.
pub type FirstAttempts = Vec<oneshot::Receiver<()>>;

/// Confirms or declines a payment.
///
/// # Errors
/// The code is unknown, or its state forbids it.
pub fn operate(office: &Arc<Office>, qr: &str, operation: &Operation) -> Result<FirstAttempts, Refused> {
    let transaction = office.next_transaction();
    let places = {
        let mut ledger = office.ledger();
        let code = ledger.code_mut(qr).ok_or(Refused::Unknown)?;
        code.attempt(operation.attempt, transaction, Timestamp::now()).map_err(Refused::Conflict)?;
        let copies = if operation.notify { operation.copies } else { 0 };
        queue(office, &mut ledger, qr, copies, operation.amount_text.as_deref())
    };
    office.changed();
    Ok(places.map(|place| notify::send(office, qr, place, operation.delay)).collect())
}

/// Tells the last payment of a code once more.
///
/// # Errors
/// The code is unknown, or nothing was paid or declined.
pub fn repeat(office: &Arc<Office>, qr: &str, operation: &Operation) -> Result<FirstAttempts, Refused> {
    let places = {
        let mut ledger = office.ledger();
        let code = ledger.code(qr).ok_or(Refused::Unknown)?;
        if code.payments.is_empty() {
            return Err(Refused::Conflict("There is no payment to tell about.".to_owned()));
        }
        queue(office, &mut ledger, qr, operation.copies, operation.amount_text.as_deref())
    };
    Ok(places.map(|place| notify::send(office, qr, place, operation.delay)).collect())
}

/// Writes the notices of a code's last payment, and says where they stand.
fn queue(
    office: &Office,
    ledger: &mut super::office::Ledger,
    qr: &str,
    copies: usize,
    amount: Option<&RawValue>,
) -> std::ops::Range<usize> {
    let code = ledger.code(qr).expect("it was found under the same lock");
    let account = office.account(&code.ordered.merchant);
    let url = ledger.callbacks.get(&code.ordered.merchant);
    let notice = match (account, url, code.payments.last()) {
        (Some(account), Some(url), Some(payment)) => Some(Notice::new(account, url, code, payment, amount)),
        _ => None,
    };
    let code = ledger.code_mut(qr).expect("it was found under the same lock");
    let first = code.notices.len();
    code.notices.extend(std::iter::repeat_n(notice, copies).flatten());
    first..code.notices.len()
}

/// Waits until every first attempt has ended, or for as long as given.
pub async fn first_attempts(attempts: FirstAttempts, at_most: Duration) {
    let all = futures_util::future::join_all(attempts);
    // Who waits too long goes on without.
    drop(tokio::time::timeout(at_most, all).await);
}
