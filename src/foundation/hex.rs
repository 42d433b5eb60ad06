//! Hexadecimal encoding, and random identifiers in it.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::foundation::error::{Error, Result};

/// Lower-case digits, two a byte.
pub fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The 32 bytes of 64 digits of either case; `None` for any other text.
pub fn decode_32(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// 128 random bits, for identifiers that are not secret.
///
/// # Errors
/// 500 when the operating system's random source fails.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_digits_of_either_case() {
        assert_eq!(encode(&[0x00, 0x0f, 0xa5]), "000fa5");
        let digits = "00ff".repeat(16);
        assert_eq!(decode_32(&digits).map(|bytes| encode(&bytes)), Some(digits.clone()));
        assert_eq!(decode_32(&digits.to_uppercase()).map(|bytes| encode(&bytes)), Some(digits.clone()));
        assert_eq!(decode_32(&digits[1..]), None);
        assert_eq!(decode_32(&digits.replacen("0", "+", 1)), None);
        assert_eq!(decode_32(&"é".repeat(32)), None);
    }
}
