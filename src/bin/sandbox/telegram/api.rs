//! The Bot API: `/bot<TOKEN>/<method>`, GET with a query or POST with JSON or a form.
//!
//! Parameters are strings, as in Telegram's own server: a number or an object in JSON is its JSON text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Bot;
use super::chats::{self, MessageEdit};
use super::error::ApiError;
use super::keyboard::Keyboard;
use super::updates::{Conflict, GetUpdates};
use crate::web::{self, WebRequest, WebResponse};

/// The supported methods. Their names are case-insensitive.
pub(super) const METHODS: [&str; 8] = [
    "getMe",
    "deleteWebhook",
    "getUpdates",
    "sendMessage",
    "editMessageText",
    "editMessageReplyMarkup",
    "answerCallbackQuery",
    "setMyCommands",
];

const MAX_POLL_S: i64 = 50;
const MAX_UPDATES: i64 = 100;
const MAX_COMMANDS: usize = 100;

/// The parameters of a method.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn parse(request: &WebRequest) -> Result<Parameters, ApiError> {
        let mut parameters: HashMap<String, String> = request.query.iter().cloned().collect();
        let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.to_ascii_lowercase().starts_with("application/json") && !request.body.is_empty() {
            let object: serde_json::Map<String, Value> = serde_json::from_slice(&request.body)
                .map_err(|_| ApiError::bad_request("can't parse request JSON object"))?;
            parameters.extend(object.into_iter().filter(|(_, value)| !value.is_null()).map(
                |(name, value)| match value {
                    Value::String(text) => (name, text),
                    other => (name, other.to_string()),
                },
            ));
        } else {
            parameters.extend(web::parse_pairs(&String::from_utf8_lossy(&request.body)));
        }
        Ok(Parameters(parameters))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Invalid integers count as absent, as at Telegram.
    fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    fn boolean(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().trim().to_ascii_lowercase();
        ["true", "yes", "1"].contains(&text.as_str())
    }

    fn chat(&self) -> Result<Option<i64>, ApiError> {
        match self.text("chat_id") {
            None | Some("") => Err(ApiError::bad_request("chat_id is empty")),
            Some(_) => Ok(self.integer("chat_id")),
        }
    }

    /// Rejects `parse_mode`, which is not simulated: markup taken for plain text would hide its errors.
    fn message_text(&self) -> Result<&str, ApiError> {
        match self.text("parse_mode").is_some_and(|mode| !mode.is_empty()) {
            true => Err(ApiError::bad_request("the sandbox does not support parse_mode")),
            false => Ok(self.text("text").unwrap_or_default()),
        }
    }

    fn keyboard(&self) -> Result<Option<Keyboard>, ApiError> {
        Keyboard::parse(self.text("reply_markup"))
    }
}

/// Responds to a call.
pub(super) async fn respond(bots: &[Arc<Bot>], request: &WebRequest) -> WebResponse {
    let segments = request.segments();
    let decoded = |segment: &&str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let segments: Vec<String> = segments.iter().map(decoded).collect();
    let token = segments.first().and_then(|first| first.strip_prefix("bot")).unwrap_or_default();
    let Some(bot) = bots.iter().find(|bot| bot.token == token) else {
        return match is_well_formed(token) {
            true => ApiError::new(401, "Unauthorized".to_owned()).response(),
            false => ApiError::new(404, "Not Found".to_owned()).response(),
        };
    };
    let name = segments.get(1).filter(|_| segments.len() == 2);
    let method = METHODS.into_iter().find(|method| name.is_some_and(|name| name.eq_ignore_ascii_case(method)));
    let Some(method) = method else {
        bot.count("unknown");
        return ApiError::new(404, "Not Found: method not found".to_owned()).response();
    };
    if ![Method::GET, Method::POST].contains(&request.method) {
        return ApiError::new(405, "Method Not Allowed".to_owned()).response();
    }
    bot.count(method);
    let parameters = Parameters::parse(request);
    let chat = parameters.as_ref().ok().and_then(|parameters| parameters.integer("chat_id"));
    if let Some(fault) = bot.faults.next(method, chat) {
        return fault.response().await;
    }
    let result = match parameters {
        Ok(parameters) => call(bot, method, &parameters).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(result) => web::json(StatusCode::OK, &json!({ "ok": true, "result": result })),
        Err(error) => error.response(),
    }
}

async fn call(bot: &Bot, method: &str, parameters: &Parameters) -> Result<Value, ApiError> {
    match method {
        "getMe" => Ok(get_me(bot)),
        // Webhooks are not simulated.
        "deleteWebhook" => {
            if parameters.boolean("drop_pending_updates") {
                bot.updates.clear();
            }
            Ok(json!(true))
        }
        "getUpdates" => get_updates(bot, parameters).await,
        "sendMessage" => {
            let (text, keyboard) = (parameters.message_text()?, parameters.keyboard()?);
            let mut chats = bot.chats();
            let message = chats.send(&bot.user, parameters.chat()?, text, keyboard)?;
            bot.publish(&message);
            Ok(json!(message))
        }
        "editMessageText" => edit(bot, parameters, Some(parameters.message_text()?.to_owned())),
        "editMessageReplyMarkup" => edit(bot, parameters, None),
        "answerCallbackQuery" => {
            let text = parameters.text("text").map(str::to_owned);
            let id = parameters.text("callback_query_id").unwrap_or_default();
            let mut chats = bot.chats();
            let answered = chats.answer(id, text, parameters.boolean("show_alert"))?;
            bot.publish_answer(&answered);
            Ok(json!(true))
        }
        "setMyCommands" => set_my_commands(parameters),
        _ => Err(ApiError::new(404, "Not Found: method not found".to_owned())),
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

async fn get_updates(bot: &Bot, parameters: &Parameters) -> Result<Value, ApiError> {
    let limit = parameters.integer("limit").unwrap_or(MAX_UPDATES).clamp(1, MAX_UPDATES);
    let timeout = parameters.integer("timeout").unwrap_or(0).clamp(0, MAX_POLL_S);
    let request = GetUpdates {
        offset: parameters.integer("offset").unwrap_or(0),
        limit: usize::try_from(limit).expect("clamped"),
        timeout: Duration::from_secs(timeout.unsigned_abs()),
        allowed: parameters.text("allowed_updates").and_then(|list| serde_json::from_str(list).ok()),
    };
    let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let found = bot.updates.get(request).await;
    found.map(|updates| json!(updates)).map_err(|Conflict| ApiError::new(409, conflict.to_owned()))
}

fn edit(bot: &Bot, parameters: &Parameters, text: Option<String>) -> Result<Value, ApiError> {
    if let Some(text) = &text {
        // Telegram validates the text before it looks up the message.
        chats::validate_text(text)?;
    }
    let keyboard = parameters.keyboard()?;
    let chat = parameters.chat()?;
    let mut chats = bot.chats();
    let message = chats.edit(chat, parameters.integer("message_id"), MessageEdit { text, keyboard })?;
    bot.publish(&message);
    Ok(json!(message))
}

/// Validates the commands; the chat page has no menu.
fn set_my_commands(parameters: &Parameters) -> Result<Value, ApiError> {
    let invalid = || ApiError::bad_request("can't parse commands JSON object");
    let commands = parameters.text("commands").unwrap_or("[]");
    let commands: Vec<Value> = serde_json::from_str(commands).map_err(|_| invalid())?;
    if commands.len() > MAX_COMMANDS {
        return Err(ApiError::bad_request("BOT_COMMANDS_TOO_MUCH"));
    }
    for command in commands {
        let text = |name: &str| command[name].as_str().map(str::to_owned).ok_or_else(invalid);
        let (command, description) = (text("command")?, text("description")?);
        let name = command.trim_start_matches('/');
        let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(of_name) {
            return Err(ApiError::bad_request("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&description.chars().count()) {
            return Err(ApiError::bad_request("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    Ok(json!(true))
}

/// Whether the token is `DIGITS:SECRET`, the secret in base64url characters.
fn is_well_formed(token: &str) -> bool {
    let Some((digits, secret)) = token.split_once(':') else { return false };
    let of_secret = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let digits_fit = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits_fit && !secret.is_empty() && secret.bytes().all(of_secret)
}
