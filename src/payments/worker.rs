//! Following payments to their end, and a while beyond, when nobody asks about them.
//!
//! Registered in `workers`. A pass claims what is due in one statement, asks the bank outside of any transaction, and lets
//! `apply` write what came of it; a pass that is killed leaves nothing but a look that comes again.

use jiff::{SignedDuration, Timestamp};

use super::state::{GRACE, ProviderStatus, Status};
use super::store::Payment;
use crate::foundation::error::Result;
use crate::payments::poll_store::PollTarget;
use crate::payments::{apply, next_poll_at, poll_provider, poll_store};
use crate::tenant::brand::Brand;

/// Enough for one look, so that no other worker begins the same.
const CLAIMED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Looks at what is due; returns at how many payments.
pub async fn follow(brand: &Brand) -> Result<u64> {
    let now = brand.clock.now();
    let client = brand.postgres().await?;
    let stale_before = now - brand.config.payments.min_poll_interval;
    let claimed = now + CLAIMED_FOR;
    let due = poll_store::claim_due(&client, now, stale_before, claimed).await?;
    drop(client);
    let count = due.len() as u64;
    let followed = due.iter().map(|(payment, turn)| follow_one(brand, payment, *turn, now, claimed));
    for ended in futures_util::future::join_all(followed).await {
        ended?;
    }
    Ok(count)
}

async fn follow_one(
    brand: &Brand,
    payment: &Payment,
    turn: PollTarget,
    now: Timestamp,
    claimed: Timestamp,
) -> Result<()> {
    let has_code = payment.qr_id.is_some() || payment.qr_id_told.is_some();
    let looked = match has_code {
        true => poll_provider(brand, payment, turn.at(payment, now)).await,
        false => end_without_code(brand, payment, now).await,
    };
    let config = &brand.config.payments;
    let (standing, remark) = match &looked {
        Ok(after) => (after.standing, None),
        Err(error) => {
            tracing::warn!(brand = brand.name(), payment = payment.id, %error, "a payment will be looked at again");
            // Nobody could ask the bank for so long that nobody will pay any more; unless somebody was at it.
            let given_up =
                now > payment.standing.expires_at + config.follow_up && payment.standing.status == Status::Created;
            if given_up {
                apply(brand, payment.id, &ProviderStatus::Expired).await?;
            }
            (payment.standing, Some(error.to_string()))
        }
    };
    let look_at = next_poll_at(payment, standing.status, payment.looks, now, config).map(|at| at + jitter());
    poll_store::schedule(&brand.postgres().await?, payment.id, claimed, look_at, remark.as_deref()).await?;
    Ok(())
}

/// A payment that nobody was shown a code of ends with its time.
async fn end_without_code(brand: &Brand, payment: &Payment, now: Timestamp) -> Result<Payment> {
    match now > payment.standing.expires_at + GRACE {
        true => apply(brand, payment.id, &ProviderStatus::Expired).await,
        false => Ok(payment.clone()),
    }
}

/// Up to half a second, so that what was due together is not due together for ever.
fn jitter() -> SignedDuration {
    SignedDuration::from_millis(i64::from(getrandom::u32().unwrap_or(0) % 500))
}
