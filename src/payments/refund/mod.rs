//! Refunds, whole or partial, requested by the operator.
//!
//! # Invariants
//! - A refund is stored under an id of its own before it is sent, so that repeating it never refunds twice.
//! - The stock is not changed: returned units are booked by the shop.

mod store;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::payments::provider::{Provider, ProviderError};
use crate::payments::state::{RefundStatus, Status};
use crate::payments::store::Payment;
use crate::payments::transition_store;
use crate::tenant::brand::Brand;

pub use store::Refund;

/// A refund of the same amount within this time needs a confirmation.
const REPEAT_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The decision on a request for a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RefundPlan {
    /// Send this refund again: its response was not received.
    Resend(Refund),
    /// Refund this amount.
    New(Decimal),
}

/// Refunds `amount`, or everything that is left. A refund whose response was not received is sent again first.
///
/// # Errors
/// 404 for an unknown payment; 409 for one that is not paid or has less left, and for an amount that was refunded a moment ago,
/// unless `allow_repeat` is set; 502 and 504 when the provider fails: repeating the request is safe.
pub async fn refund(brand: &Brand, payment_id: i64, amount: Option<Decimal>, allow_repeat: bool) -> Result<Refund> {
    let provider = Provider::for_brand(brand)?;
    refresh(brand, payment_id).await?;
    let (order_id, refund) = store_request(brand, payment_id, amount, allow_repeat).await?;
    let (status, refused) = match provider.refund(&refund.id, &order_id, refund.amount).await {
        Ok(status) => (status, None),
        Err(error @ ProviderError::Refused { .. }) => (RefundStatus::Declined, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let refund = Refund { status, ..refund };
    store::save(&brand.postgres().await?, payment_id, &refund).await?;
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(refund),
    }
}

/// Stores the refund to be sent; returns it with the provider's order id.
async fn store_request(
    brand: &Brand,
    payment_id: i64,
    amount: Option<Decimal>,
    allow_repeat: bool,
) -> Result<(String, Refund)> {
    let now = brand.clock.now();
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let earlier = store::list(&transaction, payment_id).await?;
    let plan = match plan(&payment, &earlier, amount, allow_repeat, now) {
        Ok(plan) => plan,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    let refund = match plan {
        RefundPlan::Resend(refund) => refund,
        RefundPlan::New(amount) => {
            Refund { id: hex::random_name()?, amount, status: RefundStatus::Requested, created_at: now }
        }
    };
    store::save(&transaction, payment_id, &refund).await?;
    transaction.commit().await?;
    Ok((payment.bank_order_id, refund))
}

/// Decides what to send, given the `earlier` refunds of the payment.
fn plan(
    payment: &Payment,
    earlier: &[Refund],
    amount: Option<Decimal>,
    allow_repeat: bool,
    now: Timestamp,
) -> Result<RefundPlan> {
    let not_declined = || earlier.iter().filter(|refund| refund.status != RefundStatus::Declined);
    let unanswered = earlier.iter().find(|refund| refund.status == RefundStatus::Requested);
    if let Some(unanswered) = unanswered.filter(|refund| amount.is_none_or(|amount| amount == refund.amount)) {
        return Ok(RefundPlan::Resend(unanswered.clone()));
    }
    let is_repeat = |amount: Decimal| {
        not_declined().any(|refund| refund.amount == amount && now.duration_since(refund.created_at) < REPEAT_WINDOW)
    };
    if unanswered.is_none() && !allow_repeat && amount.is_some_and(is_repeat) {
        let message = "The same amount was refunded a moment ago; repeat with --again to refund it once more.";
        return Err(Error::conflict("refund_again", message));
    }
    if payment.state.status != Status::Completed {
        return Err(Error::conflict("not_paid", "This payment was not paid."));
    }
    let refunded: Decimal = not_declined().map(|refund| refund.amount).sum();
    let left = payment.amount - refunded;
    let amount = amount.unwrap_or(left).normalize();
    match amount > Decimal::ZERO && amount <= left && amount.scale() <= 2 {
        true => Ok(RefundPlan::New(amount)),
        false => {
            let message = format!("{} of {} RUB can be refunded.", left.normalize(), payment.amount.normalize());
            Err(Error::conflict("bad_refund", message))
        }
    }
}

/// Queries the provider about the refunds in progress and returns all refunds of a payment, oldest first. No connection is held
/// while the provider is queried.
pub(super) async fn refresh(brand: &Brand, payment_id: i64) -> Result<Vec<Refund>> {
    let mut refunds = store::list(&brand.postgres().await?, payment_id).await?;
    for refund in refunds.iter_mut().filter(|refund| refund.status == RefundStatus::InProgress) {
        match Provider::for_brand(brand)?.refund_status(&refund.id).await {
            Ok(status) => {
                refund.status = status;
                store::save(&brand.postgres().await?, payment_id, refund).await?;
            }
            Err(error) => {
                tracing::warn!(
                    brand = brand.name(),
                    refund.id = refund.id,
                    %error,
                    "failed to query the status of a refund; showing the last known one"
                );
            }
        }
    }
    Ok(refunds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::state::CurrentState;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn payment(status: Status) -> Payment {
        let state = CurrentState { status, holds_stock: false, expires_at: NOW };
        Payment { state, amount: Decimal::from(100), ..Payment::example() }
    }

    fn earlier(amount: i64, status: RefundStatus, age_mins: i64) -> Refund {
        let created_at = NOW - SignedDuration::from_mins(age_mins);
        Refund { id: format!("r{amount}"), amount: Decimal::from(amount), status, created_at }
    }

    fn planned(earlier: &[Refund], amount: Option<i64>, allow_repeat: bool) -> Result<RefundPlan, &'static str> {
        let payment = payment(Status::Completed);
        plan(&payment, earlier, amount.map(Decimal::from), allow_repeat, NOW).map_err(|error| error.code)
    }

    #[test]
    fn no_more_is_refunded_than_was_paid() {
        let new = |amount: i64| Ok(RefundPlan::New(Decimal::from(amount)));
        let refunds = [earlier(60, RefundStatus::Completed, 60), earlier(30, RefundStatus::Declined, 60)];
        assert_eq!(planned(&refunds, None, false), new(40));
        assert_eq!(planned(&refunds, Some(40), false), new(40));
        assert_eq!(planned(&refunds, Some(41), false), Err("bad_refund"));
        assert_eq!(planned(&refunds, Some(0), false), Err("bad_refund"));
        assert_eq!(planned(&[earlier(100, RefundStatus::InProgress, 60)], None, false), Err("bad_refund"));
        let unpaid = plan(&payment(Status::Expired), &[], None, false, NOW).map_err(|error| error.code);
        assert_eq!(unpaid, Err("not_paid"));
    }

    #[test]
    fn an_unanswered_refund_is_sent_again() {
        let unanswered = earlier(60, RefundStatus::Requested, 1);
        let refunds = [unanswered.clone()];
        assert_eq!(planned(&refunds, None, false), Ok(RefundPlan::Resend(unanswered.clone())));
        assert_eq!(planned(&refunds, Some(60), false), Ok(RefundPlan::Resend(unanswered)));
        assert_eq!(planned(&refunds, Some(10), false), Ok(RefundPlan::New(Decimal::from(10))));
    }

    #[test]
    fn the_same_amount_twice_needs_a_confirmation() {
        let refunds = [earlier(10, RefundStatus::Completed, 9)];
        assert_eq!(planned(&refunds, Some(10), false), Err("refund_again"));
        assert_eq!(planned(&refunds, Some(10), true), Ok(RefundPlan::New(Decimal::from(10))));
        let refunds = [earlier(10, RefundStatus::Completed, 11)];
        assert_eq!(planned(&refunds, Some(10), false), Ok(RefundPlan::New(Decimal::from(10))));
    }
}
