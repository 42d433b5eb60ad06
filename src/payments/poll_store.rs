//! SQL of who looks at a payment when: a visitor's poll, the bank's notification, the worker. Each look is claimed in the
//! statement that finds it due, so that many who want to know are one question to the bank.

use crate::platform::postgres::Executor;
use jiff::Timestamp;

use crate::foundation::error::Result;
use crate::payments::provider::raiffeisen::StatusEndpoint;
use crate::payments::store::{Payment, by_id};

/// Whose turn it is of the bank's two words.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollTarget {
    is_moneys: bool,
}

impl PollTarget {
    /// What is asked for now. A code that has had its time is at its end only if there is no money either.
    pub(super) fn at(self, payment: &Payment, now: Timestamp) -> StatusEndpoint {
        match self.is_moneys {
            _ if now >= payment.standing.expires_at => StatusEndpoint::Both,
            true => StatusEndpoint::Money,
            false => StatusEndpoint::Code,
        }
    }
}

/// The payment of a code, and when the caller is the one to ask the bank about it now, of what.
pub(super) async fn by_qr(
    client: &impl Executor,
    qr_id: &str,
    now: Timestamp,
    stale_before: Timestamp,
) -> Result<Option<(Payment, Option<PollTarget>)>> {
    let statement = client
        .prepare_cached(
            "with claimed as ( \
                 update payment set looked_at = $2, asked_of_money = not asked_of_money \
                 where qr_id = $1 and status in ('CREATED', 'WAITING') and (looked_at is null or looked_at < $3) \
                 returning asked_of_money \
             ) \
             select p.*, (select asked_of_money from claimed) as is_moneys from payment_sheet p where qr_id = $1",
        )
        .await?;
    let row = client.query_opt(&statement, &[&qr_id, &now, &stale_before]).await?;
    let turn = |is_moneys| PollTarget { is_moneys };
    row.map(|row| Ok((Payment::read(&row)?, row.try_get::<_, Option<bool>>("is_moneys")?.map(turn)))).transpose()
}

/// The payment that a notification is about. It is due to be looked at from now on, whatever becomes of the caller.
pub(super) async fn told(
    client: &impl Executor,
    bank_order_id: &str,
    qr_id: Option<&str>,
    now: Timestamp,
) -> Result<Option<Payment>> {
    let statement = client
        .prepare_cached(
            "update payment set look_at = case when status <> 'COMPLETED' then $3::timestamptz end, looks = 0, \
                                qr_id_told = coalesce(qr_id_told, $2) \
             where bank_order_id = $1 returning payment_id",
        )
        .await?;
    match client.query_opt(&statement, &[&bank_order_id, &qr_id, &now]).await? {
        Some(row) => by_id(client, row.get(0)).await,
        None => Ok(None),
    }
}

/// Payments whose look is due, each for one worker: the next is set far enough for this one to be done.
pub(super) async fn claim_due(
    client: &impl Executor,
    now: Timestamp,
    stale_before: Timestamp,
    again_at: Timestamp,
) -> Result<Vec<(Payment, PollTarget)>> {
    let statement = client
        .prepare_cached(
            "with due as ( \
                 select payment_id from payment \
                 where look_at <= $1 and (looked_at is null or looked_at < $2) \
                 order by look_at limit 50 for update skip locked \
             ), claimed as ( \
                 update payment p \
                 set look_at = $3, looked_at = $1, looks = looks + 1, asked_of_money = not asked_of_money from due \
                 where p.payment_id = due.payment_id returning p.payment_id, p.asked_of_money \
             ) \
             select s.*, claimed.asked_of_money as is_moneys from payment_sheet s join claimed using (payment_id)",
        )
        .await?;
    let rows = client.query(&statement, &[&now, &stale_before, &again_at]).await?;
    rows.iter().map(|row| Ok((Payment::read(row)?, PollTarget { is_moneys: row.try_get("is_moneys")? }))).collect()
}

/// When the worker looks next (`None`: never again), and what the bank said that somebody should know; unless somebody has
/// decided otherwise since it was `claimed` until then.
pub(super) async fn schedule(
    client: &impl Executor,
    payment_id: i64,
    claimed: Timestamp,
    look_at: Option<Timestamp>,
    remark: Option<&str>,
) -> Result<()> {
    let statement = client
        .prepare_cached(
            "update payment set look_at = $3, remark = coalesce($4, remark) where payment_id = $1 and look_at = $2",
        )
        .await?;
    client.execute(&statement, &[&payment_id, &claimed, &look_at, &remark]).await?;
    Ok(())
}
