//! Login data with Telegram's signature: parsing, verification and signing.
//!
//! The signature (core.telegram.org/widgets/login-legacy) is HMAC-SHA256 over the sorted `key=value` lines of all fields but
//! `hash`, keyed with SHA-256 of the bot's token.
//!
//! # Invariants
//!
//! The hash covers every accepted field, and is compared in constant time.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::secret::Secret;
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;
use crate::session::User;

/// How far Telegram's clock may be ahead of ours.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The known fields and their maximum lengths in characters.
const FIELDS: [(&str, usize); 9] = [
    ("id", 16),
    ("first_name", 256),
    ("last_name", 256),
    ("username", 64),
    ("photo_url", 2_048),
    ("auth_date", 16),
    ("hash", 64),
    ("attempt", 64),
    (CONFIRM, 8),
];

/// The field of data that logs a browser in only through the confirmation page. It is signed like the others.
const CONFIRM: &str = "confirm";

/// What our bot signs login data for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginPurpose<'a> {
    /// To approve the attempt with this token.
    Attempt(&'a str),
    /// For a link that leads to the confirmation page.
    Link,
}

/// Well-formed login data; only [`SignedData::verify`] checks the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedData {
    /// Every received field but `hash`, as text.
    fields: BTreeMap<String, String>,
    hash: [u8; 32],
    user_id: i64,
    signed_at: Timestamp,
}

impl SignedData {
    /// Parses a JSON object. `null` is the same as absent; a number is the same as its digits.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(crate) fn from_json(body: &Value) -> Result<SignedData> {
        let members = body.as_object().ok_or_else(|| Error::malformed("bad_login", "Expected a JSON object."))?;
        let mut pairs = Vec::new();
        for (name, value) in members {
            match value {
                Value::Null => {}
                Value::String(text) => pairs.push((name.clone(), text.clone())),
                number => {
                    let number = whole_number::from_json(number);
                    let number = number.ok_or_else(|| invalid(name, "a text or a whole number"))?;
                    pairs.push((name.clone(), number.to_string()));
                }
            }
        }
        SignedData::from_pairs(pairs)
    }

    /// Parses the pairs of a query or a form.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(crate) fn from_pairs(pairs: Vec<(String, String)>) -> Result<SignedData> {
        let mut fields = BTreeMap::new();
        for (name, value) in pairs {
            let Some((_, max_chars)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                return Err(Error::malformed(
                    "bad_login",
                    format!("{:?} is not a field of Telegram's login data.", truncated(&name)),
                ));
            };
            // The signed text separates fields by line feeds: one inside a value could forge another field.
            if value.chars().count() > *max_chars || value.chars().any(char::is_control) {
                return Err(invalid(
                    &name,
                    &format!("at most {max_chars} characters, none of them a control character"),
                ));
            }
            if fields.insert(name.clone(), value).is_some() {
                return Err(invalid(&name, "one value"));
            }
        }
        let required = |name: &str| fields.get(name).cloned().ok_or_else(|| invalid(name, "a value"));
        let user_id =
            parse_digits(&required("id")?).filter(|id| *id >= 1).ok_or_else(|| invalid("id", "a positive integer"))?;
        required("first_name")?;
        let auth_date = parse_digits(&required("auth_date")?).and_then(|seconds| Timestamp::from_second(seconds).ok());
        let signed_at = auth_date.ok_or_else(|| invalid("auth_date", "seconds since 1970"))?;
        let hash = hex::decode_32(&required("hash")?).ok_or_else(|| invalid("hash", "64 hexadecimal digits"))?;
        fields.remove("hash");
        Ok(SignedData { fields, hash, user_id, signed_at })
    }

    /// Signs login data as Telegram does, with a further field for its purpose. Control characters in names become spaces, so that
    /// no name can forge further fields.
    pub(crate) fn sign(
        user: &LoginIdentity<'_>,
        purpose: LoginPurpose<'_>,
        now: Timestamp,
        token: &Secret,
    ) -> SignedData {
        let (attempt, confirm) = match purpose {
            LoginPurpose::Attempt(token) => (Some(token), None),
            LoginPurpose::Link => (None, Some("page")),
        };
        let mut fields = BTreeMap::from([
            ("id".to_owned(), user.id.to_string()),
            ("first_name".to_owned(), without_controls(user.first_name)),
            ("auth_date".to_owned(), now.as_second().to_string()),
        ]);
        let optional =
            [("last_name", user.last_name), ("username", user.username), ("attempt", attempt), (CONFIRM, confirm)];
        for (name, value) in optional {
            value.map(|value| fields.insert(name.to_owned(), without_controls(value)));
        }
        let hash = signature(&fields, token).finalize().into_bytes().into();
        SignedData { fields, hash, user_id: user.id, signed_at: now }
    }

    /// # Errors
    /// 401 for a signature that is not this bot's, and for data older than `max_age` or dated in the future.
    pub(crate) fn verify(&self, token: &Secret, now: Timestamp, max_age: SignedDuration) -> Result<()> {
        if signature(&self.fields, token).verify_slice(&self.hash).is_err() {
            return Err(Error::unauthorized("bad_hash", "This login was not signed by the bot of this shop."));
        }
        let age = now.duration_since(self.signed_at);
        if age > max_age || age < -MAX_CLOCK_SKEW {
            return Err(Error::unauthorized("stale_login", "This login is too old; please start again in Telegram."));
        }
        Ok(())
    }

    /// For how long data is accepted at most, which is how long a used hash has to be stored.
    pub(crate) fn lifetime(max_age: SignedDuration) -> SignedDuration {
        max_age + MAX_CLOCK_SKEW
    }

    /// The hash in hexadecimal.
    pub(crate) fn hash_hex(&self) -> String {
        hex::encode(&self.hash)
    }

    pub(crate) fn attempt(&self) -> Option<&str> {
        self.fields.get("attempt").map(String::as_str)
    }

    /// Whether the data logs a browser in only after a confirmation.
    pub(crate) fn requires_confirmation(&self) -> bool {
        self.fields.contains_key(CONFIRM)
    }

    /// The user; names lose the characters that could reverse the text around them.
    pub(crate) fn user(&self) -> User {
        let field = |name: &str| self.fields.get(name).map(String::as_str).unwrap_or_default();
        let username = Some(without_bidi_controls(field("username"))).filter(|name| !name.is_empty());
        let display_name = format!("{} {}", field("first_name"), field("last_name"));
        let display_name = without_bidi_controls(&display_name).trim().to_owned();
        User { id: self.user_id, username, display_name }
    }

    /// All fields and `hash`, for a query or a form.
    pub(crate) fn pairs(&self) -> Vec<(&str, String)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        fields.chain([("hash", self.hash_hex())]).collect()
    }
}

/// The link that logs a browser in after a confirmation: signed data in a query.
pub(crate) fn callback_url(public_url: &str, data: &SignedData) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = data.pairs();
    let query = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    format!("{public_url}/auth/telegram/callback?{query}")
}

/// The user that the bot signs for, as named by a Telegram update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginIdentity<'a> {
    pub id: i64,
    pub first_name: &'a str,
    pub last_name: Option<&'a str>,
    pub username: Option<&'a str>,
}

fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Without the embeddings, overrides and isolates of the Unicode Bidirectional Algorithm.
fn without_bidi_controls(text: &str) -> String {
    text.replace(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "")
}

fn signature(fields: &BTreeMap<String, String>, token: &Secret) -> Hmac<Sha256> {
    let key = Sha256::digest(token.reveal().as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    for (number, (name, value)) in fields.iter().enumerate() {
        let line = format!("{}{name}={value}", if number > 0 { "\n" } else { "" });
        mac.update(line.as_bytes());
    }
    mac
}

fn invalid(name: &str, expected: &str) -> Error {
    Error::malformed("bad_login", format!("{}: expected {expected}", truncated(name)))
}

fn truncated(name: &str) -> String {
    without_controls(&name.chars().take(40).collect::<String>())
}

fn parse_digits(text: &str) -> Option<i64> {
    let is_canonical =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| is_canonical && *number <= MAX_SAFE_INTEGER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};
    use serde_json::json;

    fn token() -> Secret {
        Secret::new("test", "123456:ABC")
    }

    fn signed_by(token: &Secret) -> SignedData {
        let user = LoginIdentity { id: 42, first_name: "Анна", last_name: Some("К."), username: None };
        let mut data =
            SignedData::sign(&user, LoginPurpose::Link, Timestamp::from_second(1_709_100_000).expect("2024"), token);
        data.fields.remove(CONFIRM);
        data.hash = signature(&data.fields, token).finalize().into_bytes().into();
        data
    }

    /// Computed with Python's hmac and hashlib over "auth_date=1709100000\nfirst_name=Анна\nid=42\nlast_name=К.".
    const HASH: &str = "bd34b8c7dcd7e2b73f5aeeadc10f4a3134a092cf8b423391083d258d96822802";

    #[test]
    fn the_signature_is_telegrams() {
        assert_eq!(signed_by(&token()).hash_hex(), HASH);
        let body = json!({"id": 42, "first_name": "Анна", "last_name": "К.", "username": null,
                          "auth_date": 1_709_100_000, "hash": HASH});
        assert_eq!(SignedData::from_json(&body).expect("well-formed"), signed_by(&token()));
    }

    #[test]
    fn a_name_cannot_forge_another_field() {
        let mallory =
            LoginIdentity { id: 666, first_name: "M\nid=42\nlast_name=X", last_name: Some("\r\n"), username: None };
        let signed = SignedData::sign(&mallory, LoginPurpose::Attempt("0"), Timestamp::UNIX_EPOCH, &token());
        assert!(signed.pairs().iter().all(|(_, value)| !value.contains(char::is_control)));
        // Without the replacement of control characters the signature would cover these fields.
        let forged = json!({"id": 42, "first_name": "M", "last_name": "X id=666", "auth_date": 0, "attempt": "0", "hash": signed.hash_hex()});
        let forged = SignedData::from_json(&forged).expect("it is well-formed");
        let verified = forged.verify(&token(), Timestamp::UNIX_EPOCH, SignedDuration::from_mins(5));
        assert_eq!(verified.expect_err("forged").code, "bad_hash");
    }

    #[test]
    fn the_purpose_of_a_link_is_part_of_its_signature() {
        let user = LoginIdentity { id: 42, first_name: "Анна", last_name: None, username: None };
        let link = SignedData::sign(&user, LoginPurpose::Link, Timestamp::UNIX_EPOCH, &token());
        assert!(link.requires_confirmation() && !signed_by(&token()).requires_confirmation());
        let mut stripped = link.clone();
        stripped.fields.remove(CONFIRM);
        let verified = stripped.verify(&token(), Timestamp::UNIX_EPOCH, SignedDuration::from_mins(5));
        assert_eq!(verified.expect_err("another purpose").code, "bad_hash");
    }

    #[test]
    fn a_name_cannot_reverse_the_text_around_it() {
        let first_name = "\u{202e}annA\u{2069}";
        let user = LoginIdentity { id: 42, first_name, last_name: Some("\u{2067}"), username: Some("a\u{202d}b") };
        let data = SignedData::sign(&user, LoginPurpose::Link, Timestamp::UNIX_EPOCH, &token());
        assert_eq!(data.user(), User { id: 42, username: Some("ab".into()), display_name: "annA".into() });
    }

    #[test]
    fn only_a_fresh_signature_of_this_bot_is_accepted() {
        let (data, age) = (signed_by(&token()), SignedDuration::from_mins(5));
        let at = |seconds: i64| Timestamp::from_second(1_709_100_000 + seconds).expect("2024");
        assert!(data.verify(&token(), at(0), age).is_ok());
        assert!(data.verify(&token(), at(300), age).is_ok());
        assert!(data.verify(&token(), at(-60), age).is_ok());
        for seconds in [301, -61] {
            assert_eq!(data.verify(&token(), at(seconds), age).expect_err("stale").code, "stale_login");
        }
        let other = Secret::new("test", "123456:ABD");
        assert_eq!(data.verify(&other, at(0), age).expect_err("another bot").code, "bad_hash");
    }

    #[test]
    fn a_malformed_field_is_named() {
        let good =
            || -> Value { json!({"id": 42, "first_name": "A", "auth_date": 1_709_100_000, "hash": "ab".repeat(32)}) };
        let with_field = |name: &str, value: Value| {
            let mut body = good();
            body[name] = value;
            SignedData::from_json(&body)
        };
        assert!(SignedData::from_json(&good()).is_ok());
        for (name, value) in [
            ("id", json!(0)),
            ("id", json!("042")),
            ("id", json!(1.5)),
            ("id", json!(null)),
            ("first_name", json!(["A"])),
            ("first_name", json!(null)),
            ("auth_date", json!("yesterday")),
            ("hash", json!("abc")),
            ("hash", json!("xy".repeat(32))),
            ("username", json!("x".repeat(65))),
            ("is_admin", json!(true)),
            ("redirect", json!("https://evil.example")),
            ("last_name", json!("X\nid=6660001")),
            ("first_name", json!("A\0")),
        ] {
            let error = with_field(name, value.clone()).expect_err("malformed");
            assert!(error.public.contains(name), "{name} {value}: {}", error.public);
        }
        assert!(SignedData::from_pairs(vec![("id".into(), "1".into()), ("id".into(), "2".into())]).is_err());
    }

    #[test]
    fn fuzz_login_data() {
        let good =
            format!(r#"{{"id":42,"first_name":"Анна","last_name":"К.","auth_date":1709100000,"hash":"{HASH}"}}"#);
        let more = r#""К.","username":"anna","photo_url":"https://t.me/a.jpg","attempt":"a1""#;
        let seeds =
            [good.clone(), good.replace("42", "\"42\"").replace("\"К.\"", "null"), good.replace("\"К.\"", more)];
        let words =
            ["\"attempt\":", "\"username\":", "\"id\":", "\"hash\":", "null", "\\n", "\\u0000", "id=", HASH, "1e3"];
        let (token, other) = (token(), Secret::new("test", "123456:ABD"));
        let (now, age) = (Timestamp::from_second(1_709_100_000).expect("2024"), SignedDuration::from_mins(5));
        let original = signed_by(&token);
        let outcomes = fuzz(&seeds, &words, |input| {
            let parsed = crate::http::request::json(input).and_then(|body| SignedData::from_json(&body));
            let data = match parsed {
                Ok(data) => data,
                Err(error) => return refused(&error),
            };
            assert!((1..=MAX_SAFE_INTEGER).contains(&data.user_id) && data.fields.len() <= FIELDS.len());
            assert!(data.fields.values().all(|value| !value.contains(char::is_control)), "{data:?}");
            // A link with this data is read as the same data.
            let pairs = data.pairs().into_iter().map(|(name, value)| (name.to_owned(), value));
            assert_eq!(SignedData::from_pairs(pairs.collect()).expect("accepted before"), data);
            let url = callback_url("https://localhost", &data);
            assert!(url.is_ascii() && !url.contains(char::is_whitespace), "{url}");
            assert!(data.verify(&other, now, age).is_err(), "another bot's token");
            match data.verify(&token, now, age) {
                Ok(()) => {
                    assert_eq!(data, original, "only what was signed is accepted");
                    "accepted".to_owned()
                }
                Err(error) => refused(&error),
            }
        });
        outcomes.assert_seen(&["accepted", "bad_json", "bad_login", "bad_hash"]);
    }
}
