//! The bot: what it says to whom, and that no update is lost or handled twice, whatever happens to Telegram or to us.

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
async fn it_speaks_the_language_of_the_person_and_only_in_private() {
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
    assert!(buttons(&message).iter().all(|(_, target)| !target.contains("auth")), "nothing to log in with: {message}");
}

#[tokio::test]
async fn two_instances_share_one_bot_and_the_death_of_one_loses_nothing() {
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
    // Dying between Telegram's yes and our note of it cannot be told from dying before; this is about dying afterwards.
    let noted = format!("select count(*) from telegram_progress where next_update_id > {last}");
    eventually("the last answer is noted", 20, || (site.sql_as("dexar", &noted).as_deref() == Ok("1")).then_some(()));
    let log = workers.each_ref().map(|one| one.log());
    let speaking = log.iter().position(|log| log.contains("speaking for the bot brand=\"dexar\"")).expect("one speaks");
    assert!(!log[1 - speaking].contains("speaking for the bot brand=\"dexar\""), "two speak:\n{}\n{}", log[0], log[1]);
    assert!(log.iter().all(|log| !log.contains("answered 409")), "they would end each other's questions");

    workers[speaking].kill();
    let desktop = BrowserClient::new(gateway.client("dexar"));
    let begun = start_login(&desktop).await;
    let question = press_start(&sandbox, "dexar", &person(1), &begun).await;
    sandbox.press_button("dexar", &person(1), &button(&question, &begun.code)).await;
    sandbox.await_text("dexar", 1, "You are logged in").await;
    for id in 2..=10 {
        assert_eq!(sandbox.messages("dexar", id).await.len(), 1, "{id} was answered twice");
    }
}

#[tokio::test]
async fn what_was_said_while_nobody_listened_is_answered_once() {
    let (site, sandbox, _gateway) = setup();
    let person = |id| TelegramUser::new(id, "Ada", "en");
    for id in 1..=20 {
        sandbox.send_message("dexar", &person(id), "/start").await;
    }
    // Killed in the middle of it, again and again.
    for round in 1..=3 {
        let workers = site.start_workers();
        sandbox.await_message("dexar", round * 5, 1).await;
        workers.kill();
    }
    let workers = site.start_workers();
    sandbox.await_message("dexar", 20, 1).await;
    workers.terminate();
    assert!(workers.await_exit().success());
    let mut twice = 0;
    for id in 1..=20 {
        let count = sandbox.messages("dexar", id).await.len();
        assert!(count >= 1, "{id} was forgotten");
        twice += count - 1;
    }
    // A kill between Telegram's answer and our note of it can only be told from one before by asking Telegram, which cannot be.
    assert!(twice <= 3, "{twice} were answered twice by three kills");
}

#[tokio::test]
async fn an_end_asked_for_is_quick_and_loses_nothing_whatever_telegram_does() {
    let (site, sandbox, _gateway) = setup();
    for (id, fault) in [
        json!({"method": "sendMessage", "how": "hang", "times": 1}),
        json!({"method": "sendMessage", "how": "502", "times": 50}),
        json!({"method": "sendMessage", "how": "429", "times": 1, "retry_after": 3_600}),
    ]
    .into_iter()
    .enumerate()
    {
        let person = TelegramUser::new(id as i64 + 1, "Ada", "en");
        let workers = site.start_workers();
        workers.await_log("speaking for the bot brand=\"dexar\"");
        sandbox.inject_telegram_fault("dexar", fault.clone()).await;
        sandbox.send_message("dexar", &person, "/start").await;
        let calls = async || {
            let (_, calls) = sandbox.call(hyper::Method::GET, "/telegram/dexarmarket_bot/calls", &Value::Null).await;
            (calls["sendMessage"].as_u64().unwrap_or(0) > id as u64).then_some(())
        };
        eventually_async("the bot tries to answer", 20, calls).await;
        let began = std::time::Instant::now();
        workers.terminate();
        assert!(workers.await_exit().success());
        assert!(began.elapsed() < std::time::Duration::from_secs(8), "{fault}: {:?}", began.elapsed());
        sandbox.inject_telegram_fault("dexar", json!({"times": 0})).await;
        let workers = site.start_workers();
        sandbox.await_message("dexar", person.id(), 1).await;
        workers.terminate();
        workers.await_exit();
    }
}

#[tokio::test]
async fn one_person_who_writes_without_end_holds_nobody_up() {
    let (site, sandbox, _gateway) = setup();
    let (loud, quiet) = (TelegramUser::new(1, "Loud", "en"), TelegramUser::new(2, "Quiet", "en"));
    for _ in 0..150 {
        sandbox.send_message("dexar", &loud, "hello").await;
    }
    sandbox.send_message("dexar", &quiet, "/start").await;
    let _workers = site.start_workers();
    sandbox.await_message("dexar", 2, 1).await;
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 20);
}

#[tokio::test]
async fn telegrams_faults_delay_an_answer_and_never_lose_it() {
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
    // Somebody who blocked the bot holds nobody up.
    sandbox.inject_telegram_fault("dexar", json!({"method": "sendMessage", "how": "403", "times": 1})).await;
    sandbox.send_message("dexar", &TelegramUser::new(2, "Bob", "en"), "/start").await;
    sandbox.send_message("dexar", &person, "/start").await;
    sandbox.await_message("dexar", 1, 7).await;
    let token = bot_token_of("dexar");
    assert!(!workers.log().contains(&token), "the token is in the log");
}

#[tokio::test]
async fn a_bot_waits_for_redis_and_goes_on_where_it_was() {
    let services = crate::harness::Services::dedicated("bot-redis");
    let mut site = Site::on(services.clone(), &["dexar"]);
    site.migrate().success();
    let sandbox = Sandbox::start(&mut site);
    let gateway = site.start();
    let _workers = site.start_workers();
    let person = TelegramUser::new(1, "Ada", "en");
    let desktop = BrowserClient::new(gateway.client("dexar"));
    let begun = start_login(&desktop).await;
    let question = press_start(&sandbox, "dexar", &person, &begun).await;
    services.stop("redis");
    sandbox.press_button("dexar", &person, &button(&question, &begun.code)).await;
    eventually_async("the worker met the missing Redis", 20, async || {
        _workers.log().contains("the bot waits").then_some(())
    })
    .await;
    services.restart("redis");
    sandbox.await_text("dexar", 1, "You are logged in").await;
    eventually_async("the session", 20, async || (desktop.get("/auth/session").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_token_of_another_bot_speaks_for_nobody() {
    let (mut site, sandbox, _gateway) = setup();
    site.directory.write("credentials/dexar.telegram-bot-token", bot_token_of("novo"));
    site.change_brand("dexar", |_| {});
    let workers = site.start_workers();
    let line = workers.await_log("the token is another bot's");
    assert!(line.contains("novomarket_bot") && line.contains("dexarmarket_bot"), "{line}");
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.send_message("novo", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("novo", 1, 1).await;
    assert_eq!(sandbox.messages("dexar", 1).await.len(), 0);
}

#[tokio::test]
async fn somebody_elses_poller_is_waited_out() {
    let (site, sandbox, _gateway) = setup();
    let workers = site.start_workers();
    workers.await_log("speaking for the bot brand=\"dexar\"");
    let path = format!("/bot{}/getUpdates", bot_token_of("dexar"));
    eventually_async("a conflict", 20, async || {
        // A person with the token at a terminal: this ends the worker's question.
        sandbox.call(hyper::Method::POST, &path, &json!({"timeout": 0, "limit": 1})).await;
        workers.log().contains("answered 409").then_some(())
    })
    .await;
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("dexar", 1, 1).await;
    assert!(!workers.log().contains(&bot_token_of("dexar")));
}

/// A proxy that tunnels (RFC 9110, 9.3.6) and notes where to.
async fn tunnelling_proxy() -> (u16, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().expect("no test panics in here").push(line);
                let mut server = tokio::net::TcpStream::connect(target).await?;
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_is_reached_through_a_proxy_where_the_file_names_one() {
    let (mut site, sandbox, _gateway) = setup();
    let (port, asked) = tunnelling_proxy().await;
    site.change_brand("dexar", |file| file.telegram += &format!("proxy = \"http://127.0.0.1:{port}\"\n"));
    let _workers = site.start_workers();
    sandbox.send_message("dexar", &TelegramUser::new(1, "Ada", "en"), "/start").await;
    sandbox.await_message("dexar", 1, 1).await;
    let asked = asked.lock().expect("no test panics in here").clone();
    assert!(asked.iter().any(|line| line.starts_with("CONNECT 127.0.0.1:")), "{asked:?}");
    assert!(asked.iter().all(|line| !line.contains(&bot_token_of("dexar"))), "the proxy learns no token: {asked:?}");
}
