//! The Bot API, the six methods that the bot needs (core.telegram.org/bots/api).
//!
//! Used by `telegram`. What must never happen: the token in an error or a log line. It stands in every URL, so no error here
//! names one.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::TelegramConfig;
use crate::foundation::secret::Secret;
use crate::platform::http_client::{HttpClient, HttpError, HttpRequest};

/// How much longer than Telegram's own deadline an answer may take on its way.
const POLL_MARGIN: Duration = Duration::from_secs(10);

/// Why a call did not do what it should.
#[derive(Debug)]
pub enum BotApiError {
    /// Telegram said no; 429 says for how long.
    Refused { code: i64, description: String, retry_after_s: Option<u64> },
    /// Nothing, or nothing that can be understood, came back.
    HttpError(String),
}

impl BotApiError {
    /// Whether the same call may succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            BotApiError::Refused { code, .. } => *code == 429 || *code >= 500,
            BotApiError::HttpError(_) => true,
        }
    }
}

impl fmt::Display for BotApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BotApiError::Refused { code, description, .. } => write!(f, "Telegram answered {code}: {description}"),
            BotApiError::HttpError(why) => write!(f, "Telegram did not answer: {why}"),
        }
    }
}

/// A bot's way to Telegram.
pub struct Api {
    outgoing: HttpClient,
    /// `https://api.telegram.org/bot123:ABC`
    base: Secret,
    timeout: Duration,
    poll: Duration,
}

/// A person (`User`).
#[derive(Debug, Clone, Deserialize)]
pub struct Person {
    pub id: i64,
    #[serde(default)]
    pub first_name: String,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub language_code: Option<String>,
}

/// A chat (`Chat`).
#[derive(Debug, Clone, Deserialize)]
pub struct Chat {
    pub id: i64,
    /// `private`, `group`, `supergroup` or `channel`
    pub r#type: String,
}

/// A message (`Message`), as far as the bot looks at it.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    pub message_id: i64,
    /// Absent in channels.
    pub from: Option<Person>,
    pub chat: Chat,
    /// Absent for pictures and the like.
    pub text: Option<String>,
}

/// A press of a button (`CallbackQuery`).
#[derive(Debug, Clone, Deserialize)]
pub struct Press {
    pub id: String,
    pub from: Person,
    /// Absent for very old messages.
    pub message: Option<Message>,
    pub data: Option<String>,
}

/// A piece of news (`Update`).
#[derive(Debug, Clone, Deserialize)]
pub struct Update {
    pub message: Option<Message>,
    pub callback_query: Option<Press>,
}

/// A button under a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Button {
    /// Sends 1-64 bytes back to the bot.
    Data { text: String, data: String },
    /// Opens a page.
    Url { text: String, url: String },
}

impl Button {
    fn json(&self) -> Value {
        match self {
            Button::Data { text, data } => json!({ "text": text, "callback_data": data }),
            Button::Url { text, url } => json!({ "text": text, "url": url }),
        }
    }
}

impl Api {
    /// # Errors
    /// A sentence: a proxy that is no URL.
    pub fn new(config: &TelegramConfig) -> Result<Api, String> {
        Ok(Api {
            outgoing: HttpClient::new(config.proxy.as_deref(), None, config.timeout)?,
            base: Secret::new("telegram-bot-url", format!("{}/bot{}", config.api_url, config.token.reveal())),
            timeout: config.timeout,
            poll: config.poll_timeout,
        })
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, body: Value, timeout: Duration) -> Result<T, BotApiError> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            ok: bool,
            result: Option<T>,
            error_code: Option<i64>,
            #[serde(default)]
            description: String,
            parameters: Option<Parameters>,
        }
        #[derive(Deserialize)]
        struct Parameters {
            retry_after: Option<u64>,
        }
        let asking = HttpRequest::post(format!("{}/{method}", self.base.reveal())).json(&body);
        let answered = self.outgoing.send(asking, timeout).await;
        let answered = answered.map_err(|why: HttpError| BotApiError::HttpError(why.to_string()))?;
        let nonsense =
            || BotApiError::HttpError(format!("status {} with a body that is not the Bot API's", answered.status));
        let envelope: Envelope<T> = serde_json::from_slice(&answered.body).map_err(|_| nonsense())?;
        match envelope {
            Envelope { ok: true, result: Some(result), .. } => Ok(result),
            Envelope { ok: false, error_code, description, parameters, .. } => Err(BotApiError::Refused {
                code: error_code.unwrap_or(i64::from(answered.status)),
                description,
                retry_after_s: parameters.and_then(|parameters| parameters.retry_after),
            }),
            _ => Err(nonsense()),
        }
    }

    /// The username of the bot whose token this is.
    pub async fn username(&self) -> Result<String, BotApiError> {
        let me: Person = self.call("getMe", json!({}), self.timeout).await?;
        Ok(me.username.unwrap_or_default())
    }

    /// Makes Telegram keep news for `updates` instead of sending it somewhere.
    pub async fn delete_webhook(&self) -> Result<bool, BotApiError> {
        self.call("deleteWebhook", json!({ "drop_pending_updates": false }), self.timeout).await
    }

    /// News from `offset` on, which confirms everything before; hangs for a while when there is none. Each piece comes as it
    /// is, so that one that cannot be read does not hide the others.
    pub async fn updates(&self, offset: Option<i64>) -> Result<Vec<Value>, BotApiError> {
        let mut body = json!({ "timeout": self.poll.as_secs(), "allowed_updates": ["message", "callback_query"] });
        if let Some(offset) = offset {
            body["offset"] = offset.into();
        }
        self.call("getUpdates", body, self.poll + POLL_MARGIN).await
    }

    /// Sends a text without formatting, at most 4,096 characters.
    pub async fn send(&self, chat_id: i64, text: &str, buttons: &[Vec<Button>]) -> Result<(), BotApiError> {
        let body = json!({
            "chat_id": chat_id,
            "text": text,
            "reply_markup": keyboard(buttons),
            "link_preview_options": { "is_disabled": true },
        });
        self.call::<Value>("sendMessage", body, self.timeout).await.map(drop)
    }

    /// Puts another text, and these buttons, in the place of a message's.
    pub async fn edit(
        &self,
        chat_id: i64,
        message_id: i64,
        text: &str,
        buttons: &[Vec<Button>],
    ) -> Result<(), BotApiError> {
        let body = json!({
            "chat_id": chat_id,
            "message_id": message_id,
            "text": text,
            "reply_markup": keyboard(buttons),
            "link_preview_options": { "is_disabled": true },
        });
        self.call::<Value>("editMessageText", body, self.timeout).await.map(drop)
    }

    /// Ends the waiting of a pressed button, with a note of at most 200 characters.
    pub async fn answer_press(&self, press_id: &str, note: &str) -> Result<(), BotApiError> {
        let body = json!({ "callback_query_id": press_id, "text": note });
        self.call::<Value>("answerCallbackQuery", body, self.timeout).await.map(drop)
    }
}

fn keyboard(buttons: &[Vec<Button>]) -> Value {
    let rows: Vec<Vec<Value>> = buttons.iter().map(|row| row.iter().map(Button::json).collect()).collect();
    json!({ "inline_keyboard": rows })
}
