//! Recognises the format of a catalogue file by its first bytes, and reads the file with the reader of that format.
//!
//! # Invariants
//! - A file that no reader takes is refused with the name of what it is.

use std::io::{self, BufRead, Read};

use super::reading::{ReadRules, invalid, refusal};
use super::record::ReadRecord;
use super::{csv, feed, json, yml};

/// How much of a file decides its format.
pub(super) const HEAD_BYTES: u64 = 64 << 10;

/// Signatures of files that cannot be read, at an offset.
const SIGNATURES: [(usize, &[u8], &str); 16] = [
    (
        0,
        &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1],
        "an old Excel workbook (XLS): save it as CSV and import that",
    ),
    (0, b"%PDF-", "a PDF document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (0, &[0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], "a 7z archive: unpack it first"),
    (0, &[0xFD, b'7', b'z', b'X', b'Z', 0], "an xz file: unpack it first"),
    (0, &[0x28, 0xB5, 0x2F, 0xFD], "a zstd file: unpack it first"),
    (0, b"BZh", "a bzip2 file: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"PAR1", "a Parquet file"),
    (0, &[0x89, b'P', b'N', b'G'], "a PNG picture"),
    (0, &[0xFF, 0xD8, 0xFF], "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"\x7fELF", "a program"),
    (0, b"-----BEGIN ", "a key or a certificate"),
];

/// Root elements of XML files that cannot be read.
const ROOTS: [(&str, &str); 8] = [
    ("html", "an HTML page, as sites send it for a login or an error"),
    ("КоммерческаяИнформация", "an exchange file of 1C (CommerceML)"),
    ("Workbook", "an Excel workbook in XML: save it as CSV and import that"),
    ("urlset", "a sitemap"),
    ("sitemapindex", "a sitemap"),
    ("Ads", "a feed for Avito"),
    ("kaspi_catalog", "a feed for Kaspi"),
    ("soap:Envelope", "a SOAP message"),
];

pub(super) enum Compression {
    None,
    Gzip,
    Zip,
}

pub(super) fn compression_of(head: &[u8]) -> Compression {
    match head {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Compression::Zip,
        _ => Compression::None,
    }
}

/// Reads an uncompressed file; `head` is its beginning, at least [`HEAD_BYTES`] where it has as many, and `rest` is what follows.
///
/// # Errors
/// `InvalidData` with the name of the format if it is none that can be read; errors of its reader and of the sink.
pub(super) fn read_records(
    head: &[u8],
    rest: impl BufRead,
    rules: &ReadRules,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let reader = io::Cursor::new(head).chain(rest);
    let is_signed =
        |(at, signature, _): &&(usize, &[u8], &str)| head.get(*at..).is_some_and(|h| h.starts_with(signature));
    if let Some((_, _, name)) = SIGNATURES.iter().find(is_signed) {
        return Err(refusal(name));
    }
    let text = feed::decode_head(head);
    match text.trim_start().chars().next() {
        None if (head.len() as u64) < HEAD_BYTES => Err(invalid("the file is empty")),
        Some('{' | '[') => json::read(reader, sink),
        // Feeds may have pages of PHP before the XML.
        first if first.is_none_or(|first| first == '<') || text.contains("<yml_catalog") => match feed::open(reader)? {
            Some(feed) => yml::read(feed, rules, sink),
            None => Err(refusal(&xml_name(&text))),
        },
        _ if text.contains('\0') => Err(refusal("a binary file of an unknown format")),
        _ => csv::read(&text, reader, sink),
    }
}

/// What an XML file is, by the name of its root element.
fn xml_name(text: &str) -> String {
    let Some(root) = root_of(text) else {
        return "XML without a root element (it has no <yml_catalog>)".to_owned();
    };
    match ROOTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(root)) {
        Some((_, name)) => format!("{name} (it has no <yml_catalog>)"),
        None => {
            let root: String = root.chars().filter(|c| !c.is_control()).take(50).collect();
            format!("XML with the root <{root}> (it has no <yml_catalog>)")
        }
    }
}

/// The name of the first element that is not a declaration or a comment.
fn root_of(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let end = match rest.as_bytes().first()? {
            b'?' => "?>",
            b'!' if rest.starts_with("!--") => "-->",
            b'!' => ">",
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(rest.len());
                return Some(&rest[..end]).filter(|name| !name.is_empty());
            }
        };
        rest = &rest[rest.find(end)? + end.len()..];
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::catalog::import::reading::EXPECTED;

    /// Why a file is refused.
    fn refused(file: &[u8]) -> String {
        let rules = ReadRules { now: Timestamp::UNIX_EPOCH, max_unpacked_bytes: 0 };
        let read = read_records(file, io::empty(), &rules, &mut |record| panic!("{record:?}"));
        read.expect_err("a refusal").to_string()
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (file, name) in [
            (b"%PDF-1.7\n".as_slice(), "a PDF document"),
            (&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1, 0], "XLS"),
            (b"{\\rtf1 }", "RTF"),
            (&tar, "a tar archive"),
            (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
            (b"\x00\x01\x02", "a binary file of an unknown format"),
            (b"<!DOCTYPE html><html><body>403</body></html>", "an HTML page"),
            (b"<HTML>", "an HTML page"),
            (
                "\u{feff}<?xml version='1.0'?><!-- 1C -->\n<КоммерческаяИнформация ВерсияСхемы='2.05'>".as_bytes(),
                "CommerceML",
            ),
            (b"<?xml version='1.0'?><urlset xmlns='x'></urlset>", "a sitemap"),
            (b"<products><product/></products>", "XML with the root <products>"),
            (b"<?php echo 1;", "XML without a root element"),
        ] {
            let message = refused(file);
            assert!(message.contains(name) && message.contains(EXPECTED), "{message}");
        }
        assert_eq!(refused(b""), "the file is empty");
        assert_eq!(refused(b"\xef\xbb\xbf \n"), "the file is empty");
    }
}
