//! SQL of the outbox. One statement claims an email and sets its lease; only the holder of the lease records the result.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{EmailDraft, OutboxEntry, QueuedEmail, RetryOutcome};
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;
use crate::telemetry::metrics::Queue;

/// An email that this instance is sending, until its lease expires.
pub(super) struct ClaimedEmail {
    pub id: i64,
    pub subject_key: String,
    pub recipient: String,
    pub message_id: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub queued_at: Timestamp,
    /// This one included.
    pub attempts: i32,
    pub first_attempt_at: Timestamp,
    /// Identifies the lease: no two are equal.
    pub leased_until: Timestamp,
}

/// `false` when the key and the recipient have an email already.
pub(super) async fn insert(
    client: &impl Executor,
    draft: &EmailDraft,
    subject: &str,
    message_id: &str,
    now: Timestamp,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html,
                                       queued_at, tried_since, next_try_at)
              values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8)
              on conflict (subject_key, lower(recipient)) do nothing",
        )
        .await?;
    let EmailDraft { subject_key, to, language, text, html, .. } = draft;
    let inserted = client
        .execute(&statement, &[subject_key, to, &message_id, &language.tag(), &subject, text, html, &now])
        .await?;
    Ok(inserted == 1)
}

/// The emails with these subject keys, oldest first.
pub(super) async fn queued(client: &impl Executor, subject_keys: &[String]) -> Result<Vec<QueuedEmail>> {
    let statement = client
        .prepare_cached(
            r"select subject_key, recipient, queued_at, sent_at from mail_outbox
              where subject_key = any ($1) order by mail_id",
        )
        .await?;
    let rows = client.query(&statement, &[&subject_keys]).await?;
    let queued = rows.iter().map(|row| QueuedEmail {
        subject_key: row.get("subject_key"),
        recipient: row.get("recipient"),
        queued_at: row.get("queued_at"),
        sent_at: row.get("sent_at"),
    });
    Ok(queued.collect())
}

/// Claims the email that has been due longest and that no instance is sending.
pub(super) async fn claim(client: &impl Executor, now: Timestamp, lease: Duration) -> Result<Option<ClaimedEmail>> {
    let statement = client
        .prepare_cached(
            r"update mail_outbox set tries = tries + 1,
                                     leased_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
              where mail_id = (
                  select mail_id from mail_outbox
                  where status = 'QUEUED' and next_try_at <= $1
                    and (leased_until is null or leased_until < clock_timestamp())
                  order by next_try_at, mail_id limit 1
                  for update skip locked
              )
              returning mail_id, subject_key, recipient, message_id, subject, body_text, body_html, queued_at, tries,
                        tried_since, leased_until",
        )
        .await?;
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let row = client.query_opt(&statement, &[&now, &lease_ms]).await?;
    Ok(row.map(|row| ClaimedEmail {
        id: row.get("mail_id"),
        subject_key: row.get("subject_key"),
        recipient: row.get("recipient"),
        message_id: row.get("message_id"),
        subject: row.get("subject"),
        text: row.get("body_text"),
        html: row.get("body_html"),
        queued_at: row.get("queued_at"),
        attempts: row.get("tries"),
        first_attempt_at: row.get("tried_since"),
        leased_until: row.get("leased_until"),
    }))
}

/// `false` when the lease has expired and the email was claimed again.
pub(super) async fn mark_sent(client: &impl Executor, email: &ClaimedEmail, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"update mail_outbox set status = 'SENT', sent_at = $3, leased_until = null, last_error = null
              where mail_id = $1 and leased_until = $2 and status = 'QUEUED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&email.id, &email.leased_until, &now]).await? == 1)
}

/// Schedules a retry at `next_attempt_at`, or fails the email for good. `false` as in [`mark_sent`].
pub(super) async fn mark_not_sent(
    client: &impl Executor,
    email: &ClaimedEmail,
    next_attempt_at: Option<Timestamp>,
    error: &str,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"update mail_outbox set status = case when $3::timestamptz is null then 'FAILED' else 'QUEUED' end,
                                     next_try_at = coalesce($3, next_try_at), leased_until = null, last_error = $4
              where mail_id = $1 and leased_until = $2 and status = 'QUEUED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&email.id, &email.leased_until, &next_attempt_at, &error]).await? == 1)
}

/// Postpones every due email that no instance is sending, because the server accepts none at present.
pub(super) async fn postpone_due(client: &impl Executor, now: Timestamp, until: Timestamp, error: &str) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"update mail_outbox set next_try_at = $2, last_error = $3
              where mail_id in (
                  select mail_id from mail_outbox
                  where status = 'QUEUED' and next_try_at <= $1
                    and (leased_until is null or leased_until < clock_timestamp())
                  for update skip locked
              )",
        )
        .await?;
    Ok(client.execute(&statement, &[&now, &until, &error]).await?)
}

/// Oldest first.
pub(super) async fn list(client: &impl Executor, failed_only: bool, limit: i64) -> Result<Vec<OutboxEntry>> {
    let statement = client
        .prepare_cached(
            r"select mail_id, subject_key, recipient, status, tries, next_try_at, last_error from mail_outbox
              where status = 'FAILED' or (status = 'QUEUED' and not $1) order by mail_id limit $2",
        )
        .await?;
    let from_row = |row: &Row| OutboxEntry {
        id: row.get("mail_id"),
        subject_key: row.get("subject_key"),
        to: row.get("recipient"),
        is_failed: row.get::<_, &str>("status") == "FAILED",
        attempts: row.get("tries"),
        next_attempt_at: row.get("next_try_at"),
        last_error: row.get("last_error"),
    };
    Ok(client.query(&statement, &[&failed_only, &limit]).await?.iter().map(from_row).collect())
}

/// The numbers of queued and of failed emails.
pub(super) async fn counts(client: &impl Executor) -> Result<(i64, i64)> {
    let statement = client
        .prepare_cached(
            r"select (select count(*) from mail_outbox where status = 'QUEUED') as queued,
                     (select count(*) from mail_outbox where status = 'FAILED') as failed",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok((row.get("queued"), row.get("failed")))
}

pub(super) async fn retry(client: &impl Executor, id: i64, now: Timestamp) -> Result<RetryOutcome> {
    let statement = client
        .prepare_cached(
            r"with due as (
                  update mail_outbox set status = 'QUEUED', next_try_at = $2, tries = 0, tried_since = $2
                  where mail_id = $1 and status <> 'SENT' returning 1
              )
              select exists (select from due) as due, exists (select from mail_outbox where mail_id = $1) as known",
        )
        .await?;
    let row = client.query_one(&statement, &[&id, &now]).await?;
    Ok(match (row.get("due"), row.get("known")) {
        (true, _) => RetryOutcome::Due,
        (false, true) => RetryOutcome::AlreadySent,
        (false, false) => RetryOutcome::Unknown,
    })
}

pub(super) async fn retry_all_failed(client: &impl Executor, now: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"update mail_outbox set status = 'QUEUED', next_try_at = $1, tries = 0, tried_since = $1
              where status = 'FAILED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&now]).await?)
}

/// The numbers of queued and of failed emails, and the age of the oldest queued one.
pub(super) async fn queue_metrics(client: &impl Executor, now: Timestamp) -> Result<Queue> {
    let statement = client
        .prepare_cached(
            r"select (select count(*) from mail_outbox where status = 'QUEUED') as waiting,
                     (select count(*) from mail_outbox where status = 'FAILED') as failed,
                     (select min(queued_at) from mail_outbox where status = 'QUEUED') as oldest",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    let oldest: Option<Timestamp> = row.get("oldest");
    let oldest_s = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
    Ok(Queue { waiting: row.get("waiting"), failed: row.get("failed"), oldest_s })
}
