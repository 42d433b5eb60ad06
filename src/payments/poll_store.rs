//! SQL of polling: which payment is polled next, and by whom.
//!
//! # Invariants
//! - A poll is claimed by the statement that finds it due, so that concurrent callers cost the provider one request.
//! - A time that a wrong clock once put into the future does not stop polling: such a poll counts as due.

use jiff::Timestamp;

use crate::foundation::error::Result;
use crate::payments::provider::PollTarget;
use crate::payments::store::{Payment, by_id};
use crate::platform::postgres::Executor;

/// Returns the payment of a QR code, and what to poll when the caller has claimed a poll: the payment is open and was last polled
/// before `stale_before`, or by a clock that was over a minute ahead.
pub(super) async fn by_qr_id(
    client: &impl Executor,
    qr_id: &str,
    now: Timestamp,
    stale_before: Timestamp,
) -> Result<Option<(Payment, Option<PollTarget>)>> {
    let statement = client
        .prepare_cached(
            r"with claimed as (
                  update payment set looked_at = $2, asked_of_money = not asked_of_money
                  where qr_id = $1 and status in ('CREATED', 'WAITING') and (looked_at is null or looked_at < $3 or looked_at > $2::timestamptz + interval '1 minute')
                  returning asked_of_money
              )
              select p.*, (select asked_of_money from claimed) as poll_target from payment_sheet p where qr_id = $1",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&qr_id, &now, &stale_before]).await? else { return Ok(None) };
    let target: Option<bool> = row.try_get("poll_target")?;
    Ok(Some((Payment::from_row(&row)?, target.map(PollTarget::new))))
}

/// Makes the payment of a notification due for polling and returns it, so that the worker polls it even if the caller is interrupted.
/// The QR code is saved for polling unless one was saved before.
pub(super) async fn note_webhook(
    client: &impl Executor,
    bank_order_id: &str,
    qr_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<Payment>> {
    let statement = client
        .prepare_cached(
            r"update payment set look_at = case when status <> 'COMPLETED' then $3::timestamptz end, looks = 0,
                                 qr_id_told = coalesce(qr_id_told, $2)
              where bank_order_id = $1 returning payment_id",
        )
        .await?;
    match client.query_opt(&statement, &[&bank_order_id, &qr_id, &now]).await? {
        Some(row) => by_id(client, row.get(0)).await,
        None => Ok(None),
    }
}

/// A payment that is due for polling.
pub(super) struct DuePayment {
    pub payment: Payment,
    pub target: PollTarget,
    /// Whether another payment has paid its order: late money for an earlier code.
    pub is_order_paid: bool,
}

/// Claims payments that are due for polling and were last polled before `stale_before`: no other worker claims them before
/// `claimed_until`. No right clock schedules a poll after `latest`, so such a poll is due too.
pub(super) async fn claim_due(
    client: &impl Executor,
    now: Timestamp,
    stale_before: Timestamp,
    claimed_until: Timestamp,
    latest: Timestamp,
) -> Result<Vec<DuePayment>> {
    let statement = client.prepare_cached(include_str!("claim_due_payments.sql")).await?;
    let rows = client.query(&statement, &[&now, &stale_before, &claimed_until, &latest]).await?;
    let due = rows.iter().map(|row| {
        let target = PollTarget::new(row.try_get("poll_target")?);
        Ok(DuePayment { payment: Payment::from_row(row)?, target, is_order_paid: row.try_get("is_order_paid")? })
    });
    due.collect()
}

/// Schedules the next poll (`None`: no more polls) unless it was rescheduled since it was claimed until `claimed_until`; saves
/// a remark for the operator, except in place of why the payment needs manual action.
pub(super) async fn schedule(
    client: &impl Executor,
    payment_id: i64,
    claimed_until: Timestamp,
    next_poll_at: Option<Timestamp>,
    remark: Option<&str>,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"update payment set look_at = $3, remark = case when to_settle then remark else coalesce($4, remark) end
              where payment_id = $1 and look_at = $2",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &claimed_until, &next_poll_at, &remark]).await?;
    Ok(())
}
