//! Hexadecimal encoding of hashes and signatures, and random names.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::foundation::error::{Error, Result};

/// Lower-case hexadecimal digits, two for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Decodes 64 digits of either case; `None` for any other text.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// 128 random bits as 32 digits. For names, not for secrets.
///
/// # Errors
/// 500 when the operating system provides no random bytes.
pub(crate) fn random_name() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(e.to_string()))?;
    Ok(encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_accepts_exactly_64_digits_of_either_case() {
        assert_eq!(encode(&[0x00, 0x0f, 0xa5]), "000fa5");
        let digits = "00ff".repeat(16);
        assert_eq!(decode_32(&digits).map(|bytes| encode(&bytes)), Some(digits.clone()));
        assert_eq!(decode_32(&digits.to_uppercase()).map(|bytes| encode(&bytes)), Some(digits.clone()));
        assert_eq!(decode_32(&digits[1..]), None);
        assert_eq!(decode_32(&digits[2..]), None);
        assert_eq!(decode_32(&digits.replacen('0', "+", 1)), None);
        assert_eq!(decode_32(&"é".repeat(32)), None);
    }
}
