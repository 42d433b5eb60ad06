//! Payments that need manual action: which ones, why, and how they were settled.

use crate::foundation::error::{Error, Result};
use crate::payments::settlement_store;
use crate::payments::state::Status;
use crate::payments::store::{self, Payment};
use crate::tenant::brand::Brand;

use settlement_store::Overlap;
pub use settlement_store::Settlement;

/// Describes why a payment that was just completed needs manual action; `None` when it does not. `before` is the status that it
/// had; `is_short` tells that some of its units were not in stock.
pub(super) fn reason(before: Status, is_short: bool, overlaps: &[Overlap]) -> Option<String> {
    let mut reasons = Vec::new();
    if is_short {
        reasons.push("not enough units are in stock".to_owned());
    }
    reasons.extend(overlaps.iter().map(|other| {
        let Overlap { payment_id, site_order_id, item_ids } = other;
        format!(
            "payment {payment_id} (order {site_order_id}) also paid for {}: it may be a double payment",
            items(item_ids)
        )
    }));
    let lateness = match before {
        Status::Expired => "paid after it had expired; ",
        Status::Cancelled => "paid after it had been cancelled; ",
        Status::Created | Status::Waiting | Status::Completed => "",
    };
    (!reasons.is_empty()).then(|| format!("{lateness}{}", reasons.join("; ")))
}

/// The remark of the payment that `overlap` found, about the one that was just completed.
pub(super) fn counter_remark(payment: &Payment, overlap: &Overlap) -> String {
    let late = if payment.state.status.is_open() { "" } else { " late" };
    format!(
        "payment {} (order {}) for {} was paid{late} too: it may be a double payment",
        payment.id,
        payment.site_order_id,
        items(&overlap.item_ids)
    )
}

fn items(ids: &[i64]) -> String {
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("{} {}", if ids.len() == 1 { "item" } else { "items" }, list.join(", "))
}

/// Marks a payment as settled manually and keeps the note, 1-1,000 characters that say how; `false` when it did not need settlement.
///
/// # Errors
/// 404 for an unknown payment.
pub async fn settle(brand: &Brand, payment_id: i64, note: &str) -> Result<bool> {
    let client = brand.postgres().await?;
    let settled = settlement_store::settle(&client, payment_id, note, brand.clock.now()).await?;
    if !settled {
        store::by_id(&client, payment_id).await?.ok_or_else(|| Error::not_found("payment"))?;
    }
    Ok(settled)
}

/// Returns how a payment was settled, oldest first.
pub async fn settlements(brand: &Brand, payment_id: i64) -> Result<Vec<Settlement>> {
    settlement_store::list(&brand.postgres().await?, payment_id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_everything_that_happened() {
        let overlap = |payment_id, item_ids: &[i64]| Overlap {
            payment_id,
            site_order_id: format!("o{payment_id}"),
            item_ids: item_ids.to_vec(),
        };
        assert_eq!(reason(Status::Created, false, &[]), None);
        assert_eq!(reason(Status::Expired, false, &[]), None, "late money for units that are in stock");
        let both = reason(Status::Expired, true, &[overlap(7, &[1, 2]), overlap(8, &[2])]).expect("a reason");
        assert_eq!(
            both,
            "paid after it had expired; not enough units are in stock; payment 7 (order o7) also paid for items 1, 2: it may be a \
             double payment; payment 8 (order o8) also paid for item 2: it may be a double payment"
        );
        let remark = counter_remark(&Payment::example(), &overlap(7, &[1]));
        assert_eq!(remark, "payment 1 (order order_1) for item 1 was paid too: it may be a double payment");
    }
}
