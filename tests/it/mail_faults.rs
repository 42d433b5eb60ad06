//! Mail when things go wrong: servers that are away, slow, refuse or say nothing, and workers that die. Nothing is lost, and
//! nothing but a Message-ID that a server kept to itself arrives twice.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Sandbox, Site, eventually};
use crate::mail::{arrivals, await_all_sent, column, queue, setup};

fn queue_some(site: &Site, count: usize) {
    for number in 1..=count {
        queue(site, "dexar", &format!("payment:{number}"), "anna@example.org", "Заказ", "Спасибо");
    }
}

#[tokio::test]
async fn a_server_that_is_down_for_a_while_gets_every_mail_once() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "down", "times": 1000})).await;
    queue_some(&site, 10);
    let workers = site.start_workers();
    eventually("three tries in vain", 20, || (workers.log().matches("tried again later").count() >= 3).then_some(()));
    let said = site.run(&["outbox", "list", "--brand", "dexar", "--count", "4"]).success();
    assert_eq!(said.lines().filter(|line| line.starts_with("mail-") && line.contains("queued")).count(), 4, "{said}");
    assert!(said.contains("no connection") && said.contains("10 mails queued, 0 given up"), "{said}");
    assert_eq!(sandbox.emails().await.len(), 0);
    // One try stands for all that were due: a server in trouble is not stormed.
    let tries: u32 =
        site.sql_as("dexar", "select sum(tries) from mail_outbox").expect("a sum").parse().expect("a number");
    assert!(tries < 30, "{tries} connections");
    sandbox.inject_mail_fault(json!({"times": 0})).await;
    await_all_sent(&site, "dexar");
    assert_eq!(arrivals(&sandbox.emails().await).len(), 10);
    assert_eq!(sandbox.emails().await.len(), 10);
}

#[tokio::test]
async fn a_recipient_that_is_refused_for_now_is_tried_again() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "451", "times": 2})).await;
    queue_some(&site, 3);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    assert_eq!((mails.len(), arrivals(&mails).len()), (3, 3));
    assert_eq!(site.sql_as("dexar", "select sum(tries) from mail_outbox"), Ok("5".to_owned()));
}

#[tokio::test]
async fn a_recipient_that_is_refused_for_good_waits_for_a_person() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "550", "times": 1})).await;
    queue_some(&site, 2);
    let workers = site.start_workers();
    sandbox.await_emails(1).await;
    let line = workers.await_log("a mail was given up");
    assert!(line.contains("ERROR") && line.contains("550 5.1.1 No such mailbox"), "{line}");
    let of_dexar = |arguments: &[&str]| site.run(&[&["outbox"], arguments, &["--brand", "dexar"]].concat());
    let said = of_dexar(&["list", "--failed"]).success();
    let line = said.lines().find(|line| line.starts_with("mail-1 ")).unwrap_or_else(|| panic!("{said}"));
    for words in ["FAILED", "anna@example.org", "payment.1", "never", "the recipient was refused: 550 5.1.1"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(said.contains("0 mails queued, 1 given up"), "{said}");
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
    eventually("both are given up", 20, || column(&site, "dexar", "status").ends_with("FAILED FAILED").then_some(()));
    assert_eq!(of_dexar(&["retry", "--all-failed"]).success(), "dexar: 2 mails are due now\n");
    await_all_sent(&site, "dexar");
    assert_eq!(sandbox.emails().await.len(), 4);
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_in_the_end() {
    let (mut site, sandbox) = setup();
    site.change_brand("dexar", |file| file.mail += "give_up_after_s = 8\n");
    sandbox.inject_mail_fault(json!({"how": "451", "times": 1000})).await;
    let _workers = site.start_workers();
    queue_some(&site, 1);
    eventually("it is given up", 30, || (column(&site, "dexar", "status") == "FAILED").then_some(()));
    let why = column(&site, "dexar", "last_error");
    assert!(why.contains("given up after") && why.contains("451"), "{why}");
    let tries: u32 = column(&site, "dexar", "tries").parse().expect("a number");
    assert!((2..80).contains(&tries), "{tries} tries in eight seconds");
}

#[tokio::test]
async fn a_server_that_takes_a_mail_and_says_nothing_gets_that_one_again_and_no_other() {
    let (site, sandbox) = setup();
    sandbox.inject_mail_fault(json!({"how": "drop-after-data", "times": 1})).await;
    queue_some(&site, 5);
    let _workers = site.start_workers();
    await_all_sent(&site, "dexar");
    let mut arrivals: Vec<_> = arrivals(&sandbox.emails().await).into_iter().collect();
    arrivals.sort();
    assert_eq!(arrivals[0], ("<payment.1.anna@example.org>".to_owned(), 2), "{arrivals:?}");
    assert!(arrivals[1..].iter().all(|(_, times)| *times == 1), "{arrivals:?}");
    assert_eq!(arrivals.len(), 5);
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_left_and_asked_again() {
    let (site, sandbox) = setup();
    // Longer than timeout_ms for the one, shorter for the other.
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 6000})).await;
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 500})).await;
    queue_some(&site, 2);
    let workers = site.start_workers();
    await_all_sent(&site, "dexar");
    assert!(workers.log().contains("no answer within 1500 ms"), "{}", workers.log());
    let arrivals = arrivals(&sandbox.emails().await);
    assert_eq!(arrivals["<payment.1.anna@example.org>"], 2);
    assert_eq!(arrivals["<payment.2.anna@example.org>"], 1);
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_loses_nothing() {
    let (site, sandbox) = setup();
    queue_some(&site, 12);
    for round in 1..=3 {
        // It dies while it waits for the 250 of a mail.
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
    // A kill between the server's 250 and our note of it can only be told from one before by asking the server, which cannot be.
    assert!(mails.len() <= 15, "{} came twice by three kills", mails.len() - 12);
}

#[tokio::test]
async fn a_database_that_is_away_when_the_mail_is_taken_doubles_nothing() {
    let services = crate::harness::Services::dedicated("mail-pg");
    let mut site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    // Longer than the database needs to come back; the mail is ours for all of it.
    site.change_brand("dexar", |file| {
        file.mail = file.mail.replace("lease_ms = 4000", "lease_ms = 60000").replace("= 1500", "= 20000");
    });
    sandbox.inject_mail_fault(json!({"how": "slow", "times": 1, "ms": 3000})).await;
    queue_some(&site, 2);
    let _workers = site.start_workers();
    sandbox.await_emails(1).await;
    services.stop("pg");
    tokio::time::sleep(Duration::from_secs(4)).await;
    services.restart("pg");
    await_all_sent(&site, "dexar");
    let mails = sandbox.emails().await;
    assert_eq!((mails.len(), arrivals(&mails).len()), (2, 2), "{mails:?}");
}
