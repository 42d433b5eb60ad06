//! Bytes as hexadecimal digits, and names made of them.
//!
//! Used wherever something is hashed, signed or named. What must never happen: a digit that is none is read as one.

use crate::foundation::error::{Error, Result};

/// Bytes as lower-case digits.
pub fn of(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(digits);
    text
}

/// The 32 bytes that 64 digits of either case stand for; `None` for any other text.
pub fn bytes_32(text: &str) -> Option<[u8; 32]> {
    let right = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate().take(if right { 32 } else { 0 }) {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    right.then_some(bytes)
}

/// 128 random bits, for names that are no secrets.
///
/// # Errors
/// The system has no randomness to give.
pub fn random_name() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(e.to_string()))?;
    Ok(of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_bytes_stand_for_each_other() {
        assert_eq!(of(&[0x00, 0x0f, 0xa5]), "000fa5");
        let digits = "00ff".repeat(16);
        assert_eq!(bytes_32(&digits).map(|bytes| of(&bytes)), Some(digits.clone()));
        assert_eq!(bytes_32(&digits.to_uppercase()).map(|bytes| of(&bytes)), Some(digits.clone()));
        assert_eq!(bytes_32(&digits[1..]), None);
        assert_eq!(bytes_32(&digits.replacen("0", "+", 1)), None);
        assert_eq!(bytes_32(&"é".repeat(32)), None);
    }
}
