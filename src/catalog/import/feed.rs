//! Decodes a file to UTF-8, and skips everything before the root element of a feed.
//!
//! Files come in UTF-8 and windows-1251, and feeds may have PHP code before the XML.
//!
//! # Invariants
//! - The prolog (PHP, XML declaration, DOCTYPE with its entities) does not reach the XML parser.
//! - No more than a few chunks of a file are held in memory.

use std::io::{self, BufRead, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1251};

/// How much of a file decides its encoding.
const HEAD_BYTES: u64 = 8 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
/// The root elements of YML and of Google product feeds (RSS and Atom).
const ROOTS: [&[u8]; 3] = [b"<yml_catalog", b"<rss", b"<feed"];
const MAX_ROOT_BYTES: usize = 12;

/// A file in UTF-8.
pub(super) struct Utf8Feed<R> {
    source: io::Chain<io::Cursor<Vec<u8>>, R>,
    decoder: Decoder,
    raw: Box<[u8]>,
    /// Decoded text, of which `text[..consumed]` has been consumed.
    text: Vec<u8>,
    consumed: usize,
    is_eof: bool,
}

/// The feed from its root element; `None` when the file has none.
///
/// # Errors
/// Those of the reader.
pub(super) fn open<R: Read>(reader: R) -> io::Result<Option<Utf8Feed<R>>> {
    let mut feed = decode(reader)?;
    Ok(feed.skip_to_root()?.then_some(feed))
}

/// The beginning of a file as text.
pub(super) fn decode_head(head: &[u8]) -> String {
    let beginning = &head[..head.len().min(HEAD_BYTES as usize)];
    encoding_of(beginning).decode(head).0.into_owned()
}

/// Detects the encoding of a file.
///
/// # Errors
/// Those of the reader.
pub(super) fn decode<R: Read>(mut reader: R) -> io::Result<Utf8Feed<R>> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(Utf8Feed {
        decoder: encoding_of(&head).new_decoder_with_bom_removal(),
        source: io::Cursor::new(head).chain(reader),
        raw: vec![0; CHUNK_BYTES].into_boxed_slice(),
        text: Vec::new(),
        consumed: 0,
        is_eof: false,
    })
}

impl<R: Read> Utf8Feed<R> {
    /// Returns whether there is a root element.
    fn skip_to_root(&mut self) -> io::Result<bool> {
        loop {
            if let Some(found) = find_root(&self.text) {
                self.consumed = found;
                return Ok(true);
            }
            // The last bytes may be the beginning of the root tag.
            self.consumed = self.text.len().saturating_sub(MAX_ROOT_BYTES);
            if self.is_eof {
                return Ok(false);
            }
            self.decode_more()?;
        }
    }

    /// Drops the consumed text and appends one more chunk.
    fn decode_more(&mut self) -> io::Result<()> {
        self.text.drain(..self.consumed);
        self.consumed = 0;
        let read = loop {
            match self.source.read(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.is_eof = read == 0;
        let mut rest = &self.raw[..read];
        loop {
            let length = self.text.len();
            // `None` is an overflow; with too little room the decoder returns `OutputFull` and the loop continues.
            let room = self.decoder.max_utf8_buffer_length(rest.len()).unwrap_or(CHUNK_BYTES);
            self.text.resize(length + room, 0);
            let (result, consumed, written, _) =
                self.decoder.decode_to_utf8(rest, &mut self.text[length..], self.is_eof);
            self.text.truncate(length + written);
            rest = &rest[consumed..];
            if result == CoderResult::InputEmpty {
                return Ok(());
            }
        }
    }
}

impl<R: Read> BufRead for Utf8Feed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.consumed == self.text.len() && !self.is_eof {
            self.decode_more()?;
        }
        Ok(&self.text[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed = (self.consumed + amount).min(self.text.len());
    }
}

impl<R: Read> Read for Utf8Feed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

fn find_root(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(open) = text[from..].iter().position(|b| *b == b'<') {
        let start = from + open;
        // The byte after the name tells `<yml_catalog` from `<yml_catalogue`.
        let is_root = |root: &[u8]| {
            text[start..].starts_with(root)
                && text.get(start + root.len()).is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
        };
        if ROOTS.iter().any(|root| is_root(root)) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

fn encoding_of(head: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return encoding;
    }
    // After the root tag `encoding="…"` is text of the shop.
    let prolog = &head[..find_root(head).unwrap_or(head.len())];
    if let Some(encoding) = declared_encoding(prolog) {
        return encoding;
    }
    match std::str::from_utf8(head) {
        Ok(_) => UTF_8,
        // The end of the head may cut a character in two.
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => WINDOWS_1251,
    }
}

/// The first known `encoding="…"`, also with the quotes escaped as in PHP: `encoding=\"…\"`.
fn declared_encoding(prolog: &[u8]) -> Option<&'static Encoding> {
    const WORD: &[u8] = b"encoding";
    (0..prolog.len()).filter(|at| prolog[*at..].starts_with(WORD)).find_map(|at| {
        let rest = prolog[at + WORD.len()..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
        let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'"))?;
        let end = rest.iter().position(|b| matches!(b, b'"' | b'\'' | b'\\'))?;
        // A declaration that is readable as ASCII is not in UTF-16, whatever it declares.
        Encoding::for_label_no_replacement(&rest[..end]).filter(|found| *found != UTF_16LE && *found != UTF_16BE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte per read, so that everything falls on a boundary.
    struct Drip(io::Cursor<Vec<u8>>);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let few = into.len().min(1);
            self.0.read(&mut into[..few])
        }
    }

    fn text_of(bytes: &[u8]) -> String {
        let mut text = String::new();
        open(bytes).unwrap().unwrap().read_to_string(&mut text).unwrap();
        let mut dripped = String::new();
        open(Drip(io::Cursor::new(bytes.to_vec()))).unwrap().unwrap().read_to_string(&mut dripped).unwrap();
        assert_eq!(text, dripped);
        text
    }

    fn cp1251(text: &str) -> Vec<u8> {
        WINDOWS_1251.encode(text).0.into_owned()
    }

    #[test]
    fn windows_1251_is_detected_by_its_declaration_also_inside_php() {
        let catalogue = "<yml_catalog><name>Чайник «Ё»</name></yml_catalog>";
        for prolog in [
            "<?xml version=\"1.0\" encoding=\"windows-1251\"?>",
            "<?xml version='1.0' encoding = 'CP1251' ?>\n",
            r#"<? header("x"); echo "<"."?xml version=\"1.0\" encoding=\"windows-1251\"?".">"?>"#,
        ] {
            assert_eq!(text_of(&cp1251(&format!("{prolog}{catalogue}"))), catalogue);
        }
    }

    #[test]
    fn a_declaration_wins_over_bytes_that_are_valid_utf_8() {
        let bytes = [b"<?xml encoding=\"windows-1251\"?><yml_catalog>".as_slice(), "я".as_bytes()].concat();
        assert_eq!(text_of(&bytes), "<yml_catalog>СЏ");
    }

    #[test]
    fn other_encodings_are_read_too() {
        let text = "<? echo '<?xml encoding=\\\"koi8-r\\\"?'; ?><yml_catalog>Ложка";
        assert!(text.contains(r#"\"koi8-r\""#));
        assert_eq!(text_of(&encoding_rs::KOI8_R.encode(text).0), "<yml_catalog>Ложка");
    }

    #[test]
    fn without_a_declaration_the_bytes_decide_the_encoding() {
        assert_eq!(text_of("<yml_catalog>Ложка".as_bytes()), "<yml_catalog>Ложка");
        assert_eq!(text_of(&cp1251("<yml_catalog>Ложка")), "<yml_catalog>Ложка");
    }

    #[test]
    fn a_character_cut_by_the_end_of_the_head_is_still_utf_8() {
        for shift in 0..3 {
            let text = format!("<yml_catalog>{}{}", "x".repeat(shift), "щ".repeat(HEAD_BYTES as usize));
            assert_eq!(text_of(text.as_bytes()), text);
        }
    }

    #[test]
    fn text_in_the_document_and_unknown_labels_are_not_declarations() {
        for text in ["<yml_catalog a='encoding=\"windows-1251\"'>ё", "<yml_catalog>encoding=\"koi8-r\" ё"] {
            assert_eq!(text_of(text.as_bytes()), text);
        }
        assert_eq!(text_of("<?xml encoding=\"klingon\"?><yml_catalog>ё".as_bytes()), "<yml_catalog>ё");
        assert_eq!(text_of("<?xml encoding=\"utf-16\"?><yml_catalog>ё".as_bytes()), "<yml_catalog>ё");
    }

    #[test]
    fn a_byte_order_mark_wins() {
        let mut bytes = b"\xEF\xBB\xBF<?xml encoding=\"windows-1251\"?>".to_vec();
        bytes.extend("<yml_catalog>ё".as_bytes());
        assert_eq!(text_of(&bytes), "<yml_catalog>ё");
        let wide: Vec<u8> = "\u{feff}<yml_catalog>ё".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text_of(&wide), "<yml_catalog>ё");
    }

    #[test]
    fn the_root_is_found_across_every_chunk_boundary() {
        for before in CHUNK_BYTES - 20..CHUNK_BYTES + 20 {
            let text = format!("{}<yml_catalog/>", " ".repeat(before));
            assert_eq!(text_of(text.as_bytes()), "<yml_catalog/>", "after {before} bytes");
        }
    }

    #[test]
    fn a_doctype_and_a_longer_name_are_skipped() {
        let bomb = "<!DOCTYPE yml_catalog [<!ENTITY a \"aa\"><!ENTITY x SYSTEM \"file:///etc/passwd\">]>";
        assert_eq!(text_of(format!("{bomb}<yml_catalogue/><yml_catalog>").as_bytes()), "<yml_catalog>");
    }

    #[test]
    fn a_file_without_a_root_is_none() {
        for bytes in [b"".as_slice(), b"<html></html>", b"<yml_catalog", b"<!DOCTYPE yml_catalog>"] {
            assert!(open(bytes).unwrap().is_none());
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_file() {
        let mut feed =
            open(io::repeat(b' ').take(20_000_000).chain(b"<yml_catalog>".as_slice()).chain(io::repeat(b'a')))
                .unwrap()
                .expect("has a root");
        for _ in 0..1_000 {
            let available = feed.fill_buf().expect("endless").len();
            feed.consume(available);
        }
        assert!(feed.text.capacity() < 10 * CHUNK_BYTES, "{} bytes", feed.text.capacity());
    }

    #[test]
    fn broken_bytes_become_replacement_characters() {
        let mut bytes = b"<?xml encoding=\"utf-8\"?><yml_catalog>".to_vec();
        bytes.extend([0xC3, 0x28, 0xED, 0xA0, 0x80]);
        assert_eq!(text_of(&bytes), "<yml_catalog>\u{fffd}(\u{fffd}\u{fffd}\u{fffd}");
    }
}
