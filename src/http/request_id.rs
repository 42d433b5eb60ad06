//! The id under which a request is found in the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a client's own that is kept.
const LONGEST_BYTES: usize = 128;

/// Random for each process, so that two instances never give one id.
static PROCESS: LazyLock<String> =
    LazyLock::new(|| format!("{:016x}-", RandomState::new().hash_one(std::process::id())));
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The client's own id when it is sane (1-128 letters, digits, `.`, `_`, `-`), else a new one.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

/// Made for every request, so it is not left to `format!`.
fn new() -> HeaderValue {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = Vec::with_capacity(PROCESS.len() + 16);
    id.extend_from_slice(PROCESS.as_bytes());
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    id.extend((0..digits).rev().map(|place| b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]));
    HeaderValue::try_from(id).expect("hexadecimal and a dash are ASCII")
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST_BYTES).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_is_replaced() {
        let of_sent = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).expect("ASCII"));
            of(&headers)
        };
        assert_eq!(of_sent("front-42_a.b"), "front-42_a.b");
        for sent in ["", "with space", "a\"b", &"x".repeat(129)] {
            assert_ne!(of_sent(sent), sent);
        }
        let number = || {
            let id = of(&HeaderMap::new());
            let digits = id.to_str().expect("ASCII").strip_prefix(PROCESS.as_str()).expect("the process's").to_owned();
            (u64::from_str_radix(&digits, 16).expect("hexadecimal"), digits)
        };
        for _ in 0..300 {
            let ((first, digits), (second, _)) = (number(), number());
            assert!(first < second);
            assert_eq!(digits, format!("{first:x}"));
        }
    }
}
