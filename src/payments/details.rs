//! What the operator is shown of one payment: who placed the order, what it says, and which emails were sent.

use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::mail::{self, QueuedEmail};
use crate::tenant::brand::Brand;

use super::history_store::{self, Buyer};
use super::order::OrderLine;
use super::purchase_request::mail_key;

/// More about a payment than its state.
#[derive(Debug, Clone)]
pub struct PaymentDetails {
    /// In the order of the request, with the names under which they were ordered.
    pub lines: Vec<OrderLine>,
    pub buyer: Buyer,
    /// Oldest first.
    pub emails: Vec<QueuedEmail>,
}

/// Returns the details of a payment.
///
/// # Errors
/// 404 for an unknown payment.
pub async fn details(brand: &Brand, payment_id: i64) -> Result<PaymentDetails> {
    let client = brand.postgres().await?;
    let lines = history_store::lines(&client, payment_id, Language::Ru).await?;
    let emails = mail::queued(&client, &[mail_key(payment_id)]).await?;
    let buyer = history_store::buyer(&client, payment_id).await?.ok_or_else(|| Error::not_found("payment"))?;
    Ok(PaymentDetails { lines, buyer, emails })
}

/// The payments that a text names: the one with this number, else those with this `siteorderID`, else the one with this order id of
/// the bank.
///
/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn ids_of(brand: &Brand, reference: &str) -> Result<Vec<i64>> {
    history_store::ids_of(&brand.postgres().await?, reference).await
}
