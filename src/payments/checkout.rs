//! Checkout: an order becomes a payment with a QR code, once, however often and over whichever instance it is sent.

mod limits;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use self::limits::OrderToCheck;
use super::checkout_store::{self, CheckoutQuery, CheckoutSnapshot, NewPayment, OpenAtAddress};
use super::order::{Order, OrderLine};
use super::state::{CurrentState, Status};
use super::store::Payment;
use super::{cancellation, qr_registration};
use crate::config::PaymentsConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::hex;
use crate::http::rate_limit::network_of;
use crate::payments::provider::Provider;
use crate::platform::postgres::Transaction;
use crate::session::Owner;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// How long before a checkout a login may have happened and still count as a login during the request: the request's way here, and
/// the difference between the instances' clocks. A visitor who logged in earlier has no session any more and orders as a visitor.
const LINK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// How often a checkout starts again, because of a login or after replacing older payments.
const MAX_ATTEMPTS: u32 = 4;

/// The period over which free orders are limited.
const FREE_ORDER_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// What the snapshot requires.
#[derive(Debug)]
enum Decision {
    Step(Box<Step>),
    /// A new payment of these lines, for this amount in roubles.
    Insert(Vec<OrderLine>, Decimal),
}

/// The outcome of one attempt.
#[derive(Debug)]
enum Step {
    /// The payment is registered or completed.
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

/// Returns the payment of an order. The same order is the same payment; after its code has expired or was cancelled, it is another
/// payment with another code.
///
/// # Errors
/// 404, 409 and 422 for what cannot be sold, or not at this price; 401 for a free order without a session; 409 for an order id that was
/// used for another order, and for more than the owner may hold; 429 for too many open payments; 502 and 504 when the provider fails:
/// repeating the order is safe.
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
        free_since: now - FREE_ORDER_WINDOW,
        site_order_id: &order.site_order_id,
        item_ids: &item_ids,
    };
    let _permit = cx.brand.checkout_permits.acquire().await.or_internal()?;
    let transaction = cx.brand.transaction().await?;
    let snapshot = checkout_store::begin(&transaction, &query).await?;
    let is_visitor = Owner::is_visitor_key(owner);
    let (lines, amount) = match decide(&snapshot, order, config, is_visitor, now) {
        Ok(Decision::Insert(lines, amount)) => (lines, amount),
        Ok(Decision::Step(step)) => return roll_back(transaction, Ok(*step)).await,
        Err(error) => return roll_back(transaction, Err(error)).await,
    };
    let bank_order_id = hex::random_name()?;
    let own_code = amount.is_zero().then(|| format!("free_{bank_order_id}"));
    let payment = NewPayment {
        owner,
        bank_order_id: &bank_order_id,
        own_code: own_code.as_deref(),
        visitors_limit: is_visitor.then_some(config.limits.all_visitors),
        network: query.network,
        order,
        lines: &lines,
        amount,
        now,
        expires_at: now + config.qr_lifetime,
        registering_until: now + qr_registration::timeout(&cx.brand),
    };
    let Some(payment_id) = checkout_store::insert(transaction, &payment).await? else {
        // The next attempt reports what is left.
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
        stated_amount: Some(new.order.amount),
        redirect_url: new.order.redirect_url.clone(),
        created_at: new.now,
        registering_until: Some(new.registering_until),
        qr_id: None,
        payload: None,
        qr_url: None,
        notified_qr_id: new.own_code.map(str::to_owned),
        polls: 0,
        transaction_id: None,
        transaction_date: None,
        completed_at: None,
        to_settle: false,
        remark: None,
        lines: new.lines.iter().map(|line| (line.item_id, line.quantity)).collect(),
    }
}

/// Decides what the existing payments require, and whether the order is acceptable.
fn decide(
    snapshot: &CheckoutSnapshot,
    order: &Order,
    config: &PaymentsConfig,
    is_visitor: bool,
    now: Timestamp,
) -> Result<Decision> {
    if let Some(user) = &snapshot.linked_owner {
        return Ok(Decision::Step(Box::new(Step::Linked(user.clone()))));
    }
    if let Some(step) = find_same(snapshot, order, config)? {
        return Ok(Decision::Step(Box::new(step)));
    }
    let open = snapshot.payments.iter().filter(|payment| payment.state.status.is_open());
    let shares_an_item =
        |payment: &&Payment| payment.lines.iter().any(|(id, _)| order.items.iter().any(|item| item.item_id == *id));
    let (older, others): (Vec<&Payment>, Vec<&Payment>) = open.partition(shares_an_item);
    check_open_payments(&others, is_visitor.then_some(&snapshot.at_address), config, now)?;
    // An order that would be refused must not cancel the payment that the client may be showing.
    let (lines, amount) = order.price(&snapshot.offered, config.rounding)?;
    let to_check = OrderToCheck {
        lines: lines.iter().zip(snapshot.offered.iter().flatten()).collect(),
        amount,
        open_amount: others.iter().map(|payment| payment.amount).sum(),
        is_visitor,
    };
    limits::check(&to_check, &config.limits)?;
    match older.is_empty() {
        true => Ok(Decision::Insert(lines, amount)),
        false => Ok(Decision::Step(Box::new(Step::Replace(older.into_iter().cloned().collect())))),
    }
}

/// Finds the payment of the same order. `None`: there is none, or its code can no longer be paid and the order gets another one.
fn find_same(snapshot: &CheckoutSnapshot, order: &Order, config: &PaymentsConfig) -> Result<Option<Step>> {
    let same = snapshot.payments.iter().filter(|payment| payment.site_order_id == order.site_order_id);
    let newest = |payment: &&Payment| {
        (payment.state.status == Status::Completed, payment.state.status == Status::Waiting, payment.id)
    };
    let Some(same) = same.max_by_key(newest) else { return Ok(None) };
    if !order.is_same(&same.lines, same.amount, same.stated_amount, config.rounding) {
        let message = "This order was begun with other items or another amount; please give it another siteorderID.";
        return Err(Error::conflict("order_changed", message));
    }
    Ok(match same.state.status {
        Status::Created | Status::Waiting if same.qr_id.is_none() => Some(Step::Wait(same.clone())),
        Status::Created | Status::Waiting | Status::Completed => Some(Step::Done(same.clone())),
        Status::Expired | Status::Cancelled => None,
    })
}

/// `others` are the owner's open payments that the order does not replace; `at_address` counts for visitors only.
fn check_open_payments(
    others: &[&Payment],
    at_address: Option<&OpenAtAddress>,
    config: &PaymentsConfig,
    now: Timestamp,
) -> Result<()> {
    let seconds_until = |expiry: Option<Timestamp>| {
        let expiry = expiry.unwrap_or(now + config.qr_lifetime);
        u32::try_from(expiry.duration_since(now).as_secs()).unwrap_or(0).max(1)
    };
    if others.len() >= config.open_per_owner as usize {
        let retry_after_s = seconds_until(others.iter().map(|payment| payment.state.expires_at).min());
        let message =
            format!("{} unpaid orders of yours are open; please pay or cancel one of them first.", others.len());
        return Err(Error::too_many_requests(retry_after_s, message));
    }
    match at_address {
        Some(at_address) if at_address.count >= i64::from(config.open_per_address) => {
            let retry_after_s = seconds_until(at_address.next_expiry);
            let message = format!(
                "{} unpaid orders are open at your internet address, perhaps of others who share it; please log in, or try again in {} min.",
                at_address.count,
                retry_after_s.div_ceil(60)
            );
            Err(Error::too_many_requests(retry_after_s, message))
        }
        _ => Ok(()),
    }
}

/// Closes an older payment of the owner that shares an item with the new order.
///
/// # Errors
/// As [`cancellation::close`] and [`cancellation::check_unpaid`].
async fn replace(brand: &Brand, payment: Payment) -> Result<()> {
    let closed = cancellation::close(brand, payment).await?;
    cancellation::check_unpaid(&closed, "An earlier order of these items")
}

#[cfg(test)]
mod tests;
