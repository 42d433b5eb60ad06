//! A login attempt, started in a browser and approved in the chat with the bot.
//!
//! The browser holds a secret; the link to the bot carries a token that is derived from it one way. START alone logs no browser
//! in, because the link may have come from an attacker (RFC 8628, 5.4): the user presses the number that the browser shows.

use jiff::Timestamp;

use crate::foundation::error::{Error, Result};
use crate::session::User;

/// How many numbers the chat offers.
const CHOICES: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The parameter of the link: 32 hexadecimal digits.
    pub token: String,
    /// The two digits that the browser shows.
    pub code: String,
    /// The numbers that the chat offers, `code` among them.
    pub choices: Vec<String>,
    /// "Firefox, Windows".
    pub browser: String,
    /// The client's address.
    pub address: String,
    pub created_at: Timestamp,
}

/// The state of an attempt, for the browser that holds its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    Pending,
    Denied,
    Approved { user: User, session_id: String, is_claimed: bool },
}

/// The result of a step in the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The user has yet to press a number.
    AwaitingCode,
    /// The right number: the attempt may be approved.
    CodeMatched,
    /// A wrong number has just denied the attempt.
    CodeMismatched,
    /// The button No has just denied the attempt.
    Declined,
    /// Approved, now or before.
    Approved,
    /// Denied before.
    AlreadyDenied,
    /// The attempt belongs to another Telegram user.
    OtherUser,
    /// Expired or unknown.
    Expired,
}

impl AttemptOutcome {
    /// Parses the word that a Redis script returns.
    pub(super) fn parse(word: &str) -> Result<AttemptOutcome> {
        Ok(match word {
            "asked" => AttemptOutcome::AwaitingCode,
            "right" => AttemptOutcome::CodeMatched,
            "wrong" => AttemptOutcome::CodeMismatched,
            "refused" => AttemptOutcome::Declined,
            "approved" | "claimed" => AttemptOutcome::Approved,
            "denied" => AttemptOutcome::AlreadyDenied,
            "foreign" | "taken" => AttemptOutcome::OtherUser,
            "gone" => AttemptOutcome::Expired,
            _ => return Err(Error::internal(format!("a Redis script returned {word:?}"))),
        })
    }
}

impl Attempt {
    pub fn new(token: String, browser: String, address: String, created_at: Timestamp) -> Result<Attempt> {
        let mut choices: Vec<String> = Vec::with_capacity(CHOICES);
        while choices.len() < CHOICES {
            let choice = (10 + random_below(90)?).to_string();
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
        let code = choices[random_below(CHOICES as u32)? as usize].clone();
        Ok(Attempt { token, code, choices, browser, address, created_at })
    }
}

/// From the operating system; the bias of a 32-bit remainder is below one in ten million.
fn random_below(limit: u32) -> Result<u32> {
    getrandom::u32().map(|number| number % limit).map_err(|error| Error::internal(error.to_string()))
}

/// The browser and the system that a `User-Agent` names, in words of ours: the header's own text is never shown.
pub fn describe_user_agent(user_agent: &str) -> String {
    let first_match = |names: &[(&str, &'static str)]| {
        names.iter().find(|(product, _)| user_agent.contains(product)).map(|(_, name)| *name)
    };
    let browser = first_match(&[
        ("YaBrowser/", "Yandex Browser"),
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = first_match(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    [browser, system].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_offers_three_distinct_numbers_with_the_code_at_a_random_position() {
        let mut positions = [0; CHOICES];
        for _ in 0..300 {
            let attempt =
                Attempt::new("t".into(), String::new(), String::new(), Timestamp::UNIX_EPOCH).expect("random");
            let mut choices = attempt.choices.clone();
            positions[choices.iter().position(|choice| *choice == attempt.code).expect("the code is offered")] += 1;
            choices.sort_unstable();
            choices.dedup();
            assert!(choices.len() == CHOICES && choices.iter().all(|choice| choice.len() == 2), "{choices:?}");
        }
        assert!(positions.iter().all(|count| *count > 30), "every position occurs: {positions:?}");
    }

    #[test]
    fn a_user_agent_is_described_in_fixed_words() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36";
        assert_eq!(describe_user_agent(windows), "Chrome, Windows");
        let iphone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1";
        assert_eq!(describe_user_agent(iphone), "Safari, iPhone");
        assert_eq!(describe_user_agent("Firefox/133.0\nPress 42!"), "Firefox");
        assert_eq!(describe_user_agent("<b>hello</b>"), "");
    }
}
