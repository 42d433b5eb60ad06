//! Refunds, whole or partial, requested by the operator.
//!
//! # Invariants
//! - A refund is stored before it is sent, under an id made of the provider's order id and an ordinal, so that repeating it never
//!   refunds twice, not even when the database has lost it.
//! - A completed refund has its receipt; returned units go back into stock once.

mod plan;
mod store;

use std::collections::HashMap;

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::foundation::error::Result;
use crate::payments::provider::{Provider, ProviderError, RefundReport};
use crate::payments::state::RefundStatus;
use crate::payments::store::Payment;
use crate::payments::{receipt, transition_store};
use crate::tenant::brand::Brand;

pub use plan::RefundRequest;
use plan::{RefundPlan, allocate, plan};
pub use store::Refund;

/// The provider has no list of an order's refunds, but it can be asked about each id. The search for refunds that the database
/// has lost ends after so many ids that the provider does not know: an id is unknown when the provider refused its refund.
const MAX_UNKNOWN_IDS: u32 = 3;

/// The id of an order's refund.
pub(super) fn refund_id(bank_order_id: &str, ordinal: i32) -> String {
    format!("{bank_order_id}-r{ordinal}")
}

/// Refunds what was requested. A refund whose response was not received is sent again first; refunds that the provider has and
/// the database does not are taken in and counted.
///
/// # Errors
/// 404 for an unknown payment; 409 for one that is not paid or has less left, and for an amount that was refunded a moment ago,
/// unless `allow_repeat` is set; 502 and 504 when the provider fails: repeating the request is safe.
pub async fn refund(brand: &Brand, payment_id: i64, request: &RefundRequest) -> Result<Refund> {
    let provider = Provider::for_brand(brand)?;
    refresh(brand, payment_id).await?;
    take_in_lost(brand, &provider, payment_id).await?;
    let (order_id, refund) = store_request(brand, payment_id, request).await?;
    let (status, refused) = match provider.refund(&refund.id, &order_id, refund.amount).await {
        Ok(status) => (status, None),
        Err(error @ ProviderError::Refused { .. }) => (RefundStatus::Declined, Some(error)),
        Err(error) => return Err(error.into()),
    };
    save_status(brand, payment_id, &refund.id, status).await?;
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(Refund { status, ..refund }),
    }
}

/// Stores the refund to be sent; returns it with the provider's order id.
async fn store_request(brand: &Brand, payment_id: i64, request: &RefundRequest) -> Result<(String, Refund)> {
    let now = brand.clock.now();
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let earlier = store::list(&transaction, payment_id).await?;
    let sold = store::sold_lines(&transaction, payment_id).await?;
    let plan = match plan(&payment, &sold, &earlier, request, now) {
        Ok(plan) => plan,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    let refund = match plan {
        RefundPlan::Resend(refund) => refund,
        RefundPlan::New { amount, lines } => {
            let refund = new_refund(&payment, &earlier, amount, RefundStatus::Requested, now);
            store::insert(&transaction, payment_id, &refund, &lines, request.restock).await?;
            refund
        }
    };
    transaction.commit().await?;
    Ok((payment.bank_order_id, refund))
}

fn new_refund(payment: &Payment, earlier: &[Refund], amount: Decimal, status: RefundStatus, now: Timestamp) -> Refund {
    let ordinal = last_ordinal(earlier) + 1;
    let id = refund_id(&payment.bank_order_id, ordinal);
    Refund { id, ordinal: Some(ordinal), amount, status, created_at: now, found_at_bank: false }
}

fn last_ordinal(refunds: &[Refund]) -> i32 {
    refunds.iter().filter_map(|refund| refund.ordinal).max().unwrap_or(0)
}

/// Stores the refunds of a payment that the provider has and the database does not: a failover lost them.
async fn take_in_lost(brand: &Brand, provider: &Provider<'_>, payment_id: i64) -> Result<()> {
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let known = last_ordinal(&store::list(&transaction, payment_id).await?);
    transaction.rollback().await?;
    let (mut ordinal, mut unknown_ids) = (known, 0);
    while unknown_ids < MAX_UNKNOWN_IDS {
        ordinal += 1;
        let id = refund_id(&payment.bank_order_id, ordinal);
        let Some(RefundReport { status, amount }) = provider.refund_status(&id).await? else {
            unknown_ids += 1;
            continue;
        };
        let amount = amount.ok_or_else(|| ProviderError::InvalidResponse(format!("refund {id} has no amount")))?;
        unknown_ids = 0;
        let created_at = brand.clock.now();
        let refund = Refund {
            id,
            ordinal: Some(ordinal),
            amount,
            status: RefundStatus::Requested,
            created_at,
            found_at_bank: true,
        };
        let transaction = brand.transaction().await?;
        transition_store::lock(&transaction, payment_id).await?;
        let sold = store::sold_lines(&transaction, payment_id).await?;
        store::insert(&transaction, payment_id, &refund, &allocate(&sold, amount, false), false).await?;
        transaction.commit().await?;
        save_status(brand, payment_id, &refund.id, status).await?;
        tracing::error!(
            brand = brand.name(),
            payment.id = payment_id,
            refund.id = refund.id,
            %amount,
            "found a refund at the bank that the database did not have; it is counted now"
        );
    }
    Ok(())
}

/// Saves a refund's status with its effects, in one transaction: a completed refund gets its receipt, and with an accepted one
/// returned units go back into stock.
async fn save_status(brand: &Brand, payment_id: i64, refund_id: &str, status: RefundStatus) -> Result<()> {
    let now = brand.clock.now();
    let next_poll_at = now + brand.config.payments.refund_poll_interval;
    let transaction = brand.transaction().await?;
    transition_store::lock(&transaction, payment_id).await?;
    let restocks = store::save_status(&transaction, refund_id, status, now, next_poll_at).await?;
    let items = match restocks {
        true => store::restock(&transaction, refund_id).await?,
        false => Vec::new(),
    };
    if status == RefundStatus::Completed {
        receipt::queue_of_refund(brand, &transaction, refund_id, now).await?;
    }
    transaction.commit().await?;
    if !items.is_empty() {
        brand.cache.items_changed(items);
    }
    Ok(())
}

/// Queries the provider about the refunds in progress and returns all refunds of a payment, oldest first. No connection is held
/// while the provider is queried.
pub(super) async fn refresh(brand: &Brand, payment_id: i64) -> Result<Vec<Refund>> {
    let mut refunds = store::list(&brand.postgres().await?, payment_id).await?;
    for refund in refunds.iter_mut().filter(|refund| refund.status == RefundStatus::InProgress) {
        poll(brand, payment_id, refund).await?;
    }
    Ok(refunds)
}

/// Polls the provider about the refunds whose status is not final; returns their number.
pub async fn follow(brand: &Brand) -> Result<u64> {
    let Ok(_) = Provider::for_brand(brand) else { return Ok(0) };
    let now = brand.clock.now();
    let interval = brand.config.payments.refund_poll_interval;
    let due = store::claim_open(&brand.postgres().await?, now, now - interval, now + interval).await?;
    let count = due.len() as u64;
    for store::OpenRefund { payment_id, mut refund } in due {
        poll(brand, payment_id, &mut refund).await?;
    }
    Ok(count)
}

/// Polls the provider about a refund. A provider that fails leaves the refund as it is.
async fn poll(brand: &Brand, payment_id: i64, refund: &mut Refund) -> Result<()> {
    match Provider::for_brand(brand)?.refund_status(&refund.id).await {
        Ok(Some(report)) => {
            if report.status == RefundStatus::Declined {
                tracing::error!(
                    brand = brand.name(),
                    payment.id = payment_id,
                    refund.id = refund.id,
                    "the bank declined a refund; refund the buyer again or by other means"
                );
            }
            refund.status = report.status;
            save_status(brand, payment_id, &refund.id, refund.status).await
        }
        // It never arrived: the operator's next request sends it again.
        Ok(None) => Ok(()),
        Err(error) => {
            tracing::warn!(
                brand = brand.name(),
                refund.id = refund.id,
                %error,
                "failed to query the status of a refund; the last known one stands"
            );
            Ok(())
        }
    }
}

/// Returns what was refunded, or is being refunded, of those payments that have refunds.
pub async fn refunded(brand: &Brand, payment_ids: &[i64]) -> Result<HashMap<i64, Decimal>> {
    store::refunded(&brand.postgres().await?, payment_ids).await
}
