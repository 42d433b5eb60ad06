//! The id of a request, by which it is found in the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client.
const MAX_BYTES: usize = 128;

/// The prefix of ids of this process: random, so that two instances never generate the same id.
static PROCESS: LazyLock<String> =
    LazyLock::new(|| format!("{:016x}-", RandomState::new().hash_one(std::process::id())));
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The client's `X-Request-Id` if it is valid (1 to 128 letters, digits, `.`, `_`, `-`), otherwise a new id.
pub(crate) fn from_headers(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if is_valid(id.as_bytes()) => id.clone(),
        _ => generate(),
    }
}

/// Without `format!`, because most requests need one.
fn generate() -> HeaderValue {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = Vec::with_capacity(PROCESS.len() + 16);
    id.extend_from_slice(PROCESS.as_bytes());
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    id.extend((0..digits).rev().map(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]));
    HeaderValue::try_from(id).expect("hexadecimal and a dash are ASCII")
}

fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_id_is_kept_and_any_other_is_replaced() {
        let id_for = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).expect("ASCII"));
            from_headers(&headers)
        };
        assert_eq!(id_for("front-42_a.b"), "front-42_a.b");
        for sent in ["", "with space", "a\"b", &"x".repeat(129)] {
            assert_ne!(id_for(sent), sent);
        }
        let number = || {
            let id = from_headers(&HeaderMap::new());
            let digits = id
                .to_str()
                .expect("ASCII")
                .strip_prefix(PROCESS.as_str())
                .expect("the prefix of the process")
                .to_owned();
            (u64::from_str_radix(&digits, 16).expect("hexadecimal"), digits)
        };
        for _ in 0..300 {
            let ((first, digits), (second, _)) = (number(), number());
            assert!(first < second);
            assert_eq!(digits, format!("{first:x}"));
        }
    }
}
