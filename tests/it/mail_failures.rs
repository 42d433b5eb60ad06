//! Email delivery when the server is unavailable, slow or rejects email, and when workers or PostgreSQL fail: nothing is lost, and
//! only an email whose acceptance was never reported arrives twice.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Sandbox, Site, eventually};
use crate::mail::{arrivals, await_all_sent, column, queue, setup};

fn queue_emails(site: &Site, count: usize) {
    for number in 1..=count {
        queue(site, "dexar", &format!("payment:{number}"), "anna@example.org", "Заказ", "Спасибо");
    }
}

#[tokio::test]
async fn a_server_that_recovers_gets_every_email_once() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "down", "times": 1000})).await;
    queue_emails(&site, 10);
    let workers = site.start_workers();
    eventually("three failed attempts", 20, || {
        (workers.log().matches("failed to send email; will retry").count() >= 3).then_some(())
    });
    let output = site.run(&["outbox", "list", "--brand", "dexar", "--count", "4"]).success();
    assert_eq!(
        output.lines().filter(|line| line.starts_with("mail-") && line.contains("queued")).count(),
        4,
        "{output}"
    );
    assert!(output.contains("connection failed") && output.contains("10 emails queued, 0 failed"), "{output}");
    assert_eq!(sandbox.emails().await.len(), 0);
    // One failed attempt postpones all due emails: the server is not flooded with connections.
    let tries: u32 =
        site.sql_as("dexar", "select sum(tries) from mail_outbox").expect("a sum").parse().expect("a number");
    assert!(tries < 30, "{tries} connections");
    sandbox.inject_mail_fault(json!({"times": 0})).await;
    await_all_sent(&site, "dexar");
    assert_eq!(arrivals(&sandbox.emails().await).len(), 10);
    assert_eq!(sandbox.emails().await.len(), 10);
}

#[tokio::test]
async fn a_transient_rejection_is_retried() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "451", "times": 2})).await;
    queue_emails(&site, 3);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    assert_eq!((mails.len(), arrivals(&mails).len()), (3, 3));
    assert_eq!(site.sql_as("dexar", "select sum(tries) from mail_outbox"), Ok("5".to_owned()));
}

#[tokio::test]
async fn a_permanent_rejection_needs_manual_action() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "550", "times": 1})).await;
    queue_emails(&site, 2);
    let workers = site.start_workers();
    sandbox.await_emails(1).await;
    let line = workers.await_log("failed to send email; see brandgate outbox list");
    assert!(line.contains("ERROR") && line.contains("550 5.1.1 No such mailbox"), "{line}");
    let of_dexar = |arguments: &[&str]| site.run(&[&["outbox"], arguments, &["--brand", "dexar"]].concat());
    let output = of_dexar(&["list", "--failed"]).success();
    let line = output.lines().find(|line| line.starts_with("mail-1 ")).unwrap_or_else(|| panic!("{output}"));
    for words in ["FAILED", "anna@example.org", "payment.1", "never", "recipient rejected: 550 5.1.1"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(output.contains("0 emails queued, 1 failed"), "{output}");
    assert_eq!(column(&site, "dexar", "status"), "FAILED SENT");

    assert!(of_dexar(&["retry", "mail-77"]).failure(1).contains("there is no mail-77"));
    assert!(of_dexar(&["retry", "mail-2"]).failure(1).contains("was sent"));
    of_dexar(&["retry", "77"]).failure(2);
    of_dexar(&["retry"]).failure(2);
    let others = site.run(&["outbox", "retry", "--brand", "novo", "mail-1"]).failure(1);
    assert!(others.contains("there is no mail-1"), "{others}");
    assert_eq!(of_dexar(&["retry", "mail-1"]).success(), "dexar: mail-1 is due now\n");
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    assert_eq!(mails[1]["messageId"], "<payment.1.anna@example.org>");
    assert_eq!(mails.len(), 2);

    sandbox.inject_mail_fault(json!({"how": "550", "times": 2})).await;
    queue(&site, "dexar", "payment:3", "anna@example.org", "Заказ", "Спасибо");
    queue(&site, "dexar", "payment:4", "anna@example.org", "Заказ", "Спасибо");
    eventually("both have failed", 20, || column(&site, "dexar", "status").ends_with("FAILED FAILED").then_some(()));
    assert_eq!(of_dexar(&["retry", "--all-failed"]).success(), "dexar: 2 emails are due now\n");
    await_all_sent(&site, "dexar");
    assert_eq!(sandbox.emails().await.len(), 4);
}

#[tokio::test]
async fn an_email_fails_after_give_up_after_s() {
    let (mut site, sandbox) = setup();
    site.change_brand("dexar", |file| file.mail += "give_up_after_s = 8\n");
    sandbox.inject_mail_fault(json!({"how": "451", "times": 1000})).await;
    let _workers = site.start_workers();
    queue_emails(&site, 1);
    eventually("it has failed", 30, || (column(&site, "dexar", "status") == "FAILED").then_some(()));
    let error = column(&site, "dexar", "last_error");
    assert!(error.contains("gave up after") && error.contains("451"), "{error}");
    let tries: u32 = column(&site, "dexar", "tries").parse().expect("a number");
    assert!((2..80).contains(&tries), "{tries} attempts in eight seconds");
}

#[tokio::test]
async fn only_the_email_without_a_response_is_sent_again() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "drop-after-data", "times": 1})).await;
    queue_emails(&site, 5);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    let mut arrivals: Vec<_> = arrivals(&sandbox.emails().await).into_iter().collect();
    arrivals.sort();
    assert_eq!(arrivals[0], ("<payment.1.anna@example.org>".to_owned(), 2), "{arrivals:?}");
    assert!(arrivals[1..].iter().all(|(_, times)| *times == 1), "{arrivals:?}");
    assert_eq!(arrivals.len(), 5);
}

#[tokio::test]
async fn an_email_is_retried_after_a_timeout() {
    let (site, sandbox) = setup();
    // Longer than timeout_ms for the first email, shorter for the second.
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 6000})).await;
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 500})).await;
    queue_emails(&site, 2);
    let workers = site.start_workers();
    await_all_sent(&site, "dexar");
    assert!(workers.log().contains("no response within 1500 ms"), "{}", workers.log());
    let arrivals = arrivals(&sandbox.emails().await);
    assert_eq!(arrivals["<payment.1.anna@example.org>"], 2);
    assert_eq!(arrivals["<payment.2.anna@example.org>"], 1);
}

#[tokio::test]
async fn a_killed_worker_loses_no_email() {
    let (site, sandbox) = setup();
    queue_emails(&site, 12);
    for round in 1..=3 {
        // The worker is killed while it waits for the response to an email.
        sandbox.inject_mail_fault(json!({"times": 0})).await;
        sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 1200})).await;
        let before = sandbox.emails().await.len();
        let workers = site.start_workers();
        sandbox.await_emails(before + 1).await;
        workers.kill();
        assert!(round > 1 || column(&site, "dexar", "status").contains("QUEUED"));
    }
    sandbox.inject_mail_fault(json!({"times": 0})).await;
    let _workers = [site.start_workers(), site.start_workers()];
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    let arrivals = arrivals(&mails);
    assert_eq!(arrivals.len(), 12, "{arrivals:?}");
    // Each kill may fall between the server's response and the recorded result.
    assert!(mails.len() <= 15, "{} emails arrived twice after three kills", mails.len() - 12);
}

#[tokio::test]
async fn an_email_accepted_while_postgresql_is_unavailable_is_not_sent_again() {
    let services = crate::harness::Services::dedicated("mail-pg");
    let mut site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    // The lease outlasts the outage of the database.
    site.change_brand("dexar", |file| {
        file.mail = file.mail.replace("lease_ms = 4000", "lease_ms = 60000").replace("= 1500", "= 20000");
    });
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 3000})).await;
    queue_emails(&site, 2);
    let _workers = site.start_workers();
    sandbox.await_emails(1).await;
    services.stop("pg");
    tokio::time::sleep(Duration::from_secs(4)).await;
    services.restart("pg");
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    assert_eq!((mails.len(), arrivals(&mails).len()), (2, 2), "{mails:?}");
}
