//! SQL of the refunds.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;

use crate::foundation::error::{Error, Result};
use crate::payments::state::RefundStatus;
use crate::platform::postgres::Executor;

/// A refund of a payment, whole or partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Chosen by us; the provider's idempotency key.
    pub id: String,
    pub amount: Decimal,
    pub status: RefundStatus,
    pub created_at: Timestamp,
}

fn refund_from_row(row: &Row) -> Result<Refund> {
    let status: &str = row.try_get("status")?;
    Ok(Refund {
        id: row.try_get("refund_id")?,
        amount: row.try_get("amount")?,
        status: RefundStatus::parse(status)
            .ok_or_else(|| Error::internal(format!("unknown refund status {status:?}")))?,
        created_at: row.try_get("created_at")?,
    })
}

/// Returns the refunds of a payment, oldest first.
pub(super) async fn list(client: &impl Executor, payment_id: i64) -> Result<Vec<Refund>> {
    let statement = client
        .prepare_cached(
            r"select refund_id, amount, status, created_at from refund where payment_id = $1 order by created_at",
        )
        .await?;
    client.query(&statement, &[&payment_id]).await?.iter().map(refund_from_row).collect()
}

/// Inserts a refund, or updates the status of an existing one.
pub(super) async fn save(client: &impl Executor, payment_id: i64, refund: &Refund) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into refund (refund_id, payment_id, amount, status, created_at) values ($1, $2, $3, $4, $5)
              on conflict (refund_id) do update set status = excluded.status",
        )
        .await?;
    let Refund { id, amount, status, created_at } = refund;
    client.execute(&statement, &[id, &payment_id, amount, &status.as_str(), created_at]).await?;
    Ok(())
}
