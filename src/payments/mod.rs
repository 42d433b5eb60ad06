//! Payments by SBP QR code (contract section 5).
//!
//! Called by `payments::http` (the front end and the bank), by the worker and by the command line. An order is written, with
//! its price and its pieces held, before the bank is asked for anything; what becomes of it is decided by [`apply`] alone,
//! whoever brought the news. What must never happen: an order is lost, a visitor chooses the price, one piece is sold twice,
//! two living QR codes of one order are shown, or a completed payment has its effects twice.

mod checkout;
mod history_store;
pub mod http;
mod order;
mod poll_store;
pub mod provider;
mod purchase;
pub mod receipt;
mod receipt_email;
mod refund;
mod state;
mod store;
mod transition_store;
pub mod worker;

use std::sync::Arc;

use crate::platform::postgres::{Executor, Transaction};
use jiff::{SignedDuration, Timestamp};

use crate::cart;
use crate::config::{BrandConfig, PaymentsConfig};
use crate::foundation::error::{Error, Result};
use crate::session::Owner;
use crate::telemetry::metrics::Queue;
use crate::tenant::brand::Brand;

pub use checkout::open;
pub use order::Order;
use provider::raiffeisen::{self, ProviderClient, ProviderError, StatusEndpoint};
use provider::raiffeisen_webhook::Notification;
pub use purchase::{Purchase, send_mail};
pub use refund::{Refund, refund};
pub use state::Status;
use state::{BankTransaction, ProviderStatus, StockMovement, Transition};
pub use store::Payment;

/// Between two looks of the worker at a living code that nobody asks about.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The payment of a QR code, as it stands. Of an open one the bank is asked when nobody did for a while, once for any number
/// of callers; a slow bank is waited for a moment, and what it says later is written all the same.
///
/// # Errors
/// 404 for a code that is not this brand's.
pub async fn find(brand: &Arc<Brand>, qr_id: &str) -> Result<Payment> {
    let config = &brand.config.payments;
    let now = brand.clock.now();
    if !raiffeisen::is_plain_id(qr_id) {
        return Err(Error::not_found("payment"));
    }
    let found = poll_store::by_qr(&brand.postgres().await?, qr_id, now, now - config.min_poll_interval).await?;
    let (payment, turn) = found.ok_or_else(|| Error::not_found("payment"))?;
    let Some(turn) = turn else { return Ok(payment) };
    let (looker, looked_at) = (brand.clone(), payment.clone());
    let looking = tokio::spawn(async move { poll_provider(&looker, &looked_at, turn.at(&looked_at, now)).await });
    match tokio::time::timeout(config.poll_wait, looking).await {
        Ok(Ok(Ok(payment))) => Ok(payment),
        Ok(Ok(Err(error))) => {
            tracing::warn!(brand = brand.name(), qr = qr_id, %error, "the bank could not be asked about a payment");
            Ok(payment)
        }
        Ok(Err(ended)) => Err(Error::internal(ended)),
        Err(_) => Ok(payment),
    }
}

/// Asks the bank about a payment and applies what it says.
async fn poll_provider(brand: &Brand, payment: &Payment, ask: StatusEndpoint) -> Result<Payment> {
    let Some(qr_id) = payment.qr_id.as_deref().or(payment.qr_id_told.as_deref()) else { return Ok(payment.clone()) };
    let order = (payment.bank_order_id.as_str(), payment.amount);
    match ProviderClient::of(brand)?.look(qr_id, order, ask, payment.standing.status == Status::Waiting).await {
        Ok(seen) => apply(brand, payment.id, &seen).await,
        Err(fault) => {
            if matches!(fault, ProviderError::OtherMoney(_)) && !payment.to_settle {
                tracing::error!(brand = brand.name(), payment = payment.id, %fault, "for a person to settle");
                history_store::mark_to_settle(&brand.postgres().await?, payment.id, &fault.to_string()).await?;
            }
            Err(fault.into())
        }
    }
}

/// Takes the bank's notification: checks that it is the bank's, notes that there is news, and asks the bank itself. Returns
/// whether the payment is known.
///
/// # Errors
/// 400 and 401 for what is not the bank's; 503 when it could not be noted, so that the bank tells it again.
pub async fn handle_webhook(brand: &Arc<Brand>, body: &[u8], signature: &str) -> Result<bool> {
    let bank = brand.config.bank.as_ref().ok_or_else(|| Error::not_found("path"))?;
    let heard = Notification::verify(body, signature, bank)?;
    if !raiffeisen::is_plain_id(&heard.order) {
        return Ok(false);
    }
    let now = brand.clock.now();
    let told = poll_store::told(&brand.postgres().await?, &heard.order, heard.qr_id.as_deref(), now).await?;
    let Some(payment) = told else {
        tracing::warn!(brand = brand.name(), order = heard.order, "the bank told of an order that we do not know");
        return Ok(false);
    };
    if payment.standing.status != Status::Completed {
        let looker = brand.clone();
        let looking = tokio::spawn(async move { poll_provider(&looker, &payment, StatusEndpoint::Both).await });
        // What cannot be done in a moment is the worker's: it is noted.
        if let Ok(Ok(Err(error))) = tokio::time::timeout(brand.config.payments.poll_wait, looking).await {
            tracing::warn!(brand = brand.name(), order = heard.order, %error, "told by the bank, to be looked at again");
        }
    }
    Ok(true)
}

/// Carries out what the bank's news make of a payment, with all effects, in one transaction; the second time it does nothing.
/// The only place where a payment's status changes.
pub async fn apply(brand: &Brand, payment_id: i64, seen: &ProviderStatus) -> Result<Payment> {
    let now = brand.clock.now();
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let Some(change) = state::change(payment.standing, seen, now) else {
        transaction.rollback().await?;
        return Ok(payment);
    };
    let to_settle = transition_store::move_stock(&transaction, payment.id, change.stock).await?;
    let received = match seen {
        ProviderStatus::Paid(received) => received.clone(),
        _ => BankTransaction::default(),
    };
    let look_at = next_poll_at(&payment, change.status, 0, now, &brand.config.payments);
    transition_store::write(&transaction, &payment, change, &received, look_at, now, to_settle).await?;
    if change.status == Status::Completed {
        complete(brand, &transaction, &payment, now).await?;
    }
    let after = store::by_id(&transaction, payment.id).await?;
    transaction.commit().await?;
    if change.stock != StockMovement::Untouched {
        brand.cache.items_changed(payment.lines.iter().map(|(item_id, _)| *item_id));
    }
    log_transition(brand, &payment, change, to_settle);
    after.ok_or_else(|| Error::internal("a payment is gone"))
}

/// What a completed payment brings about, once.
async fn complete(brand: &Brand, transaction: &Transaction, payment: &Payment, now: Timestamp) -> Result<()> {
    cart::remove_bought(transaction, &payment.owner, &payment.lines).await?;
    if let Some(fiscal) = &brand.config.fiscal {
        transition_store::queue_receipt(transaction, payment, now + fiscal.email_wait).await?;
    }
    Ok(())
}

fn log_transition(brand: &Brand, payment: &Payment, change: Transition, to_settle: bool) {
    let (from, to) = (payment.standing.status.word(), change.status.word());
    let (brand, order, late) = (brand.name(), &payment.site_order_id, change.stock == StockMovement::TakeLate);
    tracing::info!(brand, payment = payment.id, order, from, to, late, "a payment changed");
    if to_settle {
        tracing::error!(
            brand,
            payment = payment.id,
            order,
            "paid late, and its pieces are gone: brandgate payments list --to-settle"
        );
    }
}

/// When the worker looks at a payment next: soon and then less often while it is open, at its end, and a while beyond because
/// money may come late; one that the bank is at, for as long as it is. `None`: there is nothing more to see.
fn next_poll_at(
    payment: &Payment,
    status: Status,
    looks: i32,
    now: Timestamp,
    config: &PaymentsConfig,
) -> Option<Timestamp> {
    let expires_at = payment.standing.expires_at;
    let longest = SignedDuration::try_from(config.max_poll_interval).unwrap_or(SignedDuration::MAX);
    let doubled = FIRST_PAUSE * 2_i32.saturating_pow(u32::try_from(looks).unwrap_or(0).min(16));
    let at = match status {
        Status::Completed => return None,
        Status::Created | Status::Waiting => {
            let at = now + doubled.min(SignedDuration::from_mins(1)).min(longest);
            let end = expires_at + SignedDuration::from_secs(1);
            if now < end { at.min(end) } else { at }
        }
        Status::Expired | Status::Cancelled => now + (doubled * 12).min(longest),
    };
    let last = expires_at + config.follow_up;
    match status {
        Status::Waiting if now >= last => Some(now + longest),
        _ => (now < last).then(|| at.min(last)),
    }
}

/// Asks the bank a harmless question; says how that went. `None`: no bank is configured.
pub async fn health_check(config: &BrandConfig) -> Option<Result<String, String>> {
    match &config.bank {
        Some(bank) => Some(raiffeisen::greet(bank).await),
        None => None,
    }
}

/// What a person of the shop looks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub only_open: bool,
    pub only_to_settle: bool,
    /// Newest first, so many at most.
    pub count: i64,
}

/// The newest payments, for a person of the shop.
pub async fn list(brand: &Brand, filter: Filter) -> Result<Vec<Payment>> {
    let payments = history_store::list(&brand.postgres().await?, filter).await?;
    Ok(payments)
}

/// One payment with its refunds, for a person of the shop.
///
/// # Errors
/// 404 when there is none.
pub async fn show(brand: &Brand, payment_id: i64) -> Result<(Payment, Vec<Refund>)> {
    let payment =
        store::by_id(&brand.postgres().await?, payment_id).await?.ok_or_else(|| Error::not_found("payment"))?;
    Ok((payment, refund::refresh(brand, payment_id).await?))
}

/// Asks the bank about a payment now.
///
/// # Errors
/// 404 when there is none; 502 and 504 when the bank cannot say.
pub async fn retry(brand: &Brand, payment_id: i64) -> Result<Payment> {
    let (payment, _) = show(brand, payment_id).await?;
    poll_provider(brand, &payment, StatusEndpoint::Both).await
}

/// What payments are counted by: their states, and what a person must settle, which is one of these besides.
pub const STATES: [&str; 6] = ["CREATED", "WAITING", "COMPLETED", "EXPIRED", "CANCELLED", "to_settle"];

/// How many payments there are, and how long the queue of receipts is.
pub struct PaymentCounts {
    /// In the order of [`STATES`].
    pub by_state: Vec<i64>,
    pub receipts: Queue,
}

/// # Errors
/// 503 while PostgreSQL is away.
pub async fn counts(brand: &Brand) -> Result<PaymentCounts> {
    let figures = history_store::figures(&brand.postgres().await?, &STATES[..5], brand.clock.now()).await?;
    Ok(figures)
}

/// Notes that a person has settled what money that came late could not buy; `false` when there was nothing to settle.
///
/// # Errors
/// 404 for no such payment.
pub async fn settle(brand: &Brand, payment_id: i64) -> Result<bool> {
    let client = brand.postgres().await?;
    let settled = history_store::settle(&client, payment_id).await?;
    if !settled {
        store::by_id(&client, payment_id).await?.ok_or_else(|| Error::not_found("payment"))?;
    }
    Ok(settled)
}

/// What the payer's bank shows.
fn purpose(site_order_id: &str) -> String {
    format!("Order #{site_order_id}")
}

/// Gives the payments of a visitor to the user that the visitor logged in as, in the login's transaction.
pub async fn reassign_owner(client: &impl Executor, brand: &Brand, from: &Owner, into: &Owner) -> Result<()> {
    store::join(client, brand.name(), &from.key(), &into.key(), brand.clock.now()).await
}
