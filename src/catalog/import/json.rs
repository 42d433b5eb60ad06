//! Reader of the API's JSON: an object with `regions`, `categories` and `items`, an array of records, or JSON lines.
//!
//! # Invariants
//! - One record is in memory at a time.
//! - A record of the wrong shape is rejected and the others are read. Malformed JSON fails the import, because the rest
//!   of the file cannot be trusted; in JSON lines it rejects only its line.

mod fields;
mod item;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::file_time::FileTime;
use super::record::{CategoryRecord, Parent, ReadRecord, Record, RecordProblem, RegionRecord};
use crate::catalog::CatalogId;
use crate::foundation::whole_number;
use fields::Fields;

type Sink<'a> = &'a mut dyn FnMut(ReadRecord) -> io::Result<()>;

/// The longest line of JSON lines; also how much of a file is read to tell them from one large object.
const MAX_LINE_BYTES: usize = 8 << 20;

/// The member of a document, and the only member of a line, with the moment that the stock of the file is of.
const STOCK_AS_OF: &str = "stockAsOf";

const MAX_RECORD_BYTES: usize = 4 << 20;

/// The kind of the records in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordKind {
    Region,
    Category,
    Item,
    /// The moment that the file is of.
    FileTime,
    /// Each record is recognised by its members.
    Any,
}

const NO_FILE_TIME: &str = "expected a time (RFC 3339); what was sold since is not subtracted from the stock";

/// Reads one JSON file of any of the three shapes.
///
/// # Errors
/// Malformed JSON, with its line and column, and errors of the sink.
pub(super) fn read(mut reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let mut first = Vec::new();
    reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut first)?;
    while first.trim_ascii().is_empty() && !first.is_empty() {
        first.clear();
        reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut first)?;
    }
    if is_record(&first) {
        return read_lines(io::Cursor::new(first).chain(reader), sink);
    }
    read_document(io::Cursor::new(first).chain(reader), sink)
}

/// Whether the first line is an object that is a record rather than a whole document.
fn is_record(line: &[u8]) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else { return false };
    let holds_records =
        |key: &str| object.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().all(Value::is_object));
    let is_document = ["items", "categories"].iter().any(|key| holds_records(key))
        || (holds_records("regions") && kind_of(&object) == RecordKind::Any);
    !is_document
}

fn read_lines(mut reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let count = reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        if count == MAX_LINE_BYTES {
            return Err(io::Error::other(format!("line {number} is longer than {MAX_LINE_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let label = format!("line {number}");
        match std::str::from_utf8(&line) {
            Ok(text) => read_record(text, RecordKind::Any, &label, sink)?,
            Err(_) => sink(Err(RecordProblem::rejected(label, "is not UTF-8")))?,
        }
    }
    Ok(())
}

fn read_document(reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    // serde turns errors into text, so an error of the sink is kept here and returned instead.
    let sink_error = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let document = Document { sink: RefCell::new(sink), sink_error: &sink_error };
    let read = deserializer.deserialize_any(document).and_then(|()| deserializer.end());
    match (sink_error.into_inner(), read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(io::Error::other(format!("not a JSON catalogue: {error}"))),
    }
}

struct Document<'a, 'f> {
    sink: RefCell<Sink<'a>>,
    sink_error: &'f RefCell<Option<io::Error>>,
}

impl Document<'_, '_> {
    fn read_element<E: serde::de::Error>(&self, raw: &RawValue, kind: RecordKind, label: &str) -> Result<(), E> {
        let mut sink = self.sink.borrow_mut();
        read_record(raw.get(), kind, label, *sink).map_err(|error| {
            *self.sink_error.borrow_mut() = Some(error);
            E::custom("the import failed")
        })
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with regions, categories or items, or a list of records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_records = false;
        while let Some(key) = map.next_key::<String>()? {
            let kind = match key.as_str() {
                STOCK_AS_OF => {
                    let raw = map.next_value::<Box<RawValue>>()?;
                    self.read_element(&raw, RecordKind::FileTime, STOCK_AS_OF)?;
                    continue;
                }
                "regions" => RecordKind::Region,
                "categories" => RecordKind::Category,
                "items" => RecordKind::Item,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(RecordList { document: &self, kind, name: &key })?;
            has_records = true;
        }
        if has_records {
            Ok(())
        } else {
            Err(serde::de::Error::custom("it has no regions, no categories and no items"))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        RecordList { document: &self, kind: RecordKind::Any, name: "" }.visit_seq(seq)
    }
}

struct RecordList<'d, 'a, 'f> {
    document: &'d Document<'a, 'f>,
    kind: RecordKind,
    name: &'d str,
}

impl<'de> serde::de::DeserializeSeed<'de> for RecordList<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RecordList<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of records in {}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0u64.. {
            let Some(raw) = seq.next_element::<Box<RawValue>>()? else { break };
            self.document.read_element(&raw, self.kind, &format!("{}[{index}]", self.name))?;
        }
        Ok(())
    }
}

/// Reads one record, and the subcategories of a category after it.
fn read_record(text: &str, kind: RecordKind, label: &str, sink: Sink<'_>) -> io::Result<()> {
    if text.len() > MAX_RECORD_BYTES {
        return sink(Err(RecordProblem::rejected(label, "is larger than 4 MB")));
    }
    if kind == RecordKind::FileTime {
        let time = serde_json::from_str::<String>(text).ok().and_then(|time| FileTime::parse(&time));
        return sink(time.map(Record::FileTime).ok_or_else(|| RecordProblem::corrected(label, NO_FILE_TIME)));
    }
    let object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return sink(Err(RecordProblem::rejected(label, "is not an object"))),
        Err(error) => return sink(Err(RecordProblem::rejected(label, format!("is not JSON: {error}")))),
    };
    let kind = if kind == RecordKind::Any { kind_of(&object) } else { kind };
    if kind == RecordKind::FileTime {
        let time = object.get(STOCK_AS_OF).map_or_else(String::new, Value::to_string);
        return read_record(&time, kind, label, sink);
    }
    let name = ["id", "itemID", "categoryID"].iter().find_map(|key| object.get(*key));
    let label = match name {
        Some(name) => format!("{label} ({})", name.as_str().map_or_else(|| name.to_string(), str::to_owned)),
        None => label.to_owned(),
    };
    let item = match (object.get("itemID").and_then(whole_number::from_json), object.get("id").and_then(Value::as_str))
    {
        _ if matches!(kind, RecordKind::Region | RecordKind::Category) => None,
        (_, Some(id)) => Some(CatalogId::Id(id.to_owned())),
        (number, None) => number.map(CatalogId::Number),
    };
    let mut fields = Fields::new(object);
    let read = match kind {
        RecordKind::Region => read_region(&mut fields).map(Record::Region),
        RecordKind::Category => return read_categories(fields, None, &label, sink, 0),
        RecordKind::Item => {
            return match item::read(&mut fields) {
                Err(reason) => sink(Err(RecordProblem::rejected(label, reason).with_item(item))),
                Ok((record, unknown_stock)) => {
                    sink(Ok(Record::Item(Box::new(record))))?;
                    unknown_stock.map_or(Ok(()), |reason| sink(Err(RecordProblem::incomplete(label, reason))))
                }
            };
        }
        RecordKind::FileTime | RecordKind::Any => Err("is not a region, category or item".to_owned()),
    };
    sink(read.map_err(|reason| RecordProblem::rejected(label, reason).with_item(item)))
}

/// Recognises a record by the members that only its kind has.
fn kind_of(object: &serde_json::Map<String, Value>) -> RecordKind {
    let has = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
    if has("itemID") || id.starts_with("item_") || has("price") {
        RecordKind::Item
    } else if has("city") || has("countryCode") {
        RecordKind::Region
    } else if has("categoryID")
        || has("parentID")
        || has("parentId")
        || id.starts_with("cat_")
        || id.starts_with("sub_")
    {
        RecordKind::Category
    } else if object.len() == 1 && object.contains_key(STOCK_AS_OF) {
        RecordKind::FileTime
    } else {
        RecordKind::Any
    }
}

fn read_region(fields: &mut Fields) -> Result<RegionRecord, String> {
    let id = fields.text("id")?.ok_or("id: expected the region's id")?;
    let is_id_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=64).contains(&id.len()) || !id.bytes().all(is_id_byte) || id.starts_with(['_', '-']) {
        return Err("id: expected at most 64 lower-case letters, digits, _ or -".to_owned());
    }
    let country_code = fields.text("countryCode")?;
    if country_code.as_ref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err("countryCode: expected two capital letters, ISO 3166-1".to_owned());
    }
    Ok(RegionRecord {
        id,
        city: fields.name("city")?,
        country: fields.name("country")?,
        country_code,
        timezone: fields.filled_text("timezone")?,
        translations: fields.translations(&["city", "country"])?,
    })
}

/// Reads a category and then its nested subcategories; `parent` is the category that it is nested in.
fn read_categories(
    mut fields: Fields,
    parent: Option<&CatalogId>,
    label: &str,
    sink: Sink<'_>,
    depth: usize,
) -> io::Result<()> {
    /// The limit of the constraint `category_path_check`.
    const MAX_DEPTH: usize = 20;
    let read = read_category(&mut fields, parent);
    let id = match &read {
        Ok(record) => record.number.map(CatalogId::Number).or_else(|| record.id.clone().map(CatalogId::Id)),
        Err(_) => None,
    };
    sink(read.map(Record::Category).map_err(|reason| RecordProblem::rejected(label, reason)))?;
    let Some(id) = id else { return Ok(()) };
    let nested = match fields.take("subcategories") {
        None => return Ok(()),
        Some(Value::Array(nested)) if depth < MAX_DEPTH => nested,
        Some(_) => {
            return sink(Err(RecordProblem::rejected(label, "subcategories: expected a list, at most 20 levels deep")));
        }
    };
    for (index, value) in nested.into_iter().enumerate() {
        let label = format!("{label}.subcategories[{index}]");
        match value {
            Value::Object(object) => read_categories(Fields::new(object), Some(&id), &label, sink, depth + 1)?,
            _ => sink(Err(RecordProblem::rejected(label, "is not an object")))?,
        }
    }
    Ok(())
}

fn read_category(fields: &mut Fields, nested_in: Option<&CatalogId>) -> Result<CategoryRecord, String> {
    let number = fields.number("categoryID")?;
    let id = fields.id("id")?;
    if number.is_none() && id.is_none() {
        return Err("categoryID: expected a number, or id: a text".to_owned());
    }
    let parent_number = match fields.take("parentID") {
        None => None,
        Some(number) => match whole_number::from_json(&number) {
            Some(0) => Some(Parent::Top),
            Some(number @ 1..) => Some(Parent::Of(CatalogId::Number(number))),
            _ => return Err("parentID: expected a whole number, 0 or more".to_owned()),
        },
    };
    let parent_id = fields.filled_text("parentId")?.or(fields.filled_text("categoryId")?);
    let parent = match (nested_in, parent_number, parent_id) {
        (Some(outer), _, _) => Some(Parent::Of(outer.clone())),
        (None, Some(parent), _) => Some(parent),
        (None, None, parent_id) => parent_id.map(|id| Parent::Of(CatalogId::Id(id))),
    };
    let icon = fields.text("icon")?;
    let img = fields.text("img")?;
    Ok(CategoryRecord {
        number,
        id,
        parent,
        name: fields.name("name")?,
        fallback_name: None,
        icon: icon.or(img),
        wide_banner: fields.text("wideBanner")?,
        project_id: fields.text("projectId")?,
        priority: fields.integer("priority")?,
        visible: fields.boolean("visible")?,
        regions: fields.region_ids()?,
        translations: fields.translations(&["name"])?,
        source: fields.source()?,
        source_number: fields.number("sourceNumber")?,
    })
}

#[cfg(test)]
mod tests;
