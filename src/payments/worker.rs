//! The background job that polls payments until they are completed, or closed for so long that no late money is expected.
//!
//! # Invariants
//! - Payments are claimed by one statement and polled outside of any transaction: a killed job leaves only polls that become due again.

use jiff::{SignedDuration, Timestamp};

use super::poll_schedule::{latest_poll_at, next_poll_at};
use super::state::{GRACE, ProviderStatus, Status};
use super::store::Payment;
use crate::foundation::error::Result;
use crate::payments::poll_store::{self, DuePayment};
use crate::payments::{apply, cancellation, poll_provider};
use crate::tenant::brand::Brand;

/// How long a claimed payment is hidden from other workers: longer than one poll takes.
const CLAIM_DURATION: SignedDuration = SignedDuration::from_secs(60);

/// Polls the due payments; returns their number.
pub(crate) async fn poll_due(brand: &Brand) -> Result<u64> {
    let now = brand.clock.now();
    let stale_before = now - brand.config.payments.min_poll_interval;
    let claimed_until = now + CLAIM_DURATION;
    let latest = latest_poll_at(now, &brand.config.payments) + CLAIM_DURATION;
    let due = poll_store::claim_due(&brand.postgres().await?, now, stale_before, claimed_until, latest).await?;
    let count = due.len() as u64;
    let polls = due.iter().map(|due| poll_one(brand, due, now, claimed_until));
    for result in futures_util::future::join_all(polls).await {
        result?;
    }
    Ok(count)
}

async fn poll_one(brand: &Brand, due: &DuePayment, now: Timestamp, claimed_until: Timestamp) -> Result<()> {
    let payment = &due.payment;
    let polled = match payment.known_qr_id() {
        // The buyer might pay the same order once more.
        Some(_) if due.is_order_paid && payment.state.status == Status::Created && payment.qr_id.is_some() => {
            cancellation::close(brand, payment.clone()).await
        }
        Some(_) => poll_provider(brand, payment, Some(due.target)).await,
        None => expire_without_code(brand, payment, now).await,
    };
    let config = &brand.config.payments;
    let (state, remark) = match &polled {
        Ok(polled) => (polled.state, None),
        Err(error) => {
            tracing::warn!(brand = brand.name(), payment.id = payment.id, %error, "failed to poll a payment; will retry");
            // A payment in progress is polled for as long as it takes.
            let is_given_up =
                now > payment.state.expires_at + config.follow_up && payment.state.status == Status::Created;
            if is_given_up {
                apply(brand, payment.id, &ProviderStatus::Expired).await?;
            }
            (payment.state, Some(error.to_string()))
        }
    };
    let scheduled_at = next_poll_at(state, payment.polls, now, config).map(|at| at + jitter());
    poll_store::schedule(&brand.postgres().await?, payment.id, claimed_until, scheduled_at, remark.as_deref()).await?;
    Ok(())
}

/// Expires a payment that never got a QR code.
async fn expire_without_code(brand: &Brand, payment: &Payment, now: Timestamp) -> Result<Payment> {
    match now > payment.state.expires_at + GRACE {
        true => apply(brand, payment.id, &ProviderStatus::Expired).await,
        false => Ok(payment.clone()),
    }
}

/// Up to half a second, so that payments which are due together spread out.
fn jitter() -> SignedDuration {
    SignedDuration::from_millis(i64::from(getrandom::u32().unwrap_or(0) % 500))
}
