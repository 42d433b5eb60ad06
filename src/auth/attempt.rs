//! A login attempt: what the browser that began it and the person in the chat are shown, and what a press decides.
//!
//! The browser holds a secret, the link to the bot a token that is made from it and does not lead back. START alone logs nobody
//! in (RFC 8628, 5.4: somebody else may have sent the link): the person presses the number that the page of the browser shows.

use jiff::Timestamp;

use crate::foundation::error::{Error, Result};
use crate::session::User;

/// How many numbers the chat offers.
const CHOICES: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The part of the link: 32 hexadecimal digits.
    pub token: String,
    /// The two digits that the page shows.
    pub code: String,
    /// The numbers that the chat offers, the right one among them.
    pub choices: Vec<String>,
    /// "Firefox, Windows".
    pub browser: String,
    /// The client's address.
    pub address: String,
    pub created_at: Timestamp,
}

/// How far an attempt got, for the browser that holds its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    Pending,
    Denied,
    Approved { user: User, session_id: String, is_claimed: bool },
}

/// What became of a step in the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The question stands and waits for a press.
    Asked,
    /// The right number: approve it.
    Right,
    /// A wrong number ended the attempt just now.
    Wrong,
    /// No ended it just now.
    Refused,
    /// It was approved, now or before.
    Approved,
    /// It was ended before.
    Denied,
    /// Another user has the question.
    Foreign,
    /// There is no such attempt any more.
    Gone,
}

impl Decision {
    /// The word of a script.
    pub(super) fn of(word: &str) -> Result<Decision> {
        Ok(match word {
            "asked" => Decision::Asked,
            "right" => Decision::Right,
            "wrong" => Decision::Wrong,
            "refused" => Decision::Refused,
            "approved" | "claimed" => Decision::Approved,
            "denied" => Decision::Denied,
            "foreign" | "taken" => Decision::Foreign,
            "gone" => Decision::Gone,
            _ => return Err(Error::internal(format!("a script said {word:?}"))),
        })
    }
}

impl Attempt {
    /// A new one with numbers drawn by the operating system.
    pub fn new(token: String, browser: String, address: String, created_at: Timestamp) -> Result<Attempt> {
        let mut choices: Vec<String> = Vec::with_capacity(CHOICES);
        while choices.len() < CHOICES {
            let choice = (10 + draw(90)?).to_string();
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
        let code = choices[draw(CHOICES as u32)? as usize].clone();
        Ok(Attempt { token, code, choices, browser, address, created_at })
    }
}

/// A number below `end`; the bias of a 32-bit remainder is below one in ten million.
fn draw(end: u32) -> Result<u32> {
    getrandom::u32().map(|number| number % end).map_err(|error| Error::internal(error.to_string()))
}

/// A browser's name and system, as far as its `User-Agent` tells. Only words of ours: what a client sends is shown to nobody.
pub fn describe(user_agent: &str) -> String {
    let first = |words: &[(&str, &'static str)]| {
        words.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    let browser = first(&[
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
    let system = first(&[
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
    fn three_different_numbers_of_two_digits_and_one_is_right() {
        let mut places = [0; CHOICES];
        for _ in 0..300 {
            let attempt =
                Attempt::new("t".into(), String::new(), String::new(), Timestamp::UNIX_EPOCH).expect("random");
            let mut choices = attempt.choices.clone();
            places[choices.iter().position(|choice| *choice == attempt.code).expect("among them")] += 1;
            choices.sort_unstable();
            choices.dedup();
            assert!(choices.len() == CHOICES && choices.iter().all(|choice| choice.len() == 2), "{choices:?}");
        }
        assert!(places.iter().all(|count| *count > 30), "the right one stands anywhere: {places:?}");
    }

    #[test]
    fn a_browser_is_told_in_words_of_ours() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36";
        assert_eq!(describe(windows), "Chrome, Windows");
        let iphone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1";
        assert_eq!(describe(iphone), "Safari, iPhone");
        assert_eq!(describe("Firefox/133.0\nPress 42!"), "Firefox");
        assert_eq!(describe("<b>hello</b>"), "");
    }
}
