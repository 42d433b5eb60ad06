//! Cookies, named per brand; all but [`ORIGIN`] hold a secret of 256 random bits.
//!
//! # Invariants
//!
//! - The value of a cookie appears in no log, database or response body; only its hash is stored.

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;

/// The value of a `Set-Cookie` header.
pub(crate) type SetCookie = HeaderValue;

/// Identifies a visitor, and so their cart, for a year.
pub(crate) const VISITOR: &str = "visitor";
/// Identifies a login session.
pub(crate) const SESSION: &str = "session";
/// Identifies a login attempt.
pub(crate) const ATTEMPT: &str = "attempt";

/// The origin that a login was begun from; not a secret.
pub(crate) const ORIGIN: &str = "origin";

/// A login takes minutes; every further request of the page renews it.
const ORIGIN_MAX_AGE_S: u32 = 86_400;

/// The length of 256 bits in hexadecimal.
const SECRET_DIGITS: usize = 64;

/// The value of a cookie: 256 random bits in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret(String);

impl CookieSecret {
    /// A new random secret.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new() -> Result<CookieSecret> {
        let mut bytes = [0; SECRET_DIGITS / 2];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        Ok(CookieSecret(hex::encode(&bytes)))
    }

    /// The cookie with this name, if it was sent and its value has the right format.
    pub fn read(headers: &HeaderMap, name: &str) -> Option<CookieSecret> {
        let mut values = values(headers, name);
        let is_valid = |value: &&[u8]| {
            value.len() == SECRET_DIGITS && value.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        };
        let value = values.find(is_valid)?;
        Some(CookieSecret(String::from_utf8_lossy(value).into_owned()))
    }

    /// Derives another secret, a different one for each purpose, that only the holder of this one can compute.
    pub fn derive(&self, purpose: &str) -> CookieSecret {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        CookieSecret(hex::encode(&mac.finalize().into_bytes()))
    }

    /// A public identifier that is derived from the secret and does not reveal it: 128 bits in hexadecimal.
    pub fn name(&self, purpose: &str) -> String {
        let mut name = self.derive(purpose).0;
        name.truncate(SECRET_DIGITS / 2);
        name
    }

    /// SHA-256 of the secret in hexadecimal: the only form in which it is stored.
    pub fn hash(&self) -> String {
        hex::encode(&Sha256::digest(&self.0))
    }

    /// `Set-Cookie` with this secret. With the prefix `__Host-` browsers require `Secure`, `Path=/` and no `Domain`
    /// (RFC 6265bis, 4.1.3.2).
    pub fn set_cookie(&self, name: &str, max_age_s: u32) -> SetCookie {
        let text = format!("{name}={}; Max-Age={max_age_s}; Path=/; Secure; HttpOnly; SameSite=None", self.0);
        HeaderValue::try_from(text).expect("names and hexadecimal are ASCII")
    }
}

/// Every value of a cookie. Cookies of other sites on the same domain may have the same name and hold any bytes.
fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The value of a cookie that [`set_origin`] has set, if it is one of these origins.
pub(crate) fn read_origin<'o>(headers: &HeaderMap, name: &str, origins: &'o [String]) -> Option<&'o str> {
    let known = |value: &[u8]| origins.iter().find(|origin| origin.as_bytes() == value);
    values(headers, name).find_map(known).map(String::as_str)
}

/// `Set-Cookie` with an origin of the brand's configuration.
pub(crate) fn set_origin(name: &str, origin: &str) -> SetCookie {
    let text = format!("{name}={origin}; Max-Age={ORIGIN_MAX_AGE_S}; Path=/; Secure; HttpOnly; SameSite=None");
    HeaderValue::try_from(text).expect("names and configured origins are ASCII")
}

/// `Set-Cookie` that removes a cookie.
pub(crate) fn remove(name: &str) -> SetCookie {
    let text = format!("{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None");
    HeaderValue::try_from(text).expect("names are ASCII")
}

/// The name of a brand's cookie, such as `__Host-dexar_visitor`. Browsers share cookies between the ports of a host, so
/// each brand has its own names.
pub(crate) fn name(brand: &str, what: &str) -> String {
    format!("__Host-{brand}_{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_with_the_right_format_are_read() {
        let secret = CookieSecret::new().expect("randomness");
        let name = name("dexar", "visitor");
        let read = |line: String| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(line.as_bytes()).expect("no control characters"));
            CookieSecret::read(&headers, &name)
        };
        assert!(read(format!("a=b; {name}={}; c=d", secret.0)) == Some(secret.clone()));
        assert!(read(format!("city=Москва; {name}=bad; {name}={}", secret.0)) == Some(secret.clone()));
        assert!(read(format!("__Host-novo_visitor={}", secret.0)).is_none(), "another brand's");
        assert!(read(format!("{name}={}", "x".repeat(4_096))).is_none());
        assert!(read(format!("{name}={}", secret.0.to_uppercase())).is_none());
        assert!(read(name.clone()).is_none());
        assert_ne!(secret.hash(), secret.0);
    }

    #[test]
    fn set_cookie_has_every_security_attribute() {
        let cookie = CookieSecret("ab".repeat(32)).set_cookie("__Host-dexar_visitor", 31_536_000);
        let expected = format!(
            "__Host-dexar_visitor={}; Max-Age=31536000; Path=/; Secure; HttpOnly; SameSite=None",
            "ab".repeat(32)
        );
        assert_eq!(cookie, expected);
    }

    #[test]
    fn fuzz_cookies() {
        let (own, other) = (CookieSecret("0f".repeat(32)), CookieSecret("e1".repeat(32)));
        let name = name("dexar", "visitor");
        let seeds = [
            format!("{name}={}", own.0),
            format!("city=\"Москва\"; {name}=short; {name}={}; __Host-novo_visitor={}", own.0, other.0),
            format!("__Host-dexar_session={};{name}={}", other.0, own.0),
        ];
        let words = [&name, "__Host-", "; ", "=", &own.0, &other.0, "\t", "\""];
        let outcomes = crate::foundation::fuzz::fuzz(&seeds, &words, |input| {
            let Ok(value) = HeaderValue::from_bytes(input) else { return "not a header".to_owned() };
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, value);
            let Some(secret) = CookieSecret::read(&headers, &name) else { return "none".to_owned() };
            assert!(secret.0.len() == 64 && secret.0.bytes().all(|b| b"0123456789abcdef".contains(&b)));
            // Only a whole cookie of exactly this name counts.
            let text = String::from_utf8_lossy(input);
            let pair = format!("{name}={}", secret.0);
            assert!(text.split(';').any(|cookie| cookie.trim_matches([' ', '\t']) == pair), "{text}");
            let mut echoed = HeaderMap::new();
            let set_cookie = secret.set_cookie(&name, 60);
            let sent = set_cookie.to_str().expect("ASCII").split(';').next().expect("a pair").to_owned();
            echoed.insert(COOKIE, HeaderValue::from_str(&sent).expect("ASCII"));
            assert!(CookieSecret::read(&echoed, &name) == Some(secret), "a cookie survives the browser");
            "accepted".to_owned()
        });
        outcomes.assert_seen(&["accepted", "none", "not a header"]);
    }
}
