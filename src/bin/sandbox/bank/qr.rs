//! A QR code: its registration, its status and the transitions between statuses.
//!
//! # Invariants
//! - A dynamic code is paid at most once.

use jiff::Timestamp;
use serde::Serialize;

use super::amount::Amount;
use super::notification::Notification;

/// `qrType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum QrType {
    /// One payment of a fixed amount.
    #[serde(rename = "QRDynamic")]
    Dynamic,
    /// Any number of payments.
    #[serde(rename = "QRStatic")]
    Static,
    /// The link of a point of sale, inactive until an order is assigned to it.
    #[serde(rename = "QRVariable")]
    Variable,
}

/// `qrStatus`: the enumeration of `qrInfov2` in `sbp.yaml`, and `INACTIVE` of `QRVariable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QrStatus {
    New,
    InProgress,
    Cancelled,
    Expired,
    Paid,
    Inactive,
}

impl QrStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            QrStatus::New => "NEW",
            QrStatus::InProgress => "IN_PROGRESS",
            QrStatus::Cancelled => "CANCELLED",
            QrStatus::Expired => "EXPIRED",
            QrStatus::Paid => "PAID",
            QrStatus::Inactive => "INACTIVE",
        }
    }
}

/// `paymentStatus`: the enumeration of `paymentInfo` in `sbp.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentStatus {
    Success,
    Declined,
    NoInfo,
    InProgress,
}

impl PaymentStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentStatus::Success => "SUCCESS",
            PaymentStatus::Declined => "DECLINED",
            PaymentStatus::NoInfo => "NO_INFO",
            PaymentStatus::InProgress => "IN_PROGRESS",
        }
    }
}

/// A validated registration.
#[derive(Debug, Clone)]
pub struct Registration {
    pub kind: QrType,
    /// `sbpMerchantId`.
    pub merchant: String,
    /// Required, except for a `QRVariable`.
    pub order: Option<String>,
    pub amount: Option<Amount>,
    pub expires: Option<Timestamp>,
    pub additional_info: Option<String>,
    pub payment_details: Option<String>,
    pub redirect_url: Option<String>,
    pub subscription: Option<String>,
}

/// A finished payment attempt.
#[derive(Debug, Clone)]
pub struct Payment {
    /// `transactionId`.
    pub id: u64,
    pub at: Timestamp,
    pub amount: Amount,
    pub success: bool,
}

impl Payment {
    pub fn status(&self) -> PaymentStatus {
        if self.success { PaymentStatus::Success } else { PaymentStatus::Declined }
    }
}

/// A registered code.
#[derive(Debug, Clone)]
pub struct Qr {
    pub id: String,
    pub payload: String,
    pub registration: Registration,
    pub created: Timestamp,
    pub status: QrStatus,
    pub payments: Vec<Payment>,
    pub notifications: Vec<Notification>,
}

/// The result of a payment attempt, and overrides of the rules.
#[derive(Debug, Clone, Copy)]
pub struct PaymentAttempt {
    pub success: bool,
    /// Only for a code without a fixed amount.
    pub amount: Option<Amount>,
    /// Also on an expired or cancelled code: a late payment.
    pub force: bool,
    /// Leaves the status of the code unchanged, so that it contradicts the payment.
    pub keep_status: bool,
}

impl Qr {
    /// Expires the code when its time is over and no payment is in progress.
    pub fn expire_if_due(&mut self, now: Timestamp) {
        let over = self.registration.expires.is_some_and(|expires| expires <= now);
        if over && matches!(self.status, QrStatus::New | QrStatus::Inactive) {
            self.status = QrStatus::Expired;
        }
    }

    /// A successful payment outweighs failed attempts before and after it.
    pub fn payment_status(&self) -> PaymentStatus {
        match (self.status, self.decisive_payment()) {
            (_, Some(payment)) if payment.success && self.registration.kind == QrType::Dynamic => {
                PaymentStatus::Success
            }
            (QrStatus::InProgress, _) => PaymentStatus::InProgress,
            (_, Some(payment)) => payment.status(),
            (_, None) => PaymentStatus::NoInfo,
        }
    }

    /// The payment that `payment-info` reports.
    pub fn decisive_payment(&self) -> Option<&Payment> {
        self.payments.iter().rev().find(|payment| payment.success).or(self.payments.last())
    }

    pub fn has_succeeded(&self) -> bool {
        self.payments.iter().any(|payment| payment.success)
    }

    /// Records a payment that succeeded or was declined.
    ///
    /// # Errors
    /// Why the code cannot be paid.
    pub fn record_attempt(&mut self, attempt: PaymentAttempt, id: u64, now: Timestamp) -> Result<&Payment, String> {
        if self.registration.kind == QrType::Dynamic && self.has_succeeded() {
            return Err("This dynamic QR code is already paid.".to_owned());
        }
        match self.status {
            QrStatus::New | QrStatus::InProgress => {}
            QrStatus::Expired | QrStatus::Cancelled if attempt.force => {}
            status => return Err(format!("The QR code is {}.", status.as_str())),
        }
        let amount = match (self.registration.amount, attempt.amount) {
            (Some(fixed), Some(other)) if fixed != other => Err("The QR code has a fixed amount."),
            (fixed, other) => fixed.or(other).ok_or("The QR code has no amount; pass one."),
        }?;
        if !attempt.keep_status {
            self.status = match (self.registration.kind, attempt.success, self.status) {
                (QrType::Dynamic, true, _) => QrStatus::Paid,
                (_, _, QrStatus::InProgress) => QrStatus::New,
                (_, _, status) => status,
            };
        }
        self.payments.push(Payment { id, at: now, amount, success: attempt.success });
        Ok(self.payments.last().expect("just pushed"))
    }

    /// The payer has scanned the code and not confirmed yet.
    ///
    /// # Errors
    /// The status that forbids it.
    pub fn start_payment(&mut self) -> Result<(), String> {
        match self.status {
            QrStatus::New | QrStatus::InProgress => self.status = QrStatus::InProgress,
            status => return Err(format!("The QR code is {}.", status.as_str())),
        }
        Ok(())
    }

    /// Expires the code early; `force` also while a payment is in progress.
    ///
    /// # Errors
    /// The status that forbids it.
    pub fn expire(&mut self, force: bool) -> Result<(), String> {
        match self.status {
            QrStatus::New | QrStatus::Inactive | QrStatus::Expired => self.status = QrStatus::Expired,
            QrStatus::InProgress if force => self.status = QrStatus::Expired,
            status => return Err(format!("The QR code is {}.", status.as_str())),
        }
        Ok(())
    }

    /// Cancels the code before its payment, as the merchant does with `DELETE`.
    ///
    /// # Errors
    /// The status that forbids it.
    pub fn cancel(&mut self) -> Result<(), QrStatus> {
        match self.status {
            QrStatus::New | QrStatus::Inactive => self.status = QrStatus::Cancelled,
            status => return Err(status),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn qr(kind: QrType) -> Qr {
        let registration = Registration {
            kind,
            merchant: "MA0000000552".to_owned(),
            order: Some("1".to_owned()),
            amount: Some(Amount(Decimal::ONE)),
            expires: Some(Timestamp::from_second(100).expect("a time")),
            additional_info: None,
            payment_details: None,
            redirect_url: None,
            subscription: None,
        };
        let (id, payload) = (String::new(), String::new());
        let (created, status) = (Timestamp::UNIX_EPOCH, QrStatus::New);
        Qr { id, payload, registration, created, status, payments: Vec::new(), notifications: Vec::new() }
    }

    const PAID: PaymentAttempt = PaymentAttempt { success: true, amount: None, force: false, keep_status: false };
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn dynamic_code_is_paid_once() {
        let mut code = qr(QrType::Dynamic);
        assert_eq!(code.payment_status(), PaymentStatus::NoInfo);
        code.record_attempt(PaymentAttempt { success: false, ..PAID }, 1, NOW).expect("a new code can be declined");
        assert_eq!((code.status, code.payment_status()), (QrStatus::New, PaymentStatus::Declined));
        code.start_payment().expect("a second attempt");
        assert_eq!(code.payment_status(), PaymentStatus::InProgress);
        code.record_attempt(PAID, 2, NOW).expect("a payment");
        assert_eq!((code.status, code.payment_status()), (QrStatus::Paid, PaymentStatus::Success));
        assert!(code.record_attempt(PaymentAttempt { force: true, ..PAID }, 3, NOW).is_err());
        assert_eq!(code.cancel(), Err(QrStatus::Paid));
    }

    #[test]
    fn static_code_is_paid_repeatedly() {
        let mut code = qr(QrType::Static);
        for id in 0..3 {
            code.record_attempt(PAID, id, NOW).expect("a static code stays payable");
        }
        assert_eq!((code.status, code.payments.len()), (QrStatus::New, 3));
    }

    #[test]
    fn code_expires_unless_a_payment_is_in_progress() {
        let late = Timestamp::from_second(100).expect("a time");
        let mut code = qr(QrType::Dynamic);
        code.expire_if_due(Timestamp::from_second(99).expect("a time"));
        assert_eq!(code.status, QrStatus::New);
        let mut held = code.clone();
        held.start_payment().expect("a new code");
        held.expire_if_due(late);
        assert_eq!(held.status, QrStatus::InProgress);
        code.expire_if_due(late);
        assert_eq!(code.status, QrStatus::Expired);
        assert!(code.record_attempt(PAID, 1, late).is_err());
        code.record_attempt(PaymentAttempt { force: true, keep_status: true, ..PAID }, 1, late)
            .expect("a forced late payment");
        assert_eq!((code.status, code.payment_status()), (QrStatus::Expired, PaymentStatus::Success));
    }
}
