//! Login through the shop and the Telegram chat, and signed login data.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::browser::BrowserClient;
use super::sandbox::{Sandbox, TelegramUser, buttons};

/// A started login attempt.
pub struct PendingLogin {
    pub code: String,
    /// `/start auth_…`
    pub command: String,
}

/// `POST /auth/telegram/start`.
pub async fn start_login(browser: &BrowserClient) -> PendingLogin {
    let response = browser.post("/auth/telegram/start", &json!({})).await.ok_json();
    let text = |name: &str| response[name].as_str().expect("a text").to_owned();
    PendingLogin { code: text("code"), command: text("command") }
}

/// The callback data of the button with this text.
#[track_caller]
pub fn button(message: &Value, text: &str) -> String {
    let found = buttons(message).into_iter().find(|(label, _)| label == text);
    found.unwrap_or_else(|| panic!("no button {text} in {message}")).1
}

/// Waits until the bot has handled the press and removed the buttons.
pub async fn await_buttons_removed(sandbox: &Sandbox, brand: &str, user: &TelegramUser, login: &PendingLogin) {
    let token = login.command.trim_start_matches("/start auth_");
    super::eventually_async("the removal of the buttons", 20, async || {
        let messages = sandbox.messages(brand, user.id()).await;
        let is_open = messages.iter().any(|message| buttons(message).iter().any(|(_, data)| data.contains(token)));
        (!is_open).then_some(())
    })
    .await;
}

/// Presses START and returns the question of the bot.
pub async fn press_start(sandbox: &Sandbox, brand: &str, user: &TelegramUser, login: &PendingLogin) -> Value {
    sandbox.send_message(brand, user, &login.command).await;
    let token = login.command.trim_start_matches("/start auth_");
    super::eventually_async("the question", 20, async || {
        let messages = sandbox.messages(brand, user.id()).await;
        messages.into_iter().find(|message| buttons(message).iter().any(|(_, data)| data.contains(token)))
    })
    .await
}

/// Logs a user in through the chat; returns the JSON of the session.
pub async fn log_in(sandbox: &Sandbox, brand: &str, browser: &BrowserClient, user: &TelegramUser) -> Value {
    let login = start_login(browser).await;
    let question = press_start(sandbox, brand, user, &login).await;
    sandbox.press_button(brand, user, &button(&question, &login.code)).await;
    super::eventually_async("the session", 20, async || {
        let answer = browser.get("/auth/session").await;
        (answer.status == 200).then(|| answer.ok_json())
    })
    .await
}

/// Signs login data as documented by Telegram: HMAC-SHA256 of sorted `key=value` lines, keyed with the SHA-256 of the token.
pub fn sign(mut data: Value, token: &str) -> Value {
    let members = data.as_object().expect("an object");
    let mut lines: Vec<String> = members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or(value.to_string(), str::to_owned)))
        .collect();
    lines.sort();
    let mut mac = Hmac::<Sha256>::new_from_slice(&Sha256::digest(token)).expect("any length");
    mac.update(lines.join("\n").as_bytes());
    data["hash"] = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    data
}

/// The Unix time in seconds.
pub fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Signed data as a query string.
pub fn query(data: &Value) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let members = data.as_object().expect("an object").iter();
    let pairs = members
        .map(|(key, value)| format!("{key}={}", encode(&value.as_str().map_or(value.to_string(), str::to_owned))));
    pairs.collect::<Vec<_>>().join("&")
}
