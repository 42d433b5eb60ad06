//! Parser of the prices in files of all formats. An ambiguous price is an error, not a guess.

use rust_decimal::{Decimal, RoundingStrategy};

use super::record::MAX_PRICE;

/// Parses a positive price and rounds it to two decimals.
///
/// # Errors
/// The reason why it is not a price.
pub(super) fn price(text: &str) -> Result<Decimal, &'static str> {
    const NOT_A_NUMBER: &str = "price is not a number";
    let text = without_rouble_sign(text.trim());
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
    // `1,234` is 1.234 in Russian and 1234 in American notation.
    if text.contains(',') && fraction.len() == 3 && whole != "0" {
        return Err("price is ambiguous: a comma before three digits");
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 12 {
        return Err("price is too large");
    }
    // Halves are rounded up, so the third decimal decides.
    let fraction = &fraction[..fraction.len().min(3)];
    let value: Decimal = format!("0{whole}.{fraction}0").parse().map_err(|_| NOT_A_NUMBER)?;
    let value = value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize();
    if value.is_zero() {
        return Err("price is zero");
    }
    if value > MAX_PRICE { Err("price is too large") } else { Ok(value) }
}

/// `1 990 руб.` without the unit.
fn without_rouble_sign(text: &str) -> &str {
    let Some((number, word)) =
        text.char_indices().rev().find(|(_, c)| c.is_ascii_digit()).map(|(at, _)| text.split_at(at + 1))
    else {
        return text;
    };
    if is_rouble(word.trim()) { number } else { text }
}

/// Whether a word or sign means the rouble: `RUB`, the old `RUR`, `руб.`, `р.`, `₽`.
pub(super) fn is_rouble(word: &str) -> bool {
    ["rub", "rur", "руб", "р", "₽", "рублей", "рубль"].contains(&word.trim_end_matches('.').to_lowercase().as_str())
}

/// `1 234 567` without its spaces; `None` when they do not separate thousands.
pub(super) fn joined_thousands(whole: &str) -> Option<String> {
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

/// By how many percent `price` is below `old` (the larger one), rounded half up to a whole percent.
pub(super) fn discount(old: Decimal, price: Decimal) -> Decimal {
    ((old - price) * Decimal::ONE_HUNDRED / old).round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
}

/// The list price that yields exactly `price` after the discount: `old` if it does.
///
/// Whole percents are coarse. Customers must pay the price of the feed, so the crossed-out price is adjusted.
pub(super) fn list_price(old: Decimal, price: Decimal, discount: Decimal) -> Decimal {
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
    fn the_discounted_list_price_is_the_price_of_the_feed() {
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
    fn usual_notations_are_parsed() {
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
            ("1 990 руб.", "1990"),
            ("1990,50р", "1990.5"),
            ("1990 ₽", "1990"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn everything_else_is_an_error() {
        for text in [
            "abc",
            "5000 р-в",
            "5000 USD",
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
    fn discounts_are_whole_percents_rounded_half_up() {
        for (old, new, percent) in [(5660, 4528, 20), (200, 175, 13), (1000, 996, 0), (1000, 995, 1), (1000, 1, 100)] {
            assert_eq!(discount(Decimal::from(old), Decimal::from(new)), Decimal::from(percent), "{old} to {new}");
        }
    }
}
