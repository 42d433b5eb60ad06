//! Amounts of the bank: exact decimals, in and out of JSON as the literal that stands there.
//!
//! Called by everything of the bank that reads or writes an amount. What must never happen: an amount that passes
//! through a floating-point number.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount that is written as the shortest JSON number: `100`, `10.1`, `1110.11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Roubles(pub Decimal);

impl Roubles {
    pub fn literal(self) -> Box<RawValue> {
        RawValue::from_string(self.0.normalize().to_string()).expect("a decimal is a JSON number")
    }

    /// For the payload of a QR code: 1110.00 roubles are 111000.
    pub fn kopecks(self) -> Decimal {
        (self.0 * Decimal::ONE_HUNDRED).normalize()
    }
}

impl Serialize for Roubles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.literal().serialize(serializer)
    }
}

/// The exact value of a JSON number; `None` for every other JSON.
pub fn number(json: &RawValue) -> Option<Decimal> {
    let text = json.get();
    Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok().map(|value| value.normalize())
}

/// A sum of money: more than nothing, kopecks and no less.
pub fn sum(json: &RawValue) -> Option<Roubles> {
    number(json).filter(|value| *value > Decimal::ZERO && value.scale() <= 2).map(Roubles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_read_as_it_stands() {
        let read = |text: &str| {
            let json = RawValue::from_string(text.to_owned()).expect("JSON");
            sum(&json).map(|sum| sum.literal().get().to_owned())
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
