//! Refunds: `POST /api/sbp/v1/refund` and what becomes of them.
//!
//! Called by `sbp`; kept by `office`. What must never happen: more money back than was paid, or one `refundId` that
//! pays twice.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::moment;
use super::problem::Problem;
use super::qr::{Kind, Qr};
use super::register;
use super::roubles::{self, Roubles};

/// How long the bank needs, so that who asks at once sees `IN_PROGRESS`.
const TAKES: Duration = Duration::from_millis(500);

/// `refundStatus`: the enumeration of `responeRefund` in `sbp.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundStatus {
    InProgress,
    Completed,
    Declined,
}

/// `refundQR` of `sbp.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    amount: Option<Box<RawValue>>,
    order: Option<String>,
    refund_id: Option<String>,
    payment_details: Option<String>,
    transaction_id: Option<u64>,
}

/// A refund that was taken in.
#[derive(Debug, Clone)]
pub struct Refund {
    pub merchant: String,
    pub id: String,
    pub order: String,
    pub amount: Roubles,
    pub payment_details: Option<String>,
    pub transaction: Option<u64>,
    pub at: Timestamp,
    /// Set by a script; otherwise the clock decides.
    pub decided: Option<RefundStatus>,
}

/// `{"code":"SUCCESS","amount":150,"refundStatus":"IN_PROGRESS"}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundAnswer {
    code: &'static str,
    amount: Roubles,
    refund_status: RefundStatus,
}

/// A refund as scripts see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundView {
    refund_id: String,
    merchant: String,
    order: String,
    amount: Roubles,
    refund_status: RefundStatus,
    payment_details: Option<String>,
    transaction_id: Option<u64>,
    create_date: String,
}

impl Refund {
    /// Reads the body of the call.
    ///
    /// # Errors
    /// The bank's refusal.
    pub fn read(body: &[u8], merchant: &str, now: Timestamp) -> Result<Refund, Problem> {
        let wanted: Wanted = serde_json::from_slice(body)
            .map_err(|error| Problem::invalid(format!("Тело запроса не соответствует формату: {error}")))?;
        let missing = |field: &str| Problem::invalid(format!("Не передан обязательный параметр {field}"));
        let amount = wanted.amount.ok_or_else(|| missing("amount"))?;
        let amount =
            roubles::sum(&amount).ok_or_else(|| Problem::invalid("Сумма возврата не может быть меньше 1 копейки"))?;
        let id = wanted.refund_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("refundId"))?;
        register::at_most(Some(&id), 40, "refundId")?;
        register::at_most(wanted.payment_details.as_deref(), 140, "paymentDetails")?;
        Ok(Refund {
            merchant: merchant.to_owned(),
            id,
            order: wanted.order.ok_or_else(|| missing("order"))?,
            amount,
            payment_details: wanted.payment_details,
            transaction: wanted.transaction_id,
            at: now,
            decided: None,
        })
    }

    /// What was paid for this order and may be given back, other refunds not yet considered.
    ///
    /// # Errors
    /// No such order, or nothing was paid for it, or a static code without the payment's id.
    pub fn paid(&self, codes: &[Qr]) -> Result<Roubles, Problem> {
        let same_order = |code: &&Qr| {
            code.ordered.merchant == self.merchant && code.ordered.order.as_deref() == Some(self.order.as_str())
        };
        let mut paid = None;
        for code in codes.iter().filter(same_order) {
            if code.ordered.kind != Kind::Dynamic && self.transaction.is_none() && code.has_succeeded() {
                return Err(Problem::invalid("Не передан обязательный параметр transactionId"));
            }
            let meant = |id: u64| self.transaction.is_none_or(|wanted| wanted == id);
            for payment in code.payments.iter().filter(|payment| payment.success && meant(payment.id)) {
                let before = paid.map_or_else(Default::default, |Roubles(sum)| sum);
                paid = Some(Roubles(before + payment.amount.0));
            }
        }
        paid.ok_or_else(Problem::no_such_qr)
    }

    pub fn status(&self, now: Timestamp) -> RefundStatus {
        let done = Duration::try_from(now.duration_since(self.at)).is_ok_and(|age| age >= TAKES);
        let by_clock = if done { RefundStatus::Completed } else { RefundStatus::InProgress };
        self.decided.unwrap_or(by_clock)
    }

    pub fn answer(&self, now: Timestamp) -> RefundAnswer {
        RefundAnswer { code: "SUCCESS", amount: self.amount, refund_status: self.status(now) }
    }

    pub fn view(&self, now: Timestamp) -> RefundView {
        RefundView {
            refund_id: self.id.clone(),
            merchant: self.merchant.clone(),
            order: self.order.clone(),
            amount: self.amount,
            refund_status: self.status(now),
            payment_details: self.payment_details.clone(),
            transaction_id: self.transaction,
            create_date: moment::with_micros(self.at),
        }
    }
}

/// Takes a refund in, or finds the one that has its id already.
///
/// # Errors
/// The bank's refusal.
pub fn place(refund: Refund, refunds: &mut Vec<Refund>, codes: &[Qr]) -> Result<Refund, Problem> {
    let known = refunds.iter().find(|known| known.merchant == refund.merchant && known.id == refund.id);
    match known {
        Some(known) if known.order == refund.order && known.amount == refund.amount => return Ok(known.clone()),
        Some(_) => return Err(Problem::invalid("Возврат с этим refundId зарегистрирован с другими параметрами")),
        None => {}
    }
    let Roubles(paid) = refund.paid(codes)?;
    let counted = refunds.iter().filter(|other| {
        let same = other.merchant == refund.merchant && other.order == refund.order;
        let meant = refund.transaction.is_none() || other.transaction == refund.transaction;
        same && meant && other.decided != Some(RefundStatus::Declined)
    });
    let given_back: rust_decimal::Decimal = counted.map(|other| other.amount.0).sum();
    if given_back + refund.amount.0 > paid {
        let message = "Сумма возврата больше суммы остатка по платежу";
        return Err(Problem::refused("ERROR.REFUND_INSUFFICIENT_FUNDS", message));
    }
    refunds.push(refund.clone());
    Ok(refund)
}
