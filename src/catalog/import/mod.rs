//! Catalogue import: files of several formats are read into a staging table, which is merged in one transaction.
//!
//! `unpack` and `format` open a file; `json`, `csv`, or `feed` and `yml`, read its records; `stage` copies items into a temporary table while reading; `merge`
//! updates the shop; `counts` updates the stock.
//!
//! # Invariants
//! - Visitors see the catalogue before or after an import, never a part of it. Where it changes the stock of many items, the stock follows
//!   within seconds, a batch at a time.
//! - Memory does not grow with the size of a file.
//! - A field that a file does not mention keeps its value, unless the files are complete (`replace`).
//! - An item belongs to one source, and an import changes no item of another source.

mod categories;
mod category_path;
mod category_sources;
mod category_tree;
mod counts;
mod csv;
mod currency;
mod feed;
mod file_time;
mod format;
mod json;
mod merge;
mod money;
mod problems;
mod reading;
pub(crate) mod record;
mod report;
mod retire;
mod reviews;
mod stage;
mod stock;
mod unpack;
mod yml;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Client;

use crate::config::BrandConfig;
use crate::foundation::count::counted;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres;

use counts::CountTime;
pub(crate) use counts::complete;
pub(super) use counts::delete_unused;
pub use file_time::parse_time;
use merge::MergeRules;
use reading::ReadRules;
use record::RecordProblem;
use report::ChangeCounts;
pub use report::{ImportReport, ImportSummary};
use stage::StagedRecords;

/// A file to import; a feed with a region makes its items available in that region.
#[derive(Debug, Clone)]
pub struct ImportSource {
    pub path: PathBuf,
    pub region: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Fail the import when any record is rejected or incomplete.
    pub strict: bool,
    /// Roll back instead of committing.
    pub dry_run: bool,
    /// The files are complete: hide the items of the source that they do not contain, and clear what their records do
    /// not mention of pictures, descriptions, parameters and stock.
    pub replace: bool,
    /// Where the files come from; empty for the brand's own.
    pub source: String,
    /// Move items of the brand's own source that the files contain to `source`.
    pub adopt: bool,
    /// The share of the source's items that `replace` may hide, 0-100; `None`: the brand's setting.
    pub max_removed_percent: Option<u32>,
    /// Accept a file that is older than the last one, and counts that are older than those that are known.
    pub older: bool,
    pub stock_time: StockTime,
}

/// The moment that the counts of the files are of. What was sold since is subtracted from them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StockTime {
    /// The one that each file says; nothing is subtracted where it says none.
    #[default]
    OfFile,
    /// The beginning of the import, whatever the files say.
    Now,
    At(Timestamp),
}

/// Explains [`is_source_name`].
pub const SOURCE_NAME_RULE: &str = "expected at most 64 lower-case letters, digits, _ or -";

/// Whether a text can name a source: 1 to 64 lower-case letters, digits, `_` or `-`, not starting with `_` or `-`.
pub fn is_source_name(text: &str) -> bool {
    let is_name_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_name_byte) && !text.starts_with(['_', '-'])
}

/// How much has been read; the counters are shared with the caller's progress display.
#[derive(Debug, Clone, Default)]
pub struct ImportProgress {
    pub bytes_read: Arc<AtomicU64>,
    pub items_staged: Arc<AtomicU64>,
}

/// Imports the files in order into one brand's schema.
///
/// # Errors
/// A file that cannot be read completely, an unavailable database, and with `strict` any rejected or incomplete record. Nothing has
/// changed then. `report` is filled in either case.
pub async fn run(
    brand: &BrandConfig,
    sources: &[ImportSource],
    options: &ImportOptions,
    progress: &ImportProgress,
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    let mut client = postgres::connect(&brand.database).await?;
    if let Some(problem) = postgres::find_problem(&client, &brand.database, &brand.name).await? {
        return Err(Error::internal(problem));
    }
    let started_at = Instant::now();
    let now = client.query_one("select now()", &[]).await?.get(0);
    let rules = ReadRules { now, max_unpacked_bytes: brand.import.max_unpacked_bytes };
    let staged = stage::stage(&client, sources, options.replace, &brand.import, rules, progress, report).await?;
    let staging = started_at.elapsed();
    let times = count_times(brand, sources, &staged, options.stock_time, now, report);
    lock(&client, &brand.name).await?;
    if !options.dry_run {
        apply_counts(brand, &mut client).await?;
    }
    let max_removed_percent = options.max_removed_percent.unwrap_or(brand.import.max_removed_percent);
    let rules = MergeRules { options, times: &times, max_removed_percent };
    let mut attempts_left = brand.import.attempts;
    let summary = loop {
        attempts_left -= 1;
        let merged = merge_once(brand, &mut client, sources, &staged, &rules, report).await;
        match merged {
            Err(error) if attempts_left > 0 && merge::is_conflict(&error) => {
                tracing::warn!(brand = brand.name, %error, "failed to merge beside other transactions; trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            merged => break merged?,
        }
    };
    if !options.dry_run {
        apply_counts(brand, &mut client).await?;
        if summary.items.removed > 0 {
            counts::delete_unused(&client, &brand.import).await?;
        }
        let ChangeCounts { new, changed, removed } = summary.items;
        if let Err(error) = maintain_tables(brand, &client, new + changed + removed).await {
            tracing::warn!(brand = brand.name, %error, "failed to analyze the tables after the import; autovacuum will do it");
        }
    }
    Ok(ImportSummary { staging, ..summary })
}

/// The time before another attempt; the other transactions take less.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Merges the staged records in one transaction. An attempt that fails beside another transaction adds nothing to the report, wherever
/// it fails.
async fn merge_once(
    brand: &BrandConfig,
    client: &mut Client,
    sources: &[ImportSource],
    staged: &StagedRecords,
    rules: &MergeRules<'_>,
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    let mut attempt = ImportReport::collecting();
    let before = (report.rejected(), report.incomplete());
    let merged = merge_and_commit(brand, client, sources, staged, rules, before, &mut attempt).await;
    if !merged.as_ref().is_err_and(merge::is_conflict) {
        report.append(attempt);
    }
    merged
}

/// `reported`: how many records were rejected, and how many incomplete, before the merge.
async fn merge_and_commit(
    brand: &BrandConfig,
    client: &mut Client,
    sources: &[ImportSource],
    staged: &StagedRecords,
    rules: &MergeRules<'_>,
    reported: (u64, u64),
    report: &mut ImportReport,
) -> Result<ImportSummary> {
    let options = rules.options;
    let transaction = client.transaction().await?;
    let summary = merge::merge(&transaction, sources, staged, rules, report).await?;
    let (rejected, incomplete) = (reported.0 + report.rejected(), reported.1 + report.incomplete());
    if options.strict && rejected + incomplete > 0 {
        let rejected = counted(rejected, "rejected record");
        let message = format!("{rejected}, {incomplete} incomplete, and --strict is set.");
        return Err(Error::malformed("rejected_records", message));
    }
    if options.dry_run {
        transaction.rollback().await?;
    } else {
        counts::apply_if_few(&transaction, &brand.import).await?;
        transaction.commit().await?;
    }
    Ok(summary)
}

/// The times of the files' counts. A file cannot be of the future: its clock, or its time zone, is another one.
fn count_times(
    brand: &BrandConfig,
    sources: &[ImportSource],
    staged: &StagedRecords,
    stock_time: StockTime,
    now: Timestamp,
    report: &mut ImportReport,
) -> Vec<CountTime> {
    let time_of = |(file_no, source): (usize, &ImportSource)| {
        let of_file = staged.files.get(file_no).and_then(|file| file.time?.in_zone(&brand.timezone));
        let as_of = match stock_time {
            StockTime::OfFile => of_file,
            StockTime::Now => Some(now),
            StockTime::At(time) => Some(time),
        };
        if as_of.is_some_and(|as_of| as_of > now + MAX_CLOCK_DIFFERENCE) {
            let reason = "is of a time in the future: its stock counts as that of now";
            report.add(RecordProblem::corrected(source.path.display().to_string(), reason));
        }
        let as_of = as_of.map(|as_of| as_of.min(now));
        CountTime { as_of, since: as_of.unwrap_or(now) }
    };
    sources.iter().enumerate().map(time_of).collect()
}

/// By how much the clock of a file's source may be ahead without a report.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_mins(1);

/// The key of the lock that only one import of a brand holds at a time.
fn lock_key(brand: &str) -> String {
    format!("brandgate:import:{brand}")
}

/// Takes the brand's import lock until the connection ends, or returns `false` if another import has it.
async fn try_lock(client: &Client, brand: &str) -> Result<bool> {
    let lock_now = "select pg_try_advisory_lock(hashtextextended($1, 0))";
    Ok(client.query_one(lock_now, &[&lock_key(brand)]).await?.get(0))
}

/// Takes the brand's import lock until the connection ends.
async fn lock(client: &Client, brand: &str) -> Result<()> {
    if !try_lock(client, brand).await? {
        tracing::warn!(brand, "another import of this brand is running; waiting until it is done");
        client.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&lock_key(brand)]).await?;
    }
    Ok(())
}

/// Applies the counts of this import, or those that a killed one has left.
async fn apply_counts(brand: &BrandConfig, client: &mut Client) -> Result<()> {
    if !counts::apply_all(client, &brand.import).await? {
        tracing::warn!(
            brand = brand.name,
            "failed to write the stock of items that are locked; a background job will do it"
        );
    }
    Ok(())
}

/// After many new rows the planner needs statistics of the new sizes, and the pending list of the search index (GIN,
/// searched row by row) has to be merged. Both run at the same time, on two connections. Neither is worth its time, which grows with the
/// table, after a change of few items: autovacuum does it then.
async fn maintain_tables(brand: &BrandConfig, client: &Client, changes: u64) -> Result<()> {
    if !client.query_one(ARE_MANY, &[&i64::try_from(changes).or_internal()?]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let other = postgres::connect(&brand.database).await?;
    tokio::try_join!(
        client.batch_execute("analyze region, category, category_region, item, item_stock, item_region, review"),
        other.batch_execute("select gin_clean_pending_list('item_search_idx')"),
    )?;
    Ok(())
}

/// Whether so many changes are a twentieth of the items that the statistics know of; without statistics, any are.
const ARE_MANY: &str = r"
    select $1::bigint > 0 and $1::bigint * 20 >= reltuples from pg_class where oid = 'item'::regclass";

#[cfg(test)]
mod fuzz_tests;
