//! What Telegram's apps do for people, under `/telegram`: the chat page, and typing and pressing for scripts and for
//! that page.
//!
//! Called through [`super::Telegram::page`]. The page itself uses nothing but this interface. What must never happen: a
//! script's mistake is taken for something that a person could do.

use std::sync::Arc;

use futures_util::stream;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::Bot;
use super::api::METHODS;
use super::chats::{Chat, LONGEST_TEXT, Press, User};
use super::faults::{Fault, How};
use crate::web::{self, Answer, Asked};

/// Where the page has the list of bots.
const BOTS: &str = "BOTS_OF_THE_SANDBOX";

/// What Telegram gives people: below 2^52, above 0.
const LARGEST_PERSON: i64 = 1 << 52;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
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
struct Pressed {
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
struct Misbehave {
    method: Option<String>,
    how: Option<How>,
    times: u32,
    #[serde(default = "one")]
    retry_after: u32,
}

fn one() -> u32 {
    1
}

type Told = Result<Value, (StatusCode, String)>;

/// Answers everything under `/telegram`.
pub fn answer(bots: &[Arc<Bot>], asked: &Asked) -> Answer {
    let segments = asked.segments();
    let Some(name) = segments.get(1) else { return page(bots) };
    let Some(bot) = bots.iter().find(|bot| bot.username().eq_ignore_ascii_case(name)) else {
        return wrong(StatusCode::NOT_FOUND, &format!("The sandbox has no bot {name}."));
    };
    let told = match (&asked.method, &segments[2..]) {
        (&Method::GET, []) => return page(bots),
        (&Method::GET, ["events"]) => match chat_of(asked) {
            Ok(Some(chat)) => return events(bot.clone(), chat),
            Ok(None) => Err((StatusCode::BAD_REQUEST, "Say which chat: ?chat=ID.".to_owned())),
            Err(wrong) => Err(wrong),
        },
        (&Method::GET, ["messages"]) => chat_of(asked).map(|chat| {
            let chats = bot.chats();
            json!(chats.messages(chat).filter(|message| message.from.is_bot).collect::<Vec<_>>())
        }),
        (&Method::GET, ["answers"]) => chat_of(asked).map(|chat| json!(bot.chats().answers(chat).collect::<Vec<_>>())),
        (&Method::GET, ["calls"]) => Ok(json!(*bot.calls())),
        (&Method::POST, ["send"]) => body(asked).and_then(|body| send(bot, body)),
        (&Method::POST, ["press"]) => body(asked).and_then(|body| press(bot, body)),
        (&Method::POST, ["misbehave"]) => body(asked).and_then(|body| misbehave(bot, body)),
        (_, [] | ["events" | "messages" | "answers" | "calls" | "send" | "press" | "misbehave"]) => {
            Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} is not for this path.", asked.method)))
        }
        _ => Err((StatusCode::NOT_FOUND, "There is no such path.".to_owned())),
    };
    match told {
        Ok(value) => web::json(StatusCode::OK, &value),
        Err((status, sentence)) => wrong(status, &sentence),
    }
}

/// The list of bots and the chat with one are the same page: its address says which.
fn page(bots: &[Arc<Bot>]) -> Answer {
    let bots: Vec<Value> =
        bots.iter().map(|bot| json!({ "username": bot.username(), "title": bot.user.first_name })).collect();
    // The list stands in a script element, which a title must not close.
    let bots = json!(bots).to_string().replace('<', "\\u003c");
    web::html(include_str!("../pages/telegram.html").replace(BOTS, &bots))
}

fn wrong(status: StatusCode, sentence: &str) -> Answer {
    web::json(status, &json!({ "ok": false, "error": sentence }))
}

fn bad(sentence: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, sentence.into())
}

fn body<T: DeserializeOwned>(asked: &Asked) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(&asked.body).map_err(|error| bad(format!("The body is not what is expected: {error}.")))
}

fn chat_of(asked: &Asked) -> Result<Option<i64>, (StatusCode, String)> {
    let chat = asked.query("chat").map(str::parse).transpose();
    chat.map_err(|_| bad("The chat's id is an integer."))
}

/// As Telegram describes a person: with a number, a name, and only what there is.
fn person(mut from: User) -> Result<User, (StatusCode, String)> {
    if !(1..LARGEST_PERSON).contains(&from.id) {
        return Err(bad("A person's id is an integer from 1 up to 52 bits."));
    }
    if from.first_name.trim().is_empty() {
        return Err(bad("A person has a first_name."));
    }
    from.is_bot = false;
    for optional in [&mut from.last_name, &mut from.username, &mut from.language_code] {
        optional.take_if(|text| text.is_empty());
    }
    Ok(from)
}

fn send(bot: &Bot, sent: Send) -> Told {
    let from = person(sent.from)?;
    let text = sent.text.trim().to_owned();
    if text.is_empty() || text.chars().count() > LONGEST_TEXT {
        return Err(bad(format!("A text has 1 to {LONGEST_TEXT} characters.")));
    }
    let chat = match sent.chat {
        None => Chat::private(&from),
        Some(Group { id, kind: Kind::Private, .. }) if id == from.id => Chat::private(&from),
        Some(Group { kind: Kind::Private, .. }) => return Err(bad("A private chat has the id of its person.")),
        Some(Group { id: 0.., .. }) => return Err(bad("A group's id is below 0.")),
        Some(Group { id, kind, title }) => {
            let title = title.filter(|title| !title.is_empty()).ok_or_else(|| bad("A group has a title."))?;
            let kind = if matches!(kind, Kind::Group) { "group" } else { "supergroup" };
            Chat { id, title: Some(title), kind, ..Chat::default() }
        }
    };
    let mut chats = bot.chats();
    let message = chats.write(from, chat, text);
    bot.show(&message);
    let update_id = bot.updates.push("message", &message);
    Ok(json!({ "ok": true, "update_id": update_id, "message_id": message.message_id }))
}

fn press(bot: &Bot, pressed: Pressed) -> Told {
    let Pressed { from, data, message_id, force, expired } = pressed;
    let press = Press { from: person(from)?, data, message_id, former: force, expired };
    let mut chats = bot.chats();
    let no_button = || (StatusCode::NOT_FOUND, "No message of this bot has a button with this data.".to_owned());
    let (id, query) = chats.press(press).ok_or_else(no_button)?;
    let update_id = bot.updates.push("callback_query", &query);
    Ok(json!({ "ok": true, "update_id": update_id, "callback_query_id": id }))
}

fn misbehave(bot: &Bot, wanted: Misbehave) -> Told {
    let Misbehave { method, how, times, retry_after } = wanted;
    let mut known = METHODS.into_iter().chain(["*"]);
    let method = method.map(|named| {
        let found = known.find(|method| method.eq_ignore_ascii_case(&named));
        found.ok_or_else(|| bad(format!("There is no method {named}; * means all.")))
    });
    let method = method.transpose()?;
    match (times, method, how) {
        (0, method, _) => bot.faults.end(method),
        (times, Some(method), Some(how)) => bot.faults.set(method, Fault { how, times, retry_after }),
        _ => return Err(bad("Say which method (* means all), how, and how many times.")),
    }
    Ok(json!({ "ok": true }))
}

/// First the whole chat, then every change in it.
fn events(bot: Arc<Bot>, chat: i64) -> Answer {
    // Before the chat is read: what changes in between is told twice, which a page does not notice.
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
