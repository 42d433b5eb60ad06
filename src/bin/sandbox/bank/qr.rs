//! One QR code at the bank: what it was registered for, where it stands, and how that may change.
//!
//! Kept by `office`; changed by the merchant's calls, by the payer (the page, scripts) and by the clock. What must
//! never happen: a dynamic code that is paid twice.

use jiff::Timestamp;
use serde::Serialize;

use super::notify::Notice;
use super::roubles::Roubles;

/// `qrType` of the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// One payment of a fixed amount.
    #[serde(rename = "QRDynamic")]
    Dynamic,
    /// Any number of payments.
    #[serde(rename = "QRStatic")]
    Static,
    /// The link of a till, idle until an order is tied to it.
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
    pub fn word(self) -> &'static str {
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
    pub fn word(self) -> &'static str {
        match self {
            PaymentStatus::Success => "SUCCESS",
            PaymentStatus::Declined => "DECLINED",
            PaymentStatus::NoInfo => "NO_INFO",
            PaymentStatus::InProgress => "IN_PROGRESS",
        }
    }
}

/// What a registration asked for, once it was found to be in order.
#[derive(Debug, Clone)]
pub struct Ordered {
    pub kind: Kind,
    /// `sbpMerchantId`.
    pub merchant: String,
    /// Only a `QRVariable` may have none.
    pub order: Option<String>,
    pub amount: Option<Roubles>,
    pub expires: Option<Timestamp>,
    pub additional_info: Option<String>,
    pub payment_details: Option<String>,
    pub redirect_url: Option<String>,
    pub subscription: Option<String>,
}

/// An attempt to pay that has ended.
#[derive(Debug, Clone)]
pub struct Payment {
    /// `transactionId`.
    pub id: u64,
    pub at: Timestamp,
    pub amount: Roubles,
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
    pub ordered: Ordered,
    pub created: Timestamp,
    pub status: QrStatus,
    pub payments: Vec<Payment>,
    pub notices: Vec<Notice>,
}

/// How a payer's operation ends, and what may be forced.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub success: bool,
    /// Only for a code without an amount of its own.
    pub amount: Option<Roubles>,
    /// Late money: also on an expired or cancelled code.
    pub force: bool,
    /// The code's own status stays what it was: payment and code disagree.
    pub keep_status: bool,
}

impl Qr {
    /// The clock's part: a code that nobody is paying ends at its time.
    pub fn look_at_the_clock(&mut self, now: Timestamp) {
        let over = self.ordered.expires.is_some_and(|expires| expires <= now);
        if over && matches!(self.status, QrStatus::New | QrStatus::Inactive) {
            self.status = QrStatus::Expired;
        }
    }

    /// Money wins over what was tried before and after it.
    pub fn payment_status(&self) -> PaymentStatus {
        match (self.status, self.decisive_payment()) {
            (_, Some(payment)) if payment.success && self.ordered.kind == Kind::Dynamic => PaymentStatus::Success,
            (QrStatus::InProgress, _) => PaymentStatus::InProgress,
            (_, Some(payment)) => payment.status(),
            (_, None) => PaymentStatus::NoInfo,
        }
    }

    /// The payment that `payment-info` tells about.
    pub fn decisive_payment(&self) -> Option<&Payment> {
        self.payments.iter().rev().find(|payment| payment.success).or(self.payments.last())
    }

    pub fn has_succeeded(&self) -> bool {
        self.payments.iter().any(|payment| payment.success)
    }

    /// A payer confirms or gives up.
    ///
    /// # Errors
    /// A sentence that says why it is impossible.
    pub fn attempt(&mut self, attempt: Attempt, id: u64, now: Timestamp) -> Result<&Payment, String> {
        if self.ordered.kind == Kind::Dynamic && self.has_succeeded() {
            return Err("A dynamic QR code is paid once, and this one is paid.".to_owned());
        }
        match self.status {
            QrStatus::New | QrStatus::InProgress => {}
            QrStatus::Expired | QrStatus::Cancelled if attempt.force => {}
            status => return Err(format!("The QR code is {}.", status.word())),
        }
        let amount = match (self.ordered.amount, attempt.amount) {
            (Some(fixed), Some(other)) if fixed != other => Err("The QR code has an amount of its own."),
            (fixed, other) => fixed.or(other).ok_or("The QR code has no amount: send one."),
        }?;
        if !attempt.keep_status {
            self.status = match (self.ordered.kind, attempt.success, self.status) {
                (Kind::Dynamic, true, _) => QrStatus::Paid,
                (_, _, QrStatus::InProgress) => QrStatus::New,
                (_, _, status) => status,
            };
        }
        self.payments.push(Payment { id, at: now, amount, success: attempt.success });
        Ok(self.payments.last().expect("it was pushed a line above"))
    }

    /// A payer has scanned the code and not confirmed yet.
    ///
    /// # Errors
    /// A sentence that says why it is impossible.
    pub fn hold(&mut self) -> Result<(), String> {
        match self.status {
            QrStatus::New | QrStatus::InProgress => self.status = QrStatus::InProgress,
            status => return Err(format!("The QR code is {}.", status.word())),
        }
        Ok(())
    }

    /// Its time is over, whatever the clock says. A payment in progress is cut off only by force.
    ///
    /// # Errors
    /// A sentence that says why it is impossible.
    pub fn expire(&mut self, force: bool) -> Result<(), String> {
        match self.status {
            QrStatus::New | QrStatus::Inactive | QrStatus::Expired => self.status = QrStatus::Expired,
            QrStatus::InProgress if force => self.status = QrStatus::Expired,
            status => return Err(format!("The QR code is {}.", status.word())),
        }
        Ok(())
    }

    /// The merchant's `DELETE`: possible until the payment.
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

    fn qr(kind: Kind) -> Qr {
        let ordered = Ordered {
            kind,
            merchant: "MA0000000552".to_owned(),
            order: Some("1".to_owned()),
            amount: Some(Roubles(Decimal::ONE)),
            expires: Some(Timestamp::from_second(100).expect("a time")),
            additional_info: None,
            payment_details: None,
            redirect_url: None,
            subscription: None,
        };
        let (id, payload) = (String::new(), String::new());
        let (created, status) = (Timestamp::UNIX_EPOCH, QrStatus::New);
        Qr { id, payload, ordered, created, status, payments: Vec::new(), notices: Vec::new() }
    }

    const PAID: Attempt = Attempt { success: true, amount: None, force: false, keep_status: false };
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_dynamic_code_is_paid_once() {
        let mut code = qr(Kind::Dynamic);
        assert_eq!(code.payment_status(), PaymentStatus::NoInfo);
        code.attempt(Attempt { success: false, ..PAID }, 1, NOW).expect("a new code can be declined");
        assert_eq!((code.status, code.payment_status()), (QrStatus::New, PaymentStatus::Declined));
        code.hold().expect("and tried again");
        assert_eq!(code.payment_status(), PaymentStatus::InProgress);
        code.attempt(PAID, 2, NOW).expect("and paid");
        assert_eq!((code.status, code.payment_status()), (QrStatus::Paid, PaymentStatus::Success));
        assert!(code.attempt(Attempt { force: true, ..PAID }, 3, NOW).is_err());
        assert_eq!(code.cancel(), Err(QrStatus::Paid));
    }

    #[test]
    fn a_static_code_is_paid_again_and_again() {
        let mut code = qr(Kind::Static);
        for id in 0..3 {
            code.attempt(PAID, id, NOW).expect("a static code stays open");
        }
        assert_eq!((code.status, code.payments.len()), (QrStatus::New, 3));
    }

    #[test]
    fn the_clock_ends_a_code_unless_it_is_being_paid() {
        let late = Timestamp::from_second(100).expect("a time");
        let mut code = qr(Kind::Dynamic);
        code.look_at_the_clock(Timestamp::from_second(99).expect("a time"));
        assert_eq!(code.status, QrStatus::New);
        let mut held = code.clone();
        held.hold().expect("it is new");
        held.look_at_the_clock(late);
        assert_eq!(held.status, QrStatus::InProgress);
        code.look_at_the_clock(late);
        assert_eq!(code.status, QrStatus::Expired);
        assert!(code.attempt(PAID, 1, late).is_err());
        code.attempt(Attempt { force: true, keep_status: true, ..PAID }, 1, late).expect("late money is forced");
        assert_eq!((code.status, code.payment_status()), (QrStatus::Expired, PaymentStatus::Success));
    }
}
