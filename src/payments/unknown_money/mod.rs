//! Money without an order: the provider notified us of a payment whose order the database does not have.
//!
//! # Invariants
//! - Money is attached to a payment or refunded, once.

mod store;

use jiff::Timestamp;

use crate::foundation::error::{Error, Result};
use crate::payments::provider::{PollRequest, Provider, ProviderError, WebhookEvent};
use crate::payments::refund::refund_id;
use crate::payments::state::{ProviderStatus, ProviderTransaction, RefundStatus, Status};
use crate::payments::store::{self as payment_store, Payment};
use crate::payments::{apply, transition_store};
use crate::tenant::brand::Brand;

pub use store::{UnknownMoney, UnknownMoneyStatus};

/// The longest order id that is kept; the provider's have at most 40 characters.
const MAX_ORDER_ID_CHARS: usize = 100;

/// Keeps the money of a notification whose order the database does not have.
pub(super) async fn keep(brand: &Brand, event: &WebhookEvent) -> Result<()> {
    let (name, order) = (brand.name(), &event.order_id);
    let is_storable = (1..=MAX_ORDER_ID_CHARS).contains(&order.chars().count()) && !order.contains('\0');
    let Some(amount) = event.paid.filter(|amount| is_storable && amount.is_sign_positive() && !amount.is_zero()) else {
        tracing::warn!(brand = name, order, "ignored a notification about an unknown order that was not paid");
        return Ok(());
    };
    let client = brand.essential_postgres().await?;
    if store::insert(&client, event, amount, brand.clock.now()).await? {
        tracing::error!(
            brand = name,
            order,
            %amount,
            "received money for an order that the database does not have: brandgate payments unknown list"
        );
    }
    Ok(())
}

/// Returns the money that is neither attached nor refunded, or with `all` everything, oldest first.
pub async fn list(brand: &Brand, all: bool) -> Result<Vec<UnknownMoney>> {
    store::list(&brand.postgres().await?, all).await
}

/// Attaches money to a closed payment of the same amount, which is completed by it with all effects. `note`: 1-1,000 characters.
///
/// # Errors
/// 404 for unknown money and an unknown payment; 409 when the money is not open, the payment is open or paid, or the amounts differ;
/// 502 and 504 when the provider fails or does not confirm the money.
pub async fn attach(brand: &Brand, unknown_id: i64, payment_id: i64, note: &str) -> Result<Payment> {
    let client = brand.postgres().await?;
    let money = open_money(store::by_id(&client, unknown_id).await?)?;
    let payment = payment_store::by_id(&client, payment_id).await?;
    check_attachable(&money, &payment.ok_or_else(|| Error::not_found("payment"))?)?;
    drop(client);
    let paid_by = confirm(brand, &money).await?;
    let now = brand.clock.now();
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let money = open_money(store::lock(&transaction, unknown_id).await?);
    let attached = match money.and_then(|money| check_attachable(&money, &payment)) {
        Ok(()) => store::attach(&transaction, unknown_id, payment_id, note, now).await,
        Err(error) => Err(error),
    };
    if let Err(error) = attached {
        transaction.rollback().await?;
        return Err(error);
    }
    transaction.commit().await?;
    // If this fails, the worker polls the payment, which now has the provider's order id of the money.
    apply(brand, payment_id, &ProviderStatus::Paid(paid_by)).await
}

/// Refunds money in full. Repeat it when the provider did not respond.
///
/// # Errors
/// 404 for unknown money; 409 when it is attached or refunded; 502 and 504 when the provider fails.
pub async fn refund(brand: &Brand, unknown_id: i64, note: &str) -> Result<RefundStatus> {
    let provider = Provider::for_brand(brand)?;
    let now = brand.clock.now();
    let transaction = brand.transaction().await?;
    let money = match open_money(store::lock(&transaction, unknown_id).await?) {
        Ok(money) => money,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    store::save(&transaction, unknown_id, UnknownMoneyStatus::Refunding, Some(note), now).await?;
    transaction.commit().await?;
    let result = provider.refund(&refund_id(&money.bank_order_id, 1), &money.bank_order_id, money.amount).await;
    save_refund(brand, unknown_id, &result, now).await?;
    Ok(result?)
}

/// Polls the provider about refunds of unknown money whose outcome is not known.
pub async fn follow_refunds(brand: &Brand) -> Result<u64> {
    let Ok(provider) = Provider::for_brand(brand) else { return Ok(0) };
    let refunding = store::refunding(&brand.postgres().await?).await?;
    for money in refunding {
        if let Ok(Some(report)) = provider.refund_status(&refund_id(&money.bank_order_id, 1)).await {
            save_refund(brand, money.id, &Ok(report.status), brand.clock.now()).await?;
        }
    }
    Ok(0)
}

async fn save_refund(
    brand: &Brand,
    unknown_id: i64,
    result: &Result<RefundStatus, ProviderError>,
    now: Timestamp,
) -> Result<()> {
    let status = match result {
        Ok(RefundStatus::Completed) => UnknownMoneyStatus::Refunded,
        Ok(RefundStatus::Declined) | Err(ProviderError::Refused { .. }) => UnknownMoneyStatus::Open,
        Ok(RefundStatus::InProgress | RefundStatus::Requested) | Err(_) => return Ok(()),
    };
    if matches!(result, Ok(RefundStatus::Declined)) {
        tracing::error!(
            brand = brand.name(),
            unknown.id = unknown_id,
            "the bank declined a refund of money without an order"
        );
    }
    store::save(&brand.postgres().await?, unknown_id, status, None, now).await
}

fn open_money(found: Option<UnknownMoney>) -> Result<UnknownMoney> {
    let money = found.ok_or_else(|| Error::not_found("money without an order"))?;
    match money.status {
        UnknownMoneyStatus::Open | UnknownMoneyStatus::Refunding => Ok(money),
        UnknownMoneyStatus::Attached | UnknownMoneyStatus::Refunded => {
            Err(Error::conflict("money_settled", "This money was attached or refunded before."))
        }
    }
}

fn check_attachable(money: &UnknownMoney, payment: &Payment) -> Result<()> {
    let reason = match payment.state.status {
        _ if money.status != UnknownMoneyStatus::Open => "The money is being refunded.",
        Status::Completed => "The payment is paid already; refund the money.",
        Status::Created | Status::Waiting => "The payment can still be paid; cancel it or wait until it has expired.",
        _ if money.amount != payment.amount => "The amounts differ; refund the money.",
        Status::Expired | Status::Cancelled => return Ok(()),
    };
    Err(Error::conflict("not_attachable", reason))
}

/// Reads the money again from the provider, as far as the notification has said where: its signature does not cover everything.
async fn confirm(brand: &Brand, money: &UnknownMoney) -> Result<ProviderTransaction> {
    let Some(qr_id) = &money.qr_id else {
        return Ok(ProviderTransaction { id: None, date: money.transaction_date });
    };
    let request = PollRequest {
        qr_id,
        order_id: &money.bank_order_id,
        amount: money.amount,
        was_in_progress: false,
        target: None,
    };
    match Provider::for_brand(brand)?.poll(&request).await? {
        ProviderStatus::Paid(paid_by) => Ok(paid_by),
        _ => Err(Error::conflict("not_attachable", "The bank does not confirm that the money was paid.")),
    }
}
