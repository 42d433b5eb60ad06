//! The Bot API: `/bot<TOKEN>/<method>`, GET with a query or POST with JSON or a form.
//!
//! Called through [`super::Telegram::api`] with everything that a bot's program asks. Parameters are texts, as in
//! Telegram's own server: a number in JSON, or an object in it, is its JSON text. What must never happen: one bot's
//! token opens another's chats.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Bot;
use super::chats::{self, Edit};
use super::keyboard::Keyboard;
use super::updates::{Conflict, Wanted};
use crate::web::{self, Answer, Asked};

/// What this Telegram can do, spelt as in the documents; callers may spell in any case.
pub const METHODS: [&str; 8] = [
    "getMe",
    "deleteWebhook",
    "getUpdates",
    "sendMessage",
    "editMessageText",
    "editMessageReplyMarkup",
    "answerCallbackQuery",
    "setMyCommands",
];

const LONGEST_POLL_S: i64 = 50;
const MOST_UPDATES: i64 = 100;
const MOST_COMMANDS: usize = 100;

/// A call that is not done: `{"ok":false,…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: u16,
    pub description: String,
    retry_after: Option<u32>,
}

impl Refusal {
    pub fn new(code: u16, description: String) -> Refusal {
        Refusal { code, description, retry_after: None }
    }

    pub fn bad_request(what: &str) -> Refusal {
        Refusal::new(400, format!("Bad Request: {what}"))
    }

    pub fn too_many(retry_after: u32) -> Refusal {
        let description = format!("Too Many Requests: retry after {retry_after}");
        Refusal { retry_after: Some(retry_after), ..Refusal::new(429, description) }
    }

    pub fn answer(&self) -> Answer {
        let mut body = json!({ "ok": false, "error_code": self.code, "description": self.description });
        if let Some(seconds) = self.retry_after {
            body["parameters"] = json!({ "retry_after": seconds });
        }
        web::json(StatusCode::from_u16(self.code).expect("codes here are those of HTTP"), &body)
    }
}

/// A method's parameters.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn read(asked: &Asked) -> Result<Parameters, Refusal> {
        let mut parameters: HashMap<String, String> = asked.query.iter().cloned().collect();
        let content_type = asked.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.to_ascii_lowercase().starts_with("application/json") && !asked.body.is_empty() {
            let object: serde_json::Map<String, Value> = serde_json::from_slice(&asked.body)
                .map_err(|_| Refusal::bad_request("can't parse request JSON object"))?;
            parameters.extend(object.into_iter().filter(|(_, value)| !value.is_null()).map(
                |(name, value)| match value {
                    Value::String(text) => (name, text),
                    other => (name, other.to_string()),
                },
            ));
        } else {
            parameters.extend(web::pairs(&String::from_utf8_lossy(&asked.body)));
        }
        Ok(Parameters(parameters))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Absent also when it is no integer, as Telegram takes it.
    fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    fn boolean(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().trim().to_ascii_lowercase();
        ["true", "yes", "1"].contains(&text.as_str())
    }

    fn chat(&self) -> Result<Option<i64>, Refusal> {
        match self.text("chat_id") {
            None | Some("") => Err(Refusal::bad_request("chat_id is empty")),
            Some(_) => Ok(self.integer("chat_id")),
        }
    }

    /// Without entities: nothing here can parse them, and taking marks for text would hide a mistake in them.
    fn message_text(&self) -> Result<&str, Refusal> {
        match self.text("parse_mode").is_some_and(|mode| !mode.is_empty()) {
            true => Err(Refusal::bad_request("the sandbox knows no parse_mode")),
            false => Ok(self.text("text").unwrap_or_default()),
        }
    }

    fn keyboard(&self) -> Result<Option<Keyboard>, Refusal> {
        Keyboard::read(self.text("reply_markup"))
    }
}

/// Answers a call, of whichever bot the token is.
pub async fn answer(bots: &[Arc<Bot>], asked: &Asked) -> Answer {
    let segments = asked.segments();
    let decoded = |segment: &&str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let segments: Vec<String> = segments.iter().map(decoded).collect();
    let token = segments.first().and_then(|first| first.strip_prefix("bot")).unwrap_or_default();
    let Some(bot) = bots.iter().find(|bot| bot.token == token) else {
        return match is_well_formed(token) {
            true => Refusal::new(401, "Unauthorized".to_owned()).answer(),
            false => Refusal::new(404, "Not Found".to_owned()).answer(),
        };
    };
    let named = segments.get(1).filter(|_| segments.len() == 2);
    let method = METHODS.into_iter().find(|method| named.is_some_and(|named| named.eq_ignore_ascii_case(method)));
    let Some(method) = method else {
        bot.count("unknown");
        return Refusal::new(404, "Not Found: method not found".to_owned()).answer();
    };
    if ![Method::GET, Method::POST].contains(&asked.method) {
        return Refusal::new(405, "Method Not Allowed".to_owned()).answer();
    }
    bot.count(method);
    if let Some(fault) = bot.faults.next(method) {
        return fault.answer().await;
    }
    let done = match Parameters::read(asked) {
        Ok(parameters) => call(bot, method, &parameters).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(result) => web::json(StatusCode::OK, &json!({ "ok": true, "result": result })),
        Err(refusal) => refusal.answer(),
    }
}

async fn call(bot: &Bot, method: &str, parameters: &Parameters) -> Result<Value, Refusal> {
    match method {
        "getMe" => Ok(get_me(bot)),
        // There is never a webhook.
        "deleteWebhook" => {
            if parameters.boolean("drop_pending_updates") {
                bot.updates.forget();
            }
            Ok(json!(true))
        }
        "getUpdates" => get_updates(bot, parameters).await,
        "sendMessage" => {
            let (text, keyboard) = (parameters.message_text()?, parameters.keyboard()?);
            let mut chats = bot.chats();
            let message = chats.send(&bot.user, parameters.chat()?, text, keyboard)?;
            bot.show(&message);
            Ok(json!(message))
        }
        "editMessageText" => edit(bot, parameters, Some(parameters.message_text()?.to_owned())),
        "editMessageReplyMarkup" => edit(bot, parameters, None),
        "answerCallbackQuery" => {
            let text = parameters.text("text").map(str::to_owned);
            let id = parameters.text("callback_query_id").unwrap_or_default();
            let mut chats = bot.chats();
            let answered = chats.answer(id, text, parameters.boolean("show_alert"))?;
            bot.show_answer(&answered);
            Ok(json!(true))
        }
        "setMyCommands" => set_my_commands(parameters),
        _ => Err(Refusal::new(404, "Not Found: method not found".to_owned())),
    }
}

fn get_me(bot: &Bot) -> Value {
    let mut me = json!(bot.user);
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(true);
    me["supports_inline_queries"] = json!(false);
    me["can_connect_to_business"] = json!(false);
    me["has_main_web_app"] = json!(false);
    me
}

async fn get_updates(bot: &Bot, parameters: &Parameters) -> Result<Value, Refusal> {
    let limit = parameters.integer("limit").unwrap_or(MOST_UPDATES).clamp(1, MOST_UPDATES);
    let timeout = parameters.integer("timeout").unwrap_or(0).clamp(0, LONGEST_POLL_S);
    let wanted = Wanted {
        offset: parameters.integer("offset").unwrap_or(0),
        limit: usize::try_from(limit).expect("clamped"),
        timeout: Duration::from_secs(timeout.unsigned_abs()),
        allowed: parameters.text("allowed_updates").and_then(|list| serde_json::from_str(list).ok()),
    };
    let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let found = bot.updates.get(wanted).await;
    found.map(|updates| json!(updates)).map_err(|Conflict| Refusal::new(409, conflict.to_owned()))
}

fn edit(bot: &Bot, parameters: &Parameters, text: Option<String>) -> Result<Value, Refusal> {
    if let Some(text) = &text {
        // Telegram looks at the text before it looks for the message.
        chats::checked(text)?;
    }
    let keyboard = parameters.keyboard()?;
    let chat = parameters.chat()?;
    let mut chats = bot.chats();
    let message = chats.edit(chat, parameters.integer("message_id"), Edit { text, keyboard })?;
    bot.show(&message);
    Ok(json!(message))
}

/// Checked and forgotten: there is no menu on the chat page.
fn set_my_commands(parameters: &Parameters) -> Result<Value, Refusal> {
    let unreadable = || Refusal::bad_request("can't parse commands JSON object");
    let commands = parameters.text("commands").unwrap_or("[]");
    let commands: Vec<Value> = serde_json::from_str(commands).map_err(|_| unreadable())?;
    if commands.len() > MOST_COMMANDS {
        return Err(Refusal::bad_request("BOT_COMMANDS_TOO_MUCH"));
    }
    for command in commands {
        let text = |name: &str| command[name].as_str().map(str::to_owned).ok_or_else(unreadable);
        let (command, description) = (text("command")?, text("description")?);
        let name = command.trim_start_matches('/');
        let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(of_name) {
            return Err(Refusal::bad_request("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&description.chars().count()) {
            return Err(Refusal::bad_request("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    Ok(json!(true))
}

/// Digits, a colon, and characters of base64url.
fn is_well_formed(token: &str) -> bool {
    let Some((digits, secret)) = token.split_once(':') else { return false };
    let of_secret = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let digits_fit = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits_fit && !secret.is_empty() && secret.bytes().all(of_secret)
}
