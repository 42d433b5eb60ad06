//! Connections to the mail server: TLS, logins, invalid configuration, and what `check` reports.

use std::time::Duration;

use crate::harness::{Sandbox, Site, certificates, mail_section};
use crate::mail::{await_all_sent, column, queue};

const PASSWORD: &str = "s3cret-of-smtp";

/// One brand whose mail server requires a login; `connection` returns the keys of the section `[mail]`.
fn setup(connection: impl Fn(&Sandbox) -> String) -> (Site, Sandbox) {
    let mut site = Site::new(&["dexar"]);
    let sandbox = Sandbox::start_with(&mut site, &format!("smtp_auth = \"shop:{PASSWORD}\""));
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    let section = mail_section("dexar", &connection(&sandbox));
    site.change_brand("dexar", |file| file.mail = section);
    (site, sandbox)
}

fn connection(port: u16, tls: &str) -> String {
    let ca = certificates().join("ca.pem");
    format!(
        "host = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nca = \"{}\"\nuser = \"shop\"\npassword = \"dexar.smtp-password\"",
        ca.display()
    )
}

#[tokio::test]
async fn login_works_over_starttls_and_tls() {
    for tls in ["starttls", "tls"] {
        let (site, sandbox) = setup(|sandbox| connection(if tls == "tls" { sandbox.smtps } else { sandbox.smtp }, tls));
        queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ", "Спасибо");
        let output = site.run(&["check"]).success();
        let line = output.lines().find(|line| line.contains(" mail ")).unwrap_or_else(|| panic!("{output}"));
        assert!(line.contains(" ok ") && line.contains("TLS") && line.contains("logged in as shop"), "{line}");
        assert_eq!(sandbox.emails().await.len(), 0, "a check sends nothing");
        let _workers = site.start_workers();
        let mail = sandbox.await_emails(1).await.remove(0);
        assert_eq!((&mail["tls"], &mail["user"]), (&true.into(), &"shop".into()), "{tls}: {mail}");
    }
}

#[tokio::test]
async fn a_wrong_password_delays_email_and_is_never_logged() {
    let (site, sandbox) = setup(|sandbox| connection(sandbox.smtp, "starttls"));
    site.directory.write("credentials/dexar.smtp-password", "hunter2-is-wrong");
    queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ", "Спасибо");
    let output = site.run(&["check"]).failure(1);
    assert!(output.contains("login as shop failed: 535 5.7.8") && output.contains("1 error"), "{output}");
    let workers = crate::harness::Process::start("loud", env!("CARGO_BIN_EXE_brandgate"), site.directory.path(), |c| {
        c.arg("work");
        site.set_environment(c);
        c.env("RUST_LOG", "trace");
    });
    workers.await_log("login as shop failed: 535");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(column(&site, "dexar", "status"), "QUEUED");
    let output = site.run(&["outbox", "list", "--brand", "dexar"]).success();
    assert!(output.contains("535"), "{output}");
    workers.kill();
    let log = workers.log();
    // "\0shop\0hunter2-is-wrong" and the password alone, as AUTH carries them.
    for secret in ["hunter2", "AHNob3AAaHVudGVyMi1pcy13cm9uZw", "aHVudGVyMi1pcy13cm9uZw"] {
        assert!(!log.contains(secret) && !output.contains(secret), "{secret} is in the log");
    }
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    assert_eq!(sandbox.emails().await.len(), 1);
}

#[tokio::test]
async fn no_credentials_are_sent_to_an_untrusted_or_unencrypted_server() {
    // The certificate's CA is not trusted.
    let (mut site, sandbox) = setup(|sandbox| connection(sandbox.smtps, "tls"));
    site.change_brand("dexar", |file| {
        file.mail = file.mail.lines().filter(|line| !line.starts_with("ca =")).collect::<Vec<_>>().join("\n");
    });
    let output = site.run(&["check"]).failure(1);
    assert!(output.lines().any(|line| line.contains(" mail ") && line.contains("ERROR")), "{output}");
    // A server without STARTTLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = plain.local_addr().expect("it is bound").port();
    let received = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut stream, _) = plain.accept().expect("a client");
        stream.write_all(b"220 plain\r\n").expect("it is open");
        let mut received = String::new();
        let mut lines = BufReader::new(stream.try_clone().expect("one more descriptor"));
        while lines.read_line(&mut received).is_ok_and(|read| read > 0) {
            if stream.write_all(b"250 plain\r\n").is_err() {
                break;
            }
        }
        received
    });
    site.change_brand("dexar", |file| file.mail = mail_section("dexar", &connection(port, "starttls")));
    let output = site.run(&["check"]).failure(1);
    assert!(output.contains("STARTTLS failed"), "{output}");
    let received = received.join().expect("no panic");
    assert!(received.starts_with("EHLO") && !received.contains("AUTH") && !received.contains("MAIL"), "{received}");
    assert_eq!(sandbox.emails().await.len(), 0);
}

#[test]
fn invalid_settings_are_reported_with_their_line() {
    let mut site = Site::unmigrated(&["dexar"]);
    site.directory.write("credentials/dexar.smtp-password", PASSWORD);
    site.change_brand("dexar", |file| {
        file.mail = "[mail]\nhost = \"smtp.example.org\"\ntls = \"none\"\nuser = \"shop\"\nfrom = \"Dexar\\r\\nBcc: a@b.example\"\n\
                     timeout_ms = 5000\nlease_ms = 9000\nfirst_retry_ms = 20\nlongest_retry_ms = 10\npots = 1\n"
            .to_owned();
    });
    let output = site.run(&["check"]).failure(2);
    for words in [
        "mail.tls: \"none\" is only for a server on this machine, and smtp.example.org is not",
        "mail.user: needs a password too",
        "mail.from: expected a sender",
        "mail.lease_ms: expected more than twice timeout_ms",
        "mail.longest_retry_ms: expected at least first_retry_ms",
        "unknown key mail.pots",
    ] {
        assert!(output.contains(words), "{words} is missing in\n{output}");
    }
    assert_eq!(output.lines().count(), 6, "{output}");
    site.change_brand("dexar", |file| {
        file.mail = "[mail]\ntls = \"ssl\"\npassword = \"dexar.smtp-password\"\n".to_owned()
    });
    let output = site.run(&["check"]).failure(2);
    for words in
        ["mail.host is missing", "mail.from is missing", "mail.tls: expected", "mail.password: needs a user too"]
    {
        assert!(output.contains(words), "{words} is missing in\n{output}");
    }
    assert_eq!(output.lines().count(), 4, "{output}");
}
