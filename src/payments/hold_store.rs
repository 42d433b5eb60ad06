//! SQL that measures how much of the stock open payments hold.

use super::HeldShares;
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

pub(super) async fn shares(client: &impl Executor) -> Result<HeldShares> {
    let statement = client.prepare_cached(include_str!("held_shares.sql")).await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok(HeldShares { users: row.try_get("users")?, visitors: row.try_get("visitors")? })
}
