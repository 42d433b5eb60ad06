//! Login data signed by Telegram's rule: read, verified, and made.
//!
//! The rule (core.telegram.org/widgets/login-legacy): the hash is HMAC-SHA256 over the sorted `key=value` lines of all fields
//! but `hash`, with SHA-256 of the bot's token as the key. Used by `auth` for what comes in and for what the bot sends. What
//! must never happen: a field that is not covered by the hash is believed, or a comparison that tells how far it got.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::secret::Secret;
use crate::http::request::MAX_SAFE_INTEGER;
use crate::session::User;

/// How far Telegram's clock may be ahead of ours.
const LARGEST_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// Every field there is, and the most characters it may have.
const FIELDS: [(&str, usize); 8] = [
    ("id", 16),
    ("first_name", 256),
    ("last_name", 256),
    ("username", 64),
    ("photo_url", 2_048),
    ("auth_date", 16),
    ("hash", 64),
    ("attempt", 64),
];

/// Login data whose shape is right and whose signature was not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedData {
    /// Every received field but `hash`, as text.
    fields: BTreeMap<String, String>,
    hash: [u8; 32],
    user_id: i64,
    signed_at: Timestamp,
}

impl SignedData {
    /// From the members of a JSON object. Absent and `null` are the same; a number counts by its digits.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn from_json(body: &Value) -> Result<SignedData> {
        let members = body.as_object().ok_or_else(|| Error::malformed("bad_login", "Expected a JSON object."))?;
        let mut pairs = Vec::new();
        for (name, value) in members {
            match value {
                Value::Null => {}
                Value::String(text) => pairs.push((name.clone(), text.clone())),
                Value::Number(number) if number.is_i64() => pairs.push((name.clone(), number.to_string())),
                _ => return Err(wrong(name, "a text or a whole number")),
            }
        }
        SignedData::from_pairs(pairs)
    }

    /// From a query or a form.
    ///
    /// # Errors
    /// 400 that names the field.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<SignedData> {
        let mut fields = BTreeMap::new();
        for (name, value) in pairs {
            let Some((_, longest)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let shown: String = name.chars().take(40).collect();
                return Err(Error::malformed("bad_login", format!("{shown:?} is no field of Telegram's login data.")));
            };
            // A line feed would let one field's value be read as another field.
            if value.chars().count() > *longest || value.chars().any(char::is_control) {
                return Err(wrong(&name, &format!("at most {longest} characters, none of them a control character")));
            }
            if fields.insert(name.clone(), value).is_some() {
                return Err(wrong(&name, "one value"));
            }
        }
        let required = |name: &str| fields.get(name).cloned().ok_or_else(|| wrong(name, "a value"));
        let user_id =
            digits(&required("id")?).filter(|id| *id >= 1).ok_or_else(|| wrong("id", "a positive integer"))?;
        required("first_name")?;
        let auth_date = digits(&required("auth_date")?).and_then(|seconds| Timestamp::from_second(seconds).ok());
        let signed_at = auth_date.ok_or_else(|| wrong("auth_date", "seconds since 1970"))?;
        let hash = hex::decode_32(&required("hash")?).ok_or_else(|| wrong("hash", "64 hexadecimal digits"))?;
        fields.remove("hash");
        Ok(SignedData { fields, hash, user_id, signed_at })
    }

    /// Signs data the way Telegram does, with one more field that names a login attempt. What a person is called may hold
    /// anything; control characters become spaces, so that no name looks like further fields.
    pub fn sign(user: &Signer<'_>, attempt: Option<&str>, now: Timestamp, token: &Secret) -> SignedData {
        let mut fields = BTreeMap::from([
            ("id".to_owned(), user.id.to_string()),
            ("first_name".to_owned(), one_line(user.first_name)),
            ("auth_date".to_owned(), now.as_second().to_string()),
        ]);
        for (name, value) in [("last_name", user.last_name), ("username", user.username), ("attempt", attempt)] {
            value.map(|value| fields.insert(name.to_owned(), one_line(value)));
        }
        let hash = mac(&fields, token).finalize().into_bytes().into();
        SignedData { fields, hash, user_id: user.id, signed_at: now }
    }

    /// # Errors
    /// 401 for a hash that this bot did not make, and for data older than `age` or from the future.
    pub fn verify(&self, token: &Secret, now: Timestamp, age: SignedDuration) -> Result<()> {
        if mac(&self.fields, token).verify_slice(&self.hash).is_err() {
            return Err(Error::unauthorized("bad_hash", "This login was not signed by the bot of this shop."));
        }
        let old = now.duration_since(self.signed_at);
        if old > age || old < -LARGEST_SKEW {
            return Err(Error::unauthorized("stale_login", "This login is too old; please start again in Telegram."));
        }
        Ok(())
    }

    /// For how long the data could still be presented.
    pub fn lifetime(&self, age: SignedDuration) -> SignedDuration {
        age + LARGEST_SKEW
    }

    /// The hash as a name.
    pub fn name(&self) -> String {
        hex::encode(&self.hash)
    }

    pub fn attempt(&self) -> Option<&str> {
        self.fields.get("attempt").map(String::as_str)
    }

    pub fn user(&self) -> User {
        let of = |name: &str| self.fields.get(name).map(String::as_str).unwrap_or_default();
        let username = Some(of("username")).filter(|name| !name.is_empty()).map(str::to_owned);
        let display_name = format!("{} {}", of("first_name"), of("last_name")).trim().to_owned();
        User { id: self.user_id, username, display_name }
    }

    /// All fields, `hash` included, in their order: for the query of a link and for the form of a page.
    pub fn pairs(&self) -> Vec<(&str, String)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        fields.chain([("hash", self.name())]).collect()
    }
}

/// The link that logs a browser in, after a question: signed data in a query.
pub fn callback_url(public_url: &str, data: &SignedData) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = data.pairs();
    let query = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    format!("{public_url}/auth/telegram/callback?{query}")
}

/// Whom the bot signs for, as its update names them.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    pub id: i64,
    pub first_name: &'a str,
    pub last_name: Option<&'a str>,
    pub username: Option<&'a str>,
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn mac(fields: &BTreeMap<String, String>, token: &Secret) -> Hmac<Sha256> {
    let key = Sha256::digest(token.reveal().as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    for (number, (name, value)) in fields.iter().enumerate() {
        let line = format!("{}{name}={value}", if number > 0 { "\n" } else { "" });
        mac.update(line.as_bytes());
    }
    mac
}

fn wrong(name: &str, expected: &str) -> Error {
    let shown: String = name.chars().take(40).collect();
    Error::malformed("bad_login", format!("{shown}: expected {expected}"))
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| plain && *number <= MAX_SAFE_INTEGER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token() -> Secret {
        Secret::new("test", "123456:ABC")
    }

    fn signed_by(token: &Secret) -> SignedData {
        let user = Signer { id: 42, first_name: "Анна", last_name: Some("К."), username: None };
        SignedData::sign(&user, None, Timestamp::from_second(1_709_100_000).expect("2024"), token)
    }

    /// Computed with Python's hmac and hashlib over "auth_date=1709100000\nfirst_name=Анна\nid=42\nlast_name=К.".
    const HASH: &str = "bd34b8c7dcd7e2b73f5aeeadc10f4a3134a092cf8b423391083d258d96822802";

    #[test]
    fn the_hash_is_telegrams() {
        assert_eq!(signed_by(&token()).name(), HASH);
        let body = json!({"id": 42, "first_name": "Анна", "last_name": "К.", "username": null,
                          "auth_date": 1_709_100_000, "hash": HASH});
        assert_eq!(SignedData::from_json(&body).expect("good"), signed_by(&token()));
    }

    #[test]
    fn no_name_passes_for_another_field() {
        let mallory = Signer { id: 666, first_name: "M\nid=42\nlast_name=X", last_name: Some("\r\n"), username: None };
        let signed = SignedData::sign(&mallory, None, Timestamp::UNIX_EPOCH, &token());
        assert!(signed.pairs().iter().all(|(_, value)| !value.contains(char::is_control)));
        // What the lines of the old form would have been, read as the fields that they name.
        let forged =
            json!({"id": 42, "first_name": "M", "last_name": "X id=666", "auth_date": 0, "hash": signed.name()});
        let forged = SignedData::from_json(&forged).expect("its shape is right");
        let verified = forged.verify(&token(), Timestamp::UNIX_EPOCH, SignedDuration::from_mins(5));
        assert_eq!(verified.expect_err("another user").code, "bad_hash");
    }

    #[test]
    fn only_this_bots_fresh_signature_counts() {
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
    fn what_has_not_the_right_shape_is_named() {
        let good =
            || -> Value { json!({"id": 42, "first_name": "A", "auth_date": 1_709_100_000, "hash": "ab".repeat(32)}) };
        let spoilt = |name: &str, value: Value| {
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
            let error = spoilt(name, value.clone()).expect_err("wrong");
            assert!(error.public.contains(name), "{name} {value}: {}", error.public);
        }
        assert!(SignedData::from_pairs(vec![("id".into(), "1".into()), ("id".into(), "2".into())]).is_err());
    }
}
