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

#[test]
fn an_export_writes_through_a_link_and_to_what_is_no_file() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let place = |name: &str| site.directory.path().join(name);
    let kept = site.directory.write("kept.json", "yesterday's");
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    symlink(&kept, place("link.json")).expect("made");
    let export =
        |name: &str| site.run(&["catalog", "export", "--brand", "dexar", place(name).to_str().expect("UTF-8")]);
    export("link.json").success();
    assert!(place("link.json").is_symlink() && std::fs::read_to_string(&kept).expect("there").starts_with('{'));
    assert_eq!(std::fs::metadata(&kept).expect("there").permissions().mode() & 0o777, 0o600);
    std::fs::create_dir(place("directory")).expect("made");
    export("directory").failure(1);
    assert!(!place("directory.partial").exists());
    symlink("/dev/full", place("full")).expect("made");
    export("full").failure(1);
    assert!(!std::fs::metadata("/dev/full").expect("still there").is_file());
}

#[test]
fn a_report_of_an_import_that_cannot_be_written_is_told() {
    let site = Site::new(&["dexar"]);
    let report = ["--report", "/dev/full"];
    let said = site.import_text("dexar", "shop.jsonl", "{\"itemID\":\"x\"}\n", &report).failure(1);
    assert!(said.contains("--report is not whole"), "{said}");
}

#[tokio::test]
async fn requests_are_answered_when_nobody_takes_the_log() {
    let site = Site::new(&["dexar"]);
    let admin = format!("127.0.0.1:{}", crate::harness::free_port());
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = site.command(&["serve", "--admin", &admin]);
    let mut gateway = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full).spawn().expect("it starts");
    let address = ([127, 0, 0, 1], site.brand("dexar").port).into();
    crate::harness::eventually_async("it listens", 20, async || {
        tokio::net::TcpStream::connect(address).await.is_ok().then_some(())
    })
    .await;
    assert_eq!(crate::harness::Client::new(address).get("/category").await.status, 200);
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &gateway.id().to_string()])
            .status()
            .expect("it runs")
            .success()
    );
    assert_eq!(gateway.wait().expect("it ends").code(), Some(0));
}
