//! Payments by SBP QR code.
//!
//! # Invariants
//! - An order is stored, with its prices and its units held, before the provider is called.
//! - Only `apply` changes a payment's status, whatever the report came from; a completed payment has its effects once.
//! - An order has at most one QR code that can be paid; late money for an earlier one cancels it.

mod cancellation;
mod cancellation_store;
mod checkout;
mod checkout_store;
mod details;
mod history_store;
mod hold_store;
pub(crate) mod http;
mod order;
mod orders;
mod orders_store;
mod personal_data_store;
mod poll_schedule;
mod poll_store;
mod provider;
mod purchase_email;
mod purchase_request;
mod qr_registration;
pub mod receipt;
mod refund;
mod settlement;
mod settlement_store;
mod state;
mod store;
mod transition_store;
pub mod unknown_money;
pub(crate) mod worker;

use std::sync::Arc;

use jiff::Timestamp;

use crate::cart;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::{Executor, Transaction};
use crate::session::Owner;
use crate::telemetry::metrics::Queue;
use crate::tenant::brand::Brand;

pub use cancellation::{PaymentSelection, cancel, cancel_all};
pub use checkout::open;
pub use details::{PaymentDetails, details, ids_of};
pub use history_store::Buyer;
pub use order::{Order, OrderLine};
pub use orders::{find_order, list_orders};
pub use orders_store::{OrderPage, PlacedOrder};
pub use personal_data_store::{erase, forget_addresses, lock_owners, of_person, owner_keys, personal_data};
use provider::{PollRequest, PollTarget, Provider, ProviderError};
pub use provider::{WEBHOOK_SIGNATURE_HEADER, health_check};
pub use purchase_request::{Purchase, mail_key, send_receipt_email};
pub use refund::{Refund, RefundRequest, follow as follow_refunds, refund, refunded};
pub use settlement::{Settlement, settle, settlements};
use state::{ProviderStatus, ProviderTransaction, StockMovement, Transition};
pub use state::{RefundStatus, Status};
pub use store::Payment;

/// Returns the payment of a QR code. An open payment that was not polled recently is polled first, once for any number of callers.
/// A provider that does not respond in time does not delay the caller: its response is applied in the background.
///
/// # Errors
/// 404 for a QR code that is not this brand's.
pub async fn find(brand: &Arc<Brand>, qr_id: &str) -> Result<Payment> {
    let config = &brand.config.payments;
    let now = brand.clock.now();
    if !provider::is_valid_id(qr_id) {
        return Err(Error::not_found("payment"));
    }
    let found =
        poll_store::by_qr_id(&brand.essential_postgres().await?, qr_id, now, now - config.min_poll_interval).await?;
    let (payment, target) = found.ok_or_else(|| Error::not_found("payment"))?;
    if target.is_none() {
        return Ok(payment);
    }
    let poll = tokio::spawn({
        let (brand, payment) = (brand.clone(), payment.clone());
        async move { poll_provider(&brand, &payment, target).await }
    });
    match tokio::time::timeout(config.poll_wait, poll).await {
        Ok(Ok(Ok(polled))) => Ok(polled),
        Ok(Ok(Err(error))) => {
            tracing::warn!(
                brand = brand.name(),
                payment.id = payment.id,
                %error,
                "failed to poll a payment; responding with its last known status"
            );
            Ok(payment)
        }
        Ok(Err(panicked)) => Err(Error::internal(panicked)),
        Err(_) => Ok(payment),
    }
}

/// Polls the provider about a payment and applies its report. Without a `target`, and after the payment's expiry, everything that
/// the provider can report is queried.
async fn poll_provider(brand: &Brand, payment: &Payment, target: Option<PollTarget>) -> Result<Payment> {
    let Some(qr_id) = payment.known_qr_id() else { return Ok(payment.clone()) };
    let request = PollRequest {
        qr_id,
        order_id: &payment.bank_order_id,
        amount: payment.amount,
        was_in_progress: payment.state.status == Status::Waiting,
        target: target.filter(|_| brand.clock.now() < payment.state.expires_at),
    };
    match Provider::for_brand(brand)?.poll(&request).await {
        Ok(reported) => apply(brand, payment.id, &reported).await,
        Err(error) => {
            if matches!(error, ProviderError::PaymentMismatch(_)) && !payment.to_settle {
                tracing::error!(brand = brand.name(), payment.id = payment.id, %error, "payment needs manual settlement");
                settlement_store::mark_to_settle(&brand.essential_postgres().await?, payment.id, &error.to_string())
                    .await?;
            }
            Err(error.into())
        }
    }
}

/// Handles a notification of the provider: verifies it, makes the payment due for polling, and polls it. Returns whether the
/// payment is known.
///
/// # Errors
/// 400 and 401 for a malformed or forged notification; 503 when it could not be stored, so that the provider sends it again.
pub async fn handle_webhook(brand: &Arc<Brand>, body: &[u8], signature: &str) -> Result<bool> {
    let provider = Provider::for_brand(brand).map_err(|_| Error::not_found("path"))?;
    let event = provider.verify_webhook(body, signature)?;
    let now = brand.clock.now();
    let noted = match provider::is_valid_id(&event.order_id) {
        true => {
            let client = brand.essential_postgres().await?;
            poll_store::note_webhook(&client, &event.order_id, event.qr_id.as_deref(), now).await?
        }
        false => None,
    };
    let Some(payment) = noted else {
        unknown_money::keep(brand, &event).await?;
        return Ok(false);
    };
    if payment.state.status != Status::Completed {
        let poll = tokio::spawn({
            let brand = brand.clone();
            async move { poll_provider(&brand, &payment, None).await }
        });
        // A poll that fails or takes too long is repeated by the worker: the payment is due.
        if let Ok(Ok(Err(error))) = tokio::time::timeout(brand.config.payments.poll_wait, poll).await {
            let (brand, order) = (brand.name(), event.order_id);
            tracing::warn!(brand, order, %error, "failed to poll a notified payment; the worker will retry");
        }
    }
    Ok(true)
}

/// Applies the provider's report to a payment, with all its effects, in one transaction. Applying it again changes nothing.
///
/// # Errors
/// 404 for an unknown payment.
async fn apply(brand: &Brand, payment_id: i64, reported: &ProviderStatus) -> Result<Payment> {
    let now = brand.clock.now();
    let transaction = brand.essential_postgres().await?.begin();
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let Some(transition) = state::next(payment.state, reported, now) else {
        transaction.rollback().await?;
        return Ok(payment);
    };
    let is_short = transition_store::lacks_stock(&transaction, payment.id, transition.stock).await?;
    let overlaps = match transition.status {
        Status::Completed => settlement_store::overlaps(&transaction, payment.id).await?,
        _ => Vec::new(),
    };
    let reason = settlement::reason(payment.state.status, is_short, &overlaps);
    let paid_by = match reported {
        ProviderStatus::Paid(paid_by) => paid_by.clone(),
        _ => ProviderTransaction::default(),
    };
    let state = state::CurrentState { status: transition.status, ..payment.state };
    let next_poll_at = poll_schedule::next_poll_at(state, 0, now, &brand.config.payments);
    transition_store::save(&transaction, &payment, transition, &paid_by, next_poll_at, now, reason.as_deref()).await?;
    for overlap in &overlaps {
        let remark = settlement::counter_remark(&payment, overlap);
        settlement_store::add_remark(&transaction, overlap.payment_id, &remark).await?;
    }
    if transition.status == Status::Completed {
        complete(brand, &transaction, &payment, now).await?;
    }
    let updated = store::by_id(&transaction, payment.id).await?;
    transaction.commit().await?;
    if transition.stock != StockMovement::Unchanged {
        brand.cache.items_changed(payment.lines.iter().map(|(item_id, _)| *item_id));
    }
    log_transition(brand, &payment, transition, reason.as_deref());
    updated.ok_or_else(|| Error::internal("the payment was deleted during its transition"))
}

/// The effects of a completed payment.
async fn complete(brand: &Brand, transaction: &Transaction, payment: &Payment, now: Timestamp) -> Result<()> {
    cart::remove_bought(transaction, &payment.owner, &payment.lines).await?;
    if !payment.state.status.is_open() {
        transition_store::make_other_codes_due(transaction, payment, now).await?;
    }
    receipt::queue(brand, transaction, payment, now).await
}

fn log_transition(brand: &Brand, payment: &Payment, transition: Transition, to_settle: Option<&str>) {
    let (from, to) = (payment.state.status.as_str(), transition.status.as_str());
    let (brand, order, late) = (brand.name(), &payment.site_order_id, transition.stock == StockMovement::TakeLate);
    tracing::info!(brand, payment.id = payment.id, order, from, to, late, "payment status changed");
    if let Some(reason) = to_settle {
        tracing::error!(
            brand,
            payment.id = payment.id,
            order,
            reason,
            "payment needs manual settlement: brandgate payments list --to-settle"
        );
    }
}

/// Which payments [`list`] returns.
#[derive(Debug, Clone, Copy, Default)]
pub struct PaymentFilter<'a> {
    pub only_open: bool,
    pub only_to_settle: bool,
    /// Begun at this time or later.
    pub since: Option<Timestamp>,
    /// The front end's order id.
    pub site_order_id: Option<&'a str>,
    /// A Telegram user's id, or user name without the @.
    pub user: Option<&'a str>,
    /// With this item.
    pub item_id: Option<i64>,
    pub status: Option<Status>,
    /// The maximum number of payments.
    pub count: i64,
}

/// Returns payments, newest first.
pub async fn list(brand: &Brand, filter: PaymentFilter<'_>) -> Result<Vec<Payment>> {
    let payments = history_store::list(&brand.postgres().await?, filter).await?;
    Ok(payments)
}

/// Returns a payment and its refunds, whose statuses are queried from the provider.
///
/// # Errors
/// 404 for an unknown payment.
pub async fn show(brand: &Brand, payment_id: i64) -> Result<(Payment, Vec<Refund>)> {
    let payment = store::by_id(&brand.postgres().await?, payment_id).await?;
    let payment = payment.ok_or_else(|| Error::not_found("payment"))?;
    Ok((payment, refund::refresh(brand, payment_id).await?))
}

/// Polls the provider about a payment now.
///
/// # Errors
/// 404 for an unknown payment; 502 and 504 when the provider fails.
pub async fn retry(brand: &Brand, payment_id: i64) -> Result<Payment> {
    let (payment, _) = show(brand, payment_id).await?;
    poll_provider(brand, &payment, None).await
}

/// The labels of the metric of payments: the statuses; `to_settle`, which counts some of the same payments; and `unknown`, money
/// without an order.
pub const STATES: [&str; 7] = ["CREATED", "WAITING", "COMPLETED", "EXPIRED", "CANCELLED", "to_settle", "unknown"];

/// Values of the gauges of payments.
pub struct PaymentCounts {
    /// In the order of [`STATES`].
    pub by_state: Vec<i64>,
    pub receipts: Queue,
}

/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn counts(brand: &Brand) -> Result<PaymentCounts> {
    let registers_receipts = brand.config.fiscal.is_some();
    history_store::counts(&brand.postgres().await?, &STATES[..5], registers_receipts, brand.clock.now()).await
}

/// The mean share of an item's stock that open payments hold, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct HeldShares {
    /// Payments of owners with a session.
    pub users: f64,
    /// Payments of owners without one.
    pub visitors: f64,
}

/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn held_shares(brand: &Brand) -> Result<HeldShares> {
    hold_store::shares(&brand.postgres().await?).await
}

/// The purpose of a payment, as the payer's bank shows it.
fn purpose(site_order_id: &str) -> String {
    format!("Order #{site_order_id}")
}

/// Moves the payments of a visitor to the user that the visitor has logged in as, in the transaction of the login.
pub async fn reassign_owner(client: &impl Executor, brand: &Brand, from: &Owner, into: &Owner) -> Result<()> {
    store::reassign_owner(client, brand.name(), &from.key(), &into.key(), brand.clock.now()).await
}
