//! Receipts (54-FZ) through the bank's fiscal API: saved, registered, watched until the register has printed them.
//!
//! The pass is registered in `workers`; a receipt is queued by the transaction that completes its payment. Every step may be
//! repeated: the bank knows a receipt by its number. What must never happen: a receipt that fails undoes a payment, or one that
//! failed is seen by nobody.

mod store;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::config::FiscalConfig;
use crate::foundation::error::Result;
use crate::foundation::money::Exact;
use crate::payments::provider::raiffeisen::{ProviderClient, ProviderError};
use crate::platform::http_client::HttpRequest;
use crate::tenant::brand::Brand;

pub use store::Receipt;
use store::ReceiptStep;

/// Enough for one step, so that no other worker does the same.
const CLAIMED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// What the fiscal API takes (fiscal.yml): letters of a name, and of an address.
const LONGEST_NAME: usize = 128;
const LONGEST_EMAIL: usize = 64;

/// Does what is due; returns how many receipts moved.
pub async fn send_due(brand: &Brand) -> Result<u64> {
    let (Some(fiscal), Ok(bank)) = (&brand.config.fiscal, ProviderClient::of(brand)) else { return Ok(0) };
    let now = brand.clock.now();
    let due = store::claim_due(&brand.postgres().await?, now, now + CLAIMED_FOR).await?;
    let count = due.len() as u64;
    let steps = due.into_iter().map(|receipt| async {
        let step = step(&bank, fiscal, &receipt, now).await;
        (receipt, step)
    });
    for (receipt, step) in futures_util::future::join_all(steps).await {
        if let ReceiptStep::Again { why: Some(why), .. } | ReceiptStep::Failed { why, .. } = &step {
            tracing::warn!(brand = brand.name(), receipt = receipt.number, why, "a receipt is not through");
        }
        store::note(&brand.postgres().await?, receipt.payment_id, &step).await?;
    }
    Ok(count)
}

/// The next step of a receipt, done.
async fn step(bank: &ProviderClient<'_>, fiscal: &FiscalConfig, receipt: &Receipt, now: Timestamp) -> ReceiptStep {
    let done = match receipt.is_registered {
        true => Ok(()),
        false => register(bank, fiscal, receipt).await,
    };
    let status = match done {
        Ok(()) => status(bank, &receipt.number).await,
        Err(fault) => Err(fault),
    };
    let again_at = now + pause(fiscal, receipt.tries);
    match status {
        Ok(word) if word == "DONE" => ReceiptStep::Done,
        Ok(word) if word == "FAILED" => {
            ReceiptStep::Failed { why: "the register could not print it".to_owned(), is_number_spent: true }
        }
        Ok(_) if receipt.is_registered && receipt.tries >= i64::from(fiscal.max_attempts) => ReceiptStep::Failed {
            why: "the register has not printed it for too long".to_owned(),
            is_number_spent: false,
        },
        Ok(_) => ReceiptStep::Again { is_registered: true, at: again_at, why: None },
        Err(fault @ ProviderError::Refused { .. }) => {
            ReceiptStep::Failed { why: fault.to_string(), is_number_spent: false }
        }
        Err(fault) if receipt.tries >= i64::from(fiscal.max_attempts) => {
            ReceiptStep::Failed { why: fault.to_string(), is_number_spent: false }
        }
        Err(fault) => {
            ReceiptStep::Again { is_registered: receipt.is_registered, at: again_at, why: Some(fault.to_string()) }
        }
    }
}

/// `POST /api/fiscal/v1/receipts/sell` saves a receipt or the same one again, `PUT …/{number}` registers it.
async fn register(bank: &ProviderClient<'_>, fiscal: &FiscalConfig, receipt: &Receipt) -> Result<(), ProviderError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        receipt_number: &'a str,
        client: Client<'a>,
        items: Vec<Item<'a>>,
        total: Exact,
    }
    #[derive(Serialize)]
    struct Client<'a> {
        email: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        name: String,
        price: Exact,
        quantity: i32,
        amount: Exact,
        payment_object: &'static str,
        measurement_unit: &'static str,
        vat_type: &'a str,
    }
    let item = |line: &store::ReceiptLine| Item {
        name: line.name.chars().take(LONGEST_NAME).collect(),
        price: Exact(line.price),
        quantity: line.quantity,
        amount: Exact(line.price * Decimal::from(line.quantity)),
        payment_object: "commodity",
        measurement_unit: "шт",
        vat_type: &fiscal.vat,
    };
    let email = receipt.email.as_deref().filter(|email| email.len() <= LONGEST_EMAIL);
    let body = Body {
        receipt_number: &receipt.number,
        client: Client { email: email.unwrap_or(&fiscal.fallback_email) },
        items: receipt.lines.iter().map(item).collect(),
        total: Exact(receipt.amount),
    };
    match bank.ask(HttpRequest::post(bank.url("/api/fiscal/v1/receipts/sell")).json(&body)).await {
        Ok(_) => {}
        // Registered before, by a try whose answer was lost: it can only be watched now.
        Err(ProviderError::Refused { .. }) if status(bank, &receipt.number).await.is_ok_and(|word| word != "NEW") => {
            return Ok(());
        }
        Err(fault) => return Err(fault),
    }
    bank.ask(HttpRequest::put(bank.url(&format!("/api/fiscal/v1/receipts/sell/{}", receipt.number)))).await.map(drop)
}

/// NEW, IN_PROGRESS, AWAITING, DONE, FAILED.
async fn status(bank: &ProviderClient<'_>, number: &str) -> Result<String, ProviderError> {
    #[derive(Deserialize)]
    struct Body {
        status: String,
    }
    let answered = bank.ask(HttpRequest::get(bank.url(&format!("/api/fiscal/v1/receipts/sell/{number}")))).await?;
    let body: Body =
        serde_json::from_slice(&answered.body).map_err(|error| ProviderError::Nonsense(error.to_string()))?;
    Ok(body.status)
}

/// Doubled from the first to the longest, with up to a fifth of chance.
fn pause(fiscal: &FiscalConfig, tries: i64) -> SignedDuration {
    let doubled =
        fiscal.first_retry_delay.saturating_mul(2_u32.saturating_pow(u32::try_from(tries).unwrap_or(0).min(20)));
    let pause = doubled.min(fiscal.max_retry_delay);
    let chance = pause / 1_000 * (getrandom::u32().unwrap_or(0) % 200);
    SignedDuration::try_from(pause + chance).unwrap_or(SignedDuration::from_hours(1))
}

/// The receipts that a person should know of: waiting for long, or failed.
pub async fn list(brand: &Brand, only_failed: bool) -> Result<Vec<Receipt>> {
    let receipts = store::list(&brand.postgres().await?, only_failed).await?;
    Ok(receipts)
}

/// Begins a receipt's tries anew; `false` when there is none that waits or failed.
pub async fn retry(brand: &Brand, payment_id: i64) -> Result<bool> {
    let retried = store::retry(&brand.postgres().await?, payment_id, brand.clock.now()).await?;
    Ok(retried)
}
