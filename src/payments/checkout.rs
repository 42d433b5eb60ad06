//! Checkout: an order becomes a payment with a QR code, once, however often and over whichever instance it is sent.

use jiff::{SignedDuration, Timestamp};

use super::checkout_store::{self, CheckoutQuery, CheckoutSnapshot, NewPayment};
use super::order::{Offered, Order};
use super::state::{CurrentState, ProviderStatus, Status};
use super::store::Payment;
use super::{apply, poll_provider, qr_registration};
use crate::config::PaymentsConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::hex;
use crate::http::rate_limit::network_of;
use crate::payments::provider::{Provider, ProviderError};
use crate::platform::postgres::Transaction;
use crate::session::Owner;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// How long before a checkout a login may have happened and still count as a login during the request: the request's way here, and
/// the difference between the instances' clocks. A visitor who logged in earlier has no session any more and orders as a visitor.
const LINK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// How often a checkout starts again, because of a login or after replacing older payments.
const MAX_ATTEMPTS: u32 = 4;

/// The outcome of one attempt.
#[derive(Debug)]
enum Step {
    /// The payment is registered or closed.
    Done(Payment),
    /// The payment is stored, and this request registers its QR code.
    Register(Payment),
    /// The payment is stored, and another request may be registering its QR code.
    Wait(Payment),
    /// The visitor has logged in as this user: start again with the user's payments.
    Linked(String),
    /// Cancel these older payments of the owner, and start again.
    Replace(Vec<Payment>),
}

/// Returns the payment of an order. The same order is the same payment.
///
/// # Errors
/// 404, 409 and 422 for what cannot be sold, or not at this price; 409 for an order id that was used for another order; 429 for too
/// many open payments; 502 and 504 when the provider fails: repeating the order is safe.
pub async fn open(cx: &RequestContext, owner: &Owner, order: &Order) -> Result<Payment> {
    Provider::for_brand(&cx.brand)?;
    check_redirect_url(cx, order)?;
    let linked_after = cx.now() - LINK_MARGIN;
    let mut owner = owner.key();
    for _ in 0..MAX_ATTEMPTS {
        match attempt(cx, &owner, linked_after, order).await? {
            Step::Linked(user) => owner = user,
            Step::Done(payment) => return Ok(payment),
            Step::Register(payment) => return qr_registration::register(&cx.brand, payment).await,
            Step::Wait(payment) => return qr_registration::register_or_wait(&cx.brand, payment).await,
            Step::Replace(older) => {
                for payment in older {
                    replace(&cx.brand, payment).await?;
                }
            }
        }
    }
    Err(Error::conflict("payments_in_the_way", "Other payments of the same items are being opened; please try again."))
}

/// The page that the payer's bank returns the payer to must be one of the shop's.
fn check_redirect_url(cx: &RequestContext, order: &Order) -> Result<()> {
    let Some(url) = &order.redirect_url else { return Ok(()) };
    let config = &cx.brand.config;
    let is_under = |origin: &String| {
        let rest = url.strip_prefix(origin.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    };
    match url.bytes().all(|byte| byte.is_ascii_graphic())
        && config.origins.iter().chain([&config.storefront_url]).any(is_under)
    {
        true => Ok(()),
        false => Err(Error::unprocessable("bad_redirect_url", "redirectUrl: expected a page of this shop")),
    }
}

async fn attempt(cx: &RequestContext, owner: &str, linked_after: Timestamp, order: &Order) -> Result<Step> {
    let config = &cx.brand.config.payments;
    let now = cx.now();
    let item_ids: Vec<i64> = order.items.iter().map(|item| item.item_id).collect();
    let query = CheckoutQuery {
        brand: cx.brand.name(),
        owner,
        linked_after,
        network: network_of(cx.address),
        region: cx.region.as_deref(),
        site_order_id: &order.site_order_id,
        item_ids: &item_ids,
    };
    let _permit = cx.brand.checkout_permits.acquire().await.or_internal()?;
    let transaction = cx.brand.transaction().await?;
    let snapshot = checkout_store::begin(&transaction, &query).await?;
    if let Some(step) = decide(&snapshot, order, config, now).transpose() {
        return roll_back(transaction, step).await;
    }
    let (lines, amount) = match order.price(&snapshot.offered, config.rounding) {
        Ok(priced) => priced,
        Err(error) => return roll_back(transaction, Err(error)).await,
    };
    let payment = NewPayment {
        owner,
        bank_order_id: &hex::random_name()?,
        network: query.network,
        order,
        lines: &lines,
        amount,
        now,
        expires_at: now + config.qr_lifetime,
        registering_until: now + qr_registration::timeout(&cx.brand),
    };
    let Some(payment_id) = checkout_store::insert(transaction, &payment).await? else {
        // The stock changed since the snapshot: the next attempt reports what is left.
        return Ok(Step::Replace(Vec::new()));
    };
    cx.brand.cache.items_changed(lines.iter().map(|line| line.item_id));
    Ok(Step::Register(inserted(payment_id, &payment)))
}

/// Returns the connection to the pool; nothing was written.
async fn roll_back(transaction: Transaction, step: Result<Step>) -> Result<Step> {
    transaction.rollback().await?;
    step
}

/// The payment as it was inserted.
fn inserted(payment_id: i64, new: &NewPayment<'_>) -> Payment {
    Payment {
        id: payment_id,
        owner: new.owner.to_owned(),
        site_order_id: new.order.site_order_id.clone(),
        bank_order_id: new.bank_order_id.to_owned(),
        state: CurrentState { status: Status::Created, holds_stock: true, expires_at: new.expires_at },
        amount: new.amount,
        redirect_url: new.order.redirect_url.clone(),
        created_at: new.now,
        registering_until: Some(new.registering_until),
        qr_id: None,
        payload: None,
        qr_url: None,
        notified_qr_id: None,
        polls: 0,
        transaction_id: None,
        transaction_date: None,
        completed_at: None,
        to_settle: false,
        remark: None,
        lines: new.lines.iter().map(|line| (line.item_id, line.quantity)).collect(),
    }
}

/// Decides what the existing payments require; `None` when a new payment is to be inserted.
fn decide(snapshot: &CheckoutSnapshot, order: &Order, config: &PaymentsConfig, now: Timestamp) -> Result<Option<Step>> {
    if let Some(user) = &snapshot.linked_owner {
        return Ok(Some(Step::Linked(user.clone())));
    }
    if let Some(same) = snapshot.payments.iter().find(|payment| payment.site_order_id == order.site_order_id) {
        if !order.is_same(&same.lines, same.amount, config.rounding) {
            let message =
                "This order was begun with other items or another amount; please give it another siteorderID.";
            return Err(Error::conflict("order_changed", message));
        }
        let is_unregistered = same.qr_id.is_none() && same.state.status.is_open();
        let payment = same.clone();
        return Ok(Some(if is_unregistered { Step::Wait(payment) } else { Step::Done(payment) }));
    }
    let shares_an_item =
        |payment: &&Payment| payment.lines.iter().any(|(id, _)| order.items.iter().any(|item| item.item_id == *id));
    let (older, others): (Vec<&Payment>, Vec<&Payment>) = snapshot.payments.iter().partition(shares_an_item);
    if others.len() >= config.open_per_owner as usize || snapshot.open_at_address >= i64::from(config.open_per_address)
    {
        let expiry = others.iter().map(|payment| payment.state.expires_at).min().unwrap_or(now + config.qr_lifetime);
        let retry_after_s = u32::try_from(expiry.duration_since(now).as_secs()).unwrap_or(0).max(1);
        let message = "Too many payments are open; please pay or let one of them expire first.";
        return Err(Error::too_many_requests(retry_after_s, message));
    }
    if older.is_empty() {
        return Ok(None);
    }
    // An order that would be refused must not cancel the payment that the client may be showing.
    order.price(&with_released_stock(&snapshot.offered, order, &older), config.rounding)?;
    Ok(Some(Step::Replace(older.into_iter().cloned().collect())))
}

/// The offer after the older payments have released their units.
fn with_released_stock(offered: &[Option<Offered>], order: &Order, older: &[&Payment]) -> Vec<Option<Offered>> {
    let held_units = |item_id: i64| -> i32 {
        let holding = older.iter().filter(|payment| payment.state.holds_stock);
        holding.flat_map(|payment| &payment.lines).filter(|(id, _)| *id == item_id).map(|(_, quantity)| quantity).sum()
    };
    let pairs = offered.iter().zip(&order.items);
    let released = pairs.map(|(offered, item)| {
        let offered = offered.clone()?;
        Some(Offered { left: offered.left.saturating_add(held_units(item.item_id)), ..offered })
    });
    released.collect()
}

/// Cancels an older payment of the owner that shares an item with the new order: with the provider first.
///
/// # Errors
/// 409 that names the payment when it is paid or in progress; 502 and 504 when the provider fails.
async fn replace(brand: &Brand, payment: Payment) -> Result<()> {
    let payment = match payment.qr_id {
        Some(_) => payment,
        None => match qr_registration::register_or_wait(brand, payment.clone()).await {
            Ok(registered) => registered,
            // Its QR code was never shown and never will be.
            Err(_) => return apply(brand, payment.id, &ProviderStatus::Expired).await.map(drop),
        },
    };
    let closed = match &payment.qr_id {
        Some(qr_id) if payment.state.status.is_open() => cancel(brand, &payment, qr_id).await?,
        _ => payment,
    };
    let refuse = |code, message: &str| {
        let error = Error::conflict(code, message.to_owned()).with("order", closed.site_order_id.clone());
        Err(error.with("qrId", closed.qr_id.clone()))
    };
    match closed.state.status {
        Status::Completed => {
            refuse("already_paid", "An earlier payment of these items was paid; please look at that order.")
        }
        Status::Created | Status::Waiting => {
            refuse("payment_in_progress", "An earlier payment of these items is being paid at the moment.")
        }
        Status::Expired | Status::Cancelled => Ok(()),
    }
}

/// Cancels an open payment with the provider and returns what became of it.
async fn cancel(brand: &Brand, payment: &Payment, qr_id: &str) -> Result<Payment> {
    let cancelled = match Provider::for_brand(brand)?.cancel(qr_id).await? {
        true => poll_provider(brand, payment, None).await?,
        false => apply(brand, payment.id, &ProviderStatus::Cancelled).await?,
    };
    if cancelled.state.status == Status::Created {
        return Err(ProviderError::InvalidResponse(format!("{qr_id} is active after its cancellation")).into());
    }
    Ok(cancelled)
}

#[cfg(test)]
mod tests;
