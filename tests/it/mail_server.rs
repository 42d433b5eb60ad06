//! The way to the mail server: TLS and logins as a sysadmin configures them, and what `check` says of it.

use std::time::Duration;

use crate::harness::{Sandbox, Site, certificates, mail_section};
use crate::mail::{await_all_sent, column, queue};

const PASSWORD: &str = "s3cret-of-smtp";

/// One brand whose server wants a login, reached in this way.
fn guarded(way: impl Fn(&Sandbox) -> String) -> (Site, Sandbox) {
    let mut site = Site::new(&["dexar"]);
    let sandbox = Sandbox::start_with(&mut site, &format!("smtp_auth = \"shop:{PASSWORD}\""));
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    let section = mail_section("dexar", &way(&sandbox));
    site.change_brand("dexar", |file| file.mail = section);
    (site, sandbox)
}

fn way(port: u16, tls: &str) -> String {
    let ca = certificates().join("ca.pem");
    format!(
        "host = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nca = \"{}\"\nuser = \"shop\"\npassword = \"dexar.smtp-password\"",
        ca.display()
    )
}

#[tokio::test]
async fn a_login_over_tls_in_both_ways() {
    for tls in ["starttls", "tls"] {
        let (site, sandbox) = guarded(|sandbox| way(if tls == "tls" { sandbox.smtps } else { sandbox.smtp }, tls));
        queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ", "Спасибо");
        let said = site.run(&["check"]).success();
        let line = said.lines().find(|line| line.contains(" mail ")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(" ok ") && line.contains("TLS") && line.contains("logged in as shop"), "{line}");
        assert_eq!(sandbox.emails().await.len(), 0, "a check sends nothing");
        let _workers = site.start_workers();
        let mail = sandbox.await_emails(1).await.remove(0);
        assert_eq!((&mail["tls"], &mail["user"]), (&true.into(), &"shop".into()), "{tls}: {mail}");
    }
}

#[tokio::test]
async fn a_wrong_password_delays_mails_and_is_never_shown() {
    let (site, sandbox) = guarded(|sandbox| way(sandbox.smtp, "starttls"));
    site.directory.write("credentials/dexar.smtp-password", "hunter2-is-wrong");
    queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ", "Спасибо");
    let said = site.run(&["check"]).failure(1);
    assert!(said.contains("no login as shop: 535 5.7.8") && said.contains("1 fault"), "{said}");
    let workers = crate::harness::Process::start("loud", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |c| {
        c.arg("work");
        site.set_environment(c);
        c.env("RUST_LOG", "trace");
    });
    workers.await_log("no login as shop: 535");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(column(&site, "dexar", "status"), "QUEUED");
    let said = site.run(&["outbox", "list", "--brand", "dexar"]).success();
    assert!(said.contains("535"), "{said}");
    workers.kill();
    let log = workers.log();
    // "\0shop\0hunter2-is-wrong" and the password alone, as AUTH carries them.
    for secret in ["hunter2", "AHNob3AAaHVudGVyMi1pcy13cm9uZw", "aHVudGVyMi1pcy13cm9uZw"] {
        assert!(!log.contains(secret) && !said.contains(secret), "{secret} is in the log");
    }
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    assert_eq!(sandbox.emails().await.len(), 1);
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_is_not_the_right_one_or_does_not_encrypt() {
    // An authority that nobody trusts here.
    let (mut site, sandbox) = guarded(|sandbox| way(sandbox.smtps, "tls"));
    site.change_brand("dexar", |file| {
        file.mail = file.mail.lines().filter(|line| !line.starts_with("ca =")).collect::<Vec<_>>().join("\n");
    });
    let said = site.run(&["check"]).failure(1);
    assert!(said.lines().any(|line| line.contains(" mail ") && line.contains("FAULT")), "{said}");
    // A server without STARTTLS: the one that speaks TLS at once has none to offer, and one in the clear may not be used.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = plain.local_addr().expect("it is bound").port();
    let heard = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut stream, _) = plain.accept().expect("a client");
        stream.write_all(b"220 plain\r\n").expect("it is open");
        let mut heard = String::new();
        let mut lines = BufReader::new(stream.try_clone().expect("one more descriptor"));
        while lines.read_line(&mut heard).is_ok_and(|read| read > 0) {
            if stream.write_all(b"250 plain\r\n").is_err() {
                break;
            }
        }
        heard
    });
    site.change_brand("dexar", |file| file.mail = mail_section("dexar", &way(port, "starttls")));
    let said = site.run(&["check"]).failure(1);
    assert!(said.contains("no STARTTLS"), "{said}");
    let heard = heard.join().expect("no panic");
    assert!(heard.starts_with("EHLO") && !heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
    assert_eq!(sandbox.emails().await.len(), 0);
}

#[test]
fn what_cannot_be_meant_is_a_fault_with_its_line() {
    let mut site = Site::unmigrated(&["dexar"]);
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    site.change_brand("dexar", |file| {
        file.mail = "[mail]\nhost = \"smtp.example.org\"\ntls = \"none\"\nuser = \"shop\"\nfrom = \"Dexar\\r\\nBcc: a@b.example\"\n\
                     timeout_ms = 5000\nlease_ms = 9000\nfirst_retry_ms = 20\nlongest_retry_ms = 10\npots = 1\n"
            .to_owned();
    });
    let said = site.run(&["check"]).failure(2);
    for words in [
        "mail.tls: \"none\" is for a server on this machine only, and smtp.example.org is another one",
        "mail.user: a login has a password too",
        "mail.from: expected a sender",
        "mail.lease_ms: expected more than twice timeout_ms",
        "mail.longest_retry_ms: expected at least first_retry_ms",
        "unknown key mail.pots",
    ] {
        assert!(said.contains(words), "{words} is not told in\n{said}");
    }
    assert_eq!(said.lines().count(), 6, "{said}");
    site.change_brand("dexar", |file| {
        file.mail = "[mail]\ntls = \"ssl\"\npassword = \"dexar.smtp-password\"\n".to_owned()
    });
    let said = site.run(&["check"]).failure(2);
    for words in
        ["mail.host is missing", "mail.from is missing", "mail.tls: expected", "mail.password: a login has a user"]
    {
        assert!(said.contains(words), "{words} is not told in\n{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}
