//! Refunds: `POST /api/sbp/v1/refund` and their status.
//!
//! # Invariants
//! - The refunds of an order never exceed its payments.
//! - A `refundId` is paid at most once.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::amount::{self, Amount};
use super::error::BankError;
use super::fields;
use super::qr::{Qr, QrType};
use super::timestamp;

/// How long a refund stays `IN_PROGRESS`.
const PROCESSING_TIME: Duration = Duration::from_millis(500);

/// `refundStatus`: the enumeration of `responeRefund` in `sbp.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RefundStatus {
    InProgress,
    Completed,
    Declined,
}

/// `refundQR` of `sbp.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundRequest {
    amount: Option<Box<RawValue>>,
    order: Option<String>,
    refund_id: Option<String>,
    payment_details: Option<String>,
    transaction_id: Option<u64>,
}

/// An accepted refund.
#[derive(Debug, Clone)]
pub(super) struct Refund {
    pub merchant: String,
    pub id: String,
    pub order: String,
    pub amount: Amount,
    pub payment_details: Option<String>,
    pub transaction: Option<u64>,
    pub at: Timestamp,
    /// Set through `/bank/refunds`; overrides the processing time.
    pub forced_status: Option<RefundStatus>,
}

/// `{"code":"SUCCESS","amount":150,"refundStatus":"IN_PROGRESS"}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefundResponse {
    code: &'static str,
    amount: Amount,
    refund_status: RefundStatus,
}

/// A refund in `GET /bank/refunds`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefundView {
    refund_id: String,
    merchant: String,
    order: String,
    amount: Amount,
    refund_status: RefundStatus,
    payment_details: Option<String>,
    transaction_id: Option<u64>,
    create_date: String,
}

impl Refund {
    /// Parses the request body.
    ///
    /// # Errors
    /// The error that the bank would return.
    pub(super) fn parse(body: &[u8], merchant: &str, now: Timestamp) -> Result<Refund, BankError> {
        let request: RefundRequest = serde_json::from_slice(body)
            .map_err(|error| BankError::invalid(format!("Тело запроса не соответствует формату: {error}")))?;
        let amount = request.amount.ok_or_else(|| fields::missing("amount"))?;
        let amount = amount::parse_positive(&amount)
            .ok_or_else(|| BankError::invalid("Сумма возврата не может быть меньше 1 копейки"))?;
        let id = request.refund_id.filter(|id| !id.is_empty()).ok_or_else(|| fields::missing("refundId"))?;
        fields::check_length(Some(&id), 40, "refundId")?;
        fields::check_length(request.payment_details.as_deref(), 140, "paymentDetails")?;
        Ok(Refund {
            merchant: merchant.to_owned(),
            id,
            order: request.order.ok_or_else(|| fields::missing("order"))?,
            amount,
            payment_details: request.payment_details,
            // The bank's own SDK sends 0 for a refund of any payment of the order.
            transaction: request.transaction_id.filter(|id| *id != 0),
            at: now,
            forced_status: None,
        })
    }

    /// The sum of the payments that this refund may draw on, before other refunds are subtracted.
    ///
    /// # Errors
    /// No such order, no payment, or a static code without a `transactionId`.
    pub(super) fn paid_amount(&self, codes: &[Qr]) -> Result<Amount, BankError> {
        let same_order = |code: &&Qr| {
            code.registration.merchant == self.merchant
                && code.registration.order.as_deref() == Some(self.order.as_str())
        };
        let mut paid = None;
        for code in codes.iter().filter(same_order) {
            if code.registration.kind != QrType::Dynamic && self.transaction.is_none() && code.has_succeeded() {
                return Err(fields::missing("transactionId"));
            }
            let matches = |id: u64| self.transaction.is_none_or(|transaction| transaction == id);
            for payment in code.payments.iter().filter(|payment| payment.success && matches(payment.id)) {
                let before = paid.map_or_else(Default::default, |Amount(sum)| sum);
                paid = Some(Amount(before + payment.amount.0));
            }
        }
        paid.ok_or_else(BankError::qr_not_found)
    }

    pub(super) fn status(&self, now: Timestamp) -> RefundStatus {
        let done = Duration::try_from(now.duration_since(self.at)).is_ok_and(|age| age >= PROCESSING_TIME);
        let by_clock = if done { RefundStatus::Completed } else { RefundStatus::InProgress };
        self.forced_status.unwrap_or(by_clock)
    }

    pub(super) fn response(&self, now: Timestamp) -> RefundResponse {
        RefundResponse { code: "SUCCESS", amount: self.amount, refund_status: self.status(now) }
    }

    pub(super) fn view(&self, now: Timestamp) -> RefundView {
        RefundView {
            refund_id: self.id.clone(),
            merchant: self.merchant.clone(),
            order: self.order.clone(),
            amount: self.amount,
            refund_status: self.status(now),
            payment_details: self.payment_details.clone(),
            transaction_id: self.transaction,
            create_date: timestamp::format_micros(self.at),
        }
    }
}

/// Accepts a refund, or finds the one with the same `refundId`.
///
/// # Errors
/// The error that the bank would return.
pub(super) fn accept(refund: Refund, refunds: &mut Vec<Refund>, codes: &[Qr]) -> Result<Refund, BankError> {
    let known = refunds.iter().find(|known| known.merchant == refund.merchant && known.id == refund.id);
    match known {
        Some(known) if known.order == refund.order && known.amount == refund.amount => return Ok(known.clone()),
        Some(_) => return Err(BankError::invalid("Возврат с этим refundId зарегистрирован с другими параметрами")),
        None => {}
    }
    let Amount(paid) = refund.paid_amount(codes)?;
    let others = refunds.iter().filter(|other| {
        let same_order = other.merchant == refund.merchant && other.order == refund.order;
        let same_transaction = refund.transaction.is_none() || other.transaction == refund.transaction;
        same_order && same_transaction && other.forced_status != Some(RefundStatus::Declined)
    });
    let refunded: rust_decimal::Decimal = others.map(|other| other.amount.0).sum();
    if refunded + refund.amount.0 > paid {
        let message = "Сумма возврата больше суммы остатка по платежу";
        return Err(BankError::logical("ERROR.REFUND_INSUFFICIENT_FUNDS", message));
    }
    refunds.push(refund.clone());
    Ok(refund)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_id_of_zero_is_none() {
        let parse = |member: &str| {
            let body = format!("{{\"amount\":1,\"order\":\"1\",\"refundId\":\"r\"{member}}}");
            Refund::parse(body.as_bytes(), "MA", Timestamp::UNIX_EPOCH).map(|refund| refund.transaction)
        };
        assert!(matches!(parse(""), Ok(None)));
        assert!(matches!(parse(r#","transactionId":0"#), Ok(None)));
        assert!(matches!(parse(r#","transactionId":7"#), Ok(Some(7))));
    }
}
