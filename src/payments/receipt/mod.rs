//! Fiscal receipts (54-FZ): registered with the payment provider and polled until the cash register has printed them.
//!
//! # Invariants
//! - A receipt is queued by the transaction that completes its payment or refund; its failure never affects either.
//! - Every step may be repeated: the provider identifies a receipt by its number.

mod store;

use jiff::{SignedDuration, Timestamp};

use crate::config::FiscalConfig;
use crate::foundation::error::Result;
use crate::payments::provider::{FiscalReceipt, Provider, ProviderError, ReceiptStatus};
use crate::payments::store::Payment;
use crate::platform::postgres::Executor;
use crate::tenant::brand::Brand;

use store::ReceiptStep;
pub use store::{Receipt, ReceiptSubject};

/// How long a claimed receipt is hidden from other workers: longer than one step takes.
const CLAIM_DURATION: SignedDuration = SignedDuration::from_secs(60);

/// Queues the receipt of a completed payment, in the transaction that completes it. A brand file without the section `[fiscal]`
/// does not prevent it: the workers may have another one.
pub(super) async fn queue(brand: &Brand, client: &impl Executor, payment: &Payment, now: Timestamp) -> Result<()> {
    if payment.amount.is_zero() {
        return Ok(());
    }
    let fiscal = brand.config.fiscal.as_ref();
    let next_try_at = fiscal.map_or(now, |fiscal| now + fiscal.email_wait);
    store::queue(client, payment, next_try_at, fiscal.is_none()).await
}

/// Queues the receipt of a completed refund, in the transaction that completes it.
pub(super) async fn queue_of_refund(
    brand: &Brand,
    client: &impl Executor,
    refund_id: &str,
    now: Timestamp,
) -> Result<()> {
    store::queue_of_refund(client, refund_id, now, brand.config.fiscal.is_none()).await
}

/// Queues the receipts of recently completed payments and refunds that have none, and returns their number. Without a section
/// `[fiscal]`, deletes those that no worker has registered instead.
pub async fn queue_missing(brand: &Brand) -> Result<u64> {
    let now = brand.clock.now();
    let since = now - brand.config.payments.receipt_search;
    let client = brand.postgres().await?;
    if brand.config.fiscal.is_none() {
        store::drop_unclaimed(&client, since).await?;
        return Ok(0);
    }
    let numbers = store::queue_missing(&client, since, now).await?;
    for number in &numbers {
        tracing::warn!(brand = brand.name(), receipt.number = number, "queued a receipt that was missing");
    }
    Ok(numbers.len() as u64)
}

/// Performs the due steps; returns the number of receipts.
pub async fn send_due(brand: &Brand) -> Result<u64> {
    let (Some(fiscal), Ok(provider)) = (&brand.config.fiscal, Provider::for_brand(brand)) else { return Ok(0) };
    let now = brand.clock.now();
    let due = store::claim_due(&brand.postgres().await?, now, now + CLAIM_DURATION).await?;
    let count = due.len() as u64;
    let steps = due.into_iter().map(|receipt| async {
        let reported = advance(&provider, fiscal, &receipt).await;
        let step = next_step(&receipt, reported, fiscal.max_attempts, now + retry_delay(fiscal, receipt.tries));
        (receipt, step)
    });
    for (receipt, step) in futures_util::future::join_all(steps).await {
        log_step(brand, &receipt, &step);
        store::save_step(&brand.postgres().await?, &receipt.subject, &step).await?;
    }
    Ok(count)
}

/// Registers a receipt unless it is registered, and returns its status.
async fn advance(
    provider: &Provider<'_>,
    fiscal: &FiscalConfig,
    receipt: &Receipt,
) -> Result<ReceiptStatus, ProviderError> {
    if !receipt.is_registered {
        let request = FiscalReceipt {
            kind: receipt.subject.kind(),
            number: &receipt.number,
            email: receipt.email.as_deref(),
            fallback_email: &fiscal.fallback_email,
            lines: &receipt.lines,
            amount: receipt.amount,
            default_vat: &fiscal.vat,
        };
        provider.register_receipt(&request).await?;
    }
    provider.receipt_status(receipt.subject.kind(), &receipt.number).await
}

/// Decides what follows from the provider's response.
fn next_step(
    receipt: &Receipt,
    reported: Result<ReceiptStatus, ProviderError>,
    max_tries: u32,
    retry_at: Timestamp,
) -> ReceiptStep {
    let is_last_try = receipt.tries >= i64::from(max_tries);
    let failed = |reason: String| ReceiptStep::Failed { reason, is_number_spent: false };
    match reported {
        Ok(ReceiptStatus::Done) => ReceiptStep::Done,
        Ok(ReceiptStatus::Failed) => ReceiptStep::Failed {
            reason: "the cash register failed to print the receipt".to_owned(),
            is_number_spent: true,
        },
        Ok(ReceiptStatus::New) if is_last_try => failed("the bank did not register the receipt".to_owned()),
        Ok(ReceiptStatus::New) => ReceiptStep::Retry { is_registered: false, at: retry_at, reason: None },
        Ok(ReceiptStatus::Pending) if receipt.is_registered && is_last_try => {
            failed("the cash register did not print the receipt in time".to_owned())
        }
        Ok(ReceiptStatus::Pending) => ReceiptStep::Retry { is_registered: true, at: retry_at, reason: None },
        Err(error @ ProviderError::Refused { .. }) => failed(error.to_string()),
        Err(error) if is_last_try => failed(error.to_string()),
        Err(error) => {
            ReceiptStep::Retry { is_registered: receipt.is_registered, at: retry_at, reason: Some(error.to_string()) }
        }
    }
}

fn log_step(brand: &Brand, receipt: &Receipt, step: &ReceiptStep) {
    let (brand, number) = (brand.name(), &receipt.number);
    match step {
        ReceiptStep::Retry { reason: Some(error), .. } => {
            tracing::warn!(brand, receipt.number = number, error, "failed to register or poll a receipt; will retry");
        }
        ReceiptStep::Failed { reason: error, .. } => {
            tracing::warn!(
                brand,
                receipt.number = number,
                error,
                "receipt failed and needs manual action: brandgate outbox retry"
            );
        }
        ReceiptStep::Retry { reason: None, .. } | ReceiptStep::Done => {}
    }
}

/// Exponential backoff with up to 20 percent of jitter.
fn retry_delay(fiscal: &FiscalConfig, tries: i64) -> SignedDuration {
    let doubled =
        fiscal.first_retry_delay.saturating_mul(2_u32.saturating_pow(u32::try_from(tries).unwrap_or(0).min(20)));
    let delay = doubled.min(fiscal.max_retry_delay);
    let jitter = delay / 1_000 * (getrandom::u32().unwrap_or(0) % 200);
    SignedDuration::try_from(delay + jitter).unwrap_or(SignedDuration::from_hours(1))
}

/// Returns the receipts that are not done, or only the failed ones.
pub async fn list(brand: &Brand, only_failed: bool) -> Result<Vec<Receipt>> {
    let receipts = store::list(&brand.postgres().await?, only_failed).await?;
    Ok(receipts)
}

/// Makes a receipt due now, with all its tries; `false` when it is done or does not exist.
pub async fn retry(brand: &Brand, subject: &ReceiptSubject) -> Result<bool> {
    let retried = store::retry(&brand.postgres().await?, subject, brand.clock.now()).await?;
    Ok(retried)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    const MAX_TRIES: u32 = 3;

    fn receipt(is_registered: bool, tries: i64) -> Receipt {
        Receipt {
            subject: ReceiptSubject::Payment(1),
            payment_id: 1,
            number: "r1".to_owned(),
            email: None,
            status: if is_registered { "REGISTERED" } else { "QUEUED" }.to_owned(),
            is_registered,
            tries,
            next_try_at: Timestamp::UNIX_EPOCH,
            last_error: None,
            amount: Decimal::ONE,
            lines: Vec::new(),
        }
    }

    fn step(receipt: &Receipt, reported: Result<ReceiptStatus, ProviderError>) -> ReceiptStep {
        next_step(receipt, reported, MAX_TRIES, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn receipts_are_polled_until_they_are_done_or_out_of_tries() {
        let at = Timestamp::UNIX_EPOCH;
        let polled = ReceiptStep::Retry { is_registered: true, at, reason: None };
        assert_eq!(step(&receipt(false, 9), Ok(ReceiptStatus::Pending)), polled, "registered by the last try");
        assert_eq!(step(&receipt(true, 2), Ok(ReceiptStatus::Pending)), polled);
        assert_eq!(step(&receipt(true, 9), Ok(ReceiptStatus::Done)), ReceiptStep::Done);
        let unregistered = ReceiptStep::Retry { is_registered: false, at, reason: None };
        assert_eq!(step(&receipt(true, 1), Ok(ReceiptStatus::New)), unregistered, "the bank does not have it");
        assert!(matches!(step(&receipt(true, 3), Ok(ReceiptStatus::New)), ReceiptStep::Failed { .. }));
        let late = step(&receipt(true, 3), Ok(ReceiptStatus::Pending));
        assert!(matches!(late, ReceiptStep::Failed { is_number_spent: false, .. }), "{late:?}");
        let failed = step(&receipt(true, 1), Ok(ReceiptStatus::Failed));
        assert!(matches!(failed, ReceiptStep::Failed { is_number_spent: true, .. }), "{failed:?}");
    }

    #[test]
    fn refusals_are_final_and_other_errors_are_retried() {
        let refused = ProviderError::Refused { code: "ERROR.X".to_owned(), message: String::new() };
        assert!(matches!(step(&receipt(false, 1), Err(refused)), ReceiptStep::Failed { is_number_spent: false, .. }));
        let invalid = || ProviderError::InvalidResponse("status 502".to_owned());
        let retried = step(&receipt(false, 1), Err(invalid()));
        assert!(matches!(retried, ReceiptStep::Retry { is_registered: false, reason: Some(_), .. }), "{retried:?}");
        assert!(matches!(step(&receipt(false, 3), Err(invalid())), ReceiptStep::Failed { .. }));
    }
}
