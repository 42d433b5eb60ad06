//! `brandgate check`: with everything in order, and with errors in external systems, secrets and Redis.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Sandbox, Services, Site, bank_key_of, mail_section};

/// The line of a brand about a subject.
#[track_caller]
pub(crate) fn line<'s>(output: &'s str, brand: &str, subject: &str) -> &'s str {
    let found = output.lines().find(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next() == Some(brand) && words.next() == Some(subject)
    });
    found.unwrap_or_else(|| panic!("no line about {brand} {subject} in\n{output}"))
}

#[tokio::test]
async fn every_check_passes_when_everything_is_in_order() {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    let output = site.run(&["check"]).success();
    for brand in ["dexar", "novo"] {
        for (subject, words) in [
            ("file", "is valid"),
            ("certificate", "matches its key, is for localhost"),
            ("secrets", "readable only by their owner"),
            ("postgresql", "reachable"),
            ("migrations", "all applied"),
            ("isolation", "was tried and refused"),
            ("telegram", "the token is @"),
            ("bank", "answers, the key is MA"),
            ("mail", "answers"),
        ] {
            let line = line(&output, brand, subject);
            assert!(line.contains("✓ ok ") && line.contains(words), "{line}");
        }
        assert!(!line(&output, brand, "redis").contains("ERROR"), "{output}");
    }
    drop(sandbox);
}

#[tokio::test]
async fn rejected_tokens_and_keys_are_reported_and_not_printed() {
    let mut site = Site::new(&["dexar", "novo"]);
    let _outside = Sandbox::start(&mut site);
    let key = bank_key_of("dexar");
    let refused = format!("{}.{}", key.rsplit_once('.').map_or(key.as_str(), |(claims, _)| claims), "c2lnbmF0dXJl");
    site.directory.write("credentials/dexar.bank-key", &refused);
    site.directory.write("credentials/dexar.telegram-bot-token", "4711:not-the-bots-token");
    site.change_brand("novo", |brand| brand.telegram = brand.telegram.replacen("bot = \"", "bot = \"other_", 1));
    let output = site.run(&["check"]).failure(1);
    assert!(line(&output, "dexar", "telegram").contains("✗ ERROR  Telegram does not know the token"), "{output}");
    assert!(line(&output, "dexar", "bank").contains("refuses the key"), "{output}");
    let bot = line(&output, "novo", "telegram");
    assert!(bot.contains("ERROR") && bot.contains("but [telegram] bot says other_"), "{bot}");
    assert!(line(&output, "novo", "bank").contains(" ok "), "the other brand's key is accepted");
    assert!(output.contains("3 errors") && !output.contains("4711") && !output.contains("c2lnbmF0dXJl"), "{output}");
}

#[test]
fn offline_connects_nowhere_and_a_silent_server_times_out() {
    let mut site = Site::new(&["dexar"]);
    // The kernel accepts connections; no response is ever sent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("bound").port();
    site.change_brand("dexar", |brand| {
        let silent = format!("host = \"localhost\"\nport = {port}\ntls = \"none\"");
        let section = mail_section("dexar", &silent);
        let lines: Vec<&str> = section.lines().filter(|line| !line.contains("_ms")).collect();
        brand.mail = lines.join("\n");
    });
    let output = site.run(&["check"]).failure(1);
    assert!(line(&output, "dexar", "mail").contains("no response within 5 s"), "{output}");
    assert!(line(&output, "dexar", "postgresql").contains(" ok "), "the other checks have run");

    site.change_brand("dexar", |brand| brand.database_url = "postgresql://127.0.0.1:1/nowhere".to_owned());
    let output = site.run(&["check", "--offline"]).success();
    assert!(output.lines().count() == 3 && !output.contains("postgresql"), "{output}");
    silent.set_nonblocking(true).expect("a socket");
    while silent.accept().is_ok() {}
    site.run(&["check", "--offline"]).success();
    assert!(silent.accept().is_err(), "no connection was made");
}

#[test]
fn json_has_the_same_findings() {
    let mut site = Site::new(&["dexar", "novo"]);
    let read = |status: i32| -> Value {
        let ended = site.run(&["check", "--json"]);
        assert_eq!(ended.status, Some(status), "{ended:#?}");
        serde_json::from_str(&ended.stdout).expect("one document")
    };
    let report = read(0);
    assert_eq!((&report["faults"], &report["files"]), (&0.into(), &Value::Array(Vec::new())));
    assert_eq!(report["warnings"], 6, "neither brand has a bot, a bank or a mail server: {report:#}");
    let subjects: Vec<&str> = report["brands"]["novo"].as_array().expect("a list").iter().map(subject).collect();
    let expected = [
        "file",
        "certificate",
        "secrets",
        "postgresql",
        "migrations",
        "isolation",
        "redis",
        "telegram",
        "bank",
        "mail",
    ];
    assert_eq!(subjects, expected);
    assert_eq!(report["brands"]["dexar"][1]["verdict"], "good");
    assert!(report["brands"]["dexar"][1]["sentence"].as_str().expect("a text").starts_with("matches its key"));

    site.services.admin_sql(&site.database, "drop schema novo cascade");
    let report = read(1);
    assert_eq!(
        (&report["faults"], &report["brands"]["novo"][3]["verdict"]),
        (&1.into(), &"fault".into()),
        "{report:#}"
    );

    site.change_brand("novo", |brand| brand.limits = "connections = 0".to_owned());
    let ended = site.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&ended.stdout).expect("one document");
    assert_eq!((ended.status, &report["faults"]), (Some(2), &1.into()));
    assert!(report["files"][0].as_str().expect("a text").contains("novo.toml:"), "{report:#}");
}

fn subject(finding: &Value) -> &str {
    finding["subject"].as_str().expect("a text")
}

#[test]
fn secrets_that_others_can_read_are_a_warning() {
    let site = Site::new(&["dexar"]);
    let chmod = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the test owns it");
    };
    let credential = site.directory.path().join("credentials/dexar.database-password");
    chmod(&credential, 0o644);
    let output = site.run(&["check", "--offline"]).success();
    let warning = line(&output, "dexar", "secrets");
    assert!(
        warning.contains("! warn") && warning.contains("chmod 600") && warning.contains("dexar.database-password"),
        "{warning}"
    );
    chmod(&site.directory.path().join("credentials"), 0o700);
    let output = site.run(&["check", "--offline"]).success();
    assert!(line(&output, "dexar", "secrets").contains(" ok "), "other users cannot enter the directory: {output}");
}

#[test]
fn a_redis_that_may_lose_sessions_is_a_warning() {
    let services = Services::dedicated("check-redis");
    let site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    site.redis(&["CONFIG", "SET", "save", "60 1"]);
    site.redis(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let output = site.run(&["check"]).success();
    let warning = line(&output, "dexar", "redis");
    assert!(
        warning.contains("! warn") && warning.contains("allkeys-lru") && warning.contains("noeviction"),
        "{warning}"
    );
    site.redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    site.redis(&["CONFIG", "SET", "appendonly", "no"]);
    site.redis(&["CONFIG", "SET", "save", ""]);
    let output = site.run(&["check"]).success();
    assert!(line(&output, "dexar", "redis").contains("logs out every visitor"), "{output}");
    site.redis(&["CONFIG", "SET", "save", "60 1"]);
    let output = site.run(&["check"]).success();
    assert!(line(&output, "dexar", "redis").contains("✓ ok"), "{output}");
    services.stop("redis");
    let output = site.run(&["check"]).failure(1);
    assert!(line(&output, "dexar", "redis").contains("✗ ERROR"), "{output}");
}
