//! The brand's bot: what it replies to messages and pressed buttons.
//!
//! # Invariants
//!
//! - START alone logs no browser in.
//! - A button works only for the user whose attempt it belongs to.
//! - No login takes place in a group, where others could read along.

mod api;
mod chats;
mod retry;
mod store;
pub(crate) mod worker;

use jiff::tz::TimeZone;

use crate::auth::{self, Attempt, AttemptOutcome, LoginIdentity, LoginPurpose, SignedData};
use crate::config::{BrandConfig, TelegramConfig};
use crate::foundation::clock::local_time;
use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::foundation::texts::{BotTexts, Texts, fill};
use crate::tenant::brand::Brand;

pub use api::{BotApi, BotApiError};
use api::{CallbackQuery, InlineButton, Message, TelegramUser, Update};

/// The maximum length of the text that acknowledges a pressed button.
const MAX_CALLBACK_TEXT_CHARS: usize = 200;

/// Checks that the token is the configured bot's. `None` for a brand without a bot.
pub async fn health_check(config: &BrandConfig) -> Option<Result<String, String>> {
    let telegram = config.telegram.as_ref()?;
    let username = match BotApi::new(telegram) {
        Ok(api) => api.bot_username().await,
        Err(message) => return Some(Err(message)),
    };
    Some(match username {
        Ok(username) if username.eq_ignore_ascii_case(&telegram.bot) => Ok(format!("the token is @{username}'s")),
        Ok(username) => {
            Err(format!("the token is @{username}'s, but [telegram] bot says {}: correct one of the two", telegram.bot))
        }
        Err(BotApiError::Rejected { code: 401 | 404, .. }) => {
            Err("Telegram does not know the token: get it from @BotFather and replace the credential".to_owned())
        }
        Err(error) => Err(format!("{error} ({})", telegram.api_url)),
    })
}

/// A call of the Bot API that an update leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum BotAction {
    SendMessage { chat_id: i64, text: String, buttons: Vec<Vec<InlineButton>> },
    EditMessage { chat_id: i64, message_id: i64, text: String, buttons: Vec<Vec<InlineButton>> },
    AnswerCallbackQuery { query_id: String, text: String },
}

/// Handles an update and returns the calls to make, in this order. Idempotent.
///
/// # Errors
/// 503 when Redis is unavailable: the update has to be handled again.
async fn handle_update(brand: &Brand, update: Update) -> Result<Vec<BotAction>> {
    if let Some(query) = update.callback_query {
        return handle_callback_query(brand, query).await;
    }
    match update.message {
        Some(Message { from: Some(user), chat, text: Some(text), .. }) => {
            let message = TextMessage {
                texts: texts_for(&user),
                timezone: &brand.config.timezone,
                shop: &brand.config.title,
                user,
                chat_id: chat.id,
                is_private: chat.r#type == "private",
                text,
            };
            message.handle(brand).await
        }
        // Photos, joins, pins.
        _ => Ok(Vec::new()),
    }
}

fn texts_for(user: &TelegramUser) -> &'static BotTexts {
    &Texts::of(Language::preferred(user.language_code.as_deref().unwrap_or_default())).bot
}

struct TextMessage<'b> {
    texts: &'static BotTexts,
    timezone: &'b TimeZone,
    /// The brand's title.
    shop: &'b str,
    user: TelegramUser,
    chat_id: i64,
    is_private: bool,
    text: String,
}

impl TextMessage<'_> {
    async fn handle(self, brand: &Brand) -> Result<Vec<BotAction>> {
        let telegram = auth::telegram_config(brand)?;
        let Some(argument) = start_argument(&self.text, &telegram.bot) else {
            // In a group, other messages are not addressed to the bot.
            return Ok(if self.is_private { vec![self.reply(self.texts.help, vec![])] } else { Vec::new() });
        };
        if !self.is_private {
            let url = format!("{}/{}", telegram.link_url, telegram.bot);
            let open_bot = url_button(self.texts.open_bot, self.shop, url);
            return Ok(vec![self.reply(self.texts.private_chat_only, vec![vec![open_bot]])]);
        }
        match argument.strip_prefix("auth_") {
            Some(token) if is_attempt_token(token) => self.confirm_attempt(brand, token).await,
            _ => Ok(vec![self.login_link(brand, telegram)]),
        }
    }

    fn reply(&self, template: &str, buttons: Vec<Vec<InlineButton>>) -> BotAction {
        let text = fill(template, &[("shop", self.shop)]);
        BotAction::SendMessage { chat_id: self.chat_id, text, buttons }
    }

    /// `/start` without an attempt, also when a client dropped the parameter: a link for the user's own browser.
    fn login_link(&self, brand: &Brand, telegram: &TelegramConfig) -> BotAction {
        let data = SignedData::sign(&identity(&self.user), LoginPurpose::Link, brand.clock.now(), &telegram.token);
        let url = auth::callback_url(&brand.config.public_url, &data);
        self.reply(self.texts.welcome, vec![vec![url_button(self.texts.log_in, self.shop, url)]])
    }

    /// `/start auth_TOKEN`: shows the attempt and the numbers to choose from.
    async fn confirm_attempt(&self, brand: &Brand, token: &str) -> Result<Vec<BotAction>> {
        let text = match auth::bind_attempt(brand, token, self.user.id).await? {
            Some((AttemptOutcome::AwaitingCode, Some(attempt))) => return Ok(vec![self.code_choices(&attempt)]),
            Some((AttemptOutcome::Approved, _)) => self.texts.approved,
            Some((AttemptOutcome::OtherUser, _)) => self.texts.other_user,
            Some(_) => self.texts.already_denied,
            None => self.texts.expired,
        };
        Ok(vec![self.reply(text, vec![])])
    }

    fn code_choices(&self, attempt: &Attempt) -> BotAction {
        let browser = if attempt.browser.is_empty() { self.texts.unknown_browser } else { &attempt.browser };
        let time = local_time(attempt.created_at, self.timezone);
        let text = fill(
            self.texts.confirm_login,
            &[("shop", self.shop), ("browser", browser), ("address", &attempt.address), ("time", &time)],
        );
        let choice = |code: &String| InlineButton::Data {
            text: code.clone(),
            data: CallbackData { token: &attempt.token, code: Some(code) }.to_string(),
        };
        let decline = InlineButton::Data {
            text: self.texts.decline.to_owned(),
            data: CallbackData { token: &attempt.token, code: None }.to_string(),
        };
        let buttons = vec![attempt.choices.iter().map(choice).collect(), vec![decline]];
        BotAction::SendMessage { chat_id: self.chat_id, text, buttons }
    }
}

/// The data of a button: `y:TOKEN:CODE` for a number, `n:TOKEN` for No.
struct CallbackData<'d> {
    token: &'d str,
    code: Option<&'d str>,
}

impl<'d> CallbackData<'d> {
    fn parse(data: &'d str) -> Option<CallbackData<'d>> {
        let (token, code) = match data.split(':').collect::<Vec<_>>()[..] {
            ["y", token, code] if !code.is_empty() => (token, Some(code)),
            ["n", token] => (token, None),
            _ => return None,
        };
        is_attempt_token(token).then_some(CallbackData { token, code })
    }
}

impl std::fmt::Display for CallbackData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "y:{}:{code}", self.token),
            None => write!(f, "n:{}", self.token),
        }
    }
}

/// Handles a pressed button; the message may be old, and the user another one than it was sent to.
async fn handle_callback_query(brand: &Brand, query: CallbackQuery) -> Result<Vec<BotAction>> {
    let (texts, shop) = (texts_for(&query.from), &brand.config.title);
    let Some(CallbackData { token, code }) = CallbackData::parse(query.data.as_deref().unwrap_or_default()) else {
        return Ok(vec![acknowledge(&query, texts.expired)]);
    };
    let mut outcome = auth::submit_code(brand, token, query.from.id, code).await?;
    if outcome == AttemptOutcome::CodeMatched {
        outcome = approve(brand, token, &query.from).await?;
    }
    let template = match outcome {
        AttemptOutcome::Approved => texts.approved,
        AttemptOutcome::CodeMismatched => texts.wrong_code,
        AttemptOutcome::Declined => texts.declined,
        AttemptOutcome::Expired => texts.expired,
        // The message stays as it is for its own user.
        AttemptOutcome::OtherUser => return Ok(vec![acknowledge(&query, texts.button_of_other_user)]),
        AttemptOutcome::AlreadyDenied | AttemptOutcome::AwaitingCode | AttemptOutcome::CodeMatched => {
            texts.already_denied
        }
    };
    let text = fill(template, &[("shop", shop)]);
    let mut actions = vec![acknowledge(&query, &text)];
    if let Some(message) = &query.message {
        let back = url_button(texts.back_to_shop, shop, brand.config.storefront_url.clone());
        let buttons = if outcome == AttemptOutcome::Approved { vec![vec![back]] } else { Vec::new() };
        actions.push(BotAction::EditMessage {
            chat_id: message.chat.id,
            message_id: message.message_id,
            text,
            buttons,
        });
    }
    Ok(actions)
}

/// Signs login data for the user and approves the attempt with it, as a call of the documented callback would.
async fn approve(brand: &Brand, token: &str, user: &TelegramUser) -> Result<AttemptOutcome> {
    let telegram = auth::telegram_config(brand)?;
    let data = SignedData::sign(&identity(user), LoginPurpose::Attempt(token), brand.clock.now(), &telegram.token);
    match auth::approve(brand, &data).await {
        Ok(_) => Ok(AttemptOutcome::Approved),
        Err(error) if error.code == "attempt_gone" => Ok(AttemptOutcome::Expired),
        // A concurrent press came first.
        Err(error) if error.code.starts_with("attempt_") => Ok(AttemptOutcome::AlreadyDenied),
        Err(error) => Err(error),
    }
}

fn acknowledge(query: &CallbackQuery, text: &str) -> BotAction {
    let text = text.chars().take(MAX_CALLBACK_TEXT_CHARS).collect();
    BotAction::AnswerCallbackQuery { query_id: query.id.clone(), text }
}

fn url_button(template: &str, shop: &str, url: String) -> InlineButton {
    InlineButton::Url { text: fill(template, &[("shop", shop)]), url }
}

fn identity(user: &TelegramUser) -> LoginIdentity<'_> {
    LoginIdentity {
        id: user.id,
        first_name: &user.first_name,
        last_name: user.last_name.as_deref(),
        username: user.username.as_deref(),
    }
}

/// The text after `/start` or `/start@BOT`; `None` for any other message.
fn start_argument<'t>(text: &'t str, bot: &str) -> Option<&'t str> {
    let (command, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (name, addressee) = command.split_once('@').unwrap_or((command, bot));
    (name == "/start" && addressee.eq_ignore_ascii_case(bot)).then(|| argument.trim())
}

/// Whether a text has the format of an attempt's token.
fn is_attempt_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_parsed_with_and_without_the_bots_name() {
        for (text, argument) in [
            ("/start", Some("")),
            ("/start auth_x", Some("auth_x")),
            ("/start@Shop_Bot  auth_x ", Some("auth_x")),
            ("/start@other_bot auth_x", None),
            ("/started", None),
            ("hello /start", None),
        ] {
            assert_eq!(start_argument(text, "shop_bot"), argument, "{text}");
        }
    }

    #[test]
    fn callback_data_fits_the_64_bytes_of_telegram_and_is_parsed_back() {
        let token = "a".repeat(32);
        for code in [Some("99"), None] {
            let data = CallbackData { token: &token, code }.to_string();
            let parsed = CallbackData::parse(&data).expect("well-formed");
            assert!(data.len() <= 64 && parsed.token == token && parsed.code == code, "{data}");
        }
        for data in ["", "y", "n:short", &format!("y:{token}:"), &format!("n:{token}:42"), &format!("x:{token}")] {
            assert!(CallbackData::parse(data).is_none(), "{data}");
        }
    }
}
