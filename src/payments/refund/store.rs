//! SQL of the refunds.

use std::collections::HashMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::foundation::error::{Error, Result};
use crate::payments::state::RefundStatus;
use crate::platform::postgres::Executor;

/// A refund of a payment, whole or partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The provider's idempotency key: its order id and the ordinal.
    pub id: String,
    /// 1, 2, … within the payment; `None` for a refund of an older version.
    pub ordinal: Option<i32>,
    pub amount: Decimal,
    pub status: RefundStatus,
    /// When it was requested, or found at the provider.
    pub created_at: Timestamp,
    /// Whether the provider knew of it and the database did not.
    pub found_at_bank: bool,
}

/// A part of a refund: returned units of an item, or a part of its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefundLine {
    pub item_id: i64,
    pub position: i32,
    pub amount: Decimal,
    pub units: i32,
}

/// A line of a payment, and what was refunded of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SoldLine {
    pub item_id: i64,
    pub position: i32,
    /// Of one unit.
    pub price: Decimal,
    pub quantity: i32,
    pub refunded: Decimal,
    /// Units.
    pub returned: i32,
}

impl SoldLine {
    pub(super) fn left(&self) -> Decimal {
        (self.price * Decimal::from(self.quantity) - self.refunded).max(Decimal::ZERO)
    }

    pub(super) fn units_left(&self) -> i32 {
        (self.quantity - self.returned).max(0)
    }
}

fn refund_from_row(row: &Row) -> Result<Refund> {
    let status: &str = row.try_get("status")?;
    Ok(Refund {
        id: row.try_get("refund_id")?,
        ordinal: row.try_get("ordinal")?,
        amount: row.try_get("amount")?,
        status: RefundStatus::parse(status)
            .ok_or_else(|| Error::internal(format!("unknown refund status {status:?}")))?,
        created_at: row.try_get("created_at")?,
        found_at_bank: row.try_get("found_at_bank")?,
    })
}

/// Returns the refunds of a payment, oldest first.
pub(super) async fn list(client: &impl Executor, payment_id: i64) -> Result<Vec<Refund>> {
    let statement = client
        .prepare_cached(
            r"select refund_id, ordinal, amount, status, created_at, found_at_bank from refund
              where payment_id = $1 order by created_at, ordinal",
        )
        .await?;
    client.query(&statement, &[&payment_id]).await?.iter().map(refund_from_row).collect()
}

/// Returns the lines of a payment in the order of the request.
pub(super) async fn sold_lines(client: &impl Executor, payment_id: i64) -> Result<Vec<SoldLine>> {
    let statement = client
        .prepare_cached(
            r"select l.item_id, l.position, l.price, l.quantity, coalesce(sum(r.amount), 0) as refunded,
                     coalesce(sum(r.units), 0)::integer as returned
              from payment_line l
              left join (refund_line r join refund f on f.refund_id = r.refund_id and f.status <> 'DECLINED')
                  on f.payment_id = l.payment_id and r.item_id = l.item_id
              where l.payment_id = $1
              group by l.payment_id, l.item_id order by l.position",
        )
        .await?;
    let rows = client.query(&statement, &[&payment_id]).await?;
    let line = |row: &Row| {
        Ok(SoldLine {
            item_id: row.try_get("item_id")?,
            position: row.try_get("position")?,
            price: row.try_get("price")?,
            quantity: row.try_get("quantity")?,
            refunded: row.try_get("refunded")?,
            returned: row.try_get("returned")?,
        })
    };
    rows.iter().map(line).collect()
}

/// Inserts a refund and its lines, unless it exists.
pub(super) async fn insert(
    client: &impl Executor,
    payment_id: i64,
    refund: &Refund,
    lines: &[RefundLine],
    restock: bool,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"with inserted as (
                  insert into refund (refund_id, payment_id, ordinal, amount, status, created_at, found_at_bank, restock)
                  values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning refund_id
              )
              insert into refund_line (refund_id, item_id, position, amount, units)
              select i.refund_id, l.* from inserted i,
                     unnest($9::bigint[], $10::integer[], $11::numeric[], $12::integer[]) l",
        )
        .await?;
    let items: Vec<i64> = lines.iter().map(|line| line.item_id).collect();
    let positions: Vec<i32> = lines.iter().map(|line| line.position).collect();
    let amounts: Vec<Decimal> = lines.iter().map(|line| line.amount).collect();
    let units: Vec<i32> = lines.iter().map(|line| line.units).collect();
    let Refund { id, ordinal, amount, status, created_at, found_at_bank } = refund;
    let status = status.as_str();
    let parameters: [&(dyn ToSql + Sync); 12] = [
        id,
        &payment_id,
        ordinal,
        amount,
        &status,
        created_at,
        found_at_bank,
        &restock,
        &items,
        &positions,
        &amounts,
        &units,
    ];
    client.execute(&statement, &parameters).await?;
    Ok(())
}

/// Saves the status of a refund, and when the provider is polled about it next; returns whether its units go back into stock now:
/// it is accepted, they were to, and they did not before. A final status does not change.
pub(super) async fn save_status(
    client: &impl Executor,
    refund_id: &str,
    status: RefundStatus,
    now: Timestamp,
    next_poll_at: Timestamp,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"with before as (
                  select refund_id, restock and restocked_at is null and $2::text in ('IN_PROGRESS', 'COMPLETED') as restocks
                  from refund where refund_id = $1 for update
              )
              update refund r
              set status = $2, next_poll_at = $4, restocked_at = case when restocks then $3 else restocked_at end
              from before b where r.refund_id = b.refund_id and status not in ('COMPLETED', 'DECLINED')
              returning restocks",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 4] = [&refund_id, &status.as_str(), &now, &next_poll_at];
    let row = client.query_opt(&statement, &parameters).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Puts the returned units of a refund back into stock, without those that were short when they were paid for; returns the items.
pub(super) async fn restock(client: &impl Executor, refund_id: &str) -> Result<Vec<i64>> {
    let statement = client.prepare_cached(include_str!("restock.sql")).await?;
    client.query(&statement, &[&refund_id]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// An open refund that is due for polling.
pub(super) struct OpenRefund {
    pub payment_id: i64,
    pub refund: Refund,
}

/// Claims refunds in progress, and those without a response that were requested before `requested_before`: no other worker claims
/// them before `claimed_until`.
pub(super) async fn claim_open(
    client: &impl Executor,
    now: Timestamp,
    requested_before: Timestamp,
    claimed_until: Timestamp,
) -> Result<Vec<OpenRefund>> {
    let statement = client
        .prepare_cached(
            r"update refund set next_poll_at = $3
              where refund_id in (
                  select refund_id from refund
                  where status in ('ASKED', 'IN_PROGRESS') and coalesce(next_poll_at <= $1, created_at <= $2)
                  order by next_poll_at nulls first limit 20 for update skip locked
              )
              returning payment_id, refund_id, ordinal, amount, status, created_at, found_at_bank",
        )
        .await?;
    let rows = client.query(&statement, &[&now, &requested_before, &claimed_until]).await?;
    rows.iter()
        .map(|row| Ok(OpenRefund { payment_id: row.try_get("payment_id")?, refund: refund_from_row(row)? }))
        .collect()
}

/// Returns what was refunded, or is being refunded, of those payments that have refunds.
pub(super) async fn refunded(client: &impl Executor, payment_ids: &[i64]) -> Result<HashMap<i64, Decimal>> {
    let statement =
        client.prepare_cached("select payment_id, refunded from payment_refunded where payment_id = any ($1)").await?;
    let rows = client.query(&statement, &[&payment_ids]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
