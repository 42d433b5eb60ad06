//! Whole numbers in JSON, whatever their notation: `2`, `2.0` and `2e0` are the same number.

use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use crate::foundation::money;

/// `None` for a value that is not a number, for a fraction, and outside the range of `i64`.
pub(crate) fn from_json(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| from_text(&number.to_string())),
        _ => None,
    }
}

/// The same for the text of a JSON value.
pub(crate) fn from_text(number: &str) -> Option<i64> {
    match number.parse() {
        Ok(number) => Some(number),
        Err(_) => money::decimal_from_json(number).filter(|decimal| decimal.is_integer())?.to_i64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_does_not_matter() {
        for (text, number) in [
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("2e0", Some(2)),
            ("20E-1", Some(2)),
            ("-0.0", Some(0)),
            ("9007199254740991.0", Some(9_007_199_254_740_991)),
            ("1.5", None),
            ("1e300", None),
            ("1e-1", None),
            ("9223372036854775808", None),
            ("\"2\"", None),
            ("true", None),
            ("null", None),
        ] {
            assert_eq!(from_text(text), number, "{text}");
            assert_eq!(from_json(&serde_json::from_str(text).expect("JSON")), number, "{text}");
        }
    }
}
