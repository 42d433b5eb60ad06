//! SQL of the fiscal receipts.

use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Row;

use crate::foundation::error::Result;
use crate::payments::provider::ReceiptLine;
use crate::platform::postgres::Executor;

/// A fiscal receipt and its progress.
#[derive(Debug, Clone)]
pub struct Receipt {
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
    let (names, prices): (Vec<String>, Vec<Decimal>) = (row.try_get("names")?, row.try_get("prices")?);
    let quantities: Vec<i32> = row.try_get("quantities")?;
    let lines = names.into_iter().zip(prices).zip(quantities);
    let status: String = row.try_get("status")?;
    Ok(Receipt {
        payment_id: row.try_get("payment_id")?,
        number: row.try_get("number")?,
        email: row.try_get("email")?,
        is_registered: status == "REGISTERED",
        status,
        tries: i64::from(row.try_get::<_, i32>("tries")?),
        next_try_at: row.try_get("next_try_at")?,
        last_error: row.try_get("last_error")?,
        amount: row.try_get("amount")?,
        lines: lines.map(|((name, price), quantity)| ReceiptLine { name, price, quantity }).collect(),
    })
}

/// Claims due receipts: no other worker claims them before `claimed_until`.
pub(super) async fn claim_due(
    client: &impl Executor,
    now: Timestamp,
    claimed_until: Timestamp,
) -> Result<Vec<Receipt>> {
    let statement = client
        .prepare_cached(
            r"with due as (
                  select payment_id from receipt where status in ('QUEUED', 'REGISTERED') and next_try_at <= $1
                  order by next_try_at limit 20 for update skip locked
              ), claimed as (
                  update receipt r set next_try_at = $2, tries = tries + 1 from due
                  where r.payment_id = due.payment_id returning r.*
              )
              select c.*, p.amount,
                     array(select l.name from payment_line l where l.payment_id = c.payment_id order by l.position) as names,
                     array(select l.price from payment_line l where l.payment_id = c.payment_id order by l.position) as prices,
                     array(select l.quantity from payment_line l where l.payment_id = c.payment_id order by l.position) as quantities
              from claimed c join payment p using (payment_id)",
        )
        .await?;
    client.query(&statement, &[&now, &claimed_until]).await?.iter().map(receipt_from_row).collect()
}

/// Saves the outcome of a step. A new status starts with a new count of tries.
pub(super) async fn save_step(client: &impl Executor, payment_id: i64, step: &ReceiptStep) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update receipt set status = $2, next_try_at = coalesce($3, next_try_at), last_error = $4,
                                 tries = case when status <> $2 then 0 else tries end,
                                 number = case when $5 then number || '-' || tries else number end
              where payment_id = $1",
        )
        .await?;
    let (status, at, error) = match step {
        ReceiptStep::Done => ("DONE", None, None),
        ReceiptStep::Failed { reason, .. } => ("FAILED", None, Some(reason.as_str())),
        ReceiptStep::Retry { is_registered: true, at, reason } => ("REGISTERED", Some(*at), reason.as_deref()),
        ReceiptStep::Retry { is_registered: false, at, reason } => ("QUEUED", Some(*at), reason.as_deref()),
    };
    let is_number_spent = matches!(step, ReceiptStep::Failed { is_number_spent: true, .. });
    client.execute(&statement, &[&payment_id, &status, &at, &error, &is_number_spent]).await?;
    Ok(())
}

pub(super) async fn list(client: &impl Executor, only_failed: bool) -> Result<Vec<Receipt>> {
    let statement = client
        .prepare_cached(
            r"select r.*, p.amount, array[]::text[] as names, array[]::numeric[] as prices, array[]::integer[] as quantities
              from receipt r join payment p using (payment_id)
              where r.status = 'FAILED' or (not $1 and r.status <> 'DONE') order by r.payment_id",
        )
        .await?;
    client.query(&statement, &[&only_failed]).await?.iter().map(receipt_from_row).collect()
}

pub(super) async fn retry(client: &impl Executor, payment_id: i64, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"update receipt set status = 'QUEUED', tries = 0, next_try_at = $2
              where payment_id = $1 and status <> 'DONE'",
        )
        .await?;
    Ok(client.execute(&statement, &[&payment_id, &now]).await? == 1)
}
