//! Amounts of money in roubles.
//!
//! # Invariants
//! - Amounts are exact decimals, never floating-point numbers.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount in roubles, serialised as the shortest JSON number: `100`, `10.1`, `1110.11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub Decimal);

impl Amount {
    pub fn to_json(self) -> Box<RawValue> {
        RawValue::from_string(self.0.normalize().to_string()).expect("a decimal is a JSON number")
    }

    /// As in the payload of a QR code: 1110.00 roubles are 111000.
    pub fn kopecks(self) -> Decimal {
        (self.0 * Decimal::ONE_HUNDRED).normalize()
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// The exact value of a JSON number; `None` for any other JSON.
pub fn parse_number(json: &RawValue) -> Option<Decimal> {
    let text = json.get();
    Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok().map(|value| value.normalize())
}

/// A positive amount with at most two decimal places.
pub fn parse_positive(json: &RawValue) -> Option<Amount> {
    parse_number(json).filter(|value| *value > Decimal::ZERO && value.scale() <= 2).map(Amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_amount_is_parsed_exactly() {
        let read = |text: &str| {
            let json = RawValue::from_string(text.to_owned()).expect("JSON");
            parse_positive(&json).map(|amount| amount.to_json().get().to_owned())
        };
        for (text, expected) in [
            ("100", "100"),
            ("100.0", "100"),
            ("100.00", "100"),
            ("10.10", "10.1"),
            ("1110.11", "1110.11"),
            ("0.01", "0.01"),
            ("1e2", "100"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in ["0", "0.00", "-1", "0.001", "269.97000000000003", "\"100\"", "null", "true", "[1]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
