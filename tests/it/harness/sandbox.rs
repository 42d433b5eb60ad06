//! The brands' outside in a test: the sandbox program with a bot for each brand and a mail server for all.

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

/// The sandbox, playing Telegram and the mail server for the brands of a site.
pub struct Sandbox {
    process: Process,
    port: u16,
    /// Where mail is taken in: in the clear with STARTTLS, and over TLS from the first byte.
    pub smtp: u16,
    pub smtps: u16,
}

/// Somebody with a Telegram account.
#[derive(Clone)]
pub struct TelegramUser(Value);

impl TelegramUser {
    /// With this id, first name and language.
    pub fn new(id: i64, first_name: &str, language: &str) -> TelegramUser {
        TelegramUser(
            json!({"id": id, "first_name": first_name, "username": format!("user_{id}"), "language_code": language}),
        )
    }

    pub fn id(&self) -> i64 {
        self.0["id"].as_i64().expect("a number")
    }
}

pub fn bot_of(brand: &str) -> String {
    format!("{brand}market_bot")
}

/// The section `[mail]` of a brand, with these lines for the way to its server.
pub fn mail_section(brand: &str, way: &str) -> String {
    format!(
        "[mail]\n{way}\nfrom = \"Shop {brand} <shop@{brand}.example>\"\ntimeout_ms = 1500\nfirst_retry_ms = 100\n\
         longest_retry_ms = 1000\nlease_ms = 4000\n"
    )
}

/// The token of a brand's bot, as BotFather would have made it.
pub fn bot_token_of(brand: &str) -> String {
    let id = 1_000_000_000 + brand.bytes().map(u32::from).sum::<u32>();
    format!("{id}:AA{brand:_<33}")
}

/// A brand's name at the bank.
pub fn merchant_of(brand: &str) -> String {
    format!("MA{:07}", brand.bytes().map(u32::from).sum::<u32>())
}

/// The key that the bank gave a brand: a JSON Web Token whose `sub` is the merchant.
pub fn bank_key_of(brand: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode("{\"alg\":\"HS256\"}".to_owned());
    format!("{header}.{}.{}", encode(format!("{{\"sub\":\"{}\"}}", merchant_of(brand))), encode(brand.repeat(5)))
}

impl Sandbox {
    /// Starts the sandbox and tells the brands' files where it is. Before the gateway, which reads them once.
    pub fn start(site: &mut Site) -> Sandbox {
        Sandbox::start_with(site, "")
    }

    /// The same with further settings of the sandbox.
    pub fn start_with(site: &mut Site, more: &str) -> Sandbox {
        let (port, smtp, smtps) = (free_port(), free_port(), free_port());
        let place = certificates().display();
        let mut settings = format!(
            "listen = [\"127.0.0.1:{port}\"]\nurl = \"http://localhost:{port}\"\nsmtp = \"127.0.0.1:{smtp}\"\n\
             smtps = \"127.0.0.1:{smtps}\"\nsmtp_certificate = \"{place}/third.pem\"\nsmtp_key = \"{place}/third.key\"\n\
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

    /// What the sandbox answers on a path.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the sandbox listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("plain HTTP");
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json").header("accept", "application/json");
        let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(20), sender.send_request(request));
        let answer = answer.await.expect("the sandbox answers").expect("a whole answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: String, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, &path, &body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// A person types into the private chat with a brand's bot; returns the number of the update that this makes.
    pub async fn send_message(&self, brand: &str, person: &TelegramUser, text: &str) -> i64 {
        let said =
            self.post(format!("/telegram/{}/send", bot_of(brand)), json!({"from": person.0, "text": text})).await;
        said["update_id"].as_i64().expect("a number")
    }

    /// A person types into a group that the bot is in.
    pub async fn send_group_message(&self, brand: &str, person: &TelegramUser, text: &str) {
        let chat = json!({"id": -100, "type": "group", "title": "Friends"});
        let body = json!({"from": person.0, "text": text, "chat": chat});
        self.post(format!("/telegram/{}/send", bot_of(brand)), body).await;
    }

    /// A person presses a button, also one that is not shown any more.
    pub async fn press_button(&self, brand: &str, person: &TelegramUser, data: &str) {
        let body = json!({"from": person.0, "data": data, "force": true});
        self.post(format!("/telegram/{}/press", bot_of(brand)), body).await;
    }

    /// The next calls of a method fail in this way.
    pub async fn inject_telegram_fault(&self, brand: &str, fault: Value) {
        self.post(format!("/telegram/{}/misbehave", bot_of(brand)), fault).await;
    }

    /// A person does something with a QR code: `pay`, `decline`, `expire`, `progress`, `cancel`.
    pub async fn bank_action(&self, qr_id: &str, what: &str, how: Value) -> Value {
        self.post(format!("/bank/qrs/{qr_id}/{what}"), how).await
    }

    /// The next calls of the bank's fail in this way.
    pub async fn inject_bank_fault(&self, fault: Value) {
        self.post("/bank/misbehave".to_owned(), fault).await;
    }

    /// Every code that was registered, newest first.
    pub async fn qrs(&self) -> Vec<Value> {
        let (_, qrs) = self.call(Method::GET, "/bank/qrs", &Value::Null).await;
        qrs.as_array().expect("a list").clone()
    }

    /// How often the bank was asked, by kind.
    pub async fn bank_calls(&self) -> Value {
        self.call(Method::GET, "/bank/calls", &Value::Null).await.1
    }

    /// What the bot has said in a chat, oldest first.
    pub async fn messages(&self, brand: &str, chat: i64) -> Vec<Value> {
        let path = format!("/telegram/{}/messages?chat={chat}", bot_of(brand));
        let (status, messages) = self.call(Method::GET, &path, &Value::Null).await;
        assert_eq!(status, 200, "{messages}");
        messages.as_array().expect("a list").clone()
    }

    /// Waits until the bot has said so many things in a chat, and returns the newest.
    pub async fn await_message(&self, brand: &str, chat: i64, count: usize) -> Value {
        let what = format!("message {count} of the bot of {brand} to {chat}");
        let newest = async || {
            let messages = self.messages(brand, chat).await;
            messages.get(count - 1).cloned()
        };
        eventually_async(&what, 20, newest).await
    }

    /// Waits until the newest message of a chat is about this.
    pub async fn await_text(&self, brand: &str, chat: i64, words: &str) -> Value {
        let found = async || {
            let newest = self.messages(brand, chat).await.pop()?;
            newest["text"].as_str().expect("a text").contains(words).then_some(newest)
        };
        eventually_async(&format!("{words:?} in the chat {chat}"), 20, found).await
    }

    /// What presses in a chat were answered with.
    pub async fn callback_answers(&self, brand: &str, chat: i64) -> Vec<String> {
        let path = format!("/telegram/{}/answers?chat={chat}", bot_of(brand));
        let (_, answers) = self.call(Method::GET, &path, &Value::Null).await;
        let text = |answer: &Value| answer["text"].as_str().expect("a text").to_owned();
        answers.as_array().expect("a list").iter().map(text).collect()
    }
}

impl Sandbox {
    /// What the mail server has taken in, oldest first.
    pub async fn emails(&self) -> Vec<Value> {
        let (status, mails) = self.call(Method::GET, "/mail", &Value::Null).await;
        assert_eq!(status, 200, "{mails}");
        assert!(!self.process.log().contains("panicked"), "{}", self.process.log());
        mails.as_array().expect("a list").clone()
    }

    /// Waits until it has taken in so many.
    pub async fn await_emails(&self, count: usize) -> Vec<Value> {
        let enough = async || Some(self.emails().await).filter(|mails| mails.len() >= count);
        eventually_async(&format!("{count} mails"), 30, enough).await
    }

    /// A mail as it came over the line.
    pub async fn raw_email(&self, mail: &Value) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the sandbox listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("plain HTTP");
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(format!("/mail/{}/raw", mail["id"])).header("host", "localhost");
        let answer = sender.send_request(request.body(Full::new(Bytes::new())).expect("a request"));
        let body = answer.await.expect("the sandbox answers").into_body().collect().await.expect("a whole body");
        String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8")
    }

    /// The mail server's next conversations go wrong in this way.
    pub async fn inject_mail_fault(&self, fault: Value) {
        self.post("/mail/misbehave".to_owned(), fault).await;
    }
}

/// `(text, callback data or URL)` of every button under a message.
pub fn buttons(message: &Value) -> Vec<(String, String)> {
    let rows = message["reply_markup"]["inline_keyboard"].as_array();
    let buttons = rows.into_iter().flatten().flat_map(|row| row.as_array().expect("a row"));
    let target = |button: &Value| button["callback_data"].as_str().or(button["url"].as_str()).map(str::to_owned);
    buttons.map(|button| (button["text"].as_str().expect("a text").to_owned(), target(button).expect("one"))).collect()
}
