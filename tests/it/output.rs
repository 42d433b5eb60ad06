//! What the commands print, and where nobody reads it: a pipe that is closed early, a disk that is full.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::Site;

/// How a run ends whose output goes there.
fn ended(site: &Site, arguments: &[&str], output: impl Into<Stdio>) -> (Option<i32>, String) {
    let run = site.command(arguments).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output();
    let run = run.expect("the program runs");
    (run.status.code(), String::from_utf8(run.stderr).expect("UTF-8"))
}

fn nobody() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let site = Site::new(&["dexar"]);
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["migrate"],
        &["payments", "list", "--brand", "dexar"],
        &["outbox", "list", "--brand", "dexar"],
        &["--help"],
    ] {
        assert_eq!(ended(&site, arguments, nobody()), (Some(0), String::new()), "{arguments:?}");
    }
    let (status, said) = ended(&site, &["migrate", "--admin-url", "postgresql://127.0.0.1:1/nowhere"], nobody());
    assert!(status == Some(1) && said.starts_with("brandgate: ") && !said.contains("panicked"), "{said}");
}

#[test]
fn an_export_that_breaks_off_is_a_fault() {
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let export = ["catalog", "export", "--brand", "dexar"];
    let mut child = site.command(&export).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    let run = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(run.stderr).expect("UTF-8");
    assert!(first.starts_with('{') && run.status.code() == Some(1) && !said.contains("panicked"), "{first}{said}");
}

#[test]
fn a_full_disk_is_told() {
    let site = Site::new(&["dexar"]);
    let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
    for arguments in [&["check"][..], &["payments", "list", "--brand", "dexar"], &["check", "--json"]] {
        let (status, said) = ended(&site, arguments, full());
        assert!(status == Some(1) && said.contains("not all of the output could be written"), "{said}");
    }
}
