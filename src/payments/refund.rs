//! Giving money back, whole or in parts, as a person of the shop decides.
//!
//! Called by the command line. What is asked for is on disk under an id of its own before the bank is asked, so that the same
//! refund can be asked for again without being made twice. The shop puts the pieces back into its stock itself.

use rust_decimal::Decimal;

use super::bank::Bank;
use super::{Status, ledger};
use crate::brand::Brand;
use crate::error::{Error, Result};
use crate::net::cookie;

/// A refund as the bank has it now: `ASKED` (it was asked and did not answer), `IN_PROGRESS`, `COMPLETED`, `DECLINED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: String,
    pub amount: Decimal,
    pub status: String,
}

/// Gives back `amount`, or all that is left. A refund that the bank did not answer before is asked for again first.
///
/// # Errors
/// 404 for a payment that is not there, 409 for one that is not paid or has less left, 502 and 504 when the bank cannot say:
/// asking again is safe.
pub async fn refund(brand: &Brand, payment_id: i64, amount: Option<Decimal>) -> Result<Refund> {
    let bank = Bank::of(brand)?;
    let client = brand.db().await?;
    let payment = ledger::begin(&*client, payment_id).await?;
    let before = ledger::refunds(&*client, payment_id).await?;
    let given: Decimal = before.iter().filter(|refund| refund.status != "DECLINED").map(|refund| refund.amount).sum();
    let unanswered = before.iter().find(|refund| refund.status == "ASKED");
    let left = payment.amount - given;
    let asked = match (unanswered, amount) {
        (Some(unanswered), amount) if amount.is_none_or(|amount| amount == unanswered.amount) => Ok(unanswered.clone()),
        _ if payment.standing.status != Status::Completed => {
            Err(Error::conflict("not_paid", "This payment was not paid."))
        }
        (_, amount) => {
            let amount = amount.unwrap_or(left).normalize();
            match amount > Decimal::ZERO && amount <= left && amount.scale() <= 2 {
                true => Ok(Refund { id: cookie::random_name()?, amount, status: "ASKED".to_owned() }),
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
            ledger::roll_back(&*client).await?;
            client.give_back();
            return Err(error);
        }
    };
    ledger::note_refund(&*client, payment_id, &refund, brand.clock.now()).await?;
    ledger::commit(&*client).await?;
    let status = bank.refund(&refund.id, &payment.bank_order_id, refund.amount).await?;
    let refund = Refund { status, ..refund };
    ledger::note_refund(&*client, payment_id, &refund, brand.clock.now()).await?;
    client.give_back();
    Ok(refund)
}
