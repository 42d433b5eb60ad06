//! The sandbox process, which simulates Telegram, the bank and the mail server for the brands of a site.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::brand_file::free_port;
use super::process::Process;
use super::services::{certificates, eventually, eventually_async};
use super::site::Site;

/// A running sandbox.
pub(crate) struct Sandbox {
    process: Process,
    pub port: u16,
    /// The ports of SMTP with STARTTLS and of SMTP over implicit TLS.
    pub smtp: u16,
    pub smtps: u16,
}

/// A Telegram user.
#[derive(Clone)]
pub(crate) struct TelegramUser(Value);

impl TelegramUser {
    /// With this id, first name and language.
    pub(crate) fn new(id: i64, first_name: &str, language: &str) -> TelegramUser {
        TelegramUser(
            json!({"id": id, "first_name": first_name, "username": format!("user_{id}"), "language_code": language}),
        )
    }

    pub(crate) fn id(&self) -> i64 {
        self.0["id"].as_i64().expect("a number")
    }
}

pub(super) fn bot_of(brand: &str) -> String {
    format!("{brand}market_bot")
}

/// The section `[mail]` of a brand, with these lines about its server.
pub(crate) fn mail_section(brand: &str, server: &str) -> String {
    format!(
        "[mail]\n{server}\nfrom = \"Shop {brand} <shop@{brand}.example>\"\ntimeout_ms = 1500\nfirst_retry_ms = 100\n\
         longest_retry_ms = 1000\nlease_ms = 4000\n"
    )
}

/// The token of a brand's bot.
pub(crate) fn bot_token_of(brand: &str) -> String {
    let id = 1_000_000_000 + brand.bytes().map(u32::from).sum::<u32>();
    format!("{id}:AA{brand:_<33}")
}

/// The merchant id of a brand at the bank.
pub(crate) fn merchant_of(brand: &str) -> String {
    format!("MA{:07}", brand.bytes().map(u32::from).sum::<u32>())
}

/// The bank key of a brand: a JSON Web Token whose `sub` is the merchant.
pub(crate) fn bank_key_of(brand: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode("{\"alg\":\"HS256\"}".to_owned());
    format!("{header}.{}.{}", encode(format!("{{\"sub\":\"{}\"}}", merchant_of(brand))), encode(brand.repeat(5)))
}

impl Sandbox {
    /// Starts the sandbox and adds it to the brand files. Must be called before the gateway starts.
    pub(crate) fn start(site: &mut Site) -> Sandbox {
        Sandbox::start_with(site, "")
    }

    /// Like [`Sandbox::start`], with additional settings of the sandbox.
    pub(crate) fn start_with(site: &mut Site, more: &str) -> Sandbox {
        let (port, smtp, smtps) = (free_port(), free_port(), free_port());
        let certificate_directory = certificates().display();
        let mut settings = format!(
            "listen = [\"127.0.0.1:{port}\"]\nurl = \"http://localhost:{port}\"\nsmtp = \"127.0.0.1:{smtp}\"\n\
             smtps = \"127.0.0.1:{smtps}\"\nsmtp_certificate = \"{certificate_directory}/third.pem\"\nsmtp_key = \"{certificate_directory}/third.key\"\n\
             {more}\n"
        );
        let names: Vec<String> = site.brands.iter().map(|brand| brand.name.clone()).collect();
        for name in &names {
            let (bot, token) = (bot_of(name), bot_token_of(name));
            settings += &format!("[[bots]]\nusername = \"{bot}\"\ntitle = \"{name}\"\ntoken = \"{token}\"\n");
            site.directory.write(&format!("credentials/{name}.telegram-bot-token"), token);
            let (merchant, key) = (merchant_of(name), bank_key_of(name));
            let (gateway, authority) = (site.brand(name).port, certificates().join("ca.pem"));
            settings += &format!(
                "[[merchants]]\nid = \"{merchant}\"\ntitle = \"{name}\"\nkey = \"{key}\"\n\
                 callback_url = \"https://localhost:{gateway}/payments/raiffeisen/notify\"\n\
                 callback_ca = \"{}\"\n",
                authority.display()
            );
            site.directory.write(&format!("credentials/{name}.bank-key"), key);
            site.change_brand(name, |file| {
                file.telegram = format!(
                    "[telegram]\nbot = \"{bot}\"\ntoken = \"{name}.telegram-bot-token\"\n\
                     api_url = \"http://127.0.0.1:{port}\"\nlink_url = \"http://localhost:{port}/telegram\"\n\
                     poll_s = 5\nlease_ms = 3000\n"
                );
                file.mail = mail_section(name, &format!("host = \"127.0.0.1\"\nport = {smtp}\ntls = \"none\""));
                file.bank = format!(
                    "[bank]\napi_url = \"http://127.0.0.1:{port}\"\nmerchant_id = \"{merchant}\"\n\
                     keys = [\"{name}.bank-key\"]\ntimeout_ms = 2000\n"
                );
            });
        }
        let path = site.directory.write("sandbox.toml", settings);
        let process = Process::start("sandbox", env!("CARGO_BIN_EXE_sandbox"), site.directory.path(), |command| {
            command.arg(path);
        });
        eventually("the sandbox is ready", 20, || process.log().contains("sandbox: ready").then_some(()));
        Sandbox { process, port, smtp, smtps }
    }

    /// Sends a request to the sandbox; returns the status and the JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the sandbox listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("plain HTTP");
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json").header("accept", "application/json");
        let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request));
        let answer = answer.await.expect("the sandbox responds").expect("a complete response");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a complete body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: String, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, &path, &body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// Sends a message in the private chat with a brand's bot; returns the update id.
    pub(crate) async fn send_message(&self, brand: &str, user: &TelegramUser, text: &str) -> i64 {
        let response =
            self.post(format!("/telegram/{}/send", bot_of(brand)), json!({"from": user.0, "text": text})).await;
        response["update_id"].as_i64().expect("a number")
    }

    /// Sends a message in a group with the bot.
    pub(crate) async fn send_group_message(&self, brand: &str, user: &TelegramUser, text: &str) {
        let chat = json!({"id": -100, "type": "group", "title": "Friends"});
        let body = json!({"from": user.0, "text": text, "chat": chat});
        self.post(format!("/telegram/{}/send", bot_of(brand)), body).await;
    }

    /// Presses a button, also one that was removed.
    pub(crate) async fn press_button(&self, brand: &str, user: &TelegramUser, data: &str) {
        let body = json!({"from": user.0, "data": data, "force": true});
        self.post(format!("/telegram/{}/press", bot_of(brand)), body).await;
    }

    /// Makes the next calls of a Bot API method fail.
    pub(crate) async fn inject_telegram_fault(&self, brand: &str, fault: Value) {
        self.post(format!("/telegram/{}/misbehave", bot_of(brand)), fault).await;
    }

    /// Performs an operation on a QR code: `pay`, `decline`, `expire`, `progress`, `cancel`.
    pub(crate) async fn bank_action(&self, qr_id: &str, operation: &str, options: Value) -> Value {
        self.post(format!("/bank/qrs/{qr_id}/{operation}"), options).await
    }

    /// Makes the next calls of the bank fail.
    pub(crate) async fn inject_bank_fault(&self, fault: Value) {
        self.post("/bank/misbehave".to_owned(), fault).await;
    }

    /// All registered QR codes, newest first.
    pub(crate) async fn qrs(&self) -> Vec<Value> {
        let (_, qrs) = self.call(Method::GET, "/bank/qrs", &Value::Null).await;
        qrs.as_array().expect("a list").clone()
    }

    /// The numbers of bank calls, by kind.
    pub(crate) async fn bank_calls(&self) -> Value {
        self.call(Method::GET, "/bank/calls", &Value::Null).await.1
    }

    /// The bot's messages in a chat, oldest first.
    pub(crate) async fn messages(&self, brand: &str, chat: i64) -> Vec<Value> {
        let path = format!("/telegram/{}/messages?chat={chat}", bot_of(brand));
        let (status, messages) = self.call(Method::GET, &path, &Value::Null).await;
        assert_eq!(status, 200, "{messages}");
        messages.as_array().expect("a list").clone()
    }

    /// Waits until the bot has sent `count` messages to a chat, and returns that message.
    pub(crate) async fn await_message(&self, brand: &str, chat: i64, count: usize) -> Value {
        let what = format!("message {count} of the bot of {brand} to {chat}");
        let newest = async || {
            let messages = self.messages(brand, chat).await;
            messages.get(count - 1).cloned()
        };
        eventually_async(&what, 20, newest).await
    }

    /// Waits until the newest message of a chat contains these words.
    pub(crate) async fn await_text(&self, brand: &str, chat: i64, words: &str) -> Value {
        let found = async || {
            let newest = self.messages(brand, chat).await.pop()?;
            newest["text"].as_str().expect("a text").contains(words).then_some(newest)
        };
        eventually_async(&format!("{words:?} in the chat {chat}"), 20, found).await
    }

    /// The texts of the answers to callback queries in a chat.
    pub(crate) async fn callback_answers(&self, brand: &str, chat: i64) -> Vec<String> {
        let path = format!("/telegram/{}/answers?chat={chat}", bot_of(brand));
        let (_, answers) = self.call(Method::GET, &path, &Value::Null).await;
        let text = |answer: &Value| answer["text"].as_str().expect("a text").to_owned();
        answers.as_array().expect("a list").iter().map(text).collect()
    }
}

impl Sandbox {
    /// The received emails, oldest first.
    pub(crate) async fn emails(&self) -> Vec<Value> {
        let (status, mails) = self.call(Method::GET, "/mail", &Value::Null).await;
        assert_eq!(status, 200, "{mails}");
        assert!(!self.process.log().contains("panicked"), "{}", self.process.log());
        mails.as_array().expect("a list").clone()
    }

    /// Waits until `count` emails are received.
    pub(crate) async fn await_emails(&self, count: usize) -> Vec<Value> {
        let enough = async || Some(self.emails().await).filter(|mails| mails.len() >= count);
        eventually_async(&format!("{count} emails"), 30, enough).await
    }

    /// The source of an email.
    pub(crate) async fn raw_email(&self, mail: &Value) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the sandbox listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("plain HTTP");
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(format!("/mail/{}/raw", mail["id"])).header("host", "localhost");
        let answer = sender.send_request(request.body(Full::new(Bytes::new())).expect("a request"));
        let body = answer.await.expect("the sandbox responds").into_body().collect().await.expect("a complete body");
        String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8")
    }

    /// Makes the next SMTP sessions fail.
    pub(crate) async fn inject_mail_fault(&self, fault: Value) {
        self.post("/mail/misbehave".to_owned(), fault).await;
    }
}

/// `(text, callback data or URL)` of every button under a message.
pub(crate) fn buttons(message: &Value) -> Vec<(String, String)> {
    let rows = message["reply_markup"]["inline_keyboard"].as_array();
    let buttons = rows.into_iter().flatten().flat_map(|row| row.as_array().expect("a row"));
    let target = |button: &Value| button["callback_data"].as_str().or(button["url"].as_str()).map(str::to_owned);
    buttons
        .map(|button| (button["text"].as_str().expect("a text").to_owned(), target(button).expect("a target")))
        .collect()
}
