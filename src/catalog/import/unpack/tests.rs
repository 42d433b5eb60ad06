//! Tests of the unpacking of compressed files.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression as Level;
use flate2::write::{DeflateEncoder, GzEncoder};
use jiff::Timestamp;

use super::*;
use crate::catalog::import::record::Record;

const FEED: &str =
    "<yml_catalog><offers><offer id='1'><name>Чашка</name><price>10</price></offer></offers></yml_catalog>";

fn rules(max_unpacked_bytes: u64) -> ReadRules {
    ReadRules { now: Timestamp::UNIX_EPOCH, max_unpacked_bytes }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    for (name, contents) in files {
        let (mut entry, config) = archive.new_file(*name).compression_method(method).start().unwrap();
        let descriptor = if method == CompressionMethod::STORE {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(contents).unwrap();
            writer.finish().unwrap().1
        } else {
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Level::default()));
            writer.write_all(contents).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    out
}

/// A file that is removed when it is dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(contents: &[u8]) -> TemporaryFile {
        let name = format!("brandgate-unpack-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        std::fs::write(&path, contents).unwrap();
        TemporaryFile(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// The names of the items in a file, or why it is refused.
fn names_within(contents: &[u8], max_unpacked_bytes: u64) -> Result<Vec<String>, String> {
    let file = TemporaryFile::new(contents);
    let source = ImportSource { path: file.0.clone(), region: None };
    let mut names = Vec::new();
    let read = read_file(&source, &rules(max_unpacked_bytes), &ImportProgress::default(), &mut |record| {
        if let Ok(Record::Item(item)) = record {
            names.extend(item.name);
        }
        Ok(())
    });
    read.map(|()| names).map_err(|error| error.to_string())
}

fn names(contents: &[u8]) -> Result<Vec<String>, String> {
    names_within(contents, 1 << 20)
}

#[test]
fn gzip_and_zip_are_unpacked() {
    let feed = FEED.as_bytes();
    let csv = "id;name;price\n1;Чашка;10\n".as_bytes();
    let in_parts = [gzip(&feed[..30]), gzip(&feed[30..])].concat();
    for file in [
        feed.to_vec(),
        gzip(feed),
        in_parts,
        zip(&[("feed.xml", feed)], CompressionMethod::DEFLATE),
        zip(&[("feed.xml", feed)], CompressionMethod::STORE),
        zip(&[("выгрузка", csv)], CompressionMethod::DEFLATE),
        zip(
            &[("__MACOSX/._a.csv", b"x"), ("photo/1.jpg", b"x"), ("a.CSV", csv), ("readme.md", b"x")],
            CompressionMethod::DEFLATE,
        ),
        gzip(csv),
    ] {
        assert_eq!(names(&file), Ok(vec!["Чашка".to_owned()]));
    }
}

#[test]
fn a_damaged_or_truncated_file_is_refused_as_a_whole() {
    let long = FEED.replace("</offers>", &"<offer id='2'><name>Блюдце</name><price>5</price></offer>".repeat(500));
    let file = gzip(long.replace("</yml_catalog>", "</offers></yml_catalog>").as_bytes());
    assert!(names(&file).is_ok());
    for damaged in [&file[..file.len() - 1], &file[..file.len() / 2], &[&file[..], b"more"].concat()] {
        let message = names(damaged).expect_err("a damaged file");
        assert!(message.contains("damaged or incomplete"), "{message}");
    }
    let mut wrong_sum = file.clone();
    let crc = wrong_sum.len() - 8;
    wrong_sum[crc] ^= 1;
    assert!(names(&wrong_sum).is_err(), "the checksum is compared although the feed ends before it");
    let file = zip(&[("feed.xml", FEED.as_bytes())], CompressionMethod::STORE);
    let at = file.windows(10).position(|bytes| bytes == "Чашка".as_bytes()).expect("a stored name");
    let mut changed = file.clone();
    changed[at + 1] ^= 1;
    assert!(names(&changed).is_err(), "the checksum of a zip entry is compared");
    assert!(names(&file[..file.len() - 30]).expect_err("no directory").contains("zip file is damaged"));
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let bomb = [FEED.as_bytes(), &vec![b' '; 4 << 20]].concat();
    for file in [gzip(&bomb), zip(&[("feed.xml", &bomb)], CompressionMethod::DEFLATE)] {
        let message = names(&file).expect_err("a bomb");
        assert!(message.contains("unpacks to more than 1 MiB ([import] max_unpacked_mebibytes)"), "{message}");
        assert!(names_within(&file, 8 << 20).is_ok());
    }
    assert!(names_within(&bomb, 1).is_ok(), "what is not compressed has no bound");
}

#[test]
fn archives_without_one_feed_are_refused() {
    let of = |files: &[(&str, &[u8])]| names(&zip(files, CompressionMethod::DEFLATE)).expect_err("a refusal");
    assert!(of(&[("a.xml", b"x"), ("b.xml", b"x")]).contains("2 files (a.xml, b.xml)"));
    assert!(of(&[]).contains("the zip file is empty"));
    let workbook = of(&[("[Content_Types].xml", b"x"), ("xl/workbook.xml", b"x"), ("xl/sharedStrings.xml", b"x")]);
    assert!(workbook.contains("an Excel workbook (XLSX): save it as CSV"), "{workbook}");
    assert!(of(&[("mimetype", b"x"), ("content.xml", b"x")]).contains("OpenDocument"));
    assert!(of(&[("a.xml", &gzip(b"x"))]).contains("compressed twice"));
    assert!(names(&gzip(&gzip(FEED.as_bytes()))).expect_err("twice").contains("compressed twice"));
    let stream =
        read_stream(&zip(&[("a.xml", b"x")], CompressionMethod::DEFLATE)[..], &rules(1 << 20), &mut |_| Ok(()));
    assert!(stream.expect_err("a stream").to_string().contains("not a regular file"));
}
