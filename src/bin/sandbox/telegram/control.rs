//! The control interface below `/telegram`: the chat page, messages and button presses of users, and injected faults.

use std::sync::Arc;

use futures_util::stream;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Bot;
use super::api::METHODS;
use super::chats::{ButtonPress, Chat, MAX_TEXT_CHARS, User};
use super::fault::{TelegramFault, TelegramFaultKind};
use crate::web::{self, WebRequest, WebResponse};

/// The placeholder for the list of bots in the page.
const BOTS_PLACEHOLDER: &str = "BOTS_OF_THE_SANDBOX";

/// Telegram's user ids have at most 52 significant bits.
const MAX_USER_ID: i64 = 1 << 52;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendRequest {
    from: User,
    text: String,
    chat: Option<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    id: i64,
    #[serde(rename = "type")]
    kind: Kind,
    title: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Private,
    Group,
    Supergroup,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PressRequest {
    from: User,
    data: String,
    message_id: Option<i64>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    expired: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    method: Option<String>,
    #[serde(rename = "how")]
    kind: Option<TelegramFaultKind>,
    times: u32,
    #[serde(rename = "retry_after", default = "default_retry_after_s")]
    retry_after_s: u32,
    /// Only calls about this chat fail.
    chat: Option<i64>,
}

fn default_retry_after_s() -> u32 {
    1
}

type ControlResult = Result<Value, (StatusCode, String)>;

/// Responds to everything below `/telegram`.
pub(super) fn respond(bots: &[Arc<Bot>], request: &WebRequest) -> WebResponse {
    let segments = request.segments();
    let Some(name) = segments.get(1) else { return page(bots) };
    let Some(bot) = bots.iter().find(|bot| bot.username().eq_ignore_ascii_case(name)) else {
        return wrong(StatusCode::NOT_FOUND, &format!("unknown bot {name}"));
    };
    let result = match (&request.method, &segments[2..]) {
        (&Method::GET, []) => return page(bots),
        (&Method::GET, ["events"]) => match chat_of(request) {
            Ok(Some(chat)) => return events(bot.clone(), chat),
            Ok(None) => Err((StatusCode::BAD_REQUEST, "missing ?chat=ID".to_owned())),
            Err(wrong) => Err(wrong),
        },
        (&Method::GET, ["messages"]) => chat_of(request).map(|chat| {
            let chats = bot.chats();
            json!(chats.messages(chat).filter(|message| message.from.is_bot).collect::<Vec<_>>())
        }),
        (&Method::GET, ["answers"]) => {
            chat_of(request).map(|chat| json!(bot.chats().answers(chat).collect::<Vec<_>>()))
        }
        (&Method::GET, ["calls"]) => Ok(json!(*bot.calls())),
        (&Method::POST, ["send"]) => body(request).and_then(|body| send(bot, body)),
        (&Method::POST, ["press"]) => body(request).and_then(|body| press(bot, body)),
        (&Method::POST, ["misbehave"]) => body(request).and_then(|body| set_fault(bot, body)),
        (_, [] | ["events" | "messages" | "answers" | "calls" | "send" | "press" | "misbehave"]) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} is not allowed for this path", request.method)))
        }
        _ => Err((StatusCode::NOT_FOUND, "not found".to_owned())),
    };
    match result {
        Ok(value) => web::json(StatusCode::OK, &value),
        Err((status, message)) => wrong(status, &message),
    }
}

/// The list of bots and the chats are one page, told apart by its URL.
fn page(bots: &[Arc<Bot>]) -> WebResponse {
    let bots: Vec<Value> =
        bots.iter().map(|bot| json!({ "username": bot.username(), "title": bot.user.first_name })).collect();
    // A title must not close the script element that holds the list.
    let bots = json!(bots).to_string().replace('<', "\\u003c");
    web::html(include_str!("../pages/telegram.html").replace(BOTS_PLACEHOLDER, &bots))
}

fn wrong(status: StatusCode, message: &str) -> WebResponse {
    web::json(status, &json!({ "ok": false, "error": message }))
}

fn bad(message: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.into())
}

fn body<T: DeserializeOwned>(request: &WebRequest) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(&request.body).map_err(|error| bad(format!("invalid body: {error}")))
}

fn chat_of(request: &WebRequest) -> Result<Option<i64>, (StatusCode, String)> {
    let chat = request.query("chat").map(str::parse).transpose();
    chat.map_err(|_| bad("chat must be an integer"))
}

/// The user as Telegram describes one: with an id, a first name, and no empty fields.
fn validate_user(mut from: User) -> Result<User, (StatusCode, String)> {
    if !(1..MAX_USER_ID).contains(&from.id) {
        return Err(bad("from.id must be a positive integer of at most 52 bits"));
    }
    if from.first_name.trim().is_empty() {
        return Err(bad("from.first_name must not be empty"));
    }
    from.is_bot = false;
    for optional in [&mut from.last_name, &mut from.username, &mut from.language_code] {
        optional.take_if(|text| text.is_empty());
    }
    Ok(from)
}

fn send(bot: &Bot, sent: SendRequest) -> ControlResult {
    let from = validate_user(sent.from)?;
    let text = sent.text.trim().to_owned();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
        return Err(bad(format!("text must have 1 to {MAX_TEXT_CHARS} characters")));
    }
    let chat = match sent.chat {
        None => Chat::private(&from),
        Some(Group { id, kind: Kind::Private, .. }) if id == from.id => Chat::private(&from),
        Some(Group { kind: Kind::Private, .. }) => {
            return Err(bad("the id of a private chat must be that of its user"));
        }
        Some(Group { id: 0.., .. }) => return Err(bad("the id of a group must be negative")),
        Some(Group { id, kind, title }) => {
            let title = title.filter(|title| !title.is_empty()).ok_or_else(|| bad("a group must have a title"))?;
            let kind = if matches!(kind, Kind::Group) { "group" } else { "supergroup" };
            Chat { id, title: Some(title), kind, ..Chat::default() }
        }
    };
    let mut chats = bot.chats();
    let message = chats.receive(from, chat, text);
    bot.publish(&message);
    let update_id = bot.updates.push("message", &message);
    Ok(json!({ "ok": true, "update_id": update_id, "message_id": message.message_id }))
}

fn press(bot: &Bot, pressed: PressRequest) -> ControlResult {
    let PressRequest { from, data, message_id, force, expired } = pressed;
    let press = ButtonPress { from: validate_user(from)?, data, message_id, include_removed: force, expired };
    let mut chats = bot.chats();
    let no_button = || (StatusCode::NOT_FOUND, "no message of this bot has a button with this data".to_owned());
    let (id, query) = chats.press(press).ok_or_else(no_button)?;
    let update_id = bot.updates.push("callback_query", &query);
    Ok(json!({ "ok": true, "update_id": update_id, "callback_query_id": id }))
}

fn set_fault(bot: &Bot, request: FaultRequest) -> ControlResult {
    let FaultRequest { method, kind, times, retry_after_s, chat } = request;
    let mut known = METHODS.into_iter().chain(["*"]);
    let method = method.map(|named| {
        let found = known.find(|method| method.eq_ignore_ascii_case(&named));
        found.ok_or_else(|| bad(format!("unknown method {named}; * means all methods")))
    });
    let method = method.transpose()?;
    match (times, method, kind) {
        (0, method, _) => bot.faults.clear(method),
        (times, Some(method), Some(kind)) => {
            bot.faults.set(method, TelegramFault { kind, times, retry_after_s, chat });
        }
        _ => return Err(bad("method (* means all), how and times are required")),
    }
    Ok(json!({ "ok": true }))
}

/// The whole chat, then every change in it.
fn events(bot: Arc<Bot>, chat: i64) -> WebResponse {
    // Subscribed before the chat is read: a change in between is sent twice, which the page tolerates.
    let changes = bot.live.subscribe();
    web::events(stream::unfold((bot, changes, true), move |(bot, mut changes, first)| async move {
        if first {
            return Some((history(&bot, chat), (bot, changes, false)));
        }
        loop {
            let json = match changes.recv().await {
                Ok(live) if live.chats.contains(&chat) => live.json,
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => history(&bot, chat),
                Err(RecvError::Closed) => return None,
            };
            return Some((json, (bot, changes, false)));
        }
    }))
}

fn history(bot: &Bot, chat: i64) -> String {
    let chats = bot.chats();
    json!({ "type": "history", "messages": chats.messages(Some(chat)).collect::<Vec<_>>() }).to_string()
}
