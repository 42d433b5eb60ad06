//! A client of the Bot API, for the six methods that the bot needs (core.telegram.org/bots/api).
//!
//! # Invariants
//!
//! The token never appears in an error or a log line. Every URL contains it, so no error contains a URL.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::TelegramConfig;
use crate::foundation::secret::Secret;
use crate::platform::http_client::{HttpClient, HttpError, HttpRequest};

/// Added to the long-polling timeout for the network.
const POLL_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum BotApiError {
    /// Telegram rejected the call.
    Rejected { code: i64, description: String, retry_after_s: Option<u64> },
    /// No response, or one that is not the Bot API's.
    NoResponse(String),
}

impl BotApiError {
    /// Whether a retry may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            BotApiError::Rejected { code, .. } => *code == 429 || *code >= 500,
            BotApiError::NoResponse(_) => true,
        }
    }
}

impl fmt::Display for BotApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BotApiError::Rejected { code, description, .. } => write!(f, "Telegram responded {code}: {description}"),
            BotApiError::NoResponse(reason) => write!(f, "no response from Telegram: {reason}"),
        }
    }
}

/// The Bot API as one bot.
pub struct BotApi {
    http: HttpClient,
    /// `https://api.telegram.org/bot123:ABC`
    base_url: Secret,
    timeout: Duration,
    poll_timeout: Duration,
}

/// `User`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct TelegramUser {
    pub id: i64,
    #[serde(default)]
    pub first_name: String,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub language_code: Option<String>,
}

/// `Chat`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Chat {
    pub id: i64,
    /// `private`, `group`, `supergroup` or `channel`
    pub r#type: String,
}

/// `Message`, with the members that the bot uses.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Message {
    pub message_id: i64,
    /// Absent in channels.
    pub from: Option<TelegramUser>,
    pub chat: Chat,
    /// Absent for photos and service messages.
    pub text: Option<String>,
}

/// `CallbackQuery`: a user pressed a button.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct CallbackQuery {
    pub id: String,
    pub from: TelegramUser,
    /// Absent for very old messages.
    pub message: Option<Message>,
    pub data: Option<String>,
}

/// `Update`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Update {
    pub message: Option<Message>,
    pub callback_query: Option<CallbackQuery>,
}

impl Update {
    /// The chat that the update belongs to; for a button of a very old message the chat of the user who pressed it.
    pub(super) fn chat_id(&self) -> Option<i64> {
        let message = self.message.as_ref().or_else(|| self.callback_query.as_ref()?.message.as_ref());
        message.map(|message| message.chat.id).or_else(|| self.user_id())
    }

    /// The user who wrote or pressed a button; `None` in channels.
    pub(super) fn user_id(&self) -> Option<i64> {
        let author = self.message.as_ref().and_then(|message| message.from.as_ref());
        author.or(self.callback_query.as_ref().map(|query| &query.from)).map(|user| user.id)
    }
}

/// `InlineKeyboardButton`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InlineButton {
    /// Sends `data`, 1 to 64 bytes, to the bot.
    Data { text: String, data: String },
    /// Opens a URL.
    Url { text: String, url: String },
}

impl InlineButton {
    fn to_json(&self) -> Value {
        match self {
            InlineButton::Data { text, data } => json!({ "text": text, "callback_data": data }),
            InlineButton::Url { text, url } => json!({ "text": text, "url": url }),
        }
    }
}

impl BotApi {
    /// # Errors
    /// A message when the proxy is not a URL.
    pub fn new(config: &TelegramConfig) -> Result<BotApi, String> {
        Ok(BotApi {
            http: HttpClient::new(config.proxy.as_deref(), None, config.timeout)?,
            base_url: Secret::new("telegram-bot-url", format!("{}/bot{}", config.api_url, config.token.reveal())),
            timeout: config.timeout,
            poll_timeout: config.poll_timeout,
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
        let request = HttpRequest::post(format!("{}/{method}", self.base_url.reveal())).json(&body);
        let response = self.http.send(request, timeout).await;
        let response = response.map_err(|error: HttpError| BotApiError::NoResponse(error.to_string()))?;
        let invalid = || BotApiError::NoResponse(format!("status {} with an invalid body", response.status));
        let envelope: Envelope<T> = serde_json::from_slice(&response.body).map_err(|_| invalid())?;
        match envelope {
            Envelope { ok: true, result: Some(result), .. } => Ok(result),
            Envelope { ok: false, error_code, description, parameters, .. } => Err(BotApiError::Rejected {
                code: error_code.unwrap_or(i64::from(response.status)),
                description,
                retry_after_s: parameters.and_then(|parameters| parameters.retry_after),
            }),
            _ => Err(invalid()),
        }
    }

    /// `getMe`: the username of the token's bot.
    pub async fn bot_username(&self) -> Result<String, BotApiError> {
        let me: TelegramUser = self.call("getMe", json!({}), self.timeout).await?;
        Ok(me.username.unwrap_or_default())
    }

    /// Switches to long polling; pending updates stay queued.
    pub async fn delete_webhook(&self) -> Result<bool, BotApiError> {
        self.call("deleteWebhook", json!({ "drop_pending_updates": false }), self.timeout).await
    }

    /// Long-polls for updates from `offset` on, which confirms all earlier ones. Updates are returned unparsed, so that an
    /// invalid one does not hide the others.
    pub async fn get_updates(&self, offset: Option<i64>) -> Result<Vec<Value>, BotApiError> {
        let mut body =
            json!({ "timeout": self.poll_timeout.as_secs(), "allowed_updates": ["message", "callback_query"] });
        if let Some(offset) = offset {
            body["offset"] = offset.into();
        }
        self.call("getUpdates", body, self.poll_timeout + POLL_MARGIN).await
    }

    /// Sends plain text of at most 4,096 characters.
    pub async fn send_message(
        &self,
        chat_id: i64,
        text: &str,
        buttons: &[Vec<InlineButton>],
    ) -> Result<(), BotApiError> {
        let body = json!({
            "chat_id": chat_id,
            "text": text,
            "reply_markup": inline_keyboard(buttons),
            "link_preview_options": { "is_disabled": true },
        });
        self.call::<Value>("sendMessage", body, self.timeout).await.map(drop)
    }

    /// Replaces the text and the buttons of a message.
    pub async fn edit_message_text(
        &self,
        chat_id: i64,
        message_id: i64,
        text: &str,
        buttons: &[Vec<InlineButton>],
    ) -> Result<(), BotApiError> {
        let body = json!({
            "chat_id": chat_id,
            "message_id": message_id,
            "text": text,
            "reply_markup": inline_keyboard(buttons),
            "link_preview_options": { "is_disabled": true },
        });
        self.call::<Value>("editMessageText", body, self.timeout).await.map(drop)
    }

    /// Acknowledges a pressed button and shows a text of at most 200 characters.
    pub async fn answer_callback_query(&self, query_id: &str, text: &str) -> Result<(), BotApiError> {
        let body = json!({ "callback_query_id": query_id, "text": text });
        self.call::<Value>("answerCallbackQuery", body, self.timeout).await.map(drop)
    }
}

fn inline_keyboard(buttons: &[Vec<InlineButton>]) -> Value {
    let rows: Vec<Vec<Value>> = buttons.iter().map(|row| row.iter().map(InlineButton::to_json).collect()).collect();
    json!({ "inline_keyboard": rows })
}
