//! Cancellation of open payments: with the provider first, so that no code that was given up can still be paid unnoticed.

use std::net::IpAddr;

use super::state::{ProviderStatus, Status};
use super::store::{self, Payment};
use super::{apply, cancellation_store, poll_provider, qr_registration};
use crate::foundation::error::{Error, Result};
use crate::http::rate_limit::network_of;
use crate::payments::provider::{self, Provider, ProviderError};
use crate::session::Owner;
use crate::tenant::brand::Brand;

/// Cancels an open payment of `owner`. A payment that expired or was cancelled before is returned as it is.
///
/// # Errors
/// 404 for an unknown payment and another owner's; 409 when it is paid or in progress; 502 and 504 when the provider fails: the payment
/// stays open.
pub async fn cancel(brand: &Brand, owner: &Owner, qr_id: &str) -> Result<Payment> {
    let not_found = || Error::not_found("payment");
    if !provider::is_valid_id(qr_id) {
        return Err(not_found());
    }
    let found = cancellation_store::by_qr_id(&brand.postgres().await?, qr_id).await?;
    let payment = found.filter(|payment| payment.owner == owner.key()).ok_or_else(not_found)?;
    let closed = close(brand, payment).await?;
    check_unpaid(&closed, "This order")?;
    Ok(closed)
}

/// Which open payments [`cancel_all`] cancels.
#[derive(Debug, Clone)]
pub enum PaymentSelection {
    /// The number of a payment.
    Payment(i64),
    /// Those that visitors and users opened from this address; an IPv6 address stands for its /64 network.
    Address(IpAddr),
    /// Those of a visitor, by the hash of the visitor's cookie, which `payments show` prints as the owner.
    Visitor(String),
}

/// Cancels the selected open payments one after the other, and returns what became of each: closed, paid meanwhile, or still open with
/// the error.
///
/// # Errors
/// 404 for the number of an unknown payment; 503 while PostgreSQL is unavailable.
pub async fn cancel_all(brand: &Brand, selection: &PaymentSelection) -> Result<Vec<(Payment, Option<Error>)>> {
    let client = brand.postgres().await?;
    let selected = match selection {
        PaymentSelection::Payment(id) => {
            vec![store::by_id(&client, *id).await?.ok_or_else(|| Error::not_found("payment"))?]
        }
        PaymentSelection::Address(address) => cancellation_store::open_at(&client, network_of(*address)).await?,
        PaymentSelection::Visitor(hash) => cancellation_store::open_of(&client, hash).await?,
    };
    drop(client);
    let mut outcomes = Vec::with_capacity(selected.len());
    for payment in selected {
        let outcome = match close(brand, payment.clone()).await {
            Ok(closed) => {
                let error = match closed.state.status {
                    Status::Completed => Some(Error::conflict("already_paid", "already paid; use payments refund")),
                    _ => check_unpaid(&closed, "This order").err(),
                };
                (closed, error)
            }
            Err(error) => (payment, Some(error)),
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Closes an open payment, with the provider first, and returns what became of it; any other is returned as it is.
///
/// # Errors
/// 502 and 504 when the provider fails.
pub(super) async fn close(brand: &Brand, payment: Payment) -> Result<Payment> {
    if !payment.state.status.is_open() {
        return Ok(payment);
    }
    let payment = match payment.qr_id {
        Some(_) => payment,
        None => match qr_registration::register_or_wait(brand, payment.clone()).await {
            Ok(registered) => registered,
            // Its QR code was never shown and never will be.
            Err(_) => return apply(brand, payment.id, &ProviderStatus::Expired).await,
        },
    };
    match &payment.qr_id {
        Some(qr_id) if payment.state.status.is_open() => cancel_code(brand, &payment, qr_id).await,
        _ => Ok(payment),
    }
}

/// `what` begins the message: what the caller calls the payment's order.
///
/// # Errors
/// 409 that names the payment when it is paid or in progress.
pub(super) fn check_unpaid(closed: &Payment, what: &str) -> Result<()> {
    let error = match closed.state.status {
        Status::Expired | Status::Cancelled => return Ok(()),
        Status::Completed => Error::conflict("already_paid", format!("{what} was paid; please look at that order.")),
        Status::Created | Status::Waiting => {
            Error::conflict("payment_in_progress", format!("{what} is being paid at the moment."))
        }
    };
    Err(error.with("order", closed.site_order_id.clone()).with("qrId", closed.qr_id.clone()))
}

/// Cancels a code with the provider and returns what became of its payment.
async fn cancel_code(brand: &Brand, payment: &Payment, qr_id: &str) -> Result<Payment> {
    let cancelled = match Provider::for_brand(brand)?.cancel(qr_id).await? {
        true => poll_provider(brand, payment, None).await?,
        false => apply(brand, payment.id, &ProviderStatus::Cancelled).await?,
    };
    if cancelled.state.status == Status::Created {
        return Err(ProviderError::InvalidResponse(format!("{qr_id} is active after its cancellation")).into());
    }
    Ok(cancelled)
}
