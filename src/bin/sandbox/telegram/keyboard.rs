//! Inline keyboards: rows of buttons with a URL or with callback data.
//!
//! Accepts what Telegram accepts, and URLs whose host is `localhost`, which Telegram rejects.

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::ApiError;

const MAX_CALLBACK_DATA_BYTES: usize = 64;
const MAX_BUTTONS: usize = 100;

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
    /// Parses `reply_markup`; `None` if it is absent or has no buttons.
    ///
    /// # Errors
    /// The error that Telegram would return.
    pub fn parse(markup: Option<&str>) -> Result<Option<Keyboard>, ApiError> {
        let Some(markup) = markup.filter(|markup| !markup.is_empty()) else { return Ok(None) };
        let value: Value = serde_json::from_str(markup)
            .map_err(|_| ApiError::bad_request("can't parse reply keyboard markup JSON object"))?;
        let object = value.as_object().ok_or(ApiError::bad_request("object expected as reply markup"))?;
        let rows = match object.get("inline_keyboard") {
            Some(Value::Array(rows)) => rows,
            Some(_) => return Err(ApiError::bad_request("field \"inline_keyboard\" must be of type Array")),
            None if object.is_empty() => return Ok(None),
            None => return Err(ApiError::bad_request("the sandbox supports only inline_keyboard")),
        };
        let mut keyboard = Keyboard { inline_keyboard: Vec::new() };
        for row in rows {
            let not_an_array = "field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays";
            let row = row.as_array().ok_or(ApiError::bad_request(not_an_array))?;
            let row = row.iter().map(Button::parse).collect::<Result<Vec<_>, _>>()?;
            if !row.is_empty() {
                keyboard.inline_keyboard.push(row);
            }
        }
        if keyboard.buttons().count() > MAX_BUTTONS {
            return Err(ApiError::bad_request("reply markup is too long"));
        }
        Ok(Some(keyboard).filter(|keyboard| !keyboard.inline_keyboard.is_empty()))
    }

    /// The callback data of its buttons.
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
    fn parse(value: &Value) -> Result<Button, ApiError> {
        let invalid = |why: &str| ApiError::bad_request(&format!("can't parse inline keyboard button: {why}"));
        let object = value.as_object().ok_or_else(|| invalid("InlineKeyboardButton must be an Object"))?;
        let text = string(object, "text").map_err(|why| invalid(&why))?;
        let text = text.ok_or_else(|| invalid("Can't find field \"text\""))?.trim().to_owned();
        if text.is_empty() {
            return Err(ApiError::bad_request("inline keyboard button text must be non-empty"));
        }
        let url = string(object, "url").map_err(|why| invalid(&why))?.filter(|url| !url.is_empty());
        let data = string(object, "callback_data").map_err(|why| invalid(&why))?.filter(|data| !data.is_empty());
        let action = match (url, data) {
            (Some(url), _) if !is_supported_url(url) => return Err(ApiError::bad_request("BUTTON_URL_INVALID")),
            (Some(url), _) => Action::Url(url.to_owned()),
            (None, Some(data)) if data.len() > MAX_CALLBACK_DATA_BYTES => {
                return Err(ApiError::bad_request("BUTTON_DATA_INVALID"));
            }
            (None, Some(data)) => Action::CallbackData(data.to_owned()),
            (None, None) if object.contains_key("callback_data") => {
                return Err(ApiError::bad_request("BUTTON_DATA_INVALID"));
            }
            (None, None) if object.keys().all(|key| ["text", "url"].contains(&key.as_str())) => {
                return Err(invalid("Text buttons are unallowed in the inline keyboard"));
            }
            (None, None) => return Err(invalid("the sandbox supports only url and callback_data buttons")),
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

fn is_supported_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let known = ["http", "https", "tg"].contains(&scheme.to_ascii_lowercase().as_str());
    known && !host.is_empty() && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(markup: &str) -> String {
        match Keyboard::parse(Some(markup)) {
            Ok(keyboard) => panic!("{markup} is accepted: {keyboard:?}"),
            Err(error) => error.description,
        }
    }

    fn one(button: &str) -> String {
        format!(r#"{{"inline_keyboard":[[{button}]]}}"#)
    }

    #[test]
    fn keyboard_is_serialised_as_received() {
        let markup = one(r#"{"text":"Да","callback_data":"yes"},{"text":"Site","url":"https://localhost:445/x?y=1"}"#);
        let keyboard = Keyboard::parse(Some(&markup)).expect("fine").expect("a keyboard");
        assert_eq!(serde_json::to_string(&keyboard).expect("JSON"), markup);
        assert_eq!(keyboard.data().collect::<Vec<_>>(), ["yes"]);
        assert_eq!(Keyboard::parse(None), Ok(None));
        assert_eq!(Keyboard::parse(Some(r#"{"inline_keyboard":[[]]}"#)), Ok(None));
    }

    #[test]
    fn callback_data_has_1_to_64_bytes() {
        let of = |data: &str| one(&format!(r#"{{"text":"x","callback_data":"{data}"}}"#));
        assert!(Keyboard::parse(Some(&of(&"d".repeat(64)))).is_ok());
        assert_eq!(parse_error(&of(&"d".repeat(65))), "Bad Request: BUTTON_DATA_INVALID");
        assert_eq!(parse_error(&of(&"д".repeat(33))), "Bad Request: BUTTON_DATA_INVALID");
        assert_eq!(parse_error(&of("")), "Bad Request: BUTTON_DATA_INVALID");
    }

    #[test]
    fn url_scheme_is_http_https_or_tg() {
        let of = |url: &str| one(&format!(r#"{{"text":"x","url":"{url}"}}"#));
        for url in ["http://a.example", "HTTPS://a.example/b", "tg://resolve?domain=x"] {
            assert!(Keyboard::parse(Some(&of(url))).is_ok(), "{url}");
        }
        for url in ["javascript:alert(1)", "ftp://a.example", "https://", "/login", "https://a b"] {
            assert_eq!(parse_error(&of(url)), "Bad Request: BUTTON_URL_INVALID", "{url}");
        }
    }

    #[test]
    fn invalid_keyboard_is_rejected() {
        for markup in ["{", "[]", r#"{"inline_keyboard":{}}"#, r#"{"inline_keyboard":[{}]}"#, r#"{"keyboard":[["a"]]}"#]
        {
            assert!(parse_error(markup).starts_with("Bad Request: "), "{markup}");
        }
        for button in ["1", "{}", r#"{"text":1}"#, r#"{"text":"x"}"#, r#"{"text":" ","callback_data":"x"}"#] {
            assert!(parse_error(&one(button)).starts_with("Bad Request: "), "{button}");
        }
        let many = vec![r#"{"text":"x","callback_data":"x"}"#; 101].join(",");
        assert_eq!(parse_error(&one(&many)), "Bad Request: reply markup is too long");
    }
}
