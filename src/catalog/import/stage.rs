//! Staging of an import: reads the files on a blocking thread and copies their items into a temporary table.
//!
//! # Invariants
//! - A bounded queue of blocks connects the reader and the database, so that memory does not grow with the file.
//! - The temporary table belongs to the connection: a killed import leaves nothing behind.

use std::fmt::Write;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::currency::Rates;
use super::file_time::FileTime;
use super::reading::ReadRules;
use super::record::{
    CategoryRecord, ItemRecord, ProblemKind, ReadRecord, Record, RecordProblem, RegionRecord, Stock, hashed_number,
};
use super::report::ImportReport;
use super::unpack::read_file;
use super::{ImportProgress, ImportSource};
use crate::catalog::CatalogId;
use crate::config::ImportConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::vat::VatNumbers;

/// Size of a block of rows that is sent to the database.
const BLOCK_BYTES: usize = 1 << 18;

/// Blocks in the queue between the reader and the database.
const QUEUED_BLOCKS: usize = 4;

/// Categories are held in memory until the merge.
const MAX_CATEGORIES: usize = 500_000;

/// The records of all files: regions and categories as values, items in the table `import_item`.
#[derive(Default)]
pub(super) struct StagedRecords {
    pub regions: Vec<RegionRecord>,
    pub categories: Vec<CategoryRecord>,
    pub items: u64,
    /// Items whose record was rejected, by number and by id: `--replace` does not remove them.
    pub rejected_numbers: Vec<i64>,
    pub rejected_ids: Vec<String>,
    /// Rejected records that do not identify their item.
    pub unattributed: u64,
    /// The records of each file.
    pub files: Vec<FileRecords>,
}

/// How many records of one file were read.
#[derive(Default)]
pub(super) struct FileRecords {
    pub items: u64,
    pub regions_and_categories: u64,
    pub rejected: u64,
    /// Those that are certainly records of items.
    pub rejected_items: u64,
    pub time: Option<FileTime>,
}

impl FileRecords {
    /// Whether every item, or every record, was rejected, when the merge could use this many items.
    pub(super) fn is_unusable(&self, usable_items: u64) -> bool {
        let has_items = self.items + self.rejected_items > 0;
        usable_items == 0 && (has_items || (self.rejected > 0 && self.regions_and_categories == 0))
    }
}

const CREATE_IMPORT_ITEM: &str = include_str!("create_import_item.sql");

/// Reads all files into memory and the table `import_item`, with prices in roubles where there is a rate; complete ones clear the stock that they do not mention.
///
/// # Errors
/// A file that cannot be read completely, with its name and the reason.
pub(super) async fn stage(
    client: &Client,
    sources: &[ImportSource],
    is_complete: bool,
    config: &ImportConfig,
    rules: ReadRules,
    progress: &ImportProgress,
    report: &mut ImportReport,
) -> Result<StagedRecords> {
    client.batch_execute(CREATE_IMPORT_ITEM).await?;
    let (blocks, mut queue) = mpsc::channel::<Bytes>(QUEUED_BLOCKS);
    let (sources, progress) = (sources.to_vec(), progress.clone());
    let (rates, vat_numbers) = (Rates::new(&config.rates), config.vat_numbers);
    let reader_report = std::mem::take(report);
    let reading = tokio::task::spawn_blocking(move || {
        let mut stager = Stager {
            blocks,
            block: String::with_capacity(BLOCK_BYTES),
            staged: StagedRecords::default(),
            report: reader_report,
            rates,
            vat_numbers,
            is_complete,
        };
        let result = sources.iter().enumerate().try_for_each(|(file_no, source)| {
            stager.rates.begin_file();
            let mut sink = |read| stager.add(file_no, read, &progress);
            read_file(source, &rules, &progress, &mut sink)
                .map_err(|error| io::Error::other(format!("{}: {error}", source.path.display())))
        });
        let result = result.and_then(|()| stager.flush());
        (stager.staged, stager.report, result)
    });
    let copied: Result<()> = async {
        let mut copy = pin!(client.copy_in::<_, Bytes>("copy import_item from stdin").await?);
        while let Some(block) = queue.recv().await {
            copy.send(block).await?;
        }
        copy.finish().await?;
        Ok(())
    }
    .await;
    // After a failed copy the reader must not wait for space in the queue.
    drop(queue);
    let (staged, reader_report, result) = reading.await.or_internal()?;
    *report = reader_report;
    copied?;
    result.map_err(|error| Error::malformed("unreadable_file", error.to_string()))?;
    client.batch_execute("analyze import_item (row_no, file_no, number, id)").await?;
    Ok(staged)
}

/// Collects the records on the reader's thread.
struct Stager {
    blocks: mpsc::Sender<Bytes>,
    block: String,
    staged: StagedRecords,
    report: ImportReport,
    rates: Rates,
    vat_numbers: VatNumbers,
    /// Whether the files are complete (`--replace`).
    is_complete: bool,
}

impl Stager {
    fn add(&mut self, file_no: usize, read: ReadRecord, progress: &ImportProgress) -> io::Result<()> {
        if self.staged.files.len() <= file_no {
            self.staged.files.resize_with(file_no + 1, FileRecords::default);
        }
        let file = &mut self.staged.files[file_no];
        match &read {
            Ok(Record::Item(_)) => file.items += 1,
            Ok(Record::Region(_) | Record::Category(_)) => file.regions_and_categories += 1,
            Ok(Record::FileTime(time)) => file.time = Some(*time),
            Ok(Record::Currency(_)) => {}
            Err(problem) if problem.kind == ProblemKind::Rejected => {
                file.rejected += 1;
                file.rejected_items += u64::from(!matches!(problem.item, None | Some(CatalogId::Number(..=0))));
            }
            Err(_) => {}
        }
        match read {
            Ok(Record::FileTime(_)) => {}
            Ok(Record::Currency(currency)) => self.rates.add(currency),
            Ok(Record::Region(region)) => self.staged.regions.push(region),
            Ok(Record::Category(_)) if self.staged.categories.len() >= MAX_CATEGORIES => {
                return Err(io::Error::other(format!("more than {MAX_CATEGORIES} categories")));
            }
            Ok(Record::Category(category)) => self.staged.categories.push(category),
            Ok(Record::Item(mut item)) => {
                let problems = [self.rates.convert(&mut item), resolve_vat(&mut item, self.vat_numbers)];
                problems.into_iter().flatten().for_each(|problem| self.report.add(problem));
                self.staged.items += 1;
                progress.items_staged.fetch_add(1, Ordering::Relaxed);
                write_row(&mut self.block, file_no, self.staged.items, &item, self.is_complete);
                if self.block.len() >= BLOCK_BYTES {
                    self.flush()?;
                }
            }
            Err(problem) => {
                match &problem.item {
                    _ if problem.kind != ProblemKind::Rejected => {}
                    Some(CatalogId::Number(number)) => self.staged.rejected_numbers.push(*number),
                    Some(CatalogId::Id(id)) => self.staged.rejected_ids.push(id.clone()),
                    None => self.staged.unattributed += 1,
                }
                self.report.add(problem);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, String::with_capacity(BLOCK_BYTES + (BLOCK_BYTES >> 2)));
        // The receiver is dropped only when the copy failed; `stage` returns the error of the copy instead of this one.
        self.blocks.blocking_send(block.into()).map_err(|_| io::Error::other("the copy to the database failed"))
    }
}

/// Replaces a number by the rate that it means to the brand, or returns what is to be reported of it.
fn resolve_vat(item: &mut ItemRecord, numbers: VatNumbers) -> Option<RecordProblem> {
    let number = item.vat_number.take()?;
    item.vat = numbers.rate(number);
    let label = item.id.clone().unwrap_or_default();
    let reason = format!("vat {number} is ambiguous: ignored; say in [import] vat_numbers what it means");
    item.vat.is_none().then(|| RecordProblem::corrected(label, reason))
}

/// One row in COPY's text format, with the columns of `CREATE_IMPORT_ITEM`.
///
/// In a complete file, stock that is not mentioned is cleared.
fn write_row(out: &mut String, file_no: usize, row_no: u64, item: &ItemRecord, is_complete: bool) {
    let hashed = item.id.as_deref().map_or_else(|| item.number.unwrap_or(0), |id| hashed_number("item", id));
    let clears = is_complete && item.defect.is_none();
    let has_stock = clears || !matches!(item.stock, None | Some(Stock::Available));
    let (quantity, remainings) = match item.stock {
        Some(Stock::Count(count)) => (Some(count), None),
        Some(Stock::Level(level)) => (None, Some(level)),
        Some(Stock::Available) => (None, clears.then_some("high")),
        None => (None, None),
    };
    let numbers = item.categories.iter().filter_map(|category| match category {
        CatalogId::Number(number) => Some(number.to_string()),
        CatalogId::Id(_) => None,
    });
    let ids = item.categories.iter().filter_map(|category| match category {
        CatalogId::Id(id) => Some(id.clone()),
        CatalogId::Number(_) => None,
    });
    let mut row = Row { out, is_first: true };
    row.plain(Some(file_no));
    row.plain(Some(row_no));
    row.plain(item.number);
    row.text(item.id.as_deref());
    row.plain(Some(hashed));
    row.array(Some(&numbers.collect::<Vec<_>>()));
    row.array(Some(&ids.collect::<Vec<_>>()));
    row.text(item.subcategory.as_deref());
    row.text(item.name.as_deref());
    row.text(item.simple_description.as_deref());
    row.text(item.description.as_deref());
    row.text(item.description_fields.as_deref());
    row.text(item.currency.as_deref());
    row.plain(item.price);
    row.plain(item.discount);
    row.plain(item.sale_price);
    row.plain(item.min_quantity);
    row.plain(item.step_quantity);
    row.plain(item.purchase_price);
    row.text(item.attributes.as_deref());
    row.plain(Some(has_stock));
    row.plain(Some(item.stock == Some(Stock::Available) && !has_stock));
    row.plain(quantity);
    row.plain(remainings);
    row.plain(item.vat);
    row.plain(item.rating);
    row.plain(item.rating_count);
    row.plain(item.visible);
    row.plain(item.priority);
    row.array(item.tags.as_deref());
    row.array(item.badges.as_deref());
    row.text(item.photos.as_deref());
    row.text(item.questions.as_deref());
    row.text(item.translations.as_deref());
    row.array(item.regions.as_deref());
    row.text(item.reviews.as_deref());
    row.text(item.defect.as_deref());
    row.text(item.source.as_deref());
    row.text(item.retired_at.as_deref());
    out.push('\n');
}

/// Writes a row in COPY's text format (PostgreSQL, "COPY", File Formats).
struct Row<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl Row<'_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push('\t');
        }
    }

    /// A value whose text needs no escaping.
    fn plain(&mut self, value: Option<impl std::fmt::Display>) {
        self.separate();
        match value {
            Some(value) => write!(self.out, "{value}").expect("writing to a String does not fail"),
            None => self.out.push_str("\\N"),
        }
    }

    fn text(&mut self, value: Option<&str>) {
        self.separate();
        match value {
            Some(value) => escape(self.out, value),
            None => self.out.push_str("\\N"),
        }
    }

    /// A PostgreSQL array literal of quoted elements.
    fn array(&mut self, values: Option<&[String]>) {
        let literal = values.map(|values| {
            let quoted = values.iter().map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
            format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
        });
        self.text(literal.as_deref());
    }
}

fn escape(out: &mut String, text: &str) {
    for (index, part) in text.split(['\\', '\t', '\n', '\r']).enumerate() {
        if index > 0 {
            // The byte before this part is one of the four separators.
            let position = part.as_ptr() as usize - text.as_ptr() as usize - 1;
            out.push_str(match text.as_bytes()[position] {
                b'\\' => "\\\\",
                b'\t' => "\\t",
                b'\n' => "\\n",
                _ => "\\r",
            });
        }
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structural_characters_of_copy_are_escaped() {
        let mut out = String::new();
        let mut row = Row { out: &mut out, is_first: true };
        row.text(Some("a\tb\\c\nd\r"));
        row.text(None);
        row.array(Some(&["x\"y\\z".to_owned(), "п, р".to_owned()]));
        assert_eq!(out, "a\\tb\\\\c\\nd\\r\t\\N\t{\"x\\\\\"y\\\\\\\\z\",\"п, р\"}");
    }
}
