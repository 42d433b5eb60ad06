//! The stock of imported items: counts are stored with the merge, and written into the stock in small transactions.
//!
//! # Invariants
//! - A merge locks no stock. Where it changes few items, their counts are applied in its transaction, at its end.
//! - A count is not lost: what a killed import has not applied, the next import or [`complete`] applies.
//! - What was sold since the moment of a count is subtracted from it, so a count may be applied at any time.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, Transaction};

use crate::config::{BrandConfig, ImportConfig};
use crate::foundation::error::Result;
use crate::platform::postgres;

/// The moment that the counts of a file are of.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountTime {
    /// `None`: the file does not say.
    pub as_of: Option<Timestamp>,
    /// What was sold after this is subtracted: `as_of`, or when the import began.
    pub since: Timestamp,
}

const INSERT_STOCK: &str = include_str!("insert_stock.sql");

const STAGE_COUNTS: &str = include_str!("stage_counts.sql");

/// Writes the stock of the new items in `import_ready`, and stores the counts of the others.
pub(super) async fn stage(transaction: &Transaction<'_>, time: CountTime) -> Result<()> {
    transaction.execute(INSERT_STOCK, &[&time.as_of, &time.since]).await?;
    transaction.execute(STAGE_COUNTS, &[&time.as_of, &time.since]).await?;
    Ok(())
}

/// Applies the stored counts in the transaction of the merge if they are at most one batch. Counts of stock that others have locked stay
/// stored.
pub(super) async fn apply_if_few(transaction: &Transaction<'_>, config: &ImportConfig) -> Result<()> {
    let limit = i64::from(config.stock_batch);
    let item_ids = page(transaction, i64::MIN, limit + 1).await?;
    if item_ids.len() as i64 <= limit {
        apply(transaction, &item_ids).await?;
    }
    Ok(())
}

/// Applies all stored counts, a batch to a transaction. Returns whether none is left: one stays stored when its stock was locked at every
/// attempt.
pub(super) async fn apply_all(client: &mut Client, config: &ImportConfig) -> Result<bool> {
    for attempt in 0..config.attempts {
        let mut after = i64::MIN;
        let mut is_complete = true;
        loop {
            let transaction = client.transaction().await?;
            let item_ids = page(&transaction, after, i64::from(config.stock_batch)).await?;
            let Some(last) = item_ids.last() else { break };
            is_complete &= apply(&transaction, &item_ids).await? == item_ids.len();
            transaction.commit().await?;
            after = *last;
        }
        if is_complete {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100) * (attempt + 1)).await;
    }
    Ok(false)
}

/// Deletes the stock of items that no longer exist and of which nothing is held, a batch to a transaction.
pub(super) async fn delete_unused(client: &Client, config: &ImportConfig) -> Result<()> {
    let statement = client.prepare(DELETE_UNUSED).await?;
    while client.execute(&statement, &[&i64::from(config.stock_batch)]).await? > 0 {}
    Ok(())
}

const DELETE_UNUSED: &str = r"
    delete from item_stock where item_id in (
        select s.item_id from item_stock s
        where s.held = 0 and not exists (select from item i where i.item_id = s.item_id)
        order by s.item_id limit $1 for update skip locked
    )";

/// Applies the counts that a killed import has left; returns whether it has. Does nothing while an import is running, which applies them.
///
/// # Errors
/// An unavailable database.
pub(crate) async fn complete(brand: &BrandConfig) -> Result<bool> {
    let mut client = postgres::connect(&brand.database).await?;
    Ok(super::try_lock(&client, &brand.name).await? && apply_all(&mut client, &brand.import).await?)
}

/// The items of the next stored counts, in ascending order.
async fn page(transaction: &Transaction<'_>, after: i64, limit: i64) -> Result<Vec<i64>> {
    let rows = transaction
        .query("select item_id from stock_count where item_id > $1 order by item_id limit $2", &[&after, &limit])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Locks in ascending order, as everywhere, and waits for no lock.
const LOCK_STOCK: &str = r"
    select item_id from item_stock where item_id = any ($1) order by item_id for update skip locked";

/// Rows that the update can change, for items that have none.
const INSERT_MISSING: &str = r"
    insert into item_stock (item_id)
    select i.item_id from item i
    where i.item_id = any ($1) and not exists (select from item_stock s where s.item_id = i.item_id)
    order by i.item_id on conflict do nothing";

const APPLY_COUNTS: &str = include_str!("apply_counts.sql");

/// A count whose item was removed meanwhile has no stock to change.
const DELETE_APPLIED: &str = r"
    delete from stock_count c
    where c.item_id = any ($1)
       or c.item_id = any ($2) and not exists (select from item_stock s where s.item_id = c.item_id)";

/// Applies the counts of these items, and returns how many of them are dealt with.
async fn apply(transaction: &Transaction<'_>, item_ids: &[i64]) -> Result<usize> {
    if item_ids.is_empty() {
        return Ok(0);
    }
    transaction.execute(INSERT_MISSING, &[&item_ids]).await?;
    let rows = transaction.query(LOCK_STOCK, &[&item_ids]).await?;
    let locked: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    transaction.execute(APPLY_COUNTS, &[&locked]).await?;
    let deleted = transaction.execute(DELETE_APPLIED, &[&locked, &item_ids]).await?;
    Ok(usize::try_from(deleted).unwrap_or(item_ids.len()))
}
