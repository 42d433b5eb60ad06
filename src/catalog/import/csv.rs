//! Reader of price lists in CSV: yields the rows below a header as items, one at a time.
//!
//! # Invariants
//! - One row is in memory at a time, and a row is at most 4 MB.
//! - A row whose cells do not fit the header is rejected: its values could stand in the wrong columns.

mod columns;

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use ::csv::{ReaderBuilder, StringRecord};

use super::category_path::CategoryPaths;
use super::feed;
use super::reading::{EXPECTED, invalid};
use super::record::{NAMELESS_ITEM, ReadRecord, Record, RecordProblem, number_of};
use super::yml::{Field, MAX_ID_BYTES, Offer, OfferProblem};
use crate::catalog::CatalogId;
use columns::{Column, Header};

const MAX_ROW_BYTES: u64 = 4 << 20;
const BUFFER_BYTES: usize = 64 << 10;

/// Reads a price list whose beginning is `head` and passes every item, and every rejected row, to `sink`.
///
/// # Errors
/// `InvalidData` without a header, and for a row without an end; those of the sink and of the reader.
pub(super) fn read(
    head: &str,
    reader: impl Read,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let Some(header) = Header::find(head) else { return Err(no_header(head)) };
    let ignored: Vec<&str> = header.ignored().collect();
    if !ignored.is_empty() {
        sink(Err(RecordProblem::corrected("header", format!("columns are not read: {}", ignored.join(", ")))))?;
    }
    let read_bytes = Rc::new(Cell::new(0));
    let rows = RowBudget { inner: feed::decode(reader)?, bytes: read_bytes.clone() };
    let mut rows = builder(header.delimiter).buffer_capacity(BUFFER_BYTES).from_reader(rows);
    let mut categories = CategoryPaths::default();
    let mut row = StringRecord::new();
    for number in 0u64.. {
        read_bytes.set(0);
        let line = rows.position().line();
        if !rows.read_record(&mut row).map_err(|error| unreadable(error, line))? {
            return Ok(());
        }
        let is_blank = row.iter().all(|cell| cell.trim().is_empty());
        if number > header.row && !is_blank {
            read_row(&header, &row, &format!("line {line}"), &mut categories, sink)?;
        }
    }
    Ok(())
}

fn builder(delimiter: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).has_headers(false).flexible(true);
    builder
}

fn no_header(head: &str) -> io::Error {
    let first = head.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let first: String = first.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    invalid(&format!(
        "the file is a text without the header of a price list: CSV needs a row with the names of its columns, among them id (or \
         код, артикул) and one such as name, price or quantity (название, цена, остаток); it begins with \"{first}\"; {EXPECTED}"
    ))
}

fn unreadable(error: ::csv::Error, line: u64) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            invalid(&format!("the row at line {line}: {error}"))
        }
        ::csv::ErrorKind::Io(error) => error,
        kind => invalid(&format!("the row at line {line}: {kind:?}")),
    }
}

fn read_row(
    header: &Header,
    row: &StringRecord,
    line: &str,
    categories: &mut CategoryPaths,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let excess = row.iter().skip(header.columns.len()).any(|cell| !cell.trim().is_empty());
    if excess || row.len() < header.columns.len() {
        let reason = format!("has {} cells, the header has {}", row.len(), header.columns.len());
        // Where a cell is too many, it is not known which one is the id.
        let item = header.id_of(row).filter(|_| !excess).map(|id| item_id(&id));
        return sink(Err(RecordProblem::rejected(line, reason).with_item(item)));
    }
    let Some(id) = header.id_of(row) else {
        return sink(Err(RecordProblem::rejected(line, "has no id").with_item(Some(NAMELESS_ITEM))));
    };
    if id.len() > MAX_ID_BYTES {
        let reason = "the id is longer than 200 bytes";
        return sink(Err(RecordProblem::rejected(line, reason).with_item(Some(NAMELESS_ITEM))));
    }
    let mut offer = Offer::default();
    let mut path = Vec::new();
    let mut sale_price = None;
    for (column, cell) in header.columns.iter().zip(row).filter(|(_, cell)| !cell.trim().is_empty()) {
        match column {
            Column::Field(field) => offer.add(*field, cell.to_owned()),
            Column::Article => offer.add(Field::VendorCode, cell.to_owned()),
            Column::Pictures => pictures(cell).for_each(|url| offer.add(Field::Picture, url.to_owned())),
            Column::SalePrice => sale_price = Some(cell),
            Column::Available => offer.available = Some(cell.to_owned()),
            Column::Param(name) => offer.add_param(name, "", cell),
            Column::Category => path.push(cell.trim()),
            Column::Id | Column::Ignored(_) => {}
        }
    }
    if let Some(sale_price) = sale_price {
        offer.reduce_price(sale_price.to_owned());
    }
    let category = match path.as_slice() {
        [id] if id.starts_with("cat_") || id.starts_with("sub_") => Some(CatalogId::Id((*id).to_owned())),
        [id] if id.bytes().all(|byte| byte.is_ascii_digit()) => Some(CatalogId::Number(number_of("category", id))),
        path => categories.resolve(&path.join(" > "), sink)?,
    };
    let bare_id = id.strip_prefix("item_").filter(|id| !id.is_empty()).unwrap_or(&id);
    let mut remarks: Vec<OfferProblem> = Vec::new();
    let mut item = offer.into_record(bare_id, &mut remarks);
    item.categories = category.into_iter().collect();
    sink(Ok(Record::Item(Box::new(item))))?;
    remarks.into_iter().try_for_each(|(kind, reason)| {
        sink(Err(RecordProblem { kind, ..RecordProblem::corrected(format!("{line} ({id})"), reason) }))
    })
}

fn item_id(id: &str) -> CatalogId {
    CatalogId::Id(format!("item_{}", id.strip_prefix("item_").unwrap_or(id)))
}

/// The addresses in a cell, which are separated by spaces, lines, `|`, `;` or commas.
fn pictures(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(|c: char| c.is_whitespace() || matches!(c, '|' | ';')).flat_map(|part| {
        let starts = part.match_indices(",http").map(|(at, _)| at);
        let ends: Vec<usize> = starts.chain([part.len()]).collect();
        let mut from = 0;
        let urls: Vec<&str> = ends
            .into_iter()
            .map(|end| {
                let url = part[from..end].trim_matches(',');
                from = end;
                url
            })
            .filter(|url| !url.is_empty())
            .collect();
        urls
    })
}

/// Fails when a row is longer than [`MAX_ROW_BYTES`]: a quote is missing at its end.
struct RowBudget<R> {
    inner: R,
    /// Bytes that were read since the beginning of the row, or of the buffer that it begins in.
    bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for RowBudget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.get() > MAX_ROW_BYTES {
            return Err(invalid("it is longer than 4 MB: a quote is missing at the end of a cell"));
        }
        let count = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
