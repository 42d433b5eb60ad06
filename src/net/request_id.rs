//! The id under which a request is found in the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderValue};

use super::reply::X_REQUEST_ID;

/// The longest id of a client's own that is kept.
const LONGEST_BYTES: usize = 128;

/// Random for each process, so that two instances never give one id.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The client's own id when it is sane (1-128 letters, digits, `.`, `_`, `-`), else a new one.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => {
            let id = format!("{:016x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
            HeaderValue::try_from(id).expect("hexadecimal and a dash are ASCII")
        }
    }
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
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
