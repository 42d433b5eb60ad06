//! A bot's chats: users, messages, callback queries and their answers.
//!
//! # Invariants
//! - A callback query is answered at most once.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entities::bot_commands;
use super::error::ApiError;
use super::keyboard::Keyboard;

/// Of a message, in characters.
pub const MAX_TEXT_CHARS: usize = 4_096;

/// Of the text of answerCallbackQuery, in characters.
const MAX_ANSWER_CHARS: usize = 200;

/// How long a callback query can be answered. Telegram does not document its own limit, which is shorter.
const CALLBACK_QUERY_LIFETIME: Duration = Duration::from_secs(60);

/// The Unix time from which message ids are counted.
const FIRST_MESSAGE: i64 = 1_790_000_000;

/// A user or a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub id: i64,
    #[serde(default)]
    pub is_bot: bool,
    pub first_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language_code: Option<String>,
}

/// A private chat, named after its user, or a group.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Chat {
    pub id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct Message {
    pub message_id: i64,
    pub from: User,
    pub chat: Chat,
    pub date: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_date: Option<i64>,
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<Keyboard>,
}

/// An edit of a bot's message.
pub struct MessageEdit {
    /// `None`: unchanged.
    pub text: Option<String>,
    /// `None`: no keyboard.
    pub keyboard: Option<Keyboard>,
}

/// A press of a button.
pub struct ButtonPress {
    pub from: User,
    pub data: String,
    /// `None`: the newest message with such a button, in the user's own chat if possible.
    pub message_id: Option<i64>,
    /// Also matches buttons that the message had before an edit.
    pub include_removed: bool,
    /// The callback query is too old to be answered.
    pub expired: bool,
}

/// A call of answerCallbackQuery.
#[derive(Debug, Clone, Serialize)]
pub struct CallbackAnswer {
    pub callback_query_id: String,
    pub from: User,
    pub text: Option<String>,
    pub show_alert: bool,
    /// The chat of the message with the button.
    #[serde(skip)]
    pub chat: i64,
}

struct StoredMessage {
    message: Message,
    /// The callback data of all its buttons, present and removed.
    data: HashSet<String>,
}

struct CallbackQuery {
    id: String,
    from: User,
    chat: i64,
    /// `None`: it was answered or is too old.
    until: Option<Instant>,
}

/// The chats of a bot.
#[derive(Default)]
pub struct Chats {
    known: BTreeMap<i64, Chat>,
    messages: Vec<StoredMessage>,
    queries: Vec<CallbackQuery>,
    answers: Vec<CallbackAnswer>,
    last_message: i64,
}

impl Chat {
    pub fn private(with: &User) -> Chat {
        let User { id, first_name, last_name, username, .. } = with.clone();
        Chat { id, first_name: Some(first_name), last_name, username, kind: "private", ..Chat::default() }
    }
}

impl Chats {
    /// A user sends a message. From now on the bot may send messages to this chat.
    pub fn receive(&mut self, from: User, chat: Chat, text: String) -> Message {
        self.known.insert(chat.id, chat.clone());
        let entities = bot_commands(&text);
        self.store(from, chat, text, entities, None)
    }

    /// The bot sends a message.
    ///
    /// # Errors
    /// The chat is unknown, or the text is empty or too long.
    pub fn send(
        &mut self,
        bot: &User,
        chat: Option<i64>,
        text: &str,
        keyboard: Option<Keyboard>,
    ) -> Result<Message, ApiError> {
        let text = validate_text(text)?;
        let chat = self.known.get(&chat.unwrap_or_default()).ok_or(ApiError::bad_request("chat not found"))?;
        Ok(self.store(bot.clone(), chat.clone(), text, Vec::new(), keyboard))
    }

    /// The bot edits one of its messages.
    ///
    /// # Errors
    /// The message is unknown, not the bot's, or would not change.
    pub fn edit(&mut self, chat: Option<i64>, message_id: Option<i64>, edit: MessageEdit) -> Result<Message, ApiError> {
        let text = edit.text.map(|text| validate_text(&text)).transpose()?;
        let chat = self.known.get(&chat.unwrap_or_default()).ok_or(ApiError::bad_request("chat not found"))?.id;
        let mut stored = self.messages.iter_mut();
        let stored =
            stored.find(|stored| Some(stored.message.message_id) == message_id && stored.message.chat.id == chat);
        let stored = stored.ok_or(ApiError::bad_request("message to edit not found"))?;
        if !stored.message.from.is_bot {
            return Err(ApiError::bad_request("message can't be edited"));
        }
        let text = text.unwrap_or_else(|| stored.message.text.clone());
        if text == stored.message.text && edit.keyboard == stored.message.reply_markup {
            return Err(ApiError::bad_request(
                "message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message",
            ));
        }
        stored.data.extend(edit.keyboard.iter().flat_map(Keyboard::data).map(str::to_owned));
        stored.message.text = text;
        stored.message.reply_markup = edit.keyboard;
        stored.message.edit_date = Some(super::now());
        Ok(stored.message.clone())
    }

    /// A user presses a button: the id and the JSON of the callback query, or `None` without such a button.
    pub fn press(&mut self, press: ButtonPress) -> Option<(String, Value)> {
        let ButtonPress { from, data, message_id, include_removed, expired } = press;
        let matches_id = |stored: &&StoredMessage| message_id.is_none_or(|id| stored.message.message_id == id);
        let has = |stored: &&StoredMessage| {
            stored.message.reply_markup.iter().flat_map(Keyboard::data).any(|has| has == data)
        };
        let had = |stored: &&StoredMessage| include_removed && stored.data.contains(&data);
        let own = |stored: &&StoredMessage| stored.message.chat.id == from.id;
        let newest = || self.messages.iter().rev().filter(matches_id);
        let found = newest().filter(own).find(has).or_else(|| newest().find(has));
        let found = found.or_else(|| newest().filter(own).find(had)).or_else(|| newest().find(had))?;
        let id = random().to_string();
        let chat = found.message.chat.id;
        let instance = chat.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let query = json!({
            "id": id, "from": from, "message": found.message, "chat_instance": instance.to_string(), "data": data,
        });
        let until = (!expired).then(|| Instant::now() + CALLBACK_QUERY_LIFETIME);
        self.queries.push(CallbackQuery { id: id.clone(), from, chat, until });
        Some((id, query))
    }

    /// The bot answers a callback query.
    ///
    /// # Errors
    /// The query is unknown, answered or too old, or the text is too long.
    pub fn answer(&mut self, id: &str, text: Option<String>, show_alert: bool) -> Result<CallbackAnswer, ApiError> {
        if text.as_ref().is_some_and(|text| text.chars().count() > MAX_ANSWER_CHARS) {
            return Err(ApiError::bad_request("MESSAGE_TOO_LONG"));
        }
        let late = "query is too old and response timeout expired or query ID is invalid";
        let query = self.queries.iter_mut().find(|query| query.id == id).ok_or(ApiError::bad_request(late))?;
        if query.until.take().is_none_or(|until| Instant::now() > until) {
            return Err(ApiError::bad_request(late));
        }
        let text = text.filter(|text| !text.is_empty());
        let from = query.from.clone();
        let answered = CallbackAnswer { callback_query_id: query.id.clone(), from, text, show_alert, chat: query.chat };
        self.answers.push(answered.clone());
        Ok(answered)
    }

    /// All messages of a chat, or of all chats, oldest first.
    pub fn messages(&self, chat: Option<i64>) -> impl Iterator<Item = &Message> {
        let messages = self.messages.iter().map(|stored| &stored.message);
        messages.filter(move |message| chat.is_none_or(|chat| message.chat.id == chat))
    }

    /// The answers to callback queries of a chat or by its user, oldest first.
    pub fn answers(&self, chat: Option<i64>) -> impl Iterator<Item = &CallbackAnswer> {
        self.answers.iter().filter(move |answer| chat.is_none_or(|chat| [answer.chat, answer.from.id].contains(&chat)))
    }

    fn store(
        &mut self,
        from: User,
        chat: Chat,
        text: String,
        entities: Vec<Value>,
        reply_markup: Option<Keyboard>,
    ) -> Message {
        // Ids grow across restarts, as a bot may still refer to messages of an earlier run.
        self.last_message = (self.last_message + 1).max(super::now() - FIRST_MESSAGE);
        let message_id = self.last_message;
        let message =
            Message { message_id, from, chat, date: super::now(), edit_date: None, text, entities, reply_markup };
        let data = message.reply_markup.iter().flat_map(Keyboard::data).map(str::to_owned).collect();
        self.messages.push(StoredMessage { message: message.clone(), data });
        message
    }
}

/// The trimmed text of a message.
///
/// # Errors
/// The text is empty or too long.
pub fn validate_text(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(ApiError::bad_request("message text is empty")),
        1..=MAX_TEXT_CHARS => Ok(text.to_owned()),
        _ => Err(ApiError::bad_request("message is too long")),
    }
}

/// An unpredictable positive number.
fn random() -> u64 {
    getrandom::u64().expect("the operating system provides random bytes") >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: i64 = 7;

    fn user(id: i64) -> User {
        let is_bot = id == BOT;
        User { id, is_bot, first_name: "N".to_owned(), last_name: None, username: None, language_code: None }
    }

    fn keyboard(data: &str) -> Option<Keyboard> {
        let markup = json!({ "inline_keyboard": [[{ "text": "x", "callback_data": data }]] });
        Keyboard::parse(Some(&markup.to_string())).expect("fine")
    }

    fn press(from: i64, data: &str, include_removed: bool) -> ButtonPress {
        ButtonPress { from: user(from), data: data.to_owned(), message_id: None, include_removed, expired: false }
    }

    /// Two chats, and the id of a message with a button `yes` in the first one.
    fn chats_with_a_button() -> (Chats, i64) {
        let mut chats = Chats::default();
        for id in [1, 2] {
            chats.receive(user(id), Chat::private(&user(id)), "/start".to_owned());
        }
        let message = chats.send(&user(BOT), Some(1), "Sure?", keyboard("yes")).expect("sent");
        (chats, message.message_id)
    }

    fn error_of<T>(result: Result<T, ApiError>) -> String {
        result.err().expect("refused").description
    }

    #[test]
    fn bot_sends_only_to_known_chats_and_within_the_text_limit() {
        let (mut chats, _) = chats_with_a_button();
        let mut send = |chat, text: &str| chats.send(&user(BOT), chat, text, None);
        assert_eq!(error_of(send(Some(3), "x")), "Bad Request: chat not found");
        assert_eq!(error_of(send(None, "x")), "Bad Request: chat not found");
        assert_eq!(error_of(send(Some(1), " \n")), "Bad Request: message text is empty");
        assert_eq!(error_of(send(Some(1), &"ж".repeat(4_097))), "Bad Request: message is too long");
        assert!(send(Some(1), &"ж".repeat(4_096)).is_ok());
    }

    #[test]
    fn edit_needs_a_changed_message_of_the_bot() {
        let (mut chats, id) = chats_with_a_button();
        let edit = |text: &str, keyboard| MessageEdit { text: Some(text.to_owned()), keyboard };
        assert!(
            error_of(chats.edit(Some(1), Some(id), edit("Sure?", keyboard("yes")))).contains("message is not modified")
        );
        assert!(error_of(chats.edit(Some(2), Some(id), edit("x", None))).contains("message to edit not found"));
        let theirs = chats.messages(Some(1)).next().expect("one").message_id;
        assert!(error_of(chats.edit(Some(1), Some(theirs), edit("x", None))).contains("message can't be edited"));
        let edited = chats.edit(Some(1), Some(id), edit("Done", None)).expect("edited");
        assert_eq!((edited.text.as_str(), edited.reply_markup), ("Done", None));
        assert!(edited.edit_date.is_some());
    }

    #[test]
    fn callback_query_needs_a_button_and_is_answered_once() {
        let (mut chats, id) = chats_with_a_button();
        assert!(chats.press(press(1, "no", true)).is_none());
        let (query, content) = chats.press(press(1, "yes", false)).expect("pressed");
        assert_eq!((&content["message"]["message_id"], &content["from"]["id"]), (&json!(id), &json!(1)));
        assert!(chats.answer(&query, Some("ж".repeat(201)), false).is_err());
        assert!(chats.answer(&query, Some("Well".to_owned()), true).is_ok());
        for id in [query.as_str(), "1", ""] {
            assert!(error_of(chats.answer(id, None, false)).contains("query is too old"));
        }
        assert_eq!(chats.answers(Some(1)).count(), 1);
        let (query, _) = chats.press(ButtonPress { expired: true, ..press(1, "yes", false) }).expect("pressed");
        assert!(error_of(chats.answer(&query, None, false)).contains("query is too old"));
    }

    #[test]
    fn forwarded_and_removed_buttons_can_be_pressed() {
        let (mut chats, id) = chats_with_a_button();
        let (_, content) = chats.press(press(2, "yes", false)).expect("a forwarded button");
        assert_eq!((&content["message"]["chat"]["id"], &content["from"]["id"]), (&json!(1), &json!(2)));
        chats.edit(Some(1), Some(id), MessageEdit { text: None, keyboard: None }).expect("edited");
        assert!(chats.press(press(1, "yes", false)).is_none());
        let (_, content) = chats.press(press(1, "yes", true)).expect("a late press");
        assert_eq!(content["message"]["message_id"], json!(id));
        assert!(content["message"].get("reply_markup").is_none(), "as the message is now");
    }
}
