//! SQL of the fiscal receipts.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::foundation::error::Result;
use crate::payments::provider::{ReceiptKind, ReceiptLine};
use crate::payments::store::Payment;
use crate::platform::postgres::Executor;

/// What a fiscal receipt is for. There is one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptSubject {
    /// The payment of this number.
    Payment(i64),
    /// The refund of this id.
    Refund(String),
}

impl ReceiptSubject {
    pub(super) fn kind(&self) -> ReceiptKind {
        match self {
            ReceiptSubject::Payment(_) => ReceiptKind::Sale,
            ReceiptSubject::Refund(_) => ReceiptKind::Refund,
        }
    }
}

/// A fiscal receipt and its progress.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub subject: ReceiptSubject,
    pub payment_id: i64,
    /// The provider's identifier of the receipt.
    pub number: String,
    pub email: Option<String>,
    /// `QUEUED`, `REGISTERED`, `DONE` or `FAILED`.
    pub status: String,
    pub is_registered: bool,
    pub tries: i64,
    pub next_try_at: Timestamp,
    pub last_error: Option<String>,
    pub amount: Decimal,
    pub(super) lines: Vec<ReceiptLine>,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReceiptStep {
    Done,
    /// Needs manual action. A number that the cash register failed to print cannot be reused: the next try gets another one.
    Failed {
        reason: String,
        is_number_spent: bool,
    },
    Retry {
        is_registered: bool,
        at: Timestamp,
        reason: Option<String>,
    },
}

fn receipt_from_row(row: &Row) -> Result<Receipt> {
    let (payment_id, refund_id): (i64, Option<String>) = (row.try_get("payment_id")?, row.try_get("refund_id")?);
    let (names, prices): (Vec<String>, Vec<Decimal>) = (row.try_get("names")?, row.try_get("prices")?);
    let (quantities, vats): (Vec<i32>, Vec<Option<String>>) = (row.try_get("quantities")?, row.try_get("vats")?);
    let lines = names.into_iter().zip(prices).zip(quantities).zip(vats);
    let status: String = row.try_get("status")?;
    Ok(Receipt {
        subject: refund_id.map_or(ReceiptSubject::Payment(payment_id), ReceiptSubject::Refund),
        payment_id,
        number: row.try_get("number")?,
        email: row.try_get("email")?,
        is_registered: status == "REGISTERED",
        status,
        tries: i64::from(row.try_get::<_, i32>("tries")?),
        next_try_at: row.try_get("next_try_at")?,
        last_error: row.try_get("last_error")?,
        amount: row.try_get("amount")?,
        lines: lines.map(|(((name, price), quantity), vat)| ReceiptLine { name, price, quantity, vat }).collect(),
    })
}

/// Queues the receipt of a completed payment, due at `next_try_at`. `without_section`: this instance registers no receipts.
pub(super) async fn queue(
    client: &impl Executor,
    payment: &Payment,
    next_try_at: Timestamp,
    without_section: bool,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into receipt (payment_id, number, next_try_at, without_section) values ($1, $2, $3, $4)
              on conflict do nothing",
        )
        .await?;
    client.execute(&statement, &[&payment.id, &payment.bank_order_id, &next_try_at, &without_section]).await?;
    Ok(())
}

/// Queues the receipt of a completed refund, unless an older version made it, without lines; see [`queue`].
pub(super) async fn queue_of_refund(
    client: &impl Executor,
    refund_id: &str,
    next_try_at: Timestamp,
    without_section: bool,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into refund_receipt (refund_id, number, next_try_at, without_section)
              select $1::text, $1, $2::timestamptz, $3::boolean where exists (select from refund_line where refund_id = $1) on conflict do nothing",
        )
        .await?;
    client.execute(&statement, &[&refund_id, &next_try_at, &without_section]).await?;
    Ok(())
}

/// Queues the receipts of payments and refunds that were completed `since` and have none; returns their numbers.
pub(super) async fn queue_missing(client: &impl Executor, since: Timestamp, now: Timestamp) -> Result<Vec<String>> {
    let statement = client.prepare_cached(include_str!("queue_missing.sql")).await?;
    let rows = client.query(&statement, &[&since, &now]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Deletes the receipts that instances without the section queued before `before` and that no worker has tried.
pub(super) async fn drop_unclaimed(client: &impl Executor, before: Timestamp) -> Result<u64> {
    let of_payments = client
        .prepare_cached(
            "delete from receipt where without_section and status = 'QUEUED' and tries = 0 and next_try_at < $1",
        )
        .await?;
    let of_refunds = client
        .prepare_cached(
            "delete from refund_receipt where without_section and status = 'QUEUED' and tries = 0 and next_try_at < $1",
        )
        .await?;
    let dropped = client.execute(&of_payments, &[&before]).await?;
    Ok(dropped + client.execute(&of_refunds, &[&before]).await?)
}

/// Claims due receipts: no other worker claims them before `claimed_until`.
pub(super) async fn claim_due(
    client: &impl Executor,
    now: Timestamp,
    claimed_until: Timestamp,
) -> Result<Vec<Receipt>> {
    let statement = client.prepare_cached(include_str!("claim_due.sql")).await?;
    client.query(&statement, &[&now, &claimed_until]).await?.iter().map(receipt_from_row).collect()
}

const SAVE_STEP: &str = r"
    update receipt set status = $2, next_try_at = coalesce($3, next_try_at), last_error = $4,
                       tries = case when status <> $2 then 0 else tries end,
                       number = case when $5 then number || '-' || tries else number end
    where payment_id = $1";

const SAVE_STEP_OF_REFUND: &str = r"
    update refund_receipt set status = $2, next_try_at = coalesce($3, next_try_at), last_error = $4,
                              tries = case when status <> $2 then 0 else tries end,
                              number = case when $5 then number || '-' || tries else number end
    where refund_id = $1";

/// Saves the outcome of a step. A new status starts with a new count of tries.
pub(super) async fn save_step(client: &impl Executor, subject: &ReceiptSubject, step: &ReceiptStep) -> Result<()> {
    let (status, at, error) = match step {
        ReceiptStep::Done => ("DONE", None, None),
        ReceiptStep::Failed { reason, .. } => ("FAILED", None, Some(reason.as_str())),
        ReceiptStep::Retry { is_registered: true, at, reason } => ("REGISTERED", Some(*at), reason.as_deref()),
        ReceiptStep::Retry { is_registered: false, at, reason } => ("QUEUED", Some(*at), reason.as_deref()),
    };
    let is_number_spent = matches!(step, ReceiptStep::Failed { is_number_spent: true, .. });
    let (sql, key): (_, &(dyn ToSql + Sync)) = match subject {
        ReceiptSubject::Payment(id) => (SAVE_STEP, id),
        ReceiptSubject::Refund(id) => (SAVE_STEP_OF_REFUND, id),
    };
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[key, &status, &at, &error, &is_number_spent]).await?;
    Ok(())
}

pub(super) async fn list(client: &impl Executor, only_failed: bool) -> Result<Vec<Receipt>> {
    let statement = client.prepare_cached(include_str!("list.sql")).await?;
    client.query(&statement, &[&only_failed]).await?.iter().map(receipt_from_row).collect()
}

pub(super) async fn retry(client: &impl Executor, subject: &ReceiptSubject, now: Timestamp) -> Result<bool> {
    let (sql, key): (_, &(dyn ToSql + Sync)) = match subject {
        ReceiptSubject::Payment(id) => (
            r"update receipt set status = 'QUEUED', tries = 0, next_try_at = $2
              where payment_id = $1 and status <> 'DONE'",
            id,
        ),
        ReceiptSubject::Refund(id) => (
            r"update refund_receipt set status = 'QUEUED', tries = 0, next_try_at = $2
              where refund_id = $1 and status <> 'DONE'",
            id,
        ),
    };
    let statement = client.prepare_cached(sql).await?;
    Ok(client.execute(&statement, &[key, &now]).await? == 1)
}
