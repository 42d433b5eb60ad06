//! Money and percentages: exact decimals, written as JSON numbers.
//!
//! # Invariants
//!
//! A price never passes through a binary float between the database and the client.

use rust_decimal::{Decimal, RoundingStrategy};
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

/// A price in roubles less a discount in percent, rounded half up to `decimals` places.
pub fn discounted(price: Decimal, discount: Decimal, decimals: u32) -> Decimal {
    round_half_up(price * (Decimal::ONE_HUNDRED - discount) / Decimal::ONE_HUNDRED, decimals)
}

/// What is paid for one unit in roubles: the sale price where there is one, else the discounted price; rounded half up to
/// `decimals` places.
pub fn paid_price(price: Decimal, discount: Decimal, sale_price: Option<Decimal>, decimals: u32) -> Decimal {
    sale_price.map_or_else(|| discounted(price, discount, decimals), |sale_price| round_half_up(sale_price, decimals))
}

/// Rounds to `decimals` places, halves away from zero.
pub fn round_half_up(value: Decimal, decimals: u32) -> Decimal {
    value.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero)
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

/// The decimal nearest to a JSON number with more fractional digits than a [`Decimal`] has: `1.5e-30` is 0.
///
/// `None` for any other text, and for a number that is too large.
pub fn nearest_decimal(number: &str) -> Option<Decimal> {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let mut decimal: Decimal = digits.parse().ok()?;
    let mut decimals = exponent.parse::<i32>().ok()?.checked_neg().and_then(|decimals| u32::try_from(decimals).ok())?;
    while decimals > 0 && !decimal.is_zero() {
        let step = decimals.min(Decimal::MAX_SCALE);
        decimal = decimal.checked_mul(Decimal::new(1, step))?;
        decimals -= step;
    }
    Some(decimal)
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
    fn a_sale_price_is_paid_instead_of_the_discounted_one() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
        let paid = |sale_price: Option<&str>, decimals| {
            paid_price(decimal("1299"), decimal("23"), sale_price.map(decimal), decimals).normalize().to_string()
        };
        assert_eq!((paid(None, 2), paid(None, 0)), ("1000.23".to_owned(), "1000".to_owned()));
        assert_eq!((paid(Some("998.50"), 2), paid(Some("998.50"), 0)), ("998.5".to_owned(), "999".to_owned()));
    }

    #[test]
    fn parses_without_rounding() {
        assert_eq!(decimal_from_json("36.5"), Some(Decimal::new(365, 1)));
        assert_eq!(decimal_from_json("1e3"), Some(Decimal::new(1000, 0)));
        assert_eq!(decimal_from_json("abc"), None);
    }

    #[test]
    fn digits_beyond_those_of_a_decimal_are_rounded() {
        assert_eq!(nearest_decimal("5e-324"), Some(Decimal::ZERO));
        assert_eq!(nearest_decimal("1.2345678901234567e-15"), Some(Decimal::new(12_345_678_901_235, 28)));
        assert_eq!(nearest_decimal("0.33333333333333333333333333333333"), Some(Decimal::ONE / Decimal::from(3)));
        for invalid in ["1e300", "1e99999999999", "1e-99999999999", "\"1\"", "null"] {
            assert_eq!(nearest_decimal(invalid), None, "{invalid}");
        }
    }
}
