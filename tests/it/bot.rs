//! The bot: its replies, and that no update is lost or handled twice when Telegram, Redis or a worker fails.

use serde_json::{Value, json};

use crate::harness::login::{button, press_start, start_login};
use crate::harness::{
    BrowserClient, Gateway, Sandbox, Site, TelegramUser, bot_token_of, buttons, eventually, eventually_async,
};

fn setup() -> (Site, Sandbox, Gateway) {
    let mut site = Site::new(&["dexar", "novo"]);
    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    (site, sandbox, gateway)
}

#[tokio::test]
async fn it_replies_in_the_users_language_and_only_in_private_chats() {
    let (site, sandbox, _gateway) = setup();
    let _workers = site.start_workers();
    for (id, language, word) in
        [(1, "ru", "Здравствуйте"), (2, "en-GB", "Hello"), (3, "hy", "Ողջույն"), (4, "de", "Здравствуйте")]
    {
        let person = TelegramUser::new(id, "Ada", language);
        sandbox.send_message("novo", &person, "/start").await;
        let text = sandbox.await_message("novo", id, 1).await["text"].clone();
        assert!(text.as_str().expect("a text").contains(word), "{language}: {text}");
        sandbox.send_message("novo", &person, "hello?").await;
        let help = sandbox.await_message("novo", id, 2).await["text"].clone();
        assert!(help.as_str().expect("a text").contains("/start"), "{help}");
    }
    let person = TelegramUser::new(2, "Ada", "en");
    sandbox.send_group_message("novo", &person, "hello everybody").await;
    sandbox.send_group_message("novo", &person, "/start@novomarket_bot auth_0123456789abcdef0123456789abcdef").await;
    let message = sandbox.await_message("novo", -100, 1).await;
    assert!(message["text"].as_str().expect("a text").contains("only in a private chat"), "{message}");
    assert!(buttons(&message).iter().all(|(_, target)| !target.contains("auth")), "no login link: {message}");
}

#[tokio::test]
async fn one_of_two_instances_polls_and_the_other_takes_over_when_it_is_killed() {
    let (site, sandbox, gateway) = setup();
    let workers = [site.start_workers(), site.start_workers()];
    let person = |id| TelegramUser::new(id, "Ada", "en");
    let mut last = 0;
    for id in 1..=10 {
        last = sandbox.send_message("dexar", &person(id), "/start").await;
    }
    for id in 1..=10 {
        sandbox.await_message("dexar", id, 1).await;
    }
    // A worker killed between Telegram's response and the deletion of the update would reply twice.
    let handled = format!(
        "select count(*) from telegram_progress where next_update_id > {last} and not exists (select from telegram_update)"
    );
    eventually("all updates are handled", 20, || (site.sql_as("dexar", &handled).as_deref() == Ok("1")).then_some(()));
    let log = workers.each_ref().map(|one| one.log());
    let polling =
        log.iter().position(|log| log.contains("polling for bot updates brand=\"dexar\"")).expect("one polls");
    assert!(!log[1 - polling].contains("polling for bot updates brand=\"dexar\""), "two poll:\n{}\n{}", log[0], log[1]);
    assert!(log.iter().all(|log| !log.contains("responded 409")), "two pollers would cancel each other's requests");

    workers[polling].kill();
    let desktop = BrowserClient::new(gateway.client("dexar"));
    let login = start_login(&desktop).await;
    let question = press_start(&sandbox, "dexar", &person(1), &login).await;
    sandbox.press_button("dexar", &person(1), &button(&question, &login.code)).await;
    sandbox.await_text("dexar", 1, "You are logged in").await;
    for id in 2..=10 {
        assert_eq!(sandbox.messages("dexar", id).await.len(), 1, "{id} got two replies");
    }
}

#[tokio::test]
async fn messages_sent_while_no_worker_runs_are_all_answered() {
    let (site, sandbox, _gateway) = setup();
    let person = |id| TelegramUser::new(id, "Ada", "en");
    for id in 1..=20 {
        sandbox.send_message("dexar", &person(id), "/start").await;
    }
    // Workers are killed while they reply.
    for round in 1..=3 {
        let workers = site.start_workers();
        sandbox.await_message("dexar", round * 5, 1).await;
        workers.kill();
    }
    let workers = site.start_workers();
    for id in 1..=20 {
        sandbox.await_message("dexar", id, 1).await;
        // Each kill may fall between Telegram's response and the deletion of the update.
        let count = sandbox.messages("dexar", id).await.len();
        assert!(count <= 4, "{id} got {count} replies after three kills");
    }
    let left = "select count(*) from telegram_update";
    eventually("handled updates are deleted", 20, || (site.sql_as("dexar", left).as_deref() == Ok("0")).then_some(()));
    workers.terminate();
    assert!(workers.await_exit().success());
}

#[tokio::test]
async fn shutdown_comes_before_the_reply_and_loses_no_update_when_telegram_fails() {
    let (mut site, sandbox, _gateway) = setup();
    // Each failure outlasts the time that a test waits for an exit: a worker that exits has not waited for Telegram.
    site.change_brand("dexar", |file| file.telegram += "timeout_ms = 120000\n");
    for (id, failure) in [
        json!({"method": "sendMessage", "how": "hang", "times": 1}),
        json!({"method": "sendMessage", "how": "502", "times": 50}),
        json!({"method": "sendMessage", "how": "429", "times": 1, "retry_after": 3_600}),
    ]
    .into_iter()
    .enumerate()
    {
        let person = TelegramUser::new(id as i64 + 1, "Ada", "en");
        let workers = site.start_workers();
        workers.await_log("polling for bot updates brand=\"dexar\"");
        sandbox.inject_telegram_fault("dexar", failure.clone()).await;
        sandbox.send_message("dexar", &person, "/start").await;
        let calls = async || {
            let (_, calls) = sandbox.call(hyper::Method::GET, "/telegram/dexarmarket_bot/calls", &Value::Null).await;
            (calls["sendMessage"].as_u64().unwrap_or(0) > id as u64).then_some(())
        };
        eventually_async("the bot tries to reply", 20, calls).await;
        workers.terminate();
        assert!(workers.await_exit().success(), "{failure}");
        assert_eq!(sandbox.messages("dexar", person.id()).await.len(), 0, "{failure}: shutdown came first");
        sandbox.inject_telegram_fault("dexar", json!({"times": 0})).await;
        let workers = site.start_workers();
        sandbox.await_message("dexar", person.id(), 1).await;
        workers.terminate();
        workers.await_exit();
    }
}

#[tokio::test]
async fn a_user_who_floods_the_bot_does_not_delay_others() {
    let (site, sandbox, _gateway) = setup();
    let (loud, quiet) = (TelegramUser::new(1, "Loud", "en"), TelegramUser::new(2, "Quiet", "en"));
    for _ in 0..150 {
        sandbox.send_message("dexar", &loud, "hello").await;
    }
    sandbox.send_message("dexar", &quiet, "/start").await;
    let _workers = site.start_workers();
    sandbox.await_message("dexar", 2, 1).await;
    sandbox.await_message("dexar", 1, 20).await;
    let left = "select count(*) from telegram_update";
    eventually("all updates are handled", 20, || (site.sql_as("dexar", left).as_deref() == Ok("0")).then_some(()));
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 20);
}

#[tokio::test]
async fn a_chat_that_telegram_slows_down_delays_no_other_and_loses_nothing() {
    let (site, sandbox, gateway) = setup();
    let (loud, quiet) = (TelegramUser::new(1, "Loud", "en"), TelegramUser::new(2, "Quiet", "en"));
    let workers = site.start_workers();
    let login = start_login(&BrowserClient::new(gateway.client("dexar"))).await;
    let question = press_start(&sandbox, "dexar", &loud, &login).await;
    let no = buttons(&question).pop().expect("the button No").1;
    workers.terminate();
    assert!(workers.await_exit().success());
    for method in ["sendMessage", "editMessageText", "answerCallbackQuery"] {
        // A press names no chat: its answer fails as Telegram's does for a query that is too old.
        let chat = (method != "answerCallbackQuery").then_some(1);
        let how = if chat.is_some() { "429" } else { "403" };
        let fault = json!({"method": method, "how": how, "times": 2_000, "retry_after": 3_600, "chat": chat});
        sandbox.inject_telegram_fault("dexar", fault).await;
    }
    sandbox.send_message("dexar", &loud, "/start").await;
    for _ in 0..400 {
        sandbox.press_button("dexar", &loud, &no).await;
    }
    sandbox.send_message("dexar", &quiet, "/start").await;
    let workers = site.start_workers();
    sandbox.await_message("dexar", 2, 1).await;
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 1, "the loud chat still waits for Telegram");
    let waiting = site.sql_as("dexar", "select count(*) from telegram_update where body like '%\"id\":1,%'");
    let waiting: u32 = waiting.expect("the table exists").parse().expect("a number");
    assert!((1..=20).contains(&waiting), "{waiting} updates of the loud chat wait");
    assert_eq!(workers.log().matches("exceeds the limit of updates").count(), 1, "logged once");
    // What the killed worker had received and not answered is not lost.
    workers.kill();
    sandbox.inject_telegram_fault("dexar", json!({"times": 0})).await;
    let _workers = site.start_workers();
    sandbox.await_message("dexar", 1, 2).await;
    assert_eq!(sandbox.messages("dexar", 2).await.len(), 1, "the quiet chat's update is handled");
}

#[tokio::test]
async fn failures_of_telegram_delay_replies_but_lose_none() {
    let (site, sandbox, _gateway) = setup();
    let workers = site.start_workers();
    let person = TelegramUser::new(1, "Ada", "en");
    for (number, fault) in [
        json!({"method": "sendMessage", "how": "429", "times": 1, "retry_after": 1}),
        json!({"method": "sendMessage", "how": "500", "times": 2}),
        json!({"method": "sendMessage", "how": "html", "times": 1}),
        json!({"method": "getUpdates", "how": "502", "times": 2}),
        json!({"method": "getUpdates", "how": "429", "times": 1, "retry_after": 1}),
        json!({"method": "*", "how": "drop", "times": 2}),
    ]
    .into_iter()
    .enumerate()
    {
        sandbox.inject_telegram_fault("dexar", fault.clone()).await;
        sandbox.send_message("dexar", &person, "/start").await;
        sandbox.await_message("dexar", 1, number + 1).await;
    }
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 6);
    // A user who blocked the bot does not delay others.
    sandbox.inject_telegram_fault("dexar", json!({"method": "sendMessage", "how": "403", "times": 1})).await;
    sandbox.send_message("dexar", &TelegramUser::new(2, "Bob", "en"), "/start").await;
    sandbox.send_message("dexar", &person, "/start").await;
    sandbox.await_message("dexar", 1, 7).await;
    let token = bot_token_of("dexar");
    assert!(!workers.log().contains(&token), "the token is in the log");
}

#[tokio::test]
async fn an_update_waits_while_redis_is_unavailable() {
    let services = crate::harness::Services::dedicated("bot-redis");
    let mut site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    let workers = site.start_workers();
    let person = TelegramUser::new(1, "Ada", "en");
    let desktop = BrowserClient::new(gateway.client("dexar"));
    let login = start_login(&desktop).await;
    let question = press_start(&sandbox, "dexar", &person, &login).await;
    services.stop("redis");
    sandbox.press_button("dexar", &person, &button(&question, &login.code)).await;
    eventually_async("the worker notices that Redis is unavailable", 20, async || {
        workers.log().contains("failed to handle a bot update; will retry").then_some(())
    })
    .await;
    services.restart("redis");
    sandbox.await_text("dexar", 1, "You are logged in").await;
    eventually_async("the session", 20, async || (desktop.get("/auth/session").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_token_of_another_bot_is_reported_and_not_used() {
    let (mut site, sandbox, _gateway) = setup();
    site.directory.write("credentials/dexar.telegram-bot-token", bot_token_of("novo"));
    site.change_brand("dexar", |_| {});
    let workers = site.start_workers();
    let line = workers.await_log("the Telegram token belongs to another bot");
    assert!(line.contains("novomarket_bot") && line.contains("dexarmarket_bot"), "{line}");
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.send_message("novo", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("novo", 1, 1).await;
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 0);
}

#[tokio::test]
async fn polling_continues_after_a_conflict_with_another_poller() {
    let (site, sandbox, _gateway) = setup();
    let workers = site.start_workers();
    workers.await_log("polling for bot updates brand=\"dexar\"");
    let path = format!("/bot{}/getUpdates", bot_token_of("dexar"));
    eventually_async("a conflict", 20, async || {
        // Another program with the token: this request cancels the worker's long poll.
        sandbox.call(hyper::Method::POST, &path, &json!({"timeout": 0, "limit": 1})).await;
        workers.log().contains("responded 409").then_some(())
    })
    .await;
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("dexar", 1, 1).await;
    assert!(!workers.log().contains(&bot_token_of("dexar")));
}

/// A CONNECT proxy (RFC 9110, 9.3.6) that records the requests.
async fn tunnelling_proxy() -> (u16, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let requests = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let recorded = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let recorded = recorded.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                recorded.lock().expect("no test panics in here").push(line);
                let mut server = tokio::net::TcpStream::connect(target).await?;
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_is_reached_through_the_configured_proxy() {
    let (mut site, sandbox, _gateway) = setup();
    let (port, requests) = tunnelling_proxy().await;
    site.change_brand("dexar", |file| file.telegram += &format!("proxy = \"http://127.0.0.1:{port}\"\n"));
    let _workers = site.start_workers();
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("dexar", 1, 1).await;
    let requests = requests.lock().expect("no test panics in here").clone();
    assert!(requests.iter().any(|line| line.starts_with("CONNECT 127.0.0.1:")), "{requests:?}");
    assert!(
        requests.iter().all(|line| !line.contains(&bot_token_of("dexar"))),
        "the proxy does not see the token: {requests:?}"
    );
}
