//! Prices as people write them in feeds.
//!
//! Called by `yml::offer`. A price that can be read in two ways must never be guessed: the offer is rejected instead.

use super::super::record::LARGEST_PRICE;
use rust_decimal::{Decimal, RoundingStrategy};

/// A positive price with at most two decimals, or why it is none.
pub fn price(text: &str) -> Result<Decimal, &'static str> {
    const NOT_A_NUMBER: &str = "price is not a number";
    let text = text.trim();
    if text.is_empty() {
        return Err("price is empty");
    }
    if let Some(rest) = text.strip_prefix(['-', '−']) {
        return Err(if price(rest).is_ok() { "price is negative" } else { NOT_A_NUMBER });
    }
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole.trim_end(), fraction),
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let whole = joined_thousands(whole).filter(|digits| all_digits(digits)).ok_or(NOT_A_NUMBER)?;
    if !all_digits(fraction) || (text.contains(['.', ',']) && fraction.is_empty()) {
        return Err(NOT_A_NUMBER);
    }
    // `1,234` is 1.234 to a Russian and 1234 to an American.
    if text.contains(',') && fraction.len() == 3 && whole != "0" {
        return Err("price is ambiguous: a comma before three digits");
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 12 {
        return Err("price is too large");
    }
    // The third decimal is enough to round by, for halves are rounded up.
    let fraction = &fraction[..fraction.len().min(3)];
    let value: Decimal = format!("0{whole}.{fraction}0").parse().map_err(|_| NOT_A_NUMBER)?;
    let value = value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize();
    if value.is_zero() {
        return Err("price is zero");
    }
    if value > LARGEST_PRICE { Err("price is too large") } else { Ok(value) }
}

/// `1 234 567` without its spaces, if they stand where thousands end.
fn joined_thousands(whole: &str) -> Option<String> {
    let mut groups = whole.split_whitespace();
    let mut out = groups.next()?.to_owned();
    let grouped = out.len() <= 3;
    for group in groups {
        if !grouped || group.len() != 3 {
            return None;
        }
        out.push_str(group);
    }
    Some(out)
}

/// The whole percent that `price` is below `old`, halves up; `old` is the larger one.
pub fn discount(old: Decimal, price: Decimal) -> Decimal {
    ((old - price) * Decimal::ONE_HUNDRED / old).round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
}

/// The list price from which this whole percentage leads to `price` to the kopeck: `old` itself where it does.
///
/// A whole percent is coarse; what people pay must be what the feed says, so the crossed-out price gives way.
pub fn list_price(old: Decimal, price: Decimal, discount: Decimal) -> Decimal {
    let rest = Decimal::ONE_HUNDRED - discount;
    let kopecks = |value: Decimal| value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    if kopecks(old * rest / Decimal::ONE_HUNDRED) == price { old } else { kopecks(price * Decimal::ONE_HUNDRED / rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        price(text).map(|value| value.to_string())
    }

    #[test]
    fn people_pay_what_the_feed_says() {
        for (old, price, percent, list) in [
            ("1000", "900", "10", "1000"),
            ("20504", "15188", "26", "20524.32"),
            ("1000", "996", "0", "996"),
            ("1000", "995", "1", "1005.05"),
        ] {
            let [old, price, list]: [Decimal; 3] = [old, price, list].map(|text| text.parse().unwrap());
            let off = discount(old, price);
            assert_eq!((off.to_string().as_str(), list_price(old, price, off)), (percent, list), "{old} {price}");
            let paid = list * (Decimal::ONE_HUNDRED - off) / Decimal::ONE_HUNDRED;
            assert_eq!(paid.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero), price);
        }
    }

    #[test]
    fn prices_are_read_as_people_write_them() {
        for (text, value) in [
            ("1490", "1490"),
            (" 36.5\n", "36.5"),
            ("8600.00", "8600"),
            ("8600,50", "8600.5"),
            ("1 234 567,89", "1234567.89"),
            ("12\u{a0}000", "12000"),
            ("12\u{202f}000.00", "12000"),
            ("0,005", "0.01"),
            ("5.0049999", "5"),
            ("007", "7"),
            ("999999999999.99", "999999999999.99"),
            ("1234.567", "1234.57"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_price_is_said_so() {
        for text in [
            "abc",
            "5000 руб.",
            "от 5",
            "1e5",
            "+5",
            "5.",
            ".5",
            "1 23",
            "1234 567",
            "1.2.3",
            "1,234.50",
            "٣",
            "-x",
            "5-",
        ] {
            assert_eq!(read(text), Err("price is not a number"), "{text}");
        }
        assert_eq!(read(" "), Err("price is empty"));
        for text in ["-5", "−1 000,50"] {
            assert_eq!(read(text), Err("price is negative"), "{text}");
        }
        for text in ["0", "0.00", "0,004"] {
            assert_eq!(read(text), Err("price is zero"), "{text}");
        }
        for text in ["999999999999.995", "1000000000000", &"9".repeat(500)] {
            assert_eq!(read(text), Err("price is too large"), "{text}");
        }
        assert_eq!(read("1,234"), Err("price is ambiguous: a comma before three digits"));
    }

    #[test]
    fn discounts_are_whole_and_halves_go_up() {
        for (old, new, percent) in [(5660, 4528, 20), (200, 175, 13), (1000, 996, 0), (1000, 995, 1), (1000, 1, 100)] {
            assert_eq!(discount(Decimal::from(old), Decimal::from(new)), Decimal::from(percent), "{old} to {new}");
        }
    }
}
