//! A byte budget per XML event: a `BufRead` in front of quick-xml, which holds every event in memory as a whole.
//!
//! When a text, comment, CDATA section or processing instruction exceeds the budget, the rest of it is skipped and its
//! terminator is supplied, so that the parser sees a truncated event and reads on. A tag or declaration of that size is
//! an error.
//!
//! # Invariants
//! - [`EventBudget::start_event`] is called before each event is read: quick-xml consumes exactly the bytes of one
//!   event.
//! - The input is UTF-8 and no character is cut in two.

use std::io::{self, BufRead, Read};

pub(super) struct EventBudget<R> {
    inner: R,
    limit_bytes: usize,
    event: PartialEvent,
    /// The rest of the terminator of a truncated event, which is passed on before any further input.
    terminator: &'static [u8],
    position: u64,
}

/// What has been passed on of the current event.
#[derive(Default)]
struct PartialEvent {
    bytes: usize,
    /// Its first bytes, which tell what kind of event it is.
    head: [u8; 3],
    /// Its last bytes, which may be the beginning of its terminator.
    tail: [u8; 3],
}

impl PartialEvent {
    fn push(&mut self, bytes: &[u8]) {
        for (head, byte) in self.head.iter_mut().skip(self.bytes).zip(bytes) {
            *head = *byte;
        }
        self.push_tail(bytes);
        self.bytes += bytes.len();
    }

    fn push_tail(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(self.tail.len())..] {
            self.tail = [self.tail[1], self.tail[2], *byte];
        }
    }

    /// Where the terminator ends in the next bytes; it may start in the last ones.
    fn end_of(&self, terminator: &[u8], next: &[u8]) -> Option<usize> {
        let last = terminator[terminator.len() - 1];
        let mut from = 0;
        while let Some(found) = next[from..].iter().position(|byte| *byte == last) {
            let end = from + found + 1;
            let is_end = match end < terminator.len() {
                true => [&self.tail, &next[..end]].concat().ends_with(terminator),
                false => next[..end].ends_with(terminator),
            };
            if is_end {
                return Some(end);
            }
            from = end;
        }
        None
    }

    /// `None` for a tag or a declaration, which may end in other ways.
    fn terminator(&self) -> Option<&'static [u8]> {
        match &self.head {
            b"<!-" => Some(b"-->"),
            b"<![" => Some(b"]]>"),
            [b'<', b'?', _] => Some(b"?>"),
            [b'<', ..] => None,
            // Text ends where the next tag starts.
            _ => Some(b"<"),
        }
    }
}

impl<R: BufRead> EventBudget<R> {
    pub(super) fn new(inner: R, limit_bytes: usize) -> Self {
        EventBudget { inner, limit_bytes, event: PartialEvent::default(), terminator: b"", position: 0 }
    }

    /// Starts a new budget.
    pub(super) fn start_event(&mut self) {
        self.event = PartialEvent::default();
    }

    /// Bytes of the input that were read or skipped so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many of the next bytes may be passed on; none after the rest of an event was skipped.
    fn allowed_bytes(&mut self) -> io::Result<usize> {
        let next = self.inner.fill_buf()?;
        let left = self.limit_bytes.saturating_sub(self.event.bytes);
        if left > 0 || next.is_empty() {
            return Ok(left.min(next.len()));
        }
        let is_inside_a_character = next.first().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        if is_inside_a_character && self.event.bytes < self.limit_bytes + 3 {
            return Ok(1);
        }
        self.skip_to_terminator()?;
        Ok(0)
    }

    fn skip_to_terminator(&mut self) -> io::Result<()> {
        let Some(terminator) = self.event.terminator() else {
            let message = "a tag does not end: a quote or a > is missing";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        loop {
            let bytes = self.inner.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let end = self.event.end_of(terminator, bytes);
            let skipped = end.unwrap_or(bytes.len());
            self.event.push_tail(&bytes[..skipped]);
            self.inner.consume(skipped);
            self.position += skipped as u64;
            if end.is_some() {
                self.terminator = terminator;
                return Ok(());
            }
        }
    }
}

impl<R: BufRead> BufRead for EventBudget<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let allowed = if self.terminator.is_empty() { self.allowed_bytes()? } else { 0 };
        if !self.terminator.is_empty() {
            return Ok(self.terminator);
        }
        Ok(&self.inner.fill_buf()?[..allowed])
    }

    fn consume(&mut self, amount: usize) {
        if amount == 0 {
            return;
        }
        if !self.terminator.is_empty() {
            let (consumed, rest) = self.terminator.split_at(amount);
            self.event.push(consumed);
            self.terminator = rest;
            return;
        }
        // Returns what it returned before: nothing is read here.
        if let Ok(bytes) = self.inner.fill_buf() {
            self.event.push(&bytes[..amount]);
        }
        self.inner.consume(amount);
        self.position += amount as u64;
    }
}

impl<R: BufRead> Read for EventBudget<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::BufReader;

    use quick_xml::events::Event;
    use quick_xml::reader::Reader;

    use super::*;

    const LIMIT_BYTES: usize = 50;

    /// Every event of a document as text, and the size of the largest event.
    fn events(xml: impl BufRead) -> Result<(Vec<String>, usize), quick_xml::Error> {
        let mut reader = Reader::from_reader(EventBudget::new(xml, LIMIT_BYTES));
        reader.config_mut().allow_dangling_amp = true;
        let (mut events, mut largest, mut buffer) = (Vec::new(), 0, Vec::new());
        loop {
            buffer.clear();
            reader.get_mut().start_event();
            let event = match reader.read_event_into(&mut buffer)? {
                Event::Eof => return Ok((events, largest)),
                Event::Start(tag) => format!("<{}>", tag.name().as_ref()),
                Event::End(tag) => format!("</{}>", tag.name().as_ref()),
                event => format!("{event:?}").split('(').next().unwrap_or_default().to_owned(),
            };
            largest = largest.max(buffer.len());
            events.push(event);
        }
    }

    #[test]
    fn events_within_the_budget_pass_unchanged() {
        let text = "<a b='>'>x > y<!----><!-- > -- ->--><![CDATA[<b> ]> ]]]]><?= \"<\" ?></a><c d=\"'>\"/>";
        for buffer_bytes in 1..20 {
            let mut budget = EventBudget::new(BufReader::with_capacity(buffer_bytes, text.as_bytes()), text.len());
            let mut passed = String::new();
            budget.read_to_string(&mut passed).expect("well within the budget");
            assert_eq!(passed, text);
            assert_eq!(budget.position(), text.len() as u64);
        }
    }

    #[test]
    fn larger_events_are_truncated_and_the_next_ones_are_read() {
        for buffer_bytes in [1, 2, 3, 7, 64, 4096] {
            for length in [0, 1, 44, 45, 46, 47, 48, 49, 50, 51, 500] {
                for (before, after, kind) in [
                    ("", "", "Text"),
                    ("&", "", "Text"),
                    ("<!--", "-->", "Comment"),
                    ("<![CDATA[", "]]>", "CData"),
                    ("<?x ", "?>", "PI"),
                ] {
                    let content = "a(>]-?".repeat(100);
                    let xml = format!("<a>{before}{}{after}<b></b></a>", &content[..length]);
                    let (events, largest) = events(BufReader::with_capacity(buffer_bytes, xml.as_bytes())).expect(&xml);
                    let is_empty = before.is_empty() && length == 0;
                    let expected = ["<a>", kind, "<b>", "</b>", "</a>"];
                    let expected = expected.into_iter().filter(|event| !(is_empty && *event == kind));
                    assert_eq!(events, expected.collect::<Vec<_>>(), "{xml}");
                    assert!(largest <= LIMIT_BYTES + 3, "{largest} bytes of {xml}");
                }
            }
        }
    }

    #[test]
    fn a_terminator_across_the_limit_is_recognised() {
        for length in 35..55 {
            for (before, after) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?x ", "?>"), ("<!--", "--->")] {
                let xml = format!("<a>{before}{}{after}<b></b>{before}{after}</a>", "x".repeat(length));
                let (events, _) = events(xml.as_bytes()).expect(&xml);
                assert_eq!(events.len(), 6, "{xml}");
            }
        }
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for buffer_bytes in 1..9 {
            for shift in ["", "x", "xx", "xxx"] {
                let xml = format!("<a>{shift}{}<b></b></a>", "щ🫖".repeat(40));
                let (events, _) = events(BufReader::with_capacity(buffer_bytes, xml.as_bytes())).expect("UTF-8");
                assert_eq!(events, ["<a>", "Text", "<b>", "</b>", "</a>"]);
            }
        }
    }

    #[test]
    fn skipped_bytes_count_in_the_position() {
        let xml = format!("<a>{}</a>", "x".repeat(1_000));
        let mut reader = Reader::from_reader(EventBudget::new(xml.as_bytes(), LIMIT_BYTES));
        let mut positions = Vec::new();
        for _ in 0..3 {
            reader.get_mut().start_event();
            reader.read_event_into(&mut Vec::new()).expect("well-formed");
            positions.push(reader.get_ref().position());
        }
        // The `<` of the end tag was read to find the end of the text.
        assert_eq!(positions, [3, 1_004, 1_007]);
    }

    /// Counts the bytes that are taken of an endless input.
    struct Endless<'a> {
        start: &'a [u8],
        taken: &'a Cell<usize>,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = match self.start.read(into)? {
                0 => io::repeat(b'x').read(into)?,
                read => read,
            };
            self.taken.set(self.taken.get() + read);
            Ok(read)
        }
    }

    #[test]
    fn endless_tags_and_declarations_fail_at_the_limit() {
        for start in ["<a b=\"", "<", "</", "<a b='", "<!DOCTYPE ", "<!DOCTYPE b [<!ENTITY c '", "<!DOCTYPE b [<!--"] {
            let taken = Cell::new(0);
            let endless = Endless { start: start.as_bytes(), taken: &taken };
            let error = events(BufReader::with_capacity(16, endless)).expect_err("it does not end");
            assert!(error.to_string().contains("a tag does not end"), "{error}");
            assert!(taken.get() < 2 * LIMIT_BYTES, "{} bytes were read of {start}", taken.get());
        }
    }
}
