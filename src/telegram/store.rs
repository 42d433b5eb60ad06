//! SQL of the bot: the offset of its updates.

use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// The offset of the next `getUpdates`; `None` before the first update.
pub(super) async fn next_update_id(client: &impl Executor, bot: &str) -> Result<Option<i64>> {
    let row = client.query_opt("select next_update_id from telegram_progress where bot = $1", &[&bot]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Records that all updates below `next` are handled; `false` when `lease_holder` has lost the lease.
pub(super) async fn save_next_update_id(
    client: &impl Executor,
    bot: &str,
    next: i64,
    lease_holder: &str,
) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"insert into telegram_progress (bot, next_update_id)
              select $1, $2 where exists (select from lease where holder = $3 and expires_at > clock_timestamp())
              on conflict (bot) do update set next_update_id = excluded.next_update_id",
        )
        .await?;
    Ok(client.execute(&statement, &[&bot, &next, &lease_holder]).await? == 1)
}
