//! SQL of the outbox. A mail is claimed and its lease written in one statement; results are written by the lease's holder alone.

use std::time::Duration;

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::{Draft, Retried, Waiting};
use crate::foundation::error::Result;
use crate::telemetry::metrics::Queue;

/// A mail that this instance sends now, until its lease ends.
pub(super) struct Claimed {
    pub id: i64,
    pub about: String,
    pub recipient: String,
    pub message_id: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub queued_at: Timestamp,
    /// This one included.
    pub tries: i32,
    pub tried_since: Timestamp,
    /// Which lease it is: no two are equal.
    pub leased_until: Timestamp,
}

/// `false` when there is one about this to this address.
pub(super) async fn insert(
    client: &impl Executor,
    draft: &Draft,
    subject: &str,
    message_id: &str,
    now: Timestamp,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            "insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html, \
                                      queued_at, tried_since, next_try_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $8) \
             on conflict (subject_key, lower(recipient)) do nothing",
        )
        .await?;
    let Draft { about, to, language, text, html, .. } = draft;
    let written =
        client.execute(&statement, &[about, to, &message_id, &language.tag(), &subject, text, html, &now]).await?;
    Ok(written == 1)
}

/// Pairs of what mails are about and to whom they go.
pub(super) async fn recipients(client: &impl Executor, abouts: &[String]) -> Result<Vec<(String, String)>> {
    let statement = client
        .prepare_cached("select subject_key, recipient from mail_outbox where subject_key = any ($1) order by mail_id")
        .await?;
    let rows = client.query(&statement, &[&abouts]).await?;
    Ok(rows.iter().map(|row| (row.get("subject_key"), row.get("recipient"))).collect())
}

pub(super) async fn count_addresses(client: &impl Executor, about: &str) -> Result<i64> {
    let statement =
        client.prepare_cached("select count(*) as addresses from mail_outbox where subject_key = $1").await?;
    Ok(client.query_one(&statement, &[&about]).await?.get("addresses"))
}

/// The mail that is due for longest and that nobody else is sending.
pub(super) async fn claim(client: &impl Executor, now: Timestamp, lease: Duration) -> Result<Option<Claimed>> {
    let statement = client
        .prepare_cached(
            "update mail_outbox set tries = tries + 1, \
                                    leased_until = clock_timestamp() + $2::bigint * interval '1 millisecond' \
             where mail_id = ( \
                 select mail_id from mail_outbox \
                 where status = 'QUEUED' and next_try_at <= $1 \
                   and (leased_until is null or leased_until < clock_timestamp()) \
                 order by next_try_at, mail_id limit 1 \
                 for update skip locked \
             ) \
             returning mail_id, subject_key, recipient, message_id, subject, body_text, body_html, queued_at, tries, \
                       tried_since, leased_until",
        )
        .await?;
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let row = client.query_opt(&statement, &[&now, &lease_ms]).await?;
    Ok(row.map(|row| Claimed {
        id: row.get("mail_id"),
        about: row.get("subject_key"),
        recipient: row.get("recipient"),
        message_id: row.get("message_id"),
        subject: row.get("subject"),
        text: row.get("body_text"),
        html: row.get("body_html"),
        queued_at: row.get("queued_at"),
        tries: row.get("tries"),
        tried_since: row.get("tried_since"),
        leased_until: row.get("leased_until"),
    }))
}

/// `false` when the lease is another one's by now.
pub(super) async fn sent(client: &impl Executor, mail: &Claimed, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            "update mail_outbox set status = 'SENT', sent_at = $3, leased_until = null, last_error = null \
             where mail_id = $1 and leased_until = $2 and status = 'QUEUED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&mail.id, &mail.leased_until, &now]).await? == 1)
}

/// It is tried again at `next`, or never where that is `None`. `false` when the lease is another one's by now.
pub(super) async fn not_sent(
    client: &impl Executor,
    mail: &Claimed,
    next: Option<Timestamp>,
    error: &str,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            "update mail_outbox set status = case when $3::timestamptz is null then 'FAILED' else 'QUEUED' end, \
                                    next_try_at = coalesce($3, next_try_at), leased_until = null, last_error = $4 \
             where mail_id = $1 and leased_until = $2 and status = 'QUEUED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&mail.id, &mail.leased_until, &next, &error]).await? == 1)
}

/// Whatever is due waits until then, because the server takes nothing now. What others are sending is left alone.
pub(super) async fn postpone_due(client: &impl Executor, now: Timestamp, until: Timestamp, error: &str) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "update mail_outbox set next_try_at = $2, last_error = $3 \
             where mail_id in ( \
                 select mail_id from mail_outbox \
                 where status = 'QUEUED' and next_try_at <= $1 \
                   and (leased_until is null or leased_until < clock_timestamp()) \
                 for update skip locked \
             )",
        )
        .await?;
    Ok(client.execute(&statement, &[&now, &until, &error]).await?)
}

/// Oldest first.
pub(super) async fn waiting(client: &impl Executor, failed: bool, count: i64) -> Result<Vec<Waiting>> {
    let statement = client
        .prepare_cached(
            "select mail_id, subject_key, recipient, status, tries, next_try_at, last_error from mail_outbox \
             where status = 'FAILED' or (status = 'QUEUED' and not $1) order by mail_id limit $2",
        )
        .await?;
    let waiting = |row: &Row| Waiting {
        id: row.get("mail_id"),
        about: row.get("subject_key"),
        to: row.get("recipient"),
        failed: row.get::<_, &str>("status") == "FAILED",
        tries: row.get("tries"),
        next_try_at: row.get("next_try_at"),
        last_error: row.get("last_error"),
    };
    Ok(client.query(&statement, &[&failed, &count]).await?.iter().map(waiting).collect())
}

/// How many are queued and how many were given up.
pub(super) async fn counts(client: &impl Executor) -> Result<(i64, i64)> {
    let statement = client
        .prepare_cached(
            "select (select count(*) from mail_outbox where status = 'QUEUED') as queued, \
                    (select count(*) from mail_outbox where status = 'FAILED') as failed",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok((row.get("queued"), row.get("failed")))
}

pub(super) async fn retry(client: &impl Executor, id: i64, now: Timestamp) -> Result<Retried> {
    let statement = client
        .prepare_cached(
            "with due as ( \
                 update mail_outbox set status = 'QUEUED', next_try_at = $2, tries = 0, tried_since = $2 \
                 where mail_id = $1 and status <> 'SENT' returning 1 \
             ) \
             select exists (select from due) as due, exists (select from mail_outbox where mail_id = $1) as known",
        )
        .await?;
    let row = client.query_one(&statement, &[&id, &now]).await?;
    Ok(match (row.get("due"), row.get("known")) {
        (true, _) => Retried::Due,
        (false, true) => Retried::Sent,
        (false, false) => Retried::Unknown,
    })
}

pub(super) async fn retry_all_failed(client: &impl Executor, now: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "update mail_outbox set status = 'QUEUED', next_try_at = $1, tries = 0, tried_since = $1 \
             where status = 'FAILED'",
        )
        .await?;
    Ok(client.execute(&statement, &[&now]).await?)
}

/// Of what waits, of what was given up, and how long the oldest waits by this clock.
pub(super) async fn figures(client: &impl Executor, now: Timestamp) -> Result<Queue> {
    let statement = client
        .prepare_cached(
            "select (select count(*) from mail_outbox where status = 'QUEUED') as waiting, \
                    (select count(*) from mail_outbox where status = 'FAILED') as failed, \
                    (select min(queued_at) from mail_outbox where status = 'QUEUED') as oldest",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    let oldest: Option<Timestamp> = row.get("oldest");
    let oldest_s = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
    Ok(Queue { waiting: row.get("waiting"), failed: row.get("failed"), oldest_s })
}
