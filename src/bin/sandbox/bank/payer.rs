//! The payer's side: paying or declining a QR code, and the notifications that follow.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::delivery;
use super::notification_body;
use super::qr::PaymentAttempt;
use super::state::{BankData, BankState};

/// An operation of the payer, and how the merchant is notified.
pub struct PayerOperation {
    pub attempt: PaymentAttempt,
    pub notify: bool,
    pub copies: usize,
    pub delay: Duration,
    /// The JSON literal of the amount in the notification.
    pub amount_text: Option<Box<RawValue>>,
}

impl PayerOperation {
    /// A payment, with one notification without delay.
    pub fn payment() -> PayerOperation {
        let attempt = PaymentAttempt { success: true, amount: None, force: false, keep_status: false };
        PayerOperation { attempt, notify: true, copies: 1, delay: Duration::ZERO, amount_text: None }
    }
}

/// Why an operation failed.
#[derive(Debug, PartialEq, Eq)]
pub enum OperationError {
    UnknownQr,
    Conflict(String),
}

/// Resolve after the first delivery attempt of each notification.
pub type FirstAttempts = Vec<oneshot::Receiver<()>>;

/// Confirms or declines a payment.
///
/// # Errors
/// The code is unknown, or its state forbids it.
pub fn pay_or_decline(
    state: &Arc<BankState>,
    qr: &str,
    operation: &PayerOperation,
) -> Result<FirstAttempts, OperationError> {
    let transaction = state.next_transaction();
    let indexes = {
        let mut data = state.data();
        let code = data.code_mut(qr).ok_or(OperationError::UnknownQr)?;
        code.record_attempt(operation.attempt, transaction, Timestamp::now()).map_err(OperationError::Conflict)?;
        let copies = if operation.notify { operation.copies } else { 0 };
        add_notifications(state, &mut data, qr, copies, operation.amount_text.as_deref())
    };
    state.publish_change();
    Ok(indexes.map(|index| delivery::send(state, qr, index, operation.delay)).collect())
}

/// Notifies about the last payment of a code again.
///
/// # Errors
/// The code is unknown or has no payment.
pub fn notify_again(
    state: &Arc<BankState>,
    qr: &str,
    operation: &PayerOperation,
) -> Result<FirstAttempts, OperationError> {
    let indexes = {
        let mut data = state.data();
        let code = data.code(qr).ok_or(OperationError::UnknownQr)?;
        if code.payments.is_empty() {
            return Err(OperationError::Conflict("The QR code has no payment.".to_owned()));
        }
        add_notifications(state, &mut data, qr, operation.copies, operation.amount_text.as_deref())
    };
    Ok(indexes.map(|index| delivery::send(state, qr, index, operation.delay)).collect())
}

/// Adds notifications about a code's last payment; their indexes in [`Qr::notifications`](super::qr::Qr).
fn add_notifications(
    state: &BankState,
    data: &mut BankData,
    qr: &str,
    copies: usize,
    amount: Option<&RawValue>,
) -> std::ops::Range<usize> {
    let code = data.code(qr).expect("found under the same lock");
    let account = state.account(&code.registration.merchant);
    let url = data.callbacks.get(&code.registration.merchant);
    let notification = match (account, url, code.payments.last()) {
        (Some(account), Some(url), Some(payment)) => {
            Some(notification_body::signed(account, url, code, payment, amount))
        }
        _ => None,
    };
    let code = data.code_mut(qr).expect("found under the same lock");
    let first = code.notifications.len();
    code.notifications.extend(std::iter::repeat_n(notification, copies).flatten());
    first..code.notifications.len()
}

/// Waits until every first attempt has finished, or until the timeout.
pub async fn await_first_attempts(attempts: FirstAttempts, timeout: Duration) {
    let all = futures_util::future::join_all(attempts);
    drop(tokio::time::timeout(timeout, all).await);
}
