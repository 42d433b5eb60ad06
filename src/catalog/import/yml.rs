//! Reader of YML feeds (Yandex Market Language), and of Google's, as records, one at a time.
//!
//! # Invariants
//! - Memory does not grow with the file: one offer is held at a time, and no XML event exceeds its byte budget.
//! - Entities are not expanded.
//! - A file that is truncated or not well-formed is an error: half a catalogue must not be taken for a whole one.

mod category;
mod event_budget;
mod google;
mod html;
mod offer;
mod offer_reader;
mod shop;
mod text;

use std::collections::HashSet;
use std::io::{self, BufRead};

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::file_time::FileTime;
use super::reading::ReadRules;
use super::record::{ReadRecord, Record, RecordProblem};
use crate::catalog::CatalogId;
use event_budget::EventBudget;
pub(super) use offer::{Field, Offer, OfferProblem};
pub(super) use text::line;

/// The largest offer, and the largest XML event.
const MAX_OFFER_BYTES: usize = 4 << 20;
const MAX_DEPTH: usize = 100;
const MAX_URL_BYTES: usize = 2048;
/// An id has to fit into a database index.
pub(super) const MAX_ID_BYTES: usize = 200;
const MAX_NAME_CHARS: usize = 500;
/// The subject of a record that cannot be the record of any item in the shop.
const NO_ITEM: Option<CatalogId> = Some(CatalogId::Number(0));

/// Reads a feed that starts at its root element and passes every record, rejection and correction to `sink`; a correction
/// follows the record that it concerns.
///
/// # Errors
/// Those of the sink and of the reader; `InvalidData` when the XML is not well-formed or truncated, in which case
/// nothing of what was read may be kept.
pub(super) fn read(
    reader: impl BufRead,
    rules: &ReadRules,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let mut xml = Reader::from_reader(EventBudget::new(reader, MAX_OFFER_BYTES));
    let config = xml.config_mut();
    config.expand_empty_elements = true;
    config.check_end_names = true;
    // `Tom & Jerry` is common in feeds and unambiguous.
    config.allow_dangling_amp = true;
    let mut feed = FeedReader {
        xml,
        buffer: Vec::new(),
        open_elements: Vec::new(),
        open_names: String::new(),
        text: String::new(),
        shop_url: None,
        skipped_translation: false,
        last_record: String::new(),
        category_ids: HashSet::new(),
        category_count: 0,
        offer_count: 0,
    };
    feed.read_catalog(rules, sink)
}

struct FeedReader<R> {
    xml: Reader<EventBudget<R>>,
    buffer: Vec<u8>,
    /// Where the name of each open element starts in `open_names`.
    open_elements: Vec<usize>,
    open_names: String,
    /// The text of the current element.
    text: String,
    shop_url: Option<String>,
    /// Whether a text in another language was skipped inside an element of the current offer.
    skipped_translation: bool,
    /// Names the place in error messages.
    last_record: String,
    /// Categories are few and are held in memory anyway; a repeated offer is found in the staging table.
    category_ids: HashSet<String>,
    category_count: u64,
    offer_count: u64,
}

/// The element on the way down to categories and offers.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Document,
    Catalog,
    Shop,
    Currencies,
    Categories,
    Offers,
}

impl<R: BufRead> FeedReader<R> {
    fn read_catalog(
        &mut self,
        rules: &ReadRules,
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut path = vec![Section::Document];
        loop {
            let start = match self.next()? {
                Event::Start(start) => start,
                Event::End(_) => {
                    path.pop();
                    if path.last() == Some(&Section::Document) {
                        return Ok(());
                    }
                    continue;
                }
                _ => continue,
            };
            let section = *path.last().expect("the document is never popped");
            match (section, start.name().as_ref()) {
                (Section::Document, "yml_catalog") => {
                    let [date] = attributes(&start, ["date"]).unwrap_or_default();
                    path.push(Section::Catalog);
                    match date.as_deref().map(|date| (date, FileTime::parse(date))) {
                        None => {}
                        Some((_, Some(time))) => sink(Ok(Record::FileTime(time)))?,
                        Some((date, None)) if date.trim().is_empty() => {}
                        Some(_) => {
                            let reason =
                                "date: not understood, so what was sold since is not subtracted from the stock";
                            sink(Err(RecordProblem::corrected("yml_catalog", reason)))?;
                        }
                    }
                }
                (Section::Document, "rss" | "feed") => return self.read_google(rules, sink),
                (Section::Document, _) => return Err(self.malformed("the root is not <yml_catalog>")),
                (Section::Catalog, "shop") => path.push(Section::Shop),
                (Section::Shop, "url") => {
                    self.read_text(false, MAX_URL_BYTES)?;
                    self.shop_url = Some(text::line(&self.text)).filter(|url| !url.is_empty());
                }
                (Section::Catalog | Section::Shop, "categories") => path.push(Section::Categories),
                (Section::Catalog | Section::Shop, "offers") => path.push(Section::Offers),
                (Section::Catalog | Section::Shop, "currencies") => path.push(Section::Currencies),
                (Section::Currencies, "currency") => {
                    let attributes = attributes(&start, ["id", "rate", "plus"]);
                    let attributes = attributes.map_err(|error| self.malformed(&error))?;
                    self.skip_element()?;
                    if let Some(currency) = shop::currency(attributes) {
                        sink(Ok(Record::Currency(currency)))?;
                    }
                }
                (Section::Categories, "category") => {
                    let attributes = attributes(&start, ["id", "parentId"]);
                    let attributes = attributes.map_err(|error| self.malformed(&error))?;
                    self.read_category(attributes, sink)?;
                }
                (Section::Offers, "offer") => {
                    let attributes = attributes(&start, ["id", "available", "group_id"]);
                    let attributes = attributes.map_err(|error| self.malformed(&error))?;
                    self.read_offer(attributes, sink)?;
                }
                _ => self.skip_element()?,
            }
        }
    }

    /// The next event; the end of the file is an error, because the root element ends before it.
    fn next(&mut self) -> io::Result<Event<'_>> {
        self.buffer.clear();
        self.xml.get_mut().start_event();
        let error = match self.xml.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => match self.open_elements.last() {
                Some(from) => format!("the file ends too early: </{}> was expected", &self.open_names[*from..]),
                None => "the file ends before its root element".to_owned(),
            },
            Ok(Event::Start(start)) if self.open_elements.len() < MAX_DEPTH => {
                self.open_elements.push(self.open_names.len());
                self.open_names.push_str(start.name().as_ref());
                return Ok(Event::Start(start));
            }
            Ok(Event::Start(_)) => "elements are nested too deeply".to_owned(),
            Ok(Event::DocType(_)) => "a <! declaration inside the catalogue".to_owned(),
            Ok(event) => {
                if let Event::End(_) = event {
                    self.open_names.truncate(self.open_elements.pop().unwrap_or(0));
                }
                return Ok(event);
            }
            Err(quick_xml::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            Err(quick_xml::Error::Io(error)) => return Err(io::Error::new(error.kind(), error.to_string())),
            Err(error) => error.to_string(),
        };
        Err(malformed(&error, location(&self.xml, &self.last_record)))
    }

    fn malformed(&self, what: &str) -> io::Error {
        malformed(what, location(&self.xml, &self.last_record))
    }

    /// Skips the rest of the innermost open element.
    fn skip_element(&mut self) -> io::Result<()> {
        let outer_depth = self.open_elements.len() - 1;
        while self.open_elements.len() > outer_depth {
            self.next()?;
        }
        Ok(())
    }

    /// Bytes of the feed that were read so far.
    fn position(&self) -> u64 {
        self.xml.get_ref().position()
    }

    /// Reads the innermost open element into `self.text` with references decoded, and with the tags inside if
    /// `keep_markup`. Returns false, with an empty text, when it is longer than `max_bytes`.
    fn read_text(&mut self, keep_markup: bool, max_bytes: usize) -> io::Result<bool> {
        let mut out = std::mem::take(&mut self.text);
        out.clear();
        let mut fits = true;
        let mut nested = 0;
        loop {
            match self.next()? {
                Event::Text(text) => out.push_str(&text),
                Event::CData(text) => out.push_str(&text),
                Event::GeneralRef(reference) => text::push_reference(&mut out, &reference),
                Event::Start(start) if is_in_another_language(&start) => {
                    self.skip_element()?;
                    self.skipped_translation = true;
                }
                Event::Start(start) => {
                    nested += 1;
                    if keep_markup {
                        out.extend(["<", start.name().as_ref(), ">"]);
                    }
                }
                Event::End(_) if nested == 0 => break,
                Event::End(end) => {
                    nested -= 1;
                    if keep_markup {
                        out.extend(["</", end.name().as_ref(), ">"]);
                    }
                }
                _ => {}
            }
            if out.len() > max_bytes {
                fits = false;
                out.clear();
            }
        }
        if !fits {
            // Drops what followed after the text had become too long.
            out.clear();
        }
        self.text = out;
        Ok(fits)
    }
}

/// The decoded values of the named attributes, or what is wrong with the tag.
fn attributes<const N: usize>(start: &BytesStart, names: [&str; N]) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("<{}>: {error}", start.name().as_ref()))?;
        if let Some(at) = names.iter().position(|name| *name == attribute.key.as_ref()) {
            values[at] = Some(text::decode(&attribute.value));
        }
    }
    Ok(values)
}

/// Whether the attribute `lang` says so.
fn is_in_another_language(start: &BytesStart) -> bool {
    let [language] = attributes(start, ["lang"]).unwrap_or_default();
    language.is_some_and(|language| !matches!(language.trim().to_ascii_lowercase().get(..2), None | Some("ru")))
}

fn record_name(kind: &str, id: &str) -> String {
    let mut id = id.to_owned();
    text::truncate(&mut id, 100);
    format!("{kind} {id}")
}

fn too_long(id: &str) -> Option<&'static str> {
    (id.len() > MAX_ID_BYTES).then_some("the id is longer than 200 bytes")
}

fn location<R: BufRead>(xml: &Reader<EventBudget<R>>, last_record: &str) -> String {
    let position = xml.get_ref().position();
    let last_record = if last_record.is_empty() { "before any record" } else { last_record };
    format!("near byte {position} after the root element; last record: {last_record}")
}

fn malformed(what: &str, location: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the XML is not well-formed ({location}): {what}"))
}

#[cfg(test)]
mod tests;
