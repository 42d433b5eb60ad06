//! Money and percentages: exact decimals, written as JSON numbers.
//!
//! # Invariants
//!
//! A price never passes through a binary float between the database and the client.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A decimal that serializes as a JSON number without trailing zeros: `89990`, `89990.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(pub Decimal);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.normalize().to_string();
        RawValue::from_string(text).expect("a decimal's text is a JSON number").serialize(serializer)
    }
}

/// Parses a JSON number, with or without an exponent (`1e3`), without rounding.
///
/// `None` for any other text, and for more than 28 significant digits.
pub fn decimal_from_json(number: &str) -> Option<Decimal> {
    if number.bytes().any(|b| b == b'e' || b == b'E') {
        return Decimal::from_scientific(number).ok();
    }
    Decimal::from_str_exact(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serializes_as_a_plain_json_number() {
        let json = |text: &str| serde_json::to_string(&Exact(text.parse().expect("a decimal"))).expect("serializes");
        assert_eq!(json("89990.00"), "89990");
        assert_eq!(json("89990.50"), "89990.5");
        assert_eq!(json("0.00"), "0");
        assert_eq!(json("999999999999.99"), "999999999999.99");
    }

    #[test]
    fn parses_without_rounding() {
        assert_eq!(decimal_from_json("36.5"), Some(Decimal::new(365, 1)));
        assert_eq!(decimal_from_json("1e3"), Some(Decimal::new(1000, 0)));
        assert_eq!(decimal_from_json("abc"), None);
    }
}
