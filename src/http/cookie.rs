//! Cookies that hold a secret: made, read, and named so that no brand can take another's for its own.
//!
//! Used by the domains that know a visitor. The browser keeps 256 random bits; what is stored anywhere is their hash alone.
//! What must never happen: the value of a cookie in a log, a database or an answer's body.

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::foundation::error::{Error, Result};
use crate::foundation::hex;

/// The value of a `Set-Cookie` header.
pub type SetCookie = HeaderValue;

/// What hangs on a browser for a year and a cart hangs on.
pub const VISITOR: &str = "visitor";
/// Who is logged in.
pub const SESSION: &str = "session";
/// A login that has begun.
pub const ATTEMPT: &str = "attempt";

/// 256 bits in hexadecimal.
const SECRET_DIGITS: usize = 64;

/// The value of one of our cookies.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieSecret(String);

impl CookieSecret {
    /// # Errors
    /// Only when the operating system has no randomness to give.
    pub fn new() -> Result<CookieSecret> {
        let mut bytes = [0; SECRET_DIGITS / 2];
        getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
        Ok(CookieSecret(hex::encode(&bytes)))
    }

    /// The cookie of that name, when it was sent and has the shape of ours.
    pub fn read(headers: &HeaderMap, name: &str) -> Option<CookieSecret> {
        // Other people's cookies on the same domain may hold any bytes, and stand before ours.
        let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        let is_ours = |value: &&[u8]| {
            value.len() == SECRET_DIGITS && value.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        };
        let value = values.find(is_ours)?;
        Some(CookieSecret(String::from_utf8_lossy(value).into_owned()))
    }

    /// A second secret that only the holder of this one can know, one for each purpose.
    pub fn derive(&self, purpose: &str) -> CookieSecret {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        CookieSecret(hex::encode(&mac.finalize().into_bytes()))
    }

    /// A public name that belongs to this secret and does not lead back to it: 128 bits in hexadecimal.
    pub fn name(&self, purpose: &str) -> String {
        let mut name = self.derive(purpose).0;
        name.truncate(SECRET_DIGITS / 2);
        name
    }

    /// What may be stored of it.
    pub fn hash(&self) -> String {
        hex::encode(&Sha256::digest(&self.0))
    }

    /// `Set-Cookie` for it. `__Host-` makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis, 4.1.3.2).
    pub fn set_cookie(&self, name: &str, max_age_s: u32) -> SetCookie {
        let text = format!("{name}={}; Max-Age={max_age_s}; Path=/; Secure; HttpOnly; SameSite=None", self.0);
        HeaderValue::try_from(text).expect("names and hexadecimal are ASCII")
    }
}

/// `Set-Cookie` that takes a cookie away.
pub fn remove(name: &str) -> SetCookie {
    let text = format!("{name}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None");
    HeaderValue::try_from(text).expect("names are ASCII")
}

/// `__Host-dexar_visitor`: per brand, because a browser does not keep apart two ports of one host.
pub fn name(brand: &str, what: &str) -> String {
    format!("__Host-{brand}_{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_ours_is_read() {
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
    fn every_attribute_is_set() {
        let cookie = CookieSecret("ab".repeat(32)).set_cookie("__Host-dexar_visitor", 31_536_000);
        let expected = format!(
            "__Host-dexar_visitor={}; Max-Age=31536000; Path=/; Secure; HttpOnly; SameSite=None",
            "ab".repeat(32)
        );
        assert_eq!(cookie, expected);
    }
}
