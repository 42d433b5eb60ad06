//! Output of the commands: closed pipes, full disks, symbolic links and lists as JSON.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::Site;

/// Status and standard error of a run with this standard output.
fn run_with(site: &Site, arguments: &[&str], output: impl Into<Stdio>) -> (Option<i32>, String) {
    let run = site.command(arguments).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).output();
    let run = run.expect("the program runs");
    (run.status.code(), String::from_utf8(run.stderr).expect("UTF-8"))
}

fn closed_pipe() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let site = Site::new(&["dexar"]);
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["migrate"],
        &["payments", "list", "--brand", "dexar"],
        &["outbox", "list", "--brand", "dexar"],
        &["--help"],
    ] {
        assert_eq!(run_with(&site, arguments, closed_pipe()), (Some(0), String::new()), "{arguments:?}");
    }
    let (status, stderr) =
        run_with(&site, &["migrate", "--admin-url", "postgresql://127.0.0.1:1/nowhere"], closed_pipe());
    assert!(status == Some(1) && stderr.starts_with("brandgate: ") && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn every_list_prints_a_json_array_with_stable_members() {
    let site = Site::new(&["dexar"]);
    let list = |command: &str| -> serde_json::Value {
        let output = site.run(&[command, "list", "--brand", "dexar", "--json"]).success();
        serde_json::from_str(&output).expect("a JSON document")
    };
    for command in ["payments", "reviews", "questions", "outbox"] {
        assert_eq!(list(command), serde_json::json!([]), "{command}");
    }
    site.import_text("dexar", "shop.jsonl", crate::reviews::SHOP, &[]).success();
    let reviews = list("reviews");
    assert_eq!(reviews[0]["hidden"], false);
    let mut members: Vec<&String> = reviews[0].as_object().expect("an object").keys().collect();
    members.sort();
    let expected =
        ["answer", "author", "createdAt", "hidden", "item", "rating", "receivedAt", "review", "text", "verified"];
    assert_eq!(members, expected);
}

#[test]
fn an_interrupted_export_is_an_error() {
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let export = ["catalog", "export", "--brand", "dexar"];
    let mut child = site.command(&export).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    let run = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8(run.stderr).expect("UTF-8");
    assert!(first.starts_with('{') && run.status.code() == Some(1) && !stderr.contains("panicked"), "{first}{stderr}");
}

#[test]
fn a_full_disk_is_an_error() {
    let site = Site::new(&["dexar"]);
    let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
    for arguments in [&["check"][..], &["payments", "list", "--brand", "dexar"], &["check", "--json"]] {
        let (status, stderr) = run_with(&site, arguments, full());
        assert!(status == Some(1) && stderr.contains("failed to write the whole output"), "{stderr}");
    }
}

#[test]
fn an_export_follows_links_and_writes_to_devices() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let site = Site::new(&["dexar"]);
    site.import_demo("dexar");
    let path = |name: &str| site.directory.path().join(name);
    let target = site.directory.write("target.json", "an earlier export");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).expect("the test owns it");
    symlink(&target, path("link.json")).expect("created");
    let export = |name: &str| site.run(&["catalog", "export", "--brand", "dexar", path(name).to_str().expect("UTF-8")]);
    export("link.json").success();
    assert!(path("link.json").is_symlink() && std::fs::read_to_string(&target).expect("it exists").starts_with('{'));
    assert_eq!(std::fs::metadata(&target).expect("it exists").permissions().mode() & 0o777, 0o600);
    std::fs::create_dir(path("directory")).expect("created");
    export("directory").failure(1);
    assert!(!path("directory.partial").exists());
    symlink("/dev/full", path("full")).expect("created");
    export("full").failure(1);
    assert!(!std::fs::metadata("/dev/full").expect("it exists").is_file());
}

#[test]
fn an_import_report_that_cannot_be_written_is_an_error() {
    let site = Site::new(&["dexar"]);
    let report = ["--report", "/dev/full"];
    let stderr = site.import_text("dexar", "shop.jsonl", "{\"itemID\":\"x\"}\n", &report).failure(1);
    assert!(stderr.contains("--report is incomplete"), "{stderr}");
}

#[tokio::test]
async fn requests_are_served_when_the_log_cannot_be_written() {
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
