//! A reader that lets no single piece of XML grow without end.
//!
//! Stands between the feed and quick-xml, which holds every text, comment and CDATA section whole. Called by `yml`. What
//! is longer than the limit loses its middle: an offer is over its own limit then and is rejected. The cut must never
//! fall inside a letter, and the state must never lose step with quick-xml's idea of where a piece ends.

use std::io::{self, BufRead, Read};

enum Inside {
    Text,
    /// After `<`.
    Open,
    /// After `<!`.
    Bang,
    /// In a tag; the quote that is open there, or 0.
    Tag(u8),
    Comment,
    Cdata,
    /// `<? … ?>`: PHP inside addresses, for one.
    Instruction,
}

/// See the head of this file.
pub struct Bounded<R> {
    inner: R,
    limit: usize,
    inside: Inside,
    /// Bytes of the present piece so far.
    length: usize,
    /// The two bytes before those not looked at yet.
    last: [u8; 2],
    dropping: bool,
    dropped: u64,
    /// How many of the inner reader's bytes were looked at and may be given away.
    ready: usize,
    /// The end of a piece whose middle was dropped.
    ending: &'static [u8],
}

impl<R: BufRead> Bounded<R> {
    /// Lets pieces up to about `limit` bytes through.
    pub fn new(inner: R, limit: usize) -> Self {
        Bounded {
            inner,
            limit,
            inside: Inside::Text,
            length: 0,
            last: [0; 2],
            dropping: false,
            dropped: 0,
            ready: 0,
            ending: b"",
        }
    }

    /// Bytes left out so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn refill(&mut self) -> io::Result<()> {
        while self.ready == 0 && self.ending.is_empty() {
            let bytes = self.inner.fill_buf()?;
            if bytes.is_empty() {
                return Ok(());
            }
            let mut lexer = Lexer {
                limit: self.limit,
                inside: &mut self.inside,
                length: &mut self.length,
                last: &mut self.last,
                dropping: &mut self.dropping,
                ending: &mut self.ending,
            };
            if *lexer.dropping {
                let drop = lexer.drop(bytes);
                self.dropped += drop as u64;
                self.inner.consume(drop);
            } else {
                self.ready = lexer.keep(bytes)?;
            }
        }
        Ok(())
    }
}

/// The part of [`Bounded`] that may change while the inner reader's buffer is borrowed.
struct Lexer<'a> {
    limit: usize,
    inside: &'a mut Inside,
    length: &'a mut usize,
    last: &'a mut [u8; 2],
    dropping: &'a mut bool,
    ending: &'a mut &'static [u8],
}

impl Lexer<'_> {
    /// How many of the bytes may pass.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() && !*self.dropping {
            let rest = &bytes[at..];
            at += match self.inside {
                Inside::Open => self.opened(rest[0]),
                Inside::Bang => self.banged(rest[0])?,
                Inside::Tag(_) => self.tag(rest)?,
                Inside::Text | Inside::Comment | Inside::Cdata | Inside::Instruction => self.long(rest),
            };
        }
        Ok(at)
    }

    fn opened(&mut self, byte: u8) -> usize {
        let (inside, eaten) = match byte {
            b'!' => (Inside::Bang, 1),
            b'?' => (Inside::Instruction, 1),
            _ => (Inside::Tag(0), 0),
        };
        *self.inside = inside;
        *self.last = [0, b'?'];
        *self.length += eaten;
        eaten
    }

    fn banged(&mut self, byte: u8) -> io::Result<usize> {
        *self.inside = match byte {
            b'-' => Inside::Comment,
            b'[' => Inside::Cdata,
            // A DOCTYPE has no place inside the root, and its own grammar could hide a piece of any length.
            _ => return Err(invalid("a <! declaration stands inside the catalogue")),
        };
        *self.last = [0; 2];
        *self.length += 1;
        Ok(1)
    }

    fn tag(&mut self, rest: &[u8]) -> io::Result<usize> {
        let Inside::Tag(quote) = self.inside else { return Ok(0) };
        for (at, byte) in rest.iter().enumerate() {
            match (*quote, byte) {
                (0, b'>') => {
                    *self.inside = Inside::Text;
                    *self.length = 0;
                    return Ok(at + 1);
                }
                (0, b'"' | b'\'') => *quote = *byte,
                (open, close) if open == *close => *quote = 0,
                _ => {}
            }
        }
        *self.length += rest.len();
        if *self.length > self.limit {
            return Err(invalid("a tag does not end: a quote or a > is missing"));
        }
        Ok(rest.len())
    }

    fn long(&mut self, rest: &[u8]) -> usize {
        let (size, ended) = self.piece(rest);
        if *self.length + size > self.limit {
            let mut allowed = self.limit.saturating_sub(*self.length);
            // Bytes 80 to BF continue a letter.
            while allowed < rest.len() && rest[allowed] & 0xC0 == 0x80 {
                allowed += 1;
            }
            if allowed < size {
                *self.dropping = true;
                self.remember(&rest[..allowed]);
                *self.length += allowed;
                return allowed;
            }
        }
        *self.length += size;
        if ended {
            self.end();
        } else {
            self.remember(&rest[..size]);
        }
        size
    }

    /// How many of the bytes to leave out.
    fn drop(&mut self, bytes: &[u8]) -> usize {
        let (size, ended) = self.piece(bytes);
        if !ended {
            self.remember(bytes);
            return size;
        }
        *self.dropping = false;
        *self.ending = match self.inside {
            Inside::Comment => b"-->",
            Inside::Cdata => b"]]>",
            Inside::Instruction => b"?>",
            _ => b"<",
        };
        self.end();
        size
    }

    /// The present piece's part of the bytes, with what ends it, and whether it ends there.
    fn piece(&self, bytes: &[u8]) -> (usize, bool) {
        let (end, before): (u8, &[u8]) = match self.inside {
            Inside::Comment => (b'>', b"--"),
            Inside::Cdata => (b'>', b"]]"),
            Inside::Instruction => (b'>', b"?"),
            _ => (b'<', b""),
        };
        let mut from = 0;
        while let Some(found) = bytes[from..].iter().position(|b| *b == end) {
            let at = from + found;
            let near = match at {
                0 => *self.last,
                1 => [self.last[1], bytes[0]],
                _ => [bytes[at - 2], bytes[at - 1]],
            };
            // `<!-->` and `<!--->` do not end a comment.
            let too_early = matches!(self.inside, Inside::Comment) && *self.length + at < 6;
            if near.ends_with(before) && !too_early {
                return (at + 1, true);
            }
            from = at + 1;
        }
        (bytes.len(), false)
    }

    fn remember(&mut self, bytes: &[u8]) {
        *self.last = match bytes {
            [] => *self.last,
            [one] => [self.last[1], *one],
            [.., a, b] => [*a, *b],
        };
    }

    fn end(&mut self) {
        (*self.inside, *self.length) = match self.inside {
            Inside::Text => (Inside::Open, 1),
            _ => (Inside::Text, 0),
        };
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.refill()?;
        if !self.ending.is_empty() {
            return Ok(self.ending);
        }
        let bytes = self.inner.fill_buf()?;
        Ok(&bytes[..self.ready])
    }

    fn consume(&mut self, amount: usize) {
        if self.ending.is_empty() {
            self.inner.consume(amount);
            self.ready -= amount;
        } else {
            self.ending = &self.ending[amount..];
        }
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn passed(text: &str, limit: usize, buffer: usize) -> io::Result<String> {
        let mut out = String::new();
        Bounded::new(BufReader::with_capacity(buffer, text.as_bytes()), limit).read_to_string(&mut out).map(|_| out)
    }

    #[test]
    fn pieces_within_the_limit_pass_untouched() {
        let text = "<a b='>'>x > y<!----><!-- > -- ->--><![CDATA[<b> ]> ]]]]><?= \"<\" ?></a><c d=\"'>\"/>";
        for buffer in 1..20 {
            assert_eq!(passed(text, 30, buffer).unwrap(), text);
        }
    }

    #[test]
    fn longer_pieces_lose_their_middle_and_keep_their_end() {
        for buffer in [1, 2, 3, 7, 64, 4096] {
            for (before, after) in
                [("", "<b>"), ("<!--", "--><b>"), ("<!--->", "--><b>"), ("<![CDATA[", "]]><b>"), ("<?", "?><b>")]
            {
                let text = format!("{before}{}{after}", "a(>]-?".repeat(99));
                let out = passed(&text, 50, buffer).unwrap();
                assert!(out.starts_with(before) && out.ends_with(after), "{out}");
                assert!((50..60).contains(&(out.len() - after.len())), "{out}");
            }
        }
    }

    #[test]
    fn the_cut_is_between_letters() {
        for buffer in 1..9 {
            for shift in ["", "x", "xx", "xxx"] {
                let out = passed(&format!("{shift}{}<b/>", "щ🫖".repeat(40)), 50, buffer).unwrap();
                assert!(out.ends_with("<b/>") && out.len() < 60, "{out}");
            }
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let text = format!("{}<b/>", "a".repeat(1000));
        let mut reader = Bounded::new(text.as_bytes(), 100);
        let mut out = String::new();
        reader.read_to_string(&mut out).unwrap();
        // The `<` is left out and put back.
        assert_eq!(reader.dropped() as usize, text.len() - out.len() + 1);
    }

    #[test]
    fn an_endless_tag_and_a_doctype_are_refused() {
        assert!(passed(&format!("<a b=\"{}", "x>".repeat(99)), 50, 8).unwrap_err().to_string().contains("tag"));
        assert!(passed("<a><!DOCTYPE b [<!ENTITY c 'd'>]>", 50, 8).unwrap_err().to_string().contains("<!"));
    }
}
