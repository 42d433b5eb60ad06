//! The document's own JSON: an object with `regions`, `categories`, `items`; an array of records; or JSON lines.
//!
//! Called by `import::read_file`. Streams: one record is in memory at a time. A record that does not fit is reported and left
//! out; text that is no JSON at all ends the import, because what follows cannot be trusted (a single bad line of JSON
//! lines is only that line).

mod fields;
mod item;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::record::{CategoryRecord, Parent, Read, Record, Reference, RegionRecord, Rejected};
use fields::Fields;

type Sink<'a> = &'a mut dyn FnMut(Read) -> io::Result<()>;

/// The longest line of JSON lines, and what is looked at to tell them from one large object.
const LONGEST_LINE_BYTES: usize = 8 << 20;

/// The longest text of one record.
const LARGEST_RECORD_BYTES: usize = 4 << 20;

/// What the elements of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Region,
    Category,
    Item,
    /// Each says itself what it is.
    Any,
}

/// Reads one JSON file of any of the three shapes.
///
/// # Errors
/// What is no JSON, with its line and column; and whatever the sink fails with.
pub(super) fn read(mut reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let mut first = Vec::new();
    reader.by_ref().take(LONGEST_LINE_BYTES as u64).read_until(b'\n', &mut first)?;
    while first.trim_ascii().is_empty() && !first.is_empty() {
        first.clear();
        reader.by_ref().take(LONGEST_LINE_BYTES as u64).read_until(b'\n', &mut first)?;
    }
    if is_record(&first) {
        return read_lines(io::Cursor::new(first).chain(reader), sink);
    }
    read_document(io::Cursor::new(first).chain(reader), sink)
}

/// Whether a first line is a whole object that is a record rather than a small document.
fn is_record(line: &[u8]) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else { return false };
    let holds_records =
        |key: &str| object.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().all(Value::is_object));
    let is_document = ["items", "categories"].iter().any(|key| holds_records(key))
        || (holds_records("regions") && expected_of(&object) == Expected::Any);
    !is_document
}

fn read_lines(mut reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let count = reader.by_ref().take(LONGEST_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        if count == LONGEST_LINE_BYTES {
            return Err(io::Error::other(format!("line {number} is longer than {LONGEST_LINE_BYTES} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let place = format!("line {number}");
        match std::str::from_utf8(&line) {
            Ok(text) => record(text, Expected::Any, &place, sink)?,
            Err(_) => sink(Err(Rejected::left_out(place, "is not UTF-8")))?,
        }
    }
    Ok(())
}

fn read_document(reader: impl BufRead, sink: Sink<'_>) -> io::Result<()> {
    // serde's errors are texts, so an error of the sink is kept beside and told in its place.
    let failed = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let document = Document { sink: RefCell::new(sink), failed: &failed };
    let read = deserializer.deserialize_any(document).and_then(|()| deserializer.end());
    match (failed.into_inner(), read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(io::Error::other(format!("is no JSON that an import understands: {error}"))),
    }
}

struct Document<'a, 'f> {
    sink: RefCell<Sink<'a>>,
    failed: &'f RefCell<Option<io::Error>>,
}

impl Document<'_, '_> {
    fn take<E: serde::de::Error>(&self, raw: &RawValue, expected: Expected, place: &str) -> Result<(), E> {
        let mut sink = self.sink.borrow_mut();
        record(raw.get(), expected, place, *sink).map_err(|error| {
            *self.failed.borrow_mut() = Some(error);
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
        let mut known = false;
        while let Some(key) = map.next_key::<String>()? {
            let expected = match key.as_str() {
                "regions" => Expected::Region,
                "categories" => Expected::Category,
                "items" => Expected::Item,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(List { document: &self, expected, name: &key })?;
            known = true;
        }
        if known { Ok(()) } else { Err(serde::de::Error::custom("it has no regions, no categories and no items")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        List { document: &self, expected: Expected::Any, name: "" }.visit_seq(seq)
    }
}

struct List<'d, 'a, 'f> {
    document: &'d Document<'a, 'f>,
    expected: Expected,
    name: &'d str,
}

impl<'de> serde::de::DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of records in {}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0u64.. {
            let Some(raw) = seq.next_element::<Box<RawValue>>()? else { break };
            self.document.take(&raw, self.expected, &format!("{}[{index}]", self.name))?;
        }
        Ok(())
    }
}

/// One record (and a category's subcategories after it).
fn record(text: &str, expected: Expected, place: &str, sink: Sink<'_>) -> io::Result<()> {
    if text.len() > LARGEST_RECORD_BYTES {
        return sink(Err(Rejected::left_out(place, "is larger than 4 MB")));
    }
    let object = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return sink(Err(Rejected::left_out(place, "is no object"))),
        Err(error) => return sink(Err(Rejected::left_out(place, format!("is no JSON: {error}")))),
    };
    let expected = if expected == Expected::Any { expected_of(&object) } else { expected };
    let name = ["id", "itemID", "categoryID"].iter().find_map(|key| object.get(*key));
    let place = match name {
        Some(name) => format!("{place} ({})", name.as_str().map_or_else(|| name.to_string(), str::to_owned)),
        None => place.to_owned(),
    };
    let about = match (object.get("itemID").and_then(Value::as_i64), object.get("id").and_then(Value::as_str)) {
        _ if matches!(expected, Expected::Region | Expected::Category) => None,
        (_, Some(id)) => Some(Reference::Id(id.to_owned())),
        (number, None) => number.map(Reference::Number),
    };
    let mut fields = Fields::new(object);
    let read = match expected {
        Expected::Region => region(&mut fields).map(Record::Region),
        Expected::Category => return category(fields, None, &place, sink, 0),
        Expected::Item => item::read(&mut fields).map(|item| Record::Item(Box::new(item))),
        Expected::Any => Err("is no region, category or item".to_owned()),
    };
    sink(read.map_err(|reason| Rejected::left_out(place, reason).about(about)))
}

/// What a record is, by the members that only its kind has.
fn expected_of(object: &serde_json::Map<String, Value>) -> Expected {
    let has = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
    if has("itemID") || id.starts_with("item_") || has("price") {
        Expected::Item
    } else if has("city") || has("countryCode") {
        Expected::Region
    } else if has("categoryID")
        || has("parentID")
        || has("parentId")
        || id.starts_with("cat_")
        || id.starts_with("sub_")
    {
        Expected::Category
    } else {
        Expected::Any
    }
}

fn region(fields: &mut Fields) -> Result<RegionRecord, String> {
    let id = fields.text("id")?.ok_or("id: expected the region's id")?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=64).contains(&id.len()) || !id.bytes().all(plain) || id.starts_with(['_', '-']) {
        return Err("id: expected at most 64 lower-case letters, digits, _ or -".to_owned());
    }
    let country_code = fields.text("countryCode")?;
    if country_code.as_ref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err("countryCode: expected two capital letters, ISO 3166-1".to_owned());
    }
    Ok(RegionRecord {
        id,
        city: fields.filled_text("city")?,
        country: fields.filled_text("country")?,
        country_code,
        timezone: fields.filled_text("timezone")?,
        translations: fields.translations(&["city", "country"])?,
    })
}

/// A category and, after it, its nested subcategories; `above` is the category they are nested in.
fn category(
    mut fields: Fields,
    above: Option<&Reference>,
    place: &str,
    sink: Sink<'_>,
    depth: usize,
) -> io::Result<()> {
    /// As deep as the schema lets a tree be.
    const DEEPEST: usize = 20;
    let read = read_category(&mut fields, above);
    let own = match &read {
        Ok(record) => record.number.map(Reference::Number).or_else(|| record.id.clone().map(Reference::Id)),
        Err(_) => None,
    };
    sink(read.map(Record::Category).map_err(|reason| Rejected::left_out(place, reason)))?;
    let Some(own) = own else { return Ok(()) };
    let nested = match fields.take("subcategories") {
        None => return Ok(()),
        Some(Value::Array(nested)) if depth < DEEPEST => nested,
        Some(_) => {
            return sink(Err(Rejected::left_out(place, "subcategories: expected a list, at most 20 levels deep")));
        }
    };
    for (index, value) in nested.into_iter().enumerate() {
        let place = format!("{place}.subcategories[{index}]");
        match value {
            Value::Object(object) => category(Fields::new(object), Some(&own), &place, sink, depth + 1)?,
            _ => sink(Err(Rejected::left_out(place, "is no object")))?,
        }
    }
    Ok(())
}

fn read_category(fields: &mut Fields, above: Option<&Reference>) -> Result<CategoryRecord, String> {
    let number = fields.number("categoryID")?;
    let id = fields.id("id")?;
    if number.is_none() && id.is_none() {
        return Err("categoryID: expected a number, or id: a text".to_owned());
    }
    let direct = match fields.take("parentID") {
        None => None,
        Some(Value::Number(number)) if number.as_i64() == Some(0) => Some(Parent::Top),
        Some(Value::Number(number)) => {
            let number = number.as_i64().filter(|number| *number > 0);
            Some(Parent::Of(Reference::Number(number.ok_or("parentID: expected a whole number, 0 or more")?)))
        }
        Some(_) => return Err("parentID: expected a whole number, 0 or more".to_owned()),
    };
    let named = fields.filled_text("parentId")?.or(fields.filled_text("categoryId")?);
    let parent = match (direct, above, named) {
        (_, Some(above), _) => Some(Parent::Of(above.clone())),
        (Some(parent), None, _) => Some(parent),
        (None, None, named) => named.map(|id| Parent::Of(Reference::Id(id))),
    };
    let icon = fields.text("icon")?;
    let img = fields.text("img")?;
    Ok(CategoryRecord {
        number,
        id,
        parent,
        name: fields.filled_text("name")?,
        fallback_name: None,
        icon: icon.or(img),
        wide_banner: fields.text("wideBanner")?,
        project_id: fields.text("projectId")?,
        priority: fields.integer("priority")?,
        visible: fields.boolean("visible")?,
        regions: fields.region_ids()?,
        translations: fields.translations(&["name"])?,
    })
}

#[cfg(test)]
mod tests;
