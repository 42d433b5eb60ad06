//! Email delivery: content and headers, the sender of each brand, and one email per subject key and recipient.

use brandgate::config;
use brandgate::foundation::language::Language;
use brandgate::mail::{self, EmailDraft, QueueOutcome};
use brandgate::platform::postgres::{self, Connection, Purpose};
use serde_json::Value;

use crate::harness::{Sandbox, Site, eventually};

/// Two brands and their external systems, without workers.
pub(crate) fn setup() -> (Site, Sandbox) {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    (site, sandbox)
}

/// Inserts an email into a brand's outbox.
pub(crate) fn queue(site: &Site, brand: &str, subject_key: &str, to: &str, subject: &str, text: &str) {
    let sql = format!(
        r"insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html,
                                   queued_at, tried_since, next_try_at)
          values ('{key}', '{to}', '<{key}.{to}>', 'ru', '{subject}', '{text}', '<p>{text}</p>', now(), now(), now())",
        key = subject_key.replace(':', "."),
    );
    site.sql_as(brand, &sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The values of a column of a brand's outbox, oldest first.
pub(crate) fn column(site: &Site, brand: &str, column: &str) -> String {
    let sql = format!("select string_agg({column}::text, ' ' order by mail_id) from mail_outbox");
    site.sql_as(brand, &sql).expect("the table exists")
}

pub(crate) fn await_all_sent(site: &Site, brand: &str) {
    eventually("all emails are sent", 30, || {
        let unsent = "select count(*) from mail_outbox where status <> 'SENT'";
        (site.sql_as(brand, unsent).expect("the table exists") == "0").then_some(())
    });
}

/// The number of arrivals of each Message-ID.
pub(crate) fn arrivals(mails: &[Value]) -> std::collections::HashMap<String, usize> {
    let mut arrivals = std::collections::HashMap::new();
    for mail in mails {
        *arrivals.entry(mail["messageId"].as_str().expect("a Message-ID").to_owned()).or_default() += 1;
    }
    arrivals
}

#[tokio::test]
async fn a_delivered_email_has_both_parts_and_all_headers_in_any_script() {
    let (site, sandbox) = setup();
    let workers = site.start_workers();
    queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ №1: Շնորհակալություն", "Спасибо!\n.\nՑտեսություն");
    let mail = sandbox.await_emails(1).await.remove(0);
    await_all_sent(&site, "dexar");
    assert_eq!(mail["from"], "\"Shop dexar\" <shop@dexar.example>");
    assert_eq!(mail["envelopeFrom"], "shop@dexar.example");
    assert_eq!(mail["to"], serde_json::json!(["anna@example.org"]));
    assert_eq!(mail["subject"], "Заказ №1: Շնորհակալություն");
    assert_eq!(mail["messageId"], "<payment.1.anna@example.org>");
    let lines = |part: &Value| part.as_str().expect("a part").replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(lines(&mail["text"]), "Спасибо!\n.\nՑտեսություն");
    assert_eq!(lines(&mail["html"]), "<p>Спасибо!\n.\nՑտեսություն</p>");
    let date = mail["date"].as_str().expect("a date");
    jiff::fmt::rfc2822::parse(date).unwrap_or_else(|error| panic!("{date}: {error}"));
    let raw = sandbox.raw_email(&mail).await;
    assert!(raw.is_ascii(), "{raw}");
    for header in ["To: anna@example.org", "Auto-Submitted: auto-generated", "MIME-Version: 1.0"] {
        assert!(raw.lines().any(|line| line == header), "{header} is not in\n{raw}");
    }
    assert!(raw.contains("multipart/alternative"), "{raw}");
    assert!(!raw.contains("Reply-To"), "{raw}");
    assert_eq!(column(&site, "dexar", "tries"), "1");
    assert_eq!(column(&site, "dexar", "coalesce(last_error, '-')"), "-");
    workers.terminate();
    assert!(workers.await_exit().success());
}

#[tokio::test]
async fn every_email_has_the_sender_of_its_brand() {
    let (mut site, sandbox) = setup();
    site.change_brand("novo", |file| file.mail += "reply_to = \"Помощь <help@novo.example>\"\n");
    for number in 1..=5 {
        for brand in ["dexar", "novo"] {
            queue(&site, brand, &format!("payment:{number}"), &format!("{brand}@example.org"), brand, brand);
        }
    }
    let _workers = site.start_workers();
    let mails = sandbox.await_emails(10).await;
    for mail in &mails {
        let brand = mail["subject"].as_str().expect("a subject");
        assert_eq!(mail["from"], format!("\"Shop {brand}\" <shop@{brand}.example>"), "{mail}");
        assert_eq!(mail["envelopeFrom"], format!("shop@{brand}.example"), "{mail}");
        assert_eq!(mail["to"], serde_json::json!([format!("{brand}@example.org")]), "{mail}");
        let reply_to = mail["replyTo"].as_str();
        assert_eq!(reply_to, (brand == "novo").then_some("Помощь <help@novo.example>"), "{mail}");
    }
    assert_eq!(mails.len(), 10);
}

#[tokio::test]
async fn two_workers_send_every_email_once() {
    let (site, sandbox) = setup();
    for number in 1..=30 {
        queue(&site, "dexar", &format!("payment:{number}"), "anna@example.org", "Заказ", "Спасибо");
    }
    let workers = [site.start_workers(), site.start_workers()];
    await_all_sent(&site, "dexar");
    let arrivals = arrivals(&sandbox.emails().await);
    assert_eq!((arrivals.len(), arrivals.values().sum::<usize>()), (30, 30), "{arrivals:?}");
    assert_eq!(site.sql_as("dexar", "select sum(tries) from mail_outbox"), Ok("30".to_owned()));
    for worker in workers {
        assert!(!worker.log().contains("lease expired"), "{}", worker.log());
    }
}

#[test]
fn the_outbox_rejects_duplicates_and_injected_headers() {
    let site = Site::new(&["dexar"]);
    queue(&site, "dexar", "payment:1", "Anna@example.org", "Заказ", "Спасибо");
    let try_queue = |id: &str, to: &str, subject: &str| {
        let sql = format!(
            "insert into mail_outbox (subject_key, recipient, message_id, language, subject, body_text, body_html, \
                                      queued_at, tried_since, next_try_at) \
             values ('payment.1', E'{to}', E'{id}', 'ru', E'{subject}', '', '', now(), now(), now())"
        );
        site.sql_as("dexar", &sql).expect_err("it is rejected")
    };
    for (id, to, subject, constraint) in [
        ("<2@dexar.example>", "anna@example.org", "Order", "mail_outbox_subject_key_recipient_key"),
        ("<2@dexar.example>", "eve@example.org\\r\\nBcc: a@example.org", "Order", "mail_outbox_recipient_check"),
        ("<2@dexar.example>", "eve@example.org", "Order\\r\\nBcc: a@example.org", "mail_outbox_subject_check"),
        ("<2@dexar.example>\\r\\nBcc: <a@b>", "eve@example.org", "Order", "mail_outbox_message_id_check"),
        ("<payment.1.Anna@example.org>", "eve@example.org", "Order", "mail_outbox_message_id_key"),
    ] {
        let error = try_queue(id, to, subject);
        assert!(error.contains(constraint), "{constraint}: {error}");
    }
}

#[tokio::test]
async fn an_email_is_queued_in_the_callers_transaction() {
    let site = Site::new(&["dexar"]);
    let credentials = site.directory.path().join("credentials");
    let config = config::load_file(&site.brand_path("dexar"), Some(&credentials)).expect("a valid file");
    let pool = postgres::pool(&config.database, 2, Purpose::Work).expect("no certificates");
    let connection =
        async || Connection::new(pool.get().await.expect("a connection"), std::time::Duration::from_secs(20), None);
    let draft = EmailDraft {
        subject_key: "payment:1".to_owned(),
        to: mail::parse_address("Anna@Example.org").expect("an address"),
        language: Language::Hy,
        subject: "Պատվեր\r\nBcc: eve@example.org".to_owned(),
        text: "first".to_owned(),
        html: "<p>first</p>".to_owned(),
    };
    let again = EmailDraft { to: "anna@example.org".to_owned(), text: "second".to_owned(), ..draft.clone() };
    let (now, host) = (jiff::Timestamp::now(), config.host());

    let transaction = connection().await.begin();
    assert_eq!(mail::queue(&transaction, &draft, now, host).await.expect("it is queued"), QueueOutcome::Queued);
    assert_eq!(
        mail::queue(&transaction, &again, now, host).await.expect("it was queued before"),
        QueueOutcome::AlreadyQueued
    );
    transaction.rollback().await.expect("it is rolled back");
    let client = connection().await;
    let keys = ["payment:1", "payment:2"].map(str::to_owned);
    assert_eq!(mail::queued(&client, &keys).await.expect("a list"), []);
    drop(client);

    // Concurrent transactions: the second waits for the first.
    let (one, two) = (connection().await.begin(), connection().await.begin());
    assert_eq!(mail::queue(&one, &draft, now, host).await.expect("it is queued"), QueueOutcome::Queued);
    let (second, committed) = tokio::join!(mail::queue(&two, &again, now, host), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        one.commit().await
    });
    committed.expect("it is committed");
    assert_eq!(second.expect("it was queued before"), QueueOutcome::AlreadyQueued);
    two.commit().await.expect("it is committed");
    let client = connection().await;
    let eve = EmailDraft { to: "eve@example.org".to_owned(), ..draft.clone() };
    assert_eq!(mail::queue(&client, &eve, now, host).await.expect("it is queued"), QueueOutcome::Queued);

    let queued = mail::queued(&client, &keys).await.expect("a list");
    let recipients: Vec<_> = queued.iter().map(|mail| (mail.subject_key.as_str(), mail.recipient.as_str())).collect();
    assert_eq!(recipients, [("payment:1", "Anna@example.org"), ("payment:1", "eve@example.org")]);
    assert!(queued.iter().all(|mail| mail.sent_at.is_none()), "{queued:?}");
    assert_eq!(column(&site, "dexar", "body_text"), "first first");
    assert_eq!(column(&site, "dexar", "subject"), "Պատվեր  Bcc: eve@example.org Պատվեր  Bcc: eve@example.org");
    assert_eq!(column(&site, "dexar", "language"), "hy hy");
    let ids = column(&site, "dexar", "message_id");
    assert!(ids.split(' ').all(|id| id.len() == 44 && id.ends_with("@localhost>")), "{ids}");
}

#[test]
fn without_a_server_email_is_queued_and_reported() {
    let site = Site::new(&["dexar"]);
    queue(&site, "dexar", "payment:1", "anna@example.org", "Заказ", "Спасибо");
    let workers = site.start_workers();
    let line = workers.await_log("no section [mail]");
    assert!(line.contains("dexar") && line.contains("WARN"), "{line}");
    let output = site.run(&["check"]).success();
    assert!(output.lines().any(|line| line.contains("mail") && line.contains("warn")), "{output}");
    let output = site.run(&["outbox", "list", "--brand", "dexar"]).success();
    assert!(output.contains("mail-1") && output.contains("1 email queued"), "{output}");
}
