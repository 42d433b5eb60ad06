//! The reader of YML feeds (Yandex Market Language): categories and offers become records, one at a time.
//!
//! Called by `catalog::import` on what `feed` has opened. One offer is in memory at a time, whatever the file's size.
//! Entities are never expanded, and a file that breaks off or is not well-formed must end in an error, for half a
//! catalogue would look like a whole one.

mod bound;
mod html;
mod money;
mod offer;
mod text;

use super::record::{CategoryRecord, Parent, Read, Record, Reference, Rejected, number_of};
use bound::Bounded;
use offer::{Field, Offer};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use std::collections::HashSet;
use std::io::{self, BufRead};

/// Bytes of one offer, and of one piece of XML.
const LARGEST_OFFER: usize = 4 << 20;
const DEEPEST: usize = 100;
/// Bytes of an id: a database index has to take it.
const LONGEST_ID: usize = 200;
const LONGEST_NAME: usize = 500;
/// What a record is about that nothing in a shop can be called by.
const NOTHING: Option<Reference> = Some(Reference::Number(0));

/// Reads a feed that begins at `<yml_catalog` and hands every record, rejection and notice to `sink`.
///
/// A notice follows the record that it is about. Errors: the sink's, the reader's, and
/// `InvalidData` when the XML is broken or ends too early; then nothing that was read may be kept.
pub fn read(reader: impl BufRead, sink: &mut dyn FnMut(Read) -> io::Result<()>) -> io::Result<()> {
    let mut xml = Reader::from_reader(Bounded::new(reader, LARGEST_OFFER));
    let config = xml.config_mut();
    config.expand_empty_elements = true;
    config.check_end_names = true;
    // `Tom & Jerry` is what people write; it can be read in one way only.
    config.allow_dangling_amp = true;
    let mut feed = Feed {
        xml,
        buffer: Vec::new(),
        open: Vec::new(),
        names: String::new(),
        text: String::new(),
        last_record: String::new(),
        category_ids: HashSet::new(),
        category_count: 0,
        offer_count: 0,
    };
    feed.catalogue(sink)
}

struct Feed<R> {
    xml: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    /// Where the name of every open element begins in `names`.
    open: Vec<usize>,
    names: String,
    /// The text of the element that is being read.
    text: String,
    /// What an error says the place by.
    last_record: String,
    /// Categories are few and are kept in memory anyway; a repeated offer is found in the staging table.
    category_ids: HashSet<String>,
    category_count: u64,
    offer_count: u64,
}

/// What the walk down to the categories and offers is in.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Document,
    Catalogue,
    Shop,
    Categories,
    Offers,
}

impl<R: BufRead> Feed<R> {
    fn catalogue(&mut self, sink: &mut dyn FnMut(Read) -> io::Result<()>) -> io::Result<()> {
        let mut path = vec![Place::Document];
        loop {
            let start = match self.next()? {
                Event::Start(start) => start,
                Event::End(_) => {
                    path.pop();
                    if path.last() == Some(&Place::Document) {
                        return Ok(());
                    }
                    continue;
                }
                _ => continue,
            };
            let place = *path.last().expect("the document is popped by nothing");
            match (place, start.name().as_ref()) {
                (Place::Document, "yml_catalog") => path.push(Place::Catalogue),
                (Place::Document, _) => return Err(self.broken("the root is not <yml_catalog>")),
                (Place::Catalogue, "shop") => path.push(Place::Shop),
                (Place::Catalogue | Place::Shop, "categories") => path.push(Place::Categories),
                (Place::Catalogue | Place::Shop, "offers") => path.push(Place::Offers),
                (Place::Categories, "category") => {
                    let attributes = attributes(&start, ["id", "parentId"]);
                    let attributes = attributes.map_err(|error| self.broken(&error))?;
                    self.category(attributes, sink)?;
                }
                (Place::Offers, "offer") => {
                    let attributes = attributes(&start, ["id", "available"]);
                    let attributes = attributes.map_err(|error| self.broken(&error))?;
                    self.offer(attributes, sink)?;
                }
                _ => self.skip()?,
            }
        }
    }

    /// The next event; the end of the file is an error, for the root ends before it.
    fn next(&mut self) -> io::Result<Event<'_>> {
        self.buffer.clear();
        let error = match self.xml.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => match self.open.last() {
                Some(from) => format!("the file ends too early: </{}> was expected", &self.names[*from..]),
                None => "the file ends before <yml_catalog>".to_owned(),
            },
            Ok(Event::Start(start)) if self.open.len() < DEEPEST => {
                self.open.push(self.names.len());
                self.names.push_str(start.name().as_ref());
                return Ok(Event::Start(start));
            }
            Ok(Event::Start(_)) => "elements are nested too deep".to_owned(),
            Ok(event) => {
                if let Event::End(_) = event {
                    self.names.truncate(self.open.pop().unwrap_or(0));
                }
                return Ok(event);
            }
            Err(quick_xml::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            Err(quick_xml::Error::Io(error)) => return Err(io::Error::new(error.kind(), error.to_string())),
            Err(error) => error.to_string(),
        };
        Err(broken(&error, place(&self.xml, &self.last_record)))
    }

    fn broken(&self, what: &str) -> io::Error {
        broken(what, place(&self.xml, &self.last_record))
    }

    /// Skips the rest of the element that was opened last.
    fn skip(&mut self) -> io::Result<()> {
        let outside = self.open.len() - 1;
        while self.open.len() > outside {
            self.next()?;
        }
        Ok(())
    }

    /// Where the parser is in the feed, what was left out included.
    fn position(&self) -> u64 {
        self.xml.buffer_position() + self.xml.get_ref().dropped()
    }

    fn category(
        &mut self,
        [id, parent]: [Option<String>; 2],
        sink: &mut dyn FnMut(Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.category_count += 1;
        self.read_text(false, LARGEST_OFFER)?;
        let name = text::some_line(&self.text, LONGEST_NAME);
        let Some(id) = id.map(|id| text::line(&id)).filter(|id| !id.is_empty()) else {
            let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
            let record = format!("category no. {}{name}", self.category_count);
            return sink(Err(Rejected::left_out(record, "has no id").about(NOTHING)));
        };
        self.last_record = record_name("category", &id);
        let repeated =
            || Some("the id stands twice in the feed: the first one stays").filter(|_| self.category_ids.contains(&id));
        if let Some(reason) = too_long(&id).or_else(repeated) {
            return sink(Err(Rejected::left_out(self.last_record.clone(), reason).about(NOTHING)));
        }
        self.category_ids.insert(id.clone());
        let parent = parent.map(|parent| text::line(&parent)).filter(|parent| !parent.is_empty() && parent != "0");
        let named = name.filter(|name| name.contains(char::is_alphanumeric));
        let nameless = named.is_none();
        sink(Ok(Record::Category(CategoryRecord {
            number: Some(number_of("category", &id)),
            id: Some(format!("{}_{id}", if parent.is_some() { "sub" } else { "cat" })),
            parent: Some(match parent {
                Some(parent) => Parent::Of(Reference::Number(number_of("category", &parent))),
                None => Parent::Top,
            }),
            name: named,
            fallback_name: Some(format!("Категория {id}")),
            ..CategoryRecord::default()
        })))?;
        if nameless {
            sink(Err(Rejected::kept(self.last_record.clone(), "has no name: called by its id")))?;
        }
        Ok(())
    }

    fn offer(
        &mut self,
        [id, available]: [Option<String>; 2],
        sink: &mut dyn FnMut(Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.offer_count += 1;
        let id = id.map(|id| text::line(&id)).filter(|id| !id.is_empty());
        self.last_record = match &id {
            Some(id) => record_name("offer", id),
            None => format!("offer no. {}", self.offer_count),
        };
        let reason = match &id {
            None => Some("has no id"),
            Some(id) => too_long(id),
        };
        if let Some(reason) = reason {
            self.skip()?;
            return sink(Err(Rejected::left_out(self.last_record.clone(), reason).about(NOTHING)));
        }
        let id = id.unwrap_or_default();
        let about = Some(Reference::Id(format!("item_{id}")));
        let Some(mut offer) = self.read_offer()? else {
            return sink(Err(Rejected::left_out(self.last_record.clone(), "is larger than 4 MB").about(about)));
        };
        offer.available = match available.map(|word| word.trim().to_ascii_lowercase()).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let mut notices = Vec::new();
        match offer.into_record(&id, &mut notices) {
            Err(reason) => sink(Err(Rejected::left_out(self.last_record.clone(), reason).about(about))),
            Ok(record) => {
                sink(Ok(Record::Item(Box::new(record))))?;
                notices.into_iter().try_for_each(|notice| sink(Err(Rejected::kept(self.last_record.clone(), notice))))
            }
        }
    }

    /// The children of the offer that was opened last; `None` when it is too large, read to its end all the same.
    fn read_offer(&mut self) -> io::Result<Option<Offer>> {
        let outside = self.open.len() - 1;
        let began = self.position();
        let mut offer = Offer::default();
        loop {
            let start = match self.next()? {
                Event::Start(start) => start,
                // Every child is read to its end below, so this end is the offer's own.
                Event::End(_) => return Ok((self.position() - began <= LARGEST_OFFER as u64).then_some(offer)),
                _ => continue,
            };
            let field = Field::of(start.name().as_ref());
            let param = match field {
                Some(Field::Param) => attributes(&start, ["name", "unit"]).map_err(|error| self.broken(&error))?,
                _ => [None, None],
            };
            let size = usize::try_from(self.position() - began).unwrap_or(usize::MAX);
            let allowed = LARGEST_OFFER.saturating_sub(size);
            let fits = match field {
                None => self.skip().map(|()| true)?,
                Some(Field::Outlets) => self.read_outlets(&mut offer).map(|()| true)?,
                Some(field) => {
                    let fits = self.read_text(field == Field::Description, allowed)?;
                    match param {
                        [Some(name), unit] => offer.take_param(&name, unit.as_deref().unwrap_or(""), &self.text),
                        _ if field != Field::Param => offer.take(field, std::mem::take(&mut self.text)),
                        _ => {}
                    }
                    fits
                }
            };
            if !fits || self.position() - began > LARGEST_OFFER as u64 {
                while self.open.len() > outside {
                    self.next()?;
                }
                return Ok(None);
            }
        }
    }

    fn read_outlets(&mut self, offer: &mut Offer) -> io::Result<()> {
        let outside = self.open.len() - 1;
        while self.open.len() > outside {
            if let Event::Start(start) = self.next()?
                && start.name().as_ref() == "outlet"
            {
                let [instock] = attributes(&start, ["instock"]).map_err(|error| self.broken(&error))?;
                instock.iter().for_each(|instock| offer.take_outlet(instock));
            }
        }
        Ok(())
    }

    /// Reads the element that was opened last into `self.text`, entities decoded; the markup inside is kept only when
    /// asked for. False when the text is longer than allowed: it is not kept then.
    fn read_text(&mut self, keep_markup: bool, allowed: usize) -> io::Result<bool> {
        let mut out = std::mem::take(&mut self.text);
        out.clear();
        let mut fits = true;
        let mut nested = 0;
        loop {
            match self.next()? {
                Event::Text(text) => out.push_str(&text),
                Event::CData(text) => out.push_str(&text),
                Event::GeneralRef(reference) => text::push_reference(&mut out, &reference),
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
            if out.len() > allowed {
                fits = false;
                out.clear();
            }
        }
        if !fits {
            // What came after the text had grown too long.
            out.clear();
        }
        self.text = out;
        Ok(fits)
    }
}

/// The values of some attributes, or what is wrong with the tag.
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

fn record_name(what: &str, id: &str) -> String {
    let mut id = id.to_owned();
    text::clip(&mut id, 100);
    format!("{what} {id}")
}

fn too_long(id: &str) -> Option<&'static str> {
    (id.len() > LONGEST_ID).then_some("the id is longer than 200 bytes")
}

fn place<R: BufRead>(xml: &Reader<Bounded<R>>, last_record: &str) -> String {
    let position = xml.buffer_position() + xml.get_ref().dropped();
    let after = if last_record.is_empty() { "before any record" } else { last_record };
    format!("near byte {position} after <yml_catalog, last seen: {after}")
}

fn broken(what: &str, place: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the XML is broken ({place}): {what}"))
}

#[cfg(test)]
mod tests;
