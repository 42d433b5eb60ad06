//! Opens catalogue files, also those in gzip and zip.
//!
//! # Invariants
//! - A compressed file is unpacked while it is read: memory does not grow with it, and what it unpacks to is bounded.
//! - A compressed file is read to its end, so that its checksum is compared before anything of it is merged.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder};

use super::format::{self, Compression, HEAD_BYTES, compression_of};
use super::reading::{ReadRules, invalid, refusal};
use super::record::ReadRecord;
use super::{ImportProgress, ImportSource};

const BUFFER_BYTES: usize = 1 << 17;

/// Names of entries of a zip file that are mentioned in a message.
const MAX_NAMES: usize = 5;

/// Endings of the names of files that can be read.
const FEED_ENDINGS: [&str; 9] = [".xml", ".yml", ".php", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".rss"];

/// Reads one file of any format and passes its records to `sink`.
///
/// # Errors
/// Those of the file and of the sink; `InvalidData` when it is damaged, too large unpacked, or of an unknown format.
pub(super) fn read_file(
    source: &ImportSource,
    rules: &ReadRules,
    progress: &ImportProgress,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let bytes = &progress.bytes_read;
    if source.path.to_str() == Some("-") {
        return read_stream(CountingReader { inner: io::stdin(), bytes: bytes.clone() }, rules, sink);
    }
    let file = File::open(&source.path)?;
    let mut head = [0; 4];
    // A pipe cannot be read at an offset: what it carries is read as a stream.
    let is_zip = file.read_exact_at(&mut head, 0).is_ok() && matches!(compression_of(&head), Compression::Zip);
    match is_zip {
        true => read_zip(file, rules, bytes, sink),
        false => read_stream(CountingReader { inner: file, bytes: bytes.clone() }, rules, sink),
    }
}

/// Reads a file that is not in zip.
pub(super) fn read_stream(
    reader: impl Read,
    rules: &ReadRules,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let head = read_head(&mut reader)?;
    match compression_of(&head) {
        Compression::None => format::read_records(&head, reader, rules, sink),
        Compression::Gzip => read_unpacked(MultiGzDecoder::new(io::Cursor::new(head).chain(reader)), rules, sink),
        Compression::Zip => {
            let message =
                "a zip file that is not a regular file cannot be read: name the file itself, or unpack it first";
            Err(invalid(message))
        }
    }
}

fn read_head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads the contents of a compressed file to their end.
fn read_unpacked(
    reader: impl Read,
    rules: &ReadRules,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let max_bytes = rules.max_unpacked_bytes;
    let mut reader =
        BufReader::with_capacity(BUFFER_BYTES, BoundedReader { inner: reader, left: max_bytes, max_bytes });
    let head = read_head(&mut reader)?;
    if !matches!(compression_of(&head), Compression::None) {
        return Err(refusal("compressed twice: unpack it first"));
    }
    format::read_records(&head, &mut reader, rules, sink)?;
    io::copy(&mut reader, &mut io::sink()).map(|_| ())
}

/// Reads the one feed in a zip file.
fn read_zip(
    file: File,
    rules: &ReadRules,
    bytes: &Arc<AtomicU64>,
    sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
) -> io::Result<()> {
    let damaged = |error: rawzip::Error| invalid(&format!("the zip file is damaged: {error}"));
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;
    let (wayfinder, method) = find_feed(&archive, &mut buffer)?;
    let entry = archive.get_entry(wayfinder).map_err(damaged)?;
    let packed = CountingReader { inner: entry.reader(), bytes: bytes.clone() };
    match method {
        CompressionMethod::STORE => read_unpacked(entry.verifying_reader(packed), rules, sink),
        CompressionMethod::DEFLATE => read_unpacked(entry.verifying_reader(DeflateDecoder::new(packed)), rules, sink),
        _ => Err(refusal("a zip file with a compression other than deflate: unpack it first")),
    }
}

/// The only file of an archive, or its only one with the name of a feed.
fn find_feed(
    archive: &ZipArchive<FileReader>,
    buffer: &mut [u8],
) -> io::Result<(ZipArchiveEntryWayfinder, CompressionMethod)> {
    let (mut files, mut feeds, mut names) = (0, 0, Vec::new());
    let (mut file, mut feed) = (None, None);
    let mut entries = archive.entries(buffer);
    while let Some(entry) = entries.next_entry().map_err(|e| invalid(&format!("the zip file is damaged: {e}")))? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).replace(char::is_control, "?");
        match name.as_str() {
            "xl/workbook.xml" | "xl/workbook.bin" => {
                return Err(refusal("an Excel workbook (XLSX): save it as CSV and import that"));
            }
            "word/document.xml" => return Err(refusal("a Word document (DOCX)")),
            "content.xml" if names.iter().any(|name| name == "mimetype") => {
                return Err(refusal("an OpenDocument file (ODS): save it as CSV and import that"));
            }
            _ => {}
        }
        let is_hidden =
            name.rsplit('/').next().is_some_and(|base| base.starts_with('.')) || name.starts_with("__MACOSX/");
        if entry.is_dir() || is_hidden {
            continue;
        }
        let found = (entry.wayfinder(), entry.compression_method(), entry.flags().is_encrypted());
        files += 1;
        file = Some(found);
        if FEED_ENDINGS.iter().any(|ending| name.to_lowercase().ends_with(ending)) {
            feeds += 1;
            feed = Some(found);
        }
        if names.len() < MAX_NAMES {
            names.push(name);
        }
    }
    let found = if files == 1 { file } else { feed.filter(|_| feeds == 1) };
    match found {
        Some((_, _, true)) => Err(refusal("a zip file with a password: unpack it first")),
        Some((wayfinder, method, false)) => Ok((wayfinder, method)),
        None if files == 0 => Err(invalid("the zip file is empty")),
        None => {
            let more = if files > names.len() { ", …" } else { "" };
            let message =
                format!("the zip file has {files} files ({}{more}): unpack it and import its feeds", names.join(", "));
            Err(invalid(&message))
        }
    }
}

struct CountingReader<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Fails when more than a number of bytes are read.
struct BoundedReader<R> {
    inner: R,
    left: u64,
    max_bytes: u64,
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => invalid(&format!("the compressed file is damaged or incomplete: {error}")),
        })?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let mebibytes = self.max_bytes >> 20;
            invalid(&format!("the file unpacks to more than {mebibytes} MiB ([import] max_unpacked_mebibytes)"))
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
