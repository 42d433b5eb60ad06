//! SQL of the personal data in the outbox: read, removed on request, and removed when its retention ends.

use serde_json::value::RawValue;

use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres::Executor;
use crate::tenant::brand::Brand;

/// The maximum number of emails of each kind that [`forget`] changes in a run.
const MAX_FORGOTTEN: i64 = 1_000;

/// The emails with these subject keys as a JSON array.
pub async fn personal_data(client: &impl Executor, subject_keys: &[String]) -> Result<Box<RawValue>> {
    let statement = client
        .prepare_cached(
            r"select coalesce(jsonb_agg(jsonb_build_object(
                         'about', subject_key, 'recipient', recipient, 'subject', subject, 'text', body_text,
                         'status', status, 'queuedAt', queued_at, 'sentAt', sent_at) order by mail_id), '[]')::text as data
              from mail_outbox where subject_key = any ($1)",
        )
        .await?;
    let row = client.query_one(&statement, &[&subject_keys]).await?;
    RawValue::from_string(row.try_get("data")?).or_internal()
}

/// Removes recipient and text of the sent emails with these subject keys, and deletes the others; returns how many.
pub async fn erase(client: &impl Executor, subject_keys: &[String]) -> Result<u64> {
    let unsent =
        client.prepare_cached("delete from mail_outbox where subject_key = any ($1) and status <> 'SENT'").await?;
    let sent = client
        .prepare_cached(
            r"update mail_outbox set recipient = mail_erased_recipient(mail_id), body_text = '', body_html = ''
              where subject_key = any ($1) and recipient <> mail_erased_recipient(mail_id)",
        )
        .await?;
    let deleted = client.execute(&unsent, &[&subject_keys]).await?;
    Ok(deleted + client.execute(&sent, &[&subject_keys]).await?)
}

/// Removes the texts and the recipients of sent emails, and deletes emails that were given up, when their retention has ended; returns
/// how many were changed.
///
/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn forget(brand: &Brand) -> Result<u64> {
    let (now, retention) = (brand.clock.now(), &brand.config.retention);
    let client = brand.postgres().await?;
    let mut forgotten = 0;
    for (sql, before) in [
        (
            r"update mail_outbox set body_text = '', body_html = ''
              where mail_id in (select mail_id from mail_outbox where status = 'SENT' and body_text <> '' and sent_at < $1
                                order by sent_at limit $2)",
            now - retention.mail_bodies,
        ),
        (
            r"update mail_outbox set recipient = mail_erased_recipient(mail_id)
              where mail_id in (select mail_id from mail_outbox
                                where status = 'SENT' and recipient <> mail_erased_recipient(mail_id) and sent_at < $1
                                order by sent_at limit $2)",
            now - retention.addresses,
        ),
        (
            r"delete from mail_outbox
              where mail_id in (select mail_id from mail_outbox where status = 'FAILED' and tried_since < $1 limit $2)",
            now - retention.addresses,
        ),
    ] {
        let statement = client.prepare_cached(sql).await?;
        forgotten += client.execute(&statement, &[&before, &MAX_FORGOTTEN]).await?;
    }
    Ok(forgotten)
}
