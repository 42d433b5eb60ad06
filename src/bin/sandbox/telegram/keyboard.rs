//! Inline keyboards under messages: rows of buttons with a URL or with callback data.
//!
//! Read from `reply_markup` by the Bot API, kept and shown by the chats. What must never happen: a keyboard is taken
//! that Telegram refuses. One difference is meant: Telegram takes no URL whose host is `localhost`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::api::Refusal;

/// Bytes.
const LONGEST_DATA: usize = 64;
const MOST_BUTTONS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keyboard {
    inline_keyboard: Vec<Vec<Button>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Button {
    text: String,
    #[serde(flatten)]
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Url(String),
    CallbackData(String),
}

impl Keyboard {
    /// Reads `reply_markup`; absent, or without any button, there is no keyboard.
    ///
    /// # Errors
    /// What Telegram says to it.
    pub fn read(markup: Option<&str>) -> Result<Option<Keyboard>, Refusal> {
        let Some(markup) = markup.filter(|markup| !markup.is_empty()) else { return Ok(None) };
        let value: Value = serde_json::from_str(markup)
            .map_err(|_| Refusal::bad_request("can't parse reply keyboard markup JSON object"))?;
        let object = value.as_object().ok_or(Refusal::bad_request("object expected as reply markup"))?;
        let rows = match object.get("inline_keyboard") {
            Some(Value::Array(rows)) => rows,
            Some(_) => return Err(Refusal::bad_request("field \"inline_keyboard\" must be of type Array")),
            None if object.is_empty() => return Ok(None),
            None => return Err(Refusal::bad_request("the sandbox has no keyboards but inline_keyboard")),
        };
        let mut keyboard = Keyboard { inline_keyboard: Vec::new() };
        for row in rows {
            let no_array = "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays";
            let row = row.as_array().ok_or(Refusal::bad_request(no_array))?;
            let row = row.iter().map(Button::read).collect::<Result<Vec<_>, _>>()?;
            if !row.is_empty() {
                keyboard.inline_keyboard.push(row);
            }
        }
        if keyboard.buttons().count() > MOST_BUTTONS {
            return Err(Refusal::bad_request("reply markup is too long"));
        }
        Ok(Some(keyboard).filter(|keyboard| !keyboard.inline_keyboard.is_empty()))
    }

    /// The callback data of all its buttons.
    pub fn data(&self) -> impl Iterator<Item = &str> {
        self.buttons().filter_map(|button| match &button.action {
            Action::CallbackData(data) => Some(data.as_str()),
            Action::Url(_) => None,
        })
    }

    fn buttons(&self) -> impl Iterator<Item = &Button> {
        self.inline_keyboard.iter().flatten()
    }
}

impl Button {
    fn read(value: &Value) -> Result<Button, Refusal> {
        let unreadable = |why: &str| Refusal::bad_request(&format!("can't parse inline keyboard button: {why}"));
        let object = value.as_object().ok_or_else(|| unreadable("InlineKeyboardButton must be an Object"))?;
        let text = string(object, "text").map_err(|why| unreadable(&why))?;
        let text = text.ok_or_else(|| unreadable("Can't find field \"text\""))?.trim().to_owned();
        if text.is_empty() {
            return Err(Refusal::bad_request("inline keyboard button text must be non-empty"));
        }
        let url = string(object, "url").map_err(|why| unreadable(&why))?.filter(|url| !url.is_empty());
        let data = string(object, "callback_data").map_err(|why| unreadable(&why))?.filter(|data| !data.is_empty());
        let action = match (url, data) {
            (Some(url), _) if !may_be_opened(url) => return Err(Refusal::bad_request("BUTTON_URL_INVALID")),
            (Some(url), _) => Action::Url(url.to_owned()),
            (None, Some(data)) if data.len() > LONGEST_DATA => {
                return Err(Refusal::bad_request("BUTTON_DATA_INVALID"));
            }
            (None, Some(data)) => Action::CallbackData(data.to_owned()),
            (None, None) if object.contains_key("callback_data") => {
                return Err(Refusal::bad_request("BUTTON_DATA_INVALID"));
            }
            (None, None) if object.keys().all(|key| ["text", "url"].contains(&key.as_str())) => {
                return Err(unreadable("Text buttons are unallowed in the inline keyboard"));
            }
            (None, None) => return Err(unreadable("the sandbox has no buttons but url and callback_data")),
        };
        Ok(Button { text, action })
    }
}

fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("Field \"{name}\" must be of type String")),
    }
}

fn may_be_opened(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let known = ["http", "https", "tg"].contains(&scheme.to_ascii_lowercase().as_str());
    known && !host.is_empty() && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(markup: &str) -> String {
        match Keyboard::read(Some(markup)) {
            Ok(keyboard) => panic!("{markup} is taken: {keyboard:?}"),
            Err(refusal) => refusal.description,
        }
    }

    fn one(button: &str) -> String {
        format!(r#"{{"inline_keyboard":[[{button}]]}}"#)
    }

    #[test]
    fn buttons_come_out_as_they_went_in() {
        let markup = one(r#"{"text":"Да","callback_data":"yes"},{"text":"Site","url":"https://localhost:445/x?y=1"}"#);
        let keyboard = Keyboard::read(Some(&markup)).expect("fine").expect("a keyboard");
        assert_eq!(serde_json::to_string(&keyboard).expect("JSON"), markup);
        assert_eq!(keyboard.data().collect::<Vec<_>>(), ["yes"]);
        assert_eq!(Keyboard::read(None), Ok(None));
        assert_eq!(Keyboard::read(Some(r#"{"inline_keyboard":[[]]}"#)), Ok(None));
    }

    #[test]
    fn data_has_1_to_64_bytes() {
        let of = |data: &str| one(&format!(r#"{{"text":"x","callback_data":"{data}"}}"#));
        assert!(Keyboard::read(Some(&of(&"d".repeat(64)))).is_ok());
        assert_eq!(refused(&of(&"d".repeat(65))), "Bad Request: BUTTON_DATA_INVALID");
        assert_eq!(refused(&of(&"д".repeat(33))), "Bad Request: BUTTON_DATA_INVALID");
        assert_eq!(refused(&of("")), "Bad Request: BUTTON_DATA_INVALID");
    }

    #[test]
    fn a_url_is_one_of_http_https_or_tg() {
        let of = |url: &str| one(&format!(r#"{{"text":"x","url":"{url}"}}"#));
        for url in ["http://a.example", "HTTPS://a.example/b", "tg://resolve?domain=x"] {
            assert!(Keyboard::read(Some(&of(url))).is_ok(), "{url}");
        }
        for url in ["javascript:alert(1)", "ftp://a.example", "https://", "/login", "https://a b"] {
            assert_eq!(refused(&of(url)), "Bad Request: BUTTON_URL_INVALID", "{url}");
        }
    }

    #[test]
    fn what_is_no_keyboard_is_refused() {
        for markup in ["{", "[]", r#"{"inline_keyboard":{}}"#, r#"{"inline_keyboard":[{}]}"#, r#"{"keyboard":[["a"]]}"#]
        {
            assert!(refused(markup).starts_with("Bad Request: "), "{markup}");
        }
        for button in ["1", "{}", r#"{"text":1}"#, r#"{"text":"x"}"#, r#"{"text":" ","callback_data":"x"}"#] {
            assert!(refused(&one(button)).starts_with("Bad Request: "), "{button}");
        }
        let many = vec![r#"{"text":"x","callback_data":"x"}"#; 101].join(",");
        assert_eq!(refused(&one(&many)), "Bad Request: reply markup is too long");
    }
}
