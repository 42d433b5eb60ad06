//! SQL of payments that need manual action.

use jiff::Timestamp;

use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// Another paid payment of the same owner for some of the same items, which may be the same purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlap {
    pub payment_id: i64,
    pub site_order_id: String,
    /// The items that both payments paid for.
    pub item_ids: Vec<i64>,
}

/// How a payment was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The payment's remark when it was settled.
    pub reason: Option<String>,
    /// What the operator did.
    pub note: String,
    pub settled_at: Timestamp,
}

/// Returns the completed payments of the payment's owner that share an item with it and were completed since it was opened.
/// A visitor who logged in since is the same owner.
pub(super) async fn overlaps(client: &impl Executor, payment_id: i64) -> Result<Vec<Overlap>> {
    let statement = client.prepare_cached(include_str!("overlapping_payments.sql")).await?;
    let rows = client.query(&statement, &[&payment_id]).await?;
    rows.iter()
        .map(|row| {
            Ok(Overlap {
                payment_id: row.try_get("payment_id")?,
                site_order_id: row.try_get("site_order_id")?,
                item_ids: row.try_get("item_ids")?,
            })
        })
        .collect()
}

/// Adds a remark to a payment.
pub(super) async fn add_remark(client: &impl Executor, payment_id: i64, remark: &str) -> Result<()> {
    let statement = client
        .prepare_cached(
            "update payment set remark = concat_ws('; ', nullif(remark, ''), $2::text) where payment_id = $1",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &remark]).await?;
    Ok(())
}

/// Marks a payment for manual settlement.
pub(super) async fn mark_to_settle(client: &impl Executor, payment_id: i64, remark: &str) -> Result<()> {
    let statement =
        client.prepare_cached("update payment set to_settle = true, remark = $2 where payment_id = $1").await?;
    client.execute(&statement, &[&payment_id, &remark]).await?;
    Ok(())
}

/// Clears the mark and keeps the note; `false` when there was no mark.
pub(super) async fn settle(client: &impl Executor, payment_id: i64, note: &str, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"with settled as (
                  update payment set to_settle = false where payment_id = $1 and to_settle returning payment_id, remark
              )
              insert into settlement (payment_id, reason, note, settled_at)
              select payment_id, remark, $2::text, $3::timestamptz from settled",
        )
        .await?;
    Ok(client.execute(&statement, &[&payment_id, &note, &now]).await? == 1)
}

/// Returns how a payment was settled, oldest first.
pub(super) async fn list(client: &impl Executor, payment_id: i64) -> Result<Vec<Settlement>> {
    let statement = client
        .prepare_cached("select reason, note, settled_at from settlement where payment_id = $1 order by settlement_id")
        .await?;
    let rows = client.query(&statement, &[&payment_id]).await?;
    rows.iter()
        .map(|row| {
            let (reason, note, settled_at) = (row.try_get("reason")?, row.try_get("note")?, row.try_get("settled_at")?);
            Ok(Settlement { reason, note, settled_at })
        })
        .collect()
}
