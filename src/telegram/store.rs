//! SQL of the bot: the offset of its updates, and the updates that wait for their chat.

use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// The offset of the next `getUpdates`; `None` before the first update.
pub(super) async fn next_update_id(client: &impl Executor, bot: &str) -> Result<Option<i64>> {
    let row = client.query_opt("select next_update_id from telegram_progress where bot = $1", &[&bot]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Stores received updates, as ids and JSON, and the offset after them; `false`, and no effect, when `lease_holder` has lost the
/// lease.
pub(super) async fn receive(
    client: &impl Executor,
    bot: &str,
    next: i64,
    ids: &[i64],
    bodies: &[String],
    lease_holder: &str,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"with held as (
                  select name from lease where holder = $3 and expires_at > clock_timestamp()
              ), received as (
                  insert into telegram_update (bot, update_id, body)
                  select $1, u.id, u.body from unnest($4::bigint[], $5::text[]) u (id, body)
                  where exists (select from held)
                  on conflict (bot, update_id) do nothing
              )
              insert into telegram_progress (bot, next_update_id)
              select $1, $2 where exists (select from held)
              on conflict (bot) do update set next_update_id = excluded.next_update_id",
        )
        .await?;
    Ok(client.execute(&statement, &[&bot, &next, &lease_holder, &ids, &bodies]).await? == 1)
}

/// The ids and the JSON of the updates that are not handled yet, oldest first. Those older than a day, which is how long Telegram
/// keeps its own, are deleted.
pub(super) async fn unhandled(client: &impl Executor, bot: &str) -> Result<Vec<(i64, String)>> {
    client
        .execute("delete from telegram_update where bot = $1 and received_at < now() - interval '1 day'", &[&bot])
        .await?;
    let rows = client
        .query("select update_id, body from telegram_update where bot = $1 order by received_at, update_id", &[&bot])
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Deletes an update that is handled.
pub(super) async fn mark_handled(client: &impl Executor, bot: &str, id: i64) -> Result<()> {
    let statement = client.prepare_cached("delete from telegram_update where bot = $1 and update_id = $2").await?;
    client.execute(&statement, &[&bot, &id]).await?;
    Ok(())
}
