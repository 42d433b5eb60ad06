//! The brand's bot: what it answers to whom.
//!
//! Called by `telegram::worker` for one update after another. It decides nothing about logins itself: `auth` does. What must
//! never happen: START alone logs anybody in, a button works for another person than the one who was asked, or a login goes on
//! in a group where others read along.

mod api;
mod store;
mod texts;
pub mod worker;

use crate::auth::{self, Attempt, Decision, SignedData, Signer};
use crate::config::{BrandConfig, TelegramConfig};
use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::tenant::brand::Brand;

pub use api::{Api, BotApiError};
use api::{Button, Message, Person, Press, Update};
use texts::BotTexts;

/// Asks Telegram whose token it is; says how that went. `None`: no bot is configured.
pub async fn greet(config: &BrandConfig) -> Option<Result<String, String>> {
    let telegram = config.telegram.as_ref()?;
    let asked = match Api::new(telegram) {
        Ok(api) => api.username().await,
        Err(sentence) => return Some(Err(sentence)),
    };
    Some(match asked {
        Ok(username) if username.eq_ignore_ascii_case(&telegram.bot) => Ok(format!("the token is @{username}'s")),
        Ok(username) => Err(format!(
            "the token is @{username}'s, but [telegram] bot says {}: mend the one that is wrong",
            telegram.bot
        )),
        Err(BotApiError::Refused { code: 401 | 404, .. }) => {
            Err("Telegram does not know the token: ask @BotFather for it, and replace the credential".to_owned())
        }
        Err(failure) => Err(format!("{failure} ({})", telegram.api_url)),
    })
}

/// What the bot says; carried out in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Say {
    Send { chat_id: i64, text: String, buttons: Vec<Vec<Button>> },
    Edit { chat_id: i64, message_id: i64, text: String, buttons: Vec<Vec<Button>> },
    Answer { press_id: String, note: String },
}

/// What a piece of news is answered with. May be asked twice for the same piece.
///
/// # Errors
/// 503 while Redis is away: the piece waits.
async fn respond(brand: &Brand, update: Update) -> Result<Vec<Say>> {
    if let Some(press) = update.callback_query {
        return pressed(brand, press).await;
    }
    match update.message {
        Some(Message { from: Some(person), chat, text: Some(text), .. }) => {
            let typed = Typed { person, chat_id: chat.id, is_private: chat.r#type == "private", text };
            typed.respond(brand).await
        }
        // Pictures, joins, pins: nothing to say.
        _ => Ok(Vec::new()),
    }
}

fn texts_of(person: &Person) -> &'static BotTexts {
    BotTexts::of(Language::preferred(person.language_code.as_deref().unwrap_or_default()))
}

/// A text that somebody wrote.
struct Typed {
    person: Person,
    chat_id: i64,
    is_private: bool,
    text: String,
}

impl Typed {
    async fn respond(self, brand: &Brand) -> Result<Vec<Say>> {
        let telegram = auth::telegram(brand)?;
        let (texts, shop) = (texts_of(&self.person), &brand.config.title);
        let Some(argument) = start_argument(&self.text, &telegram.bot) else {
            // Other people's talk in a group is none of the bot's business.
            return Ok(if self.is_private { vec![self.say(texts.help, shop, vec![])] } else { Vec::new() });
        };
        if !self.is_private {
            let url = format!("{}/{}", telegram.link_url, telegram.bot);
            return Ok(vec![self.say(texts.in_group, shop, vec![vec![url_button(texts.open_bot, shop, url)]])]);
        }
        match argument.strip_prefix("auth_") {
            Some(token) if is_token(token) => self.ask(brand, token).await,
            _ => Ok(vec![self.welcome(brand, telegram)]),
        }
    }

    fn say(&self, sentence: &str, shop: &str, buttons: Vec<Vec<Button>>) -> Say {
        Say::Send { chat_id: self.chat_id, text: sentence.replace("{shop}", shop), buttons }
    }

    /// A bare `/start`, also what is left of one whose argument Telegram's clients dropped: a link for this person's own
    /// browser.
    fn welcome(&self, brand: &Brand, telegram: &TelegramConfig) -> Say {
        let (texts, shop) = (texts_of(&self.person), &brand.config.title);
        let data = SignedData::sign(&signer(&self.person), None, brand.clock.now(), &telegram.token);
        let url = auth::callback_url(&brand.config.public_url, &data);
        self.say(texts.welcome, shop, vec![vec![url_button(texts.log_in, shop, url)]])
    }

    /// `/start auth_TOKEN`: who is asking to be let in, and is it you?
    async fn ask(&self, brand: &Brand, token: &str) -> Result<Vec<Say>> {
        let (texts, shop) = (texts_of(&self.person), &brand.config.title);
        let sentence = match auth::ask(brand, token, self.person.id).await? {
            Some((Decision::Asked, Some(attempt))) => return Ok(vec![self.question(&attempt, texts, shop)]),
            Some((Decision::Approved, _)) => texts.approved,
            Some((Decision::Foreign, _)) => texts.taken,
            Some(_) => texts.denied,
            None => texts.gone,
        };
        Ok(vec![self.say(sentence, shop, vec![])])
    }

    fn question(&self, attempt: &Attempt, texts: &BotTexts, shop: &str) -> Say {
        let browser = if attempt.browser.is_empty() { texts.unknown_browser } else { &attempt.browser };
        let text = texts.question.replace("{browser}", browser).replace("{address}", &attempt.address);
        let text = text.replace("{time}", &attempt.created_at.strftime("%H:%M UTC").to_string());
        let number =
            |choice: &String| Button::Data { text: choice.clone(), data: format!("y:{}:{choice}", attempt.token) };
        let no = Button::Data { text: texts.no.to_owned(), data: format!("n:{}", attempt.token) };
        self.say(&text, shop, vec![attempt.choices.iter().map(number).collect(), vec![no]])
    }
}

/// A button was pressed, perhaps long after it was shown, perhaps by somebody else.
async fn pressed(brand: &Brand, press: Press) -> Result<Vec<Say>> {
    let (texts, shop) = (texts_of(&press.from), &brand.config.title);
    let data = press.data.as_deref().unwrap_or_default();
    let (token, code) = match data.split(':').collect::<Vec<_>>()[..] {
        ["y", token, code] if is_token(token) && !code.is_empty() => (token, Some(code)),
        ["n", token] if is_token(token) => (token, None),
        _ => return Ok(vec![answer(&press, texts.gone)]),
    };
    let mut decision = auth::press(brand, token, press.from.id, code).await?;
    if decision == Decision::Right {
        decision = approve(brand, token, &press.from).await?;
    }
    let sentence = match decision {
        Decision::Approved => texts.approved,
        Decision::Wrong => texts.wrong,
        Decision::Refused => texts.refused,
        Decision::Gone => texts.gone,
        // The question stays for the person it was put to.
        Decision::Foreign => return Ok(vec![answer(&press, texts.foreign)]),
        Decision::Denied | Decision::Asked | Decision::Right => texts.denied,
    };
    let text = sentence.replace("{shop}", shop);
    let mut says = vec![answer(&press, &text)];
    if let Some(message) = &press.message {
        let back = url_button(texts.to_shop, shop, brand.config.storefront_url.clone());
        let buttons = if decision == Decision::Approved { vec![vec![back]] } else { Vec::new() };
        says.push(Say::Edit { chat_id: message.chat.id, message_id: message.message_id, text, buttons });
    }
    Ok(says)
}

/// Signs for the person who pressed the right number and presents it, as the document has it, at the callback's own
/// operation.
async fn approve(brand: &Brand, token: &str, person: &Person) -> Result<Decision> {
    let telegram = auth::telegram(brand)?;
    let data = SignedData::sign(&signer(person), Some(token), brand.clock.now(), &telegram.token);
    match auth::approve(brand, &data).await {
        Ok(_) => Ok(Decision::Approved),
        // Between the press and here it ended, or another press was faster.
        Err(error) if error.code == "attempt_gone" => Ok(Decision::Gone),
        Err(error) if error.code.starts_with("attempt_") => Ok(Decision::Denied),
        Err(error) => Err(error),
    }
}

fn answer(press: &Press, note: &str) -> Say {
    Say::Answer { press_id: press.id.clone(), note: note.chars().take(200).collect() }
}

fn url_button(sentence: &str, shop: &str, url: String) -> Button {
    Button::Url { text: sentence.replace("{shop}", shop), url }
}

fn signer(person: &Person) -> Signer<'_> {
    Signer {
        id: person.id,
        first_name: &person.first_name,
        last_name: person.last_name.as_deref(),
        username: person.username.as_deref(),
    }
}

/// What stands after `/start` or `/start@BOT`; `None` for any other text.
fn start_argument<'t>(text: &'t str, bot: &str) -> Option<&'t str> {
    let (command, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (name, addressee) = command.split_once('@').unwrap_or((command, bot));
    (name == "/start" && addressee.eq_ignore_ascii_case(bot)).then(|| argument.trim())
}

/// Whether a text has the shape of an attempt's token.
fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_understood_with_and_without_the_bots_name() {
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
    fn data_of_a_button_fits_into_telegrams_64_bytes() {
        let longest = format!("y:{}:{}", "a".repeat(32), 99);
        assert!(longest.len() <= 64 && is_token(&"a".repeat(32)));
    }
}
