//! The stock of imported items: counts are stored with the merge, and written into the stock in small transactions.
//!
//! # Invariants
//! - A merge locks no stock. Where it changes few items, their counts are applied in its transaction, at its end.
//! - A count is not lost: what a killed import has not applied, the next import or [`complete`] applies.
//! - What was sold since the moment of a count is subtracted from it, so a count may be applied at any time.

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::{Client, Transaction};

use super::ImportSource;
use crate::config::{BrandConfig, ImportConfig};
use crate::foundation::error::{Error, Result};
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

const CREATE_IMPORT_COUNT: &str = include_str!("create_import_count.sql");

/// $1: whether older counts replace newer ones.
const NOTE_OLDER: &str = r"
    insert into import_problem (label, reason, kind)
    select final_id,
           case when $1 then 'its stock is older than the one that is known, and replaces it'
                else 'its stock is older than the one that is known, which is kept' end,
           'corrected'
    from import_count where is_older order by row_no";

const STORE_COUNTS: &str = r"
    with stored as (
        insert into stock_count as c (item_id, quantity, level, available, as_of, counted_since)
        select item_id, quantity, level, available, as_of, $2::timestamptz from import_count where $1 or not is_older
        on conflict (item_id) do update
        set quantity = excluded.quantity, level = excluded.level, available = excluded.available, as_of = excluded.as_of,
            counted_since = excluded.counted_since
        returning c.item_id
    )
    insert into import_changed select item_id from stored";

/// How many counts of the file units were sold from since its time.
const COUNT_REDUCED: &str = r"
    select count(*) from import_ready r join import_item s using (row_no)
    where s.quantity > 0 and r.problem is null and not r.later_feed
      and r.item_id in (select item_id from stock_movement where moved_at > $1 group by item_id having sum(quantity) < 0)";

/// Writes the stock of the new items in `import_ready`, and stores the counts of the others. Older counts than those that are known are
/// reported, and replace them only with `older`. Returns from how many counts units are subtracted that were sold since the time of the file.
pub(super) async fn stage(transaction: &Transaction<'_>, time: CountTime, older: bool) -> Result<u64> {
    transaction.execute(INSERT_STOCK, &[&time.as_of, &time.since]).await?;
    transaction.batch_execute("drop table if exists import_count").await?;
    transaction.execute(CREATE_IMPORT_COUNT, &[&time.as_of, &time.since]).await?;
    transaction.execute(NOTE_OLDER, &[&older]).await?;
    transaction.execute(STORE_COUNTS, &[&older, &time.since]).await?;
    Ok(transaction.query_one(COUNT_REDUCED, &[&time.since]).await?.get::<_, i64>(0) as u64)
}

/// # Errors
/// 400 when a file is older than the last one of the source `source_name` and of its region.
pub(super) async fn check_order(
    transaction: &Transaction<'_>,
    source_name: &str,
    sources: &[ImportSource],
    times: &[CountTime],
) -> Result<()> {
    let last = "select dated_at from import_source where source = $1 and region_id = $2 and dated_at > $3";
    for (source, time) in sources.iter().zip(times) {
        let region = source.region.as_deref().unwrap_or_default();
        if let Some(as_of) = time.as_of
            && let Some(row) = transaction.query_opt(last, &[&source_name, &region, &as_of]).await?
        {
            let (path, last) = (source.path.display(), row.get::<_, Timestamp>(0));
            let message = format!(
                "{path} is of {as_of}, older than the file of {last} that was imported before: import it with --older if it should be."
            );
            return Err(Error::malformed("older_file", message));
        }
    }
    Ok(())
}

/// Stores the times of the files of the source `source_name`, for [`check_order`].
pub(super) async fn record_times(
    transaction: &Transaction<'_>,
    source_name: &str,
    sources: &[ImportSource],
    times: &[CountTime],
) -> Result<()> {
    let record = "insert into import_source as s (source, region_id, dated_at) values ($1, $2, $3)
        on conflict (source, region_id) do update
        set dated_at = greatest(s.dated_at, excluded.dated_at), imported_at = excluded.imported_at";
    for (source, time) in sources.iter().zip(times) {
        if let Some(as_of) = time.as_of {
            transaction.execute(record, &[&source_name, &source.region.as_deref().unwrap_or_default(), &as_of]).await?;
        }
    }
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
pub(in crate::catalog) async fn delete_unused(client: &Client, config: &ImportConfig) -> Result<()> {
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
