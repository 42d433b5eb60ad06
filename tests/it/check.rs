//! `brandgate check`: what a sysadmin reads before a start, with everything as it should be and with one thing wrong at a time.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Sandbox, Services, Site, bank_key_of, mail_section};

/// The line about a subject of a brand.
#[track_caller]
pub fn line<'s>(said: &'s str, brand: &str, subject: &str) -> &'s str {
    let found = said.lines().find(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next() == Some(brand) && words.next() == Some(subject)
    });
    found.unwrap_or_else(|| panic!("no line about {brand} {subject} in\n{said}"))
}

#[tokio::test]
async fn with_everything_in_place_every_line_has_a_tick() {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    let said = site.run(&["check"]).success();
    for brand in ["dexar", "novo"] {
        for (subject, words) in [
            ("file", "has no fault"),
            ("certificate", "fits its key, is for localhost"),
            ("secrets", "readable by their owner alone"),
            ("postgresql", "is reachable"),
            ("migrations", "all applied"),
            ("isolation", "was tried and refused"),
            ("telegram", "the token is @"),
            ("bank", "answers, the key is MA"),
            ("mail", "answers"),
        ] {
            let line = line(&said, brand, subject);
            assert!(line.contains("✓ ok ") && line.contains(words), "{line}");
        }
        assert!(!line(&said, brand, "redis").contains("FAULT"), "{said}");
    }
    drop(sandbox);
}

#[tokio::test]
async fn a_wrong_token_a_wrong_bot_and_a_refused_key_are_told_and_never_shown() {
    let mut site = Site::new(&["dexar", "novo"]);
    let _sandbox = Sandbox::start(&mut site);
    let key = bank_key_of("dexar");
    let refused = format!("{}.{}", key.rsplit_once('.').map_or(key.as_str(), |(claims, _)| claims), "c2lnbmF0dXJl");
    site.directory.write("credentials/dexar.bank-key", &refused);
    site.directory.write("credentials/dexar.telegram-bot-token", "4711:not-the-bots-token");
    site.change_brand("novo", |brand| brand.telegram = brand.telegram.replacen("bot = \"", "bot = \"other_", 1));
    let said = site.run(&["check"]).failure(1);
    assert!(line(&said, "dexar", "telegram").contains("✗ FAULT  Telegram does not know the token"), "{said}");
    assert!(line(&said, "dexar", "bank").contains("refuses the key"), "{said}");
    let bot = line(&said, "novo", "telegram");
    assert!(bot.contains("FAULT") && bot.contains("but [telegram] bot says other_"), "{bot}");
    assert!(line(&said, "novo", "bank").contains(" ok "), "the other brand's key is good");
    assert!(said.contains("3 faults") && !said.contains("4711") && !said.contains("c2lnbmF0dXJl"), "{said}");
}

#[test]
fn offline_asks_nobody_and_a_silent_server_is_not_waited_for() {
    let mut site = Site::new(&["dexar"]);
    // It takes connections (the kernel does), and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("bound").port();
    site.change_brand("dexar", |brand| {
        let silent = format!("host = \"localhost\"\nport = {port}\ntls = \"none\"");
        let section = mail_section("dexar", &silent);
        let patient: Vec<&str> = section.lines().filter(|line| !line.contains("_ms")).collect();
        brand.mail = patient.join("\n");
    });
    let said = site.run(&["check"]).failure(1);
    assert!(line(&said, "dexar", "mail").contains("no answer within 5 s"), "{said}");
    assert!(line(&said, "dexar", "postgresql").contains(" ok "), "the others are told all the same");

    site.change_brand("dexar", |brand| brand.database_url = "postgresql://127.0.0.1:1/nowhere".to_owned());
    let said = site.run(&["check", "--offline"]).success();
    assert!(said.lines().count() == 3 && !said.contains("postgresql"), "{said}");
    silent.set_nonblocking(true).expect("a socket");
    while silent.accept().is_ok() {}
    site.run(&["check", "--offline"]).success();
    assert!(silent.accept().is_err(), "nobody came");
}

#[test]
fn json_says_the_same_for_programs() {
    let mut site = Site::new(&["dexar", "novo"]);
    let read = |status: i32| -> Value {
        let ended = site.run(&["check", "--json"]);
        assert_eq!(ended.status, Some(status), "{ended:#?}");
        serde_json::from_str(&ended.stdout).expect("one document")
    };
    let told = read(0);
    assert_eq!((&told["faults"], &told["files"]), (&0.into(), &Value::Array(Vec::new())));
    assert_eq!(told["warnings"], 6, "no bot, no bank, no mail in either brand: {told:#}");
    let subjects: Vec<&str> = told["brands"]["novo"].as_array().expect("a list").iter().map(subject).collect();
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
    assert_eq!(told["brands"]["dexar"][1]["verdict"], "good");
    assert!(told["brands"]["dexar"][1]["sentence"].as_str().expect("a text").starts_with("fits its key"));

    site.services.admin_sql(&site.database, "drop schema novo cascade");
    let told = read(1);
    assert_eq!((&told["faults"], &told["brands"]["novo"][3]["verdict"]), (&1.into(), &"fault".into()), "{told:#}");

    site.change_brand("novo", |brand| brand.limits = "connections = 0".to_owned());
    let ended = site.run(&["check", "--json"]);
    let told: Value = serde_json::from_str(&ended.stdout).expect("one document");
    assert_eq!((ended.status, &told["faults"]), (Some(2), &1.into()));
    assert!(told["files"][0].as_str().expect("a text").contains("novo.toml:"), "{told:#}");
}

fn subject(finding: &Value) -> &str {
    finding["subject"].as_str().expect("a text")
}

#[test]
fn secrets_that_others_can_read_are_told() {
    let site = Site::new(&["dexar"]);
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let credential = site.directory.path().join("credentials/dexar.database-password");
    open(&credential, 0o644);
    let said = site.run(&["check", "--offline"]).success();
    let told = line(&said, "dexar", "secrets");
    assert!(
        told.contains("! warn") && told.contains("chmod 600") && told.contains("dexar.database-password"),
        "{told}"
    );
    open(&site.directory.path().join("credentials"), 0o700);
    let said = site.run(&["check", "--offline"]).success();
    assert!(line(&said, "dexar", "secrets").contains(" ok "), "nobody gets into the directory: {said}");
}

#[test]
fn a_redis_that_forgets_sessions_is_told() {
    let services = Services::dedicated("check-redis");
    let site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    site.redis(&["CONFIG", "SET", "save", "60 1"]);
    site.redis(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let said = site.run(&["check"]).success();
    let told = line(&said, "dexar", "redis");
    assert!(told.contains("! warn") && told.contains("allkeys-lru") && told.contains("noeviction"), "{told}");
    site.redis(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    site.redis(&["CONFIG", "SET", "appendonly", "no"]);
    site.redis(&["CONFIG", "SET", "save", ""]);
    let said = site.run(&["check"]).success();
    assert!(line(&said, "dexar", "redis").contains("logs everybody out"), "{said}");
    site.redis(&["CONFIG", "SET", "save", "60 1"]);
    let said = site.run(&["check"]).success();
    assert!(line(&said, "dexar", "redis").contains("✓ ok"), "{said}");
    services.stop("redis");
    let said = site.run(&["check"]).failure(1);
    assert!(line(&said, "dexar", "redis").contains("✗ FAULT"), "{said}");
}
