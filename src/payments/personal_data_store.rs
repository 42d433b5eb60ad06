//! SQL of the personal data in payments: read, removed on request, and removed when its retention ends.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::store::{ADVISORY_LOCK, owner_lock};
use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres::Executor;
use crate::session::Owner;
use crate::tenant::brand::Brand;

/// The maximum number of rows of each kind that [`forget_addresses`] changes in a run.
const MAX_FORGOTTEN: i64 = 1_000;

/// The owner keys of a Telegram user: the user's own, and those of the visitors that logged in as the user.
pub async fn owner_keys(client: &impl Executor, telegram_id: i64) -> Result<Vec<String>> {
    let user = Owner::User(telegram_id).key();
    let statement = client
        .prepare_cached("select visitor from payment_owner_link where owner = $1 order by linked_at, visitor")
        .await?;
    let visitors = client.query(&statement, &[&user]).await?;
    Ok(std::iter::once(user).chain(visitors.iter().map(|row| row.get("visitor"))).collect())
}

/// Until the end of the transaction, keeps the owners from opening payments.
pub async fn lock_owners(client: &impl Executor, brand: &str, owners: &[String]) -> Result<()> {
    let statement = client.prepare_cached(ADVISORY_LOCK).await?;
    let mut keys: Vec<String> = owners.iter().map(|owner| owner_lock(brand, owner)).collect();
    keys.sort_unstable();
    for key in &keys {
        client.execute(&statement, &[key]).await?;
    }
    Ok(())
}

/// The payments of these owners, and those whose front end named one of these users.
pub async fn of_person(client: &impl Executor, owners: &[String], user_ids: &[String]) -> Result<Vec<i64>> {
    let statement = client
        .prepare_cached(
            "select payment_id from payment where owner = any ($1) or site_user_id = any ($2) order by payment_id",
        )
        .await?;
    let rows = client.query(&statement, &[&owners, &user_ids]).await?;
    Ok(rows.iter().map(|row| row.get("payment_id")).collect())
}

/// Payments as a JSON array.
pub async fn personal_data(client: &impl Executor, payment_ids: &[i64], owners: &[String]) -> Result<Box<RawValue>> {
    let statement = client.prepare_cached(include_str!("personal_data.sql")).await?;
    let row = client.query_one(&statement, &[&payment_ids, &owners]).await?;
    RawValue::from_string(row.try_get("data")?).or_internal()
}

/// Removes what leads from these payments, and from the visitors that logged in, to a person.
pub async fn erase(client: &impl Executor, payment_ids: &[i64], owners: &[String]) -> Result<()> {
    let payments = client
        .prepare_cached(
            r"update payment set owner = 'erased:' || payment_id, site_user_id = null, telegram_username = null,
                                 address = null, redirect_url = null
              where payment_id = any ($1)",
        )
        .await?;
    client.execute(&payments, &[&payment_ids]).await?;
    let receipts = client
        .prepare_cached(
            r"update receipt set email = null, last_error = case when last_error not like '%@%' then last_error end
              where payment_id = any ($1)",
        )
        .await?;
    client.execute(&receipts, &[&payment_ids]).await?;
    let links =
        client.prepare_cached("delete from payment_owner_link where owner = any ($1) or visitor = any ($1)").await?;
    client.execute(&links, &[&owners]).await?;
    Ok(())
}

/// Removes client addresses of closed payments and email addresses of printed receipts whose retention has ended; returns how many.
///
/// # Errors
/// 503 while PostgreSQL is unavailable.
pub async fn forget_addresses(brand: &Brand) -> Result<u64> {
    let before: Timestamp = brand.clock.now() - brand.config.retention.addresses;
    let client = brand.postgres().await?;
    let payments = client
        .prepare_cached(
            r"update payment set address = null
              where payment_id in (
                  select payment_id from payment
                  where address is not null and created_at < $1 and status not in ('CREATED', 'WAITING')
                  order by created_at limit $2
              )",
        )
        .await?;
    let receipts = client
        .prepare_cached(
            r"update receipt set email = null
              where payment_id in (
                  select r.payment_id from receipt r join payment p using (payment_id)
                  where r.email is not null and r.status = 'DONE' and p.completed_at < $1 limit $2
              )",
        )
        .await?;
    let forgotten = client.execute(&payments, &[&before, &MAX_FORGOTTEN]).await?;
    Ok(forgotten + client.execute(&receipts, &[&before, &MAX_FORGOTTEN]).await?)
}
