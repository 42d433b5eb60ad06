//! A bot's chats: people, messages of both sides, presses of buttons and what was answered to them.
//!
//! Changed by the Bot API and by the chat page; everything is in memory. What must never happen: a message changes its
//! chat, or a button's press is answered twice.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Refusal;
use super::commands::commands;
use super::keyboard::Keyboard;

/// Characters.
pub const LONGEST_TEXT: usize = 4_096;

/// Characters of the text shown to whoever pressed a button.
const LONGEST_ANSWER: usize = 200;

/// How long a press may be answered. The real Telegram is stricter, by how much its documents do not say.
const PRESS_LIFE: Duration = Duration::from_secs(60);

/// What messages are numbered from, in seconds since 1970.
const FIRST_MESSAGE: i64 = 1_790_000_000;

/// A person or a bot.
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

/// A private chat, called like its person, or a group.
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

/// What a message of a bot becomes.
pub struct Edit {
    /// Absent, it stays.
    pub text: Option<String>,
    /// Absent, there are no buttons any more.
    pub keyboard: Option<Keyboard>,
}

/// Which button somebody presses.
pub struct Press {
    pub from: User,
    pub data: String,
    /// Absent, the newest message with such a button: of the person's own chat or, when there is none, of any.
    pub message_id: Option<i64>,
    /// The button may be one that the message had once.
    pub former: bool,
    /// It is too late to answer.
    pub expired: bool,
}

/// A call of answerCallbackQuery.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    pub callback_query_id: String,
    pub from: User,
    pub text: Option<String>,
    pub show_alert: bool,
    /// Of the message with the button.
    #[serde(skip)]
    pub chat: i64,
}

struct Kept {
    message: Message,
    /// The data of all buttons it has or had.
    data: HashSet<String>,
}

struct Query {
    id: String,
    from: User,
    chat: i64,
    /// Absent, it is too late to answer.
    until: Option<Instant>,
}

/// All that a bot and people have said to each other.
#[derive(Default)]
pub struct Chats {
    known: BTreeMap<i64, Chat>,
    messages: Vec<Kept>,
    queries: Vec<Query>,
    answers: Vec<Answered>,
    last_message: i64,
}

impl Chat {
    pub fn private(with: &User) -> Chat {
        let User { id, first_name, last_name, username, .. } = with.clone();
        Chat { id, first_name: Some(first_name), last_name, username, kind: "private", ..Chat::default() }
    }
}

impl Chats {
    /// Somebody types a text; the bot may write to this chat from now on.
    pub fn write(&mut self, from: User, chat: Chat, text: String) -> Message {
        self.known.insert(chat.id, chat.clone());
        let entities = commands(&text);
        self.keep(from, chat, text, entities, None)
    }

    /// The bot sends a message.
    ///
    /// # Errors
    /// In a chat where nobody has written, with no text or too much.
    pub fn send(
        &mut self,
        bot: &User,
        chat: Option<i64>,
        text: &str,
        keyboard: Option<Keyboard>,
    ) -> Result<Message, Refusal> {
        let text = checked(text)?;
        let chat = self.known.get(&chat.unwrap_or_default()).ok_or(Refusal::bad_request("chat not found"))?;
        Ok(self.keep(bot.clone(), chat.clone(), text, Vec::new(), keyboard))
    }

    /// The bot edits one of its messages.
    ///
    /// # Errors
    /// When there is no such message, it is not the bot's, or nothing would change.
    pub fn edit(&mut self, chat: Option<i64>, message_id: Option<i64>, edit: Edit) -> Result<Message, Refusal> {
        let text = edit.text.map(|text| checked(&text)).transpose()?;
        let chat = self.known.get(&chat.unwrap_or_default()).ok_or(Refusal::bad_request("chat not found"))?.id;
        let mut kept = self.messages.iter_mut();
        let kept = kept.find(|kept| Some(kept.message.message_id) == message_id && kept.message.chat.id == chat);
        let kept = kept.ok_or(Refusal::bad_request("message to edit not found"))?;
        if !kept.message.from.is_bot {
            return Err(Refusal::bad_request("message can't be edited"));
        }
        let text = text.unwrap_or_else(|| kept.message.text.clone());
        if text == kept.message.text && edit.keyboard == kept.message.reply_markup {
            return Err(Refusal::bad_request(
                "message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message",
            ));
        }
        kept.data.extend(edit.keyboard.iter().flat_map(Keyboard::data).map(str::to_owned));
        kept.message.text = text;
        kept.message.reply_markup = edit.keyboard;
        kept.message.edit_date = Some(super::now());
        Ok(kept.message.clone())
    }

    /// Somebody presses a button of the bot: the callback query's id and all of it, or none when there is no such
    /// button.
    pub fn press(&mut self, press: Press) -> Option<(String, Value)> {
        let Press { from, data, message_id, former, expired } = press;
        let asked_for = |kept: &&Kept| message_id.is_none_or(|id| kept.message.message_id == id);
        let has = |kept: &&Kept| kept.message.reply_markup.iter().flat_map(Keyboard::data).any(|has| has == data);
        let had = |kept: &&Kept| former && kept.data.contains(&data);
        let own = |kept: &&Kept| kept.message.chat.id == from.id;
        let newest = || self.messages.iter().rev().filter(asked_for);
        let found = newest().filter(own).find(has).or_else(|| newest().find(has));
        let found = found.or_else(|| newest().filter(own).find(had)).or_else(|| newest().find(had))?;
        let id = random().to_string();
        let chat = found.message.chat.id;
        let instance = chat.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let query = json!({
            "id": id, "from": from, "message": found.message, "chat_instance": instance.to_string(), "data": data,
        });
        let until = (!expired).then(|| Instant::now() + PRESS_LIFE);
        self.queries.push(Query { id: id.clone(), from, chat, until });
        Some((id, query))
    }

    /// The bot answers a press.
    ///
    /// # Errors
    /// When there is none of this id, it was answered, or it is too late; when the text is too long.
    pub fn answer(&mut self, id: &str, text: Option<String>, show_alert: bool) -> Result<Answered, Refusal> {
        if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_ANSWER) {
            return Err(Refusal::bad_request("MESSAGE_TOO_LONG"));
        }
        let late = "query is too old and response timeout expired or query ID is invalid";
        let query = self.queries.iter_mut().find(|query| query.id == id).ok_or(Refusal::bad_request(late))?;
        if query.until.take().is_none_or(|until| Instant::now() > until) {
            return Err(Refusal::bad_request(late));
        }
        let text = text.filter(|text| !text.is_empty());
        let from = query.from.clone();
        let answered = Answered { callback_query_id: query.id.clone(), from, text, show_alert, chat: query.chat };
        self.answers.push(answered.clone());
        Ok(answered)
    }

    /// All messages of a chat, or of all chats, oldest first.
    pub fn messages(&self, chat: Option<i64>) -> impl Iterator<Item = &Message> {
        let messages = self.messages.iter().map(|kept| &kept.message);
        messages.filter(move |message| chat.is_none_or(|chat| message.chat.id == chat))
    }

    /// What the bot answered to presses in a chat or by its person, oldest first.
    pub fn answers(&self, chat: Option<i64>) -> impl Iterator<Item = &Answered> {
        self.answers.iter().filter(move |answer| chat.is_none_or(|chat| [answer.chat, answer.from.id].contains(&chat)))
    }

    fn keep(
        &mut self,
        from: User,
        chat: Chat,
        text: String,
        entities: Vec<Value>,
        reply_markup: Option<Keyboard>,
    ) -> Message {
        // Grows from start to start of the program too: a bot may remember a message of the last one.
        self.last_message = (self.last_message + 1).max(super::now() - FIRST_MESSAGE);
        let message_id = self.last_message;
        let message =
            Message { message_id, from, chat, date: super::now(), edit_date: None, text, entities, reply_markup };
        let data = message.reply_markup.iter().flat_map(Keyboard::data).map(str::to_owned).collect();
        self.messages.push(Kept { message: message.clone(), data });
        message
    }
}

/// # Errors
/// When the text is empty or too long.
pub fn checked(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Refusal::bad_request("message text is empty")),
        1..=LONGEST_TEXT => Ok(text.to_owned()),
        _ => Err(Refusal::bad_request("message is too long")),
    }
}

/// A positive number that nobody can guess.
fn random() -> u64 {
    getrandom::u64().expect("the operating system has randomness") >> 1
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
        Keyboard::read(Some(&markup.to_string())).expect("fine")
    }

    fn press(from: i64, data: &str, former: bool) -> Press {
        Press { from: user(from), data: data.to_owned(), message_id: None, former, expired: false }
    }

    /// The chats of two people who have written, and the bot's message with a button `yes` to the first.
    fn asked() -> (Chats, i64) {
        let mut chats = Chats::default();
        for id in [1, 2] {
            chats.write(user(id), Chat::private(&user(id)), "/start".to_owned());
        }
        let message = chats.send(&user(BOT), Some(1), "Sure?", keyboard("yes")).expect("sent");
        (chats, message.message_id)
    }

    fn why<T>(done: Result<T, Refusal>) -> String {
        done.err().expect("refused").description
    }

    #[test]
    fn a_bot_writes_only_where_somebody_wrote_and_only_what_fits() {
        let (mut chats, _) = asked();
        let mut send = |chat, text: &str| chats.send(&user(BOT), chat, text, None);
        assert_eq!(why(send(Some(3), "x")), "Bad Request: chat not found");
        assert_eq!(why(send(None, "x")), "Bad Request: chat not found");
        assert_eq!(why(send(Some(1), " \n")), "Bad Request: message text is empty");
        assert_eq!(why(send(Some(1), &"ж".repeat(4_097))), "Bad Request: message is too long");
        assert!(send(Some(1), &"ж".repeat(4_096)).is_ok());
    }

    #[test]
    fn an_edit_changes_something_of_the_bots_own() {
        let (mut chats, id) = asked();
        let edit = |text: &str, keyboard| Edit { text: Some(text.to_owned()), keyboard };
        assert!(why(chats.edit(Some(1), Some(id), edit("Sure?", keyboard("yes")))).contains("message is not modified"));
        assert!(why(chats.edit(Some(2), Some(id), edit("x", None))).contains("message to edit not found"));
        let theirs = chats.messages(Some(1)).next().expect("one").message_id;
        assert!(why(chats.edit(Some(1), Some(theirs), edit("x", None))).contains("message can't be edited"));
        let edited = chats.edit(Some(1), Some(id), edit("Done", None)).expect("edited");
        assert_eq!((edited.text.as_str(), edited.reply_markup), ("Done", None));
        assert!(edited.edit_date.is_some());
    }

    #[test]
    fn a_press_needs_a_button_and_is_answered_once() {
        let (mut chats, id) = asked();
        assert!(chats.press(press(1, "no", true)).is_none());
        let (query, content) = chats.press(press(1, "yes", false)).expect("pressed");
        assert_eq!((&content["message"]["message_id"], &content["from"]["id"]), (&json!(id), &json!(1)));
        assert!(chats.answer(&query, Some("ж".repeat(201)), false).is_err());
        assert!(chats.answer(&query, Some("Well".to_owned()), true).is_ok());
        for id in [query.as_str(), "1", ""] {
            assert!(why(chats.answer(id, None, false)).contains("query is too old"));
        }
        assert_eq!(chats.answers(Some(1)).count(), 1);
        let (query, _) = chats.press(Press { expired: true, ..press(1, "yes", false) }).expect("pressed");
        assert!(why(chats.answer(&query, None, false)).contains("query is too old"));
    }

    #[test]
    fn somebody_elses_button_and_a_former_one_can_be_pressed() {
        let (mut chats, id) = asked();
        let (_, content) = chats.press(press(2, "yes", false)).expect("a forwarded button");
        assert_eq!((&content["message"]["chat"]["id"], &content["from"]["id"]), (&json!(1), &json!(2)));
        chats.edit(Some(1), Some(id), Edit { text: None, keyboard: None }).expect("edited");
        assert!(chats.press(press(1, "yes", false)).is_none());
        let (_, content) = chats.press(press(1, "yes", true)).expect("a late press");
        assert_eq!(content["message"]["message_id"], json!(id));
        assert!(content["message"].get("reply_markup").is_none(), "as the message is now");
    }
}
