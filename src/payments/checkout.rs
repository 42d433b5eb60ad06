//! Opening a payment: an order becomes a row, the row a QR code, once, however often and from wherever it is asked for.
//!
//! Called by `payments::http`. The order is on disk before the bank is asked; who asks the bank is decided in the row, so that
//! two requests, two instances, or one that was killed and its successor never show two codes.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::order::{Offered, Order};
use super::state::{CurrentState, ProviderStatus, Status};
use super::store::{self, CheckoutQuery, CheckoutSnapshot, Opening, Payment};
use super::{apply, poll_provider};
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::hex;
use crate::http::rate_limit::network_of;
use crate::payments::provider::raiffeisen::{ProviderClient, ProviderError, Registration, StatusEndpoint};
use crate::platform::postgres::Transaction;
use crate::session::Owner;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// How often a waiting request looks whether another one has the code by now.
const WAIT: Duration = Duration::from_millis(100);

/// What an instance needs beside the bank's own time to register a code.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a request is on its way before it begins here, by the clock of another instance too: a login since then may have
/// overtaken it. Who logged in before that and comes as a visitor has no session any more, and orders for nobody but themselves.
const LINK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Replacing older payments makes room for this one; more rounds than this mean that somebody opens them as fast.
const MOST_ROUNDS: u32 = 4;

/// How far one round came.
enum Step {
    /// The payment has its code, or will never have one.
    Done(Payment),
    /// The payment is written, and this request registers it.
    Register(Payment),
    /// The payment is written, and another request registers it.
    Wait(Payment),
    /// The visitor has become this user, whose payments are to be looked at.
    Joined(String),
    /// Older payments of the owner are in the way.
    Replace(Vec<Payment>),
}

/// The payment of an order. The same order again is the same payment.
///
/// # Errors
/// 404, 409 and 422 that say what of the order cannot be sold, or not for this amount; 409 for an order that was another one
/// before; 429 for too many open payments; 502 and 504 when the bank gives no code: the same order again is safe.
pub async fn open(cx: &RequestContext, owner: &Owner, order: &Order) -> Result<Payment> {
    ProviderClient::of(&cx.brand)?;
    check_redirect(cx, order)?;
    let begun_after = cx.now() - LINK_MARGIN;
    let mut owner = owner.key();
    for _ in 0..MOST_ROUNDS {
        match round(cx, &owner, begun_after, order).await? {
            Step::Joined(user) => owner = user,
            Step::Done(payment) => return Ok(payment),
            Step::Register(payment) => return register(&cx.brand, payment).await,
            Step::Wait(payment) => return register_or_wait(&cx.brand, payment).await,
            Step::Replace(older) => {
                for payment in older {
                    replace(&cx.brand, payment).await?;
                }
            }
        }
    }
    Err(Error::conflict("payments_in_the_way", "Other payments of the same items are being opened; please try again."))
}

/// Where the bank's app sends the payer back to: a page of the shop and no other.
fn check_redirect(cx: &RequestContext, order: &Order) -> Result<()> {
    let Some(url) = &order.redirect_url else { return Ok(()) };
    let config = &cx.brand.config;
    let is_of = |origin: &String| {
        let rest = url.strip_prefix(origin.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    };
    match url.bytes().all(|byte| byte.is_ascii_graphic())
        && config.origins.iter().chain([&config.storefront_url]).any(is_of)
    {
        true => Ok(()),
        false => Err(Error::unprocessable("bad_redirect_url", "redirectUrl: expected a page of this shop")),
    }
}

async fn round(cx: &RequestContext, owner: &str, begun_after: Timestamp, order: &Order) -> Result<Step> {
    let config = &cx.brand.config.payments;
    let now = cx.now();
    let item_ids: Vec<i64> = order.items.iter().map(|item| item.item_id).collect();
    let question = CheckoutQuery {
        brand: cx.brand.name(),
        owner,
        begun_after,
        subject: network_of(cx.address),
        region: cx.region.as_deref(),
        site_order_id: &order.site_order_id,
        item_ids: &item_ids,
    };
    let _turn = cx.brand.checkout_permits.acquire().await.or_internal()?;
    let transaction = cx.brand.transaction().await?;
    let desk = store::begin(&transaction, &question).await?;
    if let Some(round) = decide(&desk, order, cx, now).transpose() {
        return leave(transaction, round).await;
    }
    let (lines, amount) = match order.price(&desk.offered, config.rounding) {
        Ok(priced) => priced,
        Err(error) => return leave(transaction, Err(error)).await,
    };
    let opening = Opening {
        owner,
        bank_order_id: &hex::random_name()?,
        subject: question.subject,
        order,
        lines: &lines,
        amount,
        now,
        expires_at: now + config.qr_lifetime,
        registering_until: now + registering_for(&cx.brand),
    };
    let opened = store::open(transaction, &opening).await?;
    let Some(payment_id) = opened else {
        // Somebody was faster since the pieces were counted: count again and say what is left.
        return Ok(Step::Replace(Vec::new()));
    };
    cx.brand.cache.items_changed(lines.iter().map(|line| line.item_id));
    Ok(Step::Register(written(payment_id, &opening)))
}

/// Ends the transaction without having written anything.
async fn leave(transaction: Transaction, with: Result<Step>) -> Result<Step> {
    transaction.rollback().await?;
    with
}

/// The row as it was just written.
fn written(payment_id: i64, opening: &Opening<'_>) -> Payment {
    Payment {
        id: payment_id,
        owner: opening.owner.to_owned(),
        site_order_id: opening.order.site_order_id.clone(),
        bank_order_id: opening.bank_order_id.to_owned(),
        standing: CurrentState { status: Status::Created, holds: true, expires_at: opening.expires_at },
        amount: opening.amount,
        redirect_url: opening.order.redirect_url.clone(),
        created_at: opening.now,
        registering_until: Some(opening.registering_until),
        qr_id: None,
        payload: None,
        qr_url: None,
        qr_id_told: None,
        looks: 0,
        transaction_id: None,
        transaction_date: None,
        completed_at: None,
        to_settle: false,
        remark: None,
        lines: opening.lines.iter().map(|line| (line.item_id, line.quantity)).collect(),
    }
}

/// What is there already decides; `None` when a new payment is to be written.
fn decide(desk: &CheckoutSnapshot, order: &Order, cx: &RequestContext, now: Timestamp) -> Result<Option<Step>> {
    let config = &cx.brand.config.payments;
    if let Some(user) = &desk.joined {
        return Ok(Some(Step::Joined(user.clone())));
    }
    if let Some(same) = desk.payments.iter().find(|payment| payment.site_order_id == order.site_order_id) {
        if !order.is_same(&same.lines, same.amount, config.rounding) {
            let sentence =
                "This order was begun with other items or another amount; please give it another siteorderID.";
            return Err(Error::conflict("order_changed", sentence));
        }
        let is_waiting = same.qr_id.is_none() && same.standing.status.is_open();
        let payment = same.clone();
        return Ok(Some(if is_waiting { Step::Wait(payment) } else { Step::Done(payment) }));
    }
    let shares =
        |payment: &&Payment| payment.lines.iter().any(|(id, _)| order.items.iter().any(|item| item.item_id == *id));
    let (older, others): (Vec<&Payment>, Vec<&Payment>) = desk.payments.iter().partition(shares);
    if others.len() >= config.open_per_owner as usize || desk.open_at_address >= i64::from(config.open_per_address) {
        let ends = others.iter().map(|payment| payment.standing.expires_at).min().unwrap_or(now + config.qr_lifetime);
        let seconds = u32::try_from(ends.duration_since(now).as_secs()).unwrap_or(0).max(1);
        return Err(Error::too_many_requests(
            seconds,
            "Too many payments are open; please pay or let one of them expire first.",
        ));
    }
    if older.is_empty() {
        return Ok(None);
    }
    // An order that is refused anyway must not cost its owner the code that they may be looking at.
    order.price(&with_released(&desk.offered, order, &older), config.rounding)?;
    Ok(Some(Step::Replace(older.into_iter().cloned().collect())))
}

/// What is offered when the older payments have given their pieces back.
fn with_released(offered: &[Option<Offered>], order: &Order, older: &[&Payment]) -> Vec<Option<Offered>> {
    let held_of = |item_id: i64| -> i32 {
        let holding = older.iter().filter(|payment| payment.standing.holds);
        holding.flat_map(|payment| &payment.lines).filter(|(id, _)| *id == item_id).map(|(_, quantity)| quantity).sum()
    };
    let pairs = offered.iter().zip(&order.items);
    let released = pairs.map(|(offered, item)| {
        let offered = offered.clone()?;
        Some(Offered { left: offered.left.saturating_add(held_of(item.item_id)), ..offered })
    });
    released.collect()
}

/// How long one instance may take to register a code before another one takes over.
fn registering_for(brand: &Brand) -> Duration {
    brand.config.bank.as_ref().map_or(MARGIN, |bank| bank.timeout + MARGIN)
}

/// Asks the bank for the code of a payment that is this request's to register.
async fn register(brand: &Arc<Brand>, payment: Payment) -> Result<Payment> {
    let purpose = super::purpose(&payment.site_order_id);
    let registration = Registration {
        order: &payment.bank_order_id,
        amount: payment.amount,
        purpose: &purpose,
        expires_at: payment.standing.expires_at,
        redirect_url: payment.redirect_url.as_deref(),
    };
    let registered = ProviderClient::of(brand)?.register(&registration).await;
    match registered {
        Ok(code) => {
            let look_at = brand.clock.now() + super::FIRST_PAUSE;
            let noted = store::note_qr(&brand.postgres().await?, payment.id, &code, look_at).await?;
            match noted {
                Some(status) if status.is_open() || status == Status::Completed => {
                    let standing = CurrentState { status, ..payment.standing };
                    let (qr_id, payload, qr_url) = (Some(code.qr_id), Some(code.payload), Some(code.qr_url));
                    Ok(Payment { standing, qr_id, payload, qr_url, ..payment })
                }
                // It took so long that the order was closed, or registered by another instance: nobody sees this code.
                noted => {
                    tracing::warn!(
                        brand = brand.name(),
                        payment = payment.id,
                        qr = code.qr_id,
                        "a QR code came too late"
                    );
                    if let Err(fault) = ProviderClient::of(brand)?.cancel(&code.qr_id).await {
                        tracing::warn!(brand = brand.name(), qr = code.qr_id, %fault, "it could not be cancelled");
                    }
                    match noted {
                        Some(_) => Err(Error::bank_timeout("the order was closed while the bank registered it")),
                        None => stored(brand, payment.id).await,
                    }
                }
            }
        }
        Err(fault) => {
            store::note_unregistered(&brand.postgres().await?, payment.id, &fault.to_string()).await?;
            tracing::warn!(brand = brand.name(), payment = payment.id, %fault, "no QR code");
            if matches!(fault, ProviderError::Refused { .. }) {
                // It will say so again: the order's name and its pieces are free.
                apply(brand, payment.id, &ProviderStatus::Expired).await?;
            }
            Err(fault.into())
        }
    }
}

/// The payment as another instance registered it.
async fn stored(brand: &Brand, payment_id: i64) -> Result<Payment> {
    let client = brand.postgres().await?;
    let found = store::by_id(&client, payment_id).await?;
    found.filter(|payment| payment.qr_id.is_some()).ok_or_else(|| Error::bank_timeout("the order is gone"))
}

/// Waits for the request that registers a payment, and takes its place when it is gone.
async fn register_or_wait(brand: &Arc<Brand>, payment: Payment) -> Result<Payment> {
    let mut left = registering_for(brand) + MARGIN;
    loop {
        let now = brand.clock.now();
        if payment.registering_until.is_none_or(|until| until < now) || left.is_zero() {
            let expires_at = now + brand.config.payments.qr_lifetime;
            let taken =
                store::take_over(&brand.postgres().await?, payment.id, now, expires_at, now + registering_for(brand))
                    .await?;
            if let Some(payment) = taken {
                return register(brand, payment).await;
            }
        }
        let found = store::by_id(&brand.postgres().await?, payment.id).await?;
        match found {
            Some(found) if found.qr_id.is_some() => return Ok(found),
            Some(found) if !found.standing.status.is_open() => {
                let sentence = "The bank gave no QR code; please try the same order again.";
                return Err(Error::bad_gateway(sentence, "the request that registered it was refused"));
            }
            Some(found) if found.registering_until.is_none() && left.is_zero() => {
                return Err(Error::bank_timeout("another request's registration came to nothing"));
            }
            Some(found) if found.registering_until != payment.registering_until => {
                return Box::pin(register_or_wait(brand, found)).await;
            }
            _ if left.is_zero() => return Err(Error::bank_timeout("another request still waits for the bank")),
            _ => {}
        }
        tokio::time::sleep(WAIT).await;
        left = left.saturating_sub(WAIT);
    }
}

/// Ends an older payment of the same owner that shares an item with a new one: at the bank first.
///
/// # Errors
/// 409 that names it when it turns out to be paid, or is being paid; 502 and 504 when the bank cannot say.
async fn replace(brand: &Arc<Brand>, payment: Payment) -> Result<()> {
    let payment = match payment.qr_id {
        Some(_) => payment,
        None => match register_or_wait(brand, payment.clone()).await {
            Ok(payment) => payment,
            // Nobody was shown a code, and nobody will be.
            Err(_) => return apply(brand, payment.id, &ProviderStatus::Expired).await.map(drop),
        },
    };
    let after = match &payment.qr_id {
        Some(qr_id) if payment.standing.status.is_open() => {
            let after = match ProviderClient::of(brand)?.cancel(qr_id).await? {
                true => poll_provider(brand, &payment, StatusEndpoint::Both).await?,
                false => apply(brand, payment.id, &ProviderStatus::Cancelled).await?,
            };
            if after.standing.status == Status::Created {
                return Err(ProviderError::Nonsense(format!("{qr_id} was cancelled and lives")).into());
            }
            after
        }
        _ => payment,
    };
    let refuse = |code, sentence: &str| {
        let error = Error::conflict(code, sentence.to_owned()).with("order", after.site_order_id.clone());
        Err(error.with("qrId", after.qr_id.clone()))
    };
    match after.standing.status {
        Status::Completed => {
            refuse("already_paid", "An earlier payment of these items was paid; please look at that order.")
        }
        Status::Created | Status::Waiting => {
            refuse("payment_in_progress", "An earlier payment of these items is being paid at the moment.")
        }
        Status::Expired | Status::Cancelled => Ok(()),
    }
}
