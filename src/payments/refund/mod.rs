//! Giving money back, whole or in parts, as a person of the shop decides.
//!
//! Called by the command line. What is asked for is on disk under an id of its own before the bank is asked, so that the same
//! refund can be asked for again without being made twice. The shop puts the pieces back into its stock itself.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::payments::provider::raiffeisen::{ProviderClient, ProviderError};
use crate::payments::{Status, transition_store};
use crate::tenant::brand::Brand;

/// A person who asks for the same again within this time is asked whether it is meant.
const TWICE: SignedDuration = SignedDuration::from_mins(10);

/// A refund as the bank has it now: `ASKED` (it was asked and did not answer), `IN_PROGRESS`, `COMPLETED`, `DECLINED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: String,
    pub amount: Decimal,
    pub status: String,
    pub created_at: Timestamp,
}

impl Refund {
    /// Whether somebody who asks for this amount may be asking twice.
    fn is_recent(&self, amount: Decimal, now: Timestamp) -> bool {
        self.amount == amount && self.status != "DECLINED" && now.duration_since(self.created_at) < TWICE
    }
}

/// Gives back `amount`, or all that is left. A refund that the bank did not answer before is asked for again first.
///
/// # Errors
/// 404 for a payment that is not there, 409 for one that is not paid or has less left, and for an amount that was given back a
/// moment ago, unless `again` says that it is meant; 502 and 504 when the bank cannot say:
/// asking again is safe.
pub async fn refund(brand: &Brand, payment_id: i64, amount: Option<Decimal>, again: bool) -> Result<Refund> {
    let bank = ProviderClient::of(brand)?;
    refresh(brand, payment_id).await?;
    let transaction = brand.transaction().await?;
    let payment = transition_store::lock(&transaction, payment_id).await?;
    let before = transition_store::refunds(&transaction, payment_id).await?;
    let given: Decimal = before.iter().filter(|refund| refund.status != "DECLINED").map(|refund| refund.amount).sum();
    let unanswered = before.iter().find(|refund| refund.status == "ASKED");
    let left = payment.amount - given;
    let asked = match (unanswered, amount) {
        (Some(unanswered), amount) if amount.is_none_or(|amount| amount == unanswered.amount) => Ok(unanswered.clone()),
        (None, Some(amount)) if !again && before.iter().any(|refund| refund.is_recent(amount, brand.clock.now())) => {
            let sentence = "The same amount was given back a moment ago; say --again if another one is meant.";
            Err(Error::conflict("refund_again", sentence))
        }
        _ if payment.standing.status != Status::Completed => {
            Err(Error::conflict("not_paid", "This payment was not paid."))
        }
        (_, amount) => {
            let amount = amount.unwrap_or(left).normalize();
            match amount > Decimal::ZERO && amount <= left && amount.scale() <= 2 {
                true => Ok(Refund {
                    id: hex::random_name()?,
                    amount,
                    status: "ASKED".to_owned(),
                    created_at: brand.clock.now(),
                }),
                false => {
                    let sentence =
                        format!("{} of {} RUB can be given back.", left.normalize(), payment.amount.normalize());
                    Err(Error::conflict("bad_refund", sentence))
                }
            }
        }
    };
    let refund = match asked {
        Ok(refund) => refund,
        Err(error) => {
            transaction.rollback().await?;
            return Err(error);
        }
    };
    transition_store::note_refund(&transaction, payment_id, &refund, brand.clock.now()).await?;
    transaction.commit().await?;
    let (refund, said) = match bank.refund(&refund.id, &payment.bank_order_id, refund.amount).await {
        Ok(status) => (Refund { status, ..refund }, Ok(())),
        Err(fault @ ProviderError::Refused { .. }) => (Refund { status: "DECLINED".to_owned(), ..refund }, Err(fault)),
        Err(fault) => return Err(fault.into()),
    };
    transition_store::note_refund(&brand.postgres().await?, payment_id, &refund, brand.clock.now()).await?;
    said?;
    Ok(refund)
}

/// Asks the bank what became of the refunds that it had not finished, and returns all of them.
pub async fn refresh(brand: &Brand, payment_id: i64) -> Result<Vec<Refund>> {
    let client = brand.postgres().await?;
    let mut refunds = transition_store::refunds(&client, payment_id).await?;
    for refund in refunds.iter_mut().filter(|refund| refund.status == "IN_PROGRESS") {
        match ProviderClient::of(brand)?.refund_status(&refund.id).await {
            Ok(status) => refund.status = status,
            Err(fault) => {
                tracing::warn!(brand = brand.name(), refund = refund.id, %fault, "as it was when last heard of")
            }
        }
        transition_store::note_refund(&client, payment_id, refund, brand.clock.now()).await?;
    }
    Ok(refunds)
}
