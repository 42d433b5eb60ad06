//! Getting a catalogue in: files of several formats, staged, then merged in one transaction.
//!
//! Called by `bin/brandgate catalog import`. The way of a file: `feed` or `json` reads records, `stage` copies items into a
//! temporary table while reading, `merge` brings them into the shop. What must never happen: a visitor sees half an
//! import, a file decides how much memory is used, or a silent field blanks what the shop knows.

mod categories;
mod feed;
mod json;
mod merge;
pub mod record;
mod report;
mod reviews;
mod stage;
mod yml;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio_postgres::Client;

use crate::config::BrandConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres;

pub use report::{ImportReport, Summary};

/// A file to import; a feed of one region makes its items available there.
#[derive(Debug, Clone)]
pub struct ImportSource {
    pub path: PathBuf,
    pub region: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Any record that cannot be used fails the import.
    pub strict: bool,
    /// Find out what would change, and change nothing.
    pub dry_run: bool,
    /// Remove what the files no longer have.
    pub replace: bool,
}

/// How far the reading is; shared with whoever draws it.
#[derive(Debug, Clone, Default)]
pub struct ImportProgress {
    pub bytes_read: Arc<AtomicU64>,
    pub items_staged: Arc<AtomicU64>,
}

/// Imports the files in order into one brand's schema.
///
/// # Errors
/// A file that cannot be read to its end, a database that is away, and with `strict` any rejected record: then nothing
/// has changed. `report` has the records either way.
pub async fn run(
    brand: &BrandConfig,
    sources: &[ImportSource],
    options: Options,
    progress: &ImportProgress,
    report: &mut ImportReport,
) -> Result<Summary> {
    let mut client = postgres::connect(&brand.database).await?;
    if let Some(sentence) = postgres::find_problem(&client, &brand.name).await? {
        return Err(Error::internal(sentence));
    }
    let begun = Instant::now();
    let staged = stage::stage(&client, sources, progress, report).await?;
    let staging = begun.elapsed();
    let transaction = client.transaction().await?;
    let summary = merge::merge(&transaction, &brand.name, sources, staged, options, report).await?;
    let summary = Summary { staging, ..summary };
    if options.strict && report.rejected() > 0 {
        let sentence = format!("{} records cannot be used, and --strict was asked for.", report.rejected());
        return Err(Error::malformed("rejected_records", sentence));
    }
    if options.dry_run {
        transaction.rollback().await?;
    } else {
        transaction.commit().await?;
        if let Err(error) = tidy(brand, &client).await {
            tracing::warn!(brand = brand.name, %error, "imported, but the tables could not be tidied up");
        }
    }
    Ok(summary)
}

/// After many new rows: plans made for the old sizes are bad for the new ones, and rows that wait in the search index's list
/// are searched one by one. Both at once, on two connections.
async fn tidy(brand: &BrandConfig, client: &Client) -> Result<()> {
    let other = postgres::connect(&brand.database).await?;
    tokio::try_join!(
        client.batch_execute("analyze region, category, category_region, item, item_region, review"),
        other.batch_execute("select gin_clean_pending_list('item_search_idx')"),
    )?;
    Ok(())
}

/// Reads one file of either format and hands over its records.
fn read_file(
    source: &ImportSource,
    progress: &ImportProgress,
    sink: &mut dyn FnMut(record::Read) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let file: Box<dyn Read + Send> = match source.path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(&source.path)?),
    };
    let mut reader = BufReader::with_capacity(1 << 17, Counted { inner: file, bytes: progress.bytes_read.clone() });
    let head = reader.fill_buf()?;
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => json::read(reader, sink),
        Some(_) => yml::read(feed::open(reader)?, sink),
        None => Err(std::io::Error::other("the file is empty")),
    }
}

struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
