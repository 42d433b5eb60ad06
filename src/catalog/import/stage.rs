//! Items on their way into a temporary table, by COPY, while the file is read.
//!
//! Called by `import::run`. Reading and encoding run on a thread of their own; a short queue of blocks stands between it and
//! the database, so that memory does not grow with the file. The temporary table belongs to this connection: a kill
//! leaves nothing behind.

use std::fmt::Write;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::record::{CategoryRecord, ItemRecord, Record, Reference, RegionRecord, Stock, hashed_number};
use super::report::ImportReport;
use super::{ImportProgress, ImportSource, read_file};
use crate::foundation::error::{Error, Result, ResultExt};

/// A block of rows on its way to the database.
const BLOCK_BYTES: usize = 1 << 18;

/// Blocks between the reader and the database.
const QUEUED_BLOCKS: usize = 4;

/// More categories than any shop has; they are held in memory until the merge.
const MOST_CATEGORIES: usize = 500_000;

/// What was read: the small kinds as values, the items in `import_item`.
#[derive(Default)]
pub(super) struct Staged {
    pub regions: Vec<RegionRecord>,
    pub categories: Vec<CategoryRecord>,
    pub items: u64,
    /// Items whose record could not be used, by number and by id: they stay as they are.
    pub spared_numbers: Vec<i64>,
    pub spared_ids: Vec<String>,
    /// Records that could not be used and do not even say what they are about.
    pub unattributed: u64,
}

const CREATE: &str = "
    create temporary table import_item (
        file_no integer not null,
        row_no bigint not null,
        number bigint,
        id text,
        hashed bigint not null,
        category_numbers bigint[],
        category_ids text[],
        subcategory text,
        name text,
        simple_description text,
        description text,
        description_fields jsonb,
        currency text,
        price numeric(14, 2),
        discount numeric(5, 2),
        has_stock boolean not null,
        available boolean not null,
        quantity integer,
        remainings text,
        rating numeric(2, 1),
        visible boolean,
        priority integer,
        tags text[],
        badges text[],
        photos jsonb,
        questions jsonb,
        translations jsonb,
        regions text[],
        reviews jsonb
    )";

/// Reads all files into `import_item` and memory.
///
/// # Errors
/// A file that cannot be read to its end: its name and what was wrong.
pub(super) async fn stage(
    client: &Client,
    sources: &[ImportSource],
    progress: &ImportProgress,
    report: &mut ImportReport,
) -> Result<Staged> {
    client.batch_execute(CREATE).await?;
    let (blocks, mut queue) = mpsc::channel::<Bytes>(QUEUED_BLOCKS);
    let (sources, progress) = (sources.to_vec(), progress.clone());
    let taken = std::mem::take(report);
    let reading = tokio::task::spawn_blocking(move || {
        let mut reading =
            Reading { blocks, block: String::with_capacity(BLOCK_BYTES), staged: Staged::default(), report: taken };
        let read = sources.iter().enumerate().try_for_each(|(file_no, source)| {
            let mut sink = |read| reading.take(file_no, read, &progress);
            read_file(source, &progress, &mut sink)
                .map_err(|error| io::Error::other(format!("{}: {error}", source.path.display())))
        });
        let read = read.and_then(|()| reading.flush());
        (reading.staged, reading.report, read)
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
    // A failed copy must not leave the reader waiting for room in the queue.
    drop(queue);
    let (staged, taken, read) = reading.await.or_internal()?;
    *report = taken;
    copied?;
    read.map_err(|error| Error::malformed("unreadable_file", error.to_string()))?;
    client.batch_execute("analyze import_item (row_no, file_no, number, id)").await?;
    Ok(staged)
}

/// The reader's side.
struct Reading {
    blocks: mpsc::Sender<Bytes>,
    block: String,
    staged: Staged,
    report: ImportReport,
}

impl Reading {
    fn take(&mut self, file_no: usize, read: super::record::Read, progress: &ImportProgress) -> io::Result<()> {
        match read {
            Ok(Record::Region(region)) => self.staged.regions.push(region),
            Ok(Record::Category(_)) if self.staged.categories.len() >= MOST_CATEGORIES => {
                return Err(io::Error::other(format!("more than {MOST_CATEGORIES} categories")));
            }
            Ok(Record::Category(category)) => self.staged.categories.push(category),
            Ok(Record::Item(item)) => {
                self.staged.items += 1;
                progress.items_staged.fetch_add(1, Ordering::Relaxed);
                write_row(&mut self.block, file_no, self.staged.items, &item);
                if self.block.len() >= BLOCK_BYTES {
                    self.flush()?;
                }
            }
            Err(rejected) if rejected.kept => self.report.notice(rejected),
            Err(rejected) => {
                match &rejected.item {
                    Some(Reference::Number(number)) => self.staged.spared_numbers.push(*number),
                    Some(Reference::Id(id)) => self.staged.spared_ids.push(id.clone()),
                    None => self.staged.unattributed += 1,
                }
                self.report.reject(rejected);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, String::with_capacity(BLOCK_BYTES + (BLOCK_BYTES >> 2)));
        // The database's side is gone only when the copy failed, and that error is the one to tell.
        self.blocks.blocking_send(block.into()).map_err(|_| io::Error::other("the database ended the copy"))
    }
}

/// One row in COPY's text format, columns as in `CREATE`.
fn write_row(out: &mut String, file_no: usize, row_no: u64, item: &ItemRecord) {
    let hashed = item.id.as_deref().map_or_else(|| item.number.unwrap_or(0), |id| hashed_number("item", id));
    let (quantity, remainings) = match item.stock {
        Some(Stock::Count(count)) => (Some(count), None),
        Some(Stock::Level(level)) => (None, Some(level)),
        Some(Stock::Available) | None => (None, None),
    };
    let numbers = item.categories.iter().filter_map(|category| match category {
        Reference::Number(number) => Some(number.to_string()),
        Reference::Id(_) => None,
    });
    let ids = item.categories.iter().filter_map(|category| match category {
        Reference::Id(id) => Some(id.clone()),
        Reference::Number(_) => None,
    });
    let mut row = Row { out, first: true };
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
    row.plain(Some(!matches!(item.stock, None | Some(Stock::Available))));
    row.plain(Some(item.stock == Some(Stock::Available)));
    row.plain(quantity);
    row.plain(remainings);
    row.plain(item.rating);
    row.plain(item.visible);
    row.plain(item.priority);
    row.array(item.tags.as_deref());
    row.array(item.badges.as_deref());
    row.text(item.photos.as_deref());
    row.text(item.questions.as_deref());
    row.text(item.translations.as_deref());
    row.array(item.regions.as_deref());
    row.text(item.reviews.as_deref());
    out.push('\n');
}

/// A row of COPY's text format under construction (PostgreSQL, "COPY", File Formats).
struct Row<'a> {
    out: &'a mut String,
    first: bool,
}

impl Row<'_> {
    fn next(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push('\t');
        }
    }

    /// A value whose text needs no escaping.
    fn plain(&mut self, value: Option<impl std::fmt::Display>) {
        self.next();
        match value {
            Some(value) => write!(self.out, "{value}").expect("a String takes everything"),
            None => self.out.push_str("\\N"),
        }
    }

    fn text(&mut self, value: Option<&str>) {
        self.next();
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
    for (index, piece) in text.split(['\\', '\t', '\n', '\r']).enumerate() {
        if index > 0 {
            // What stood before this piece was one of the four, each a single byte.
            let position = piece.as_ptr() as usize - text.as_ptr() as usize - 1;
            out.push_str(match text.as_bytes()[position] {
                b'\\' => "\\\\",
                b'\t' => "\\t",
                b'\n' => "\\n",
                _ => "\\r",
            });
        }
        out.push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copy_would_take_for_structure_is_escaped() {
        let mut out = String::new();
        let mut row = Row { out: &mut out, first: true };
        row.text(Some("a\tb\\c\nd\r"));
        row.text(None);
        row.array(Some(&["x\"y\\z".to_owned(), "п, р".to_owned()]));
        assert_eq!(out, "a\\tb\\\\c\\nd\\r\t\\N\t{\"x\\\\\"y\\\\\\\\z\",\"п, р\"}");
    }
}
