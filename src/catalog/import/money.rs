//! Parser of the prices in files of all formats. An ambiguous price is an error, not a guess.

use rust_decimal::Decimal;

use super::record::MAX_PRICE;
use crate::foundation::money::{discounted, round_half_up};

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
    let value = round_half_up(value, 2).normalize();
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

/// The code of a currency, in capitals or not; any word for the rouble is `RUB`. `None`: it is not three letters.
pub(super) fn currency_code(text: &str) -> Option<String> {
    if is_rouble(text) {
        return Some("RUB".to_owned());
    }
    let code = text.to_ascii_uppercase();
    (code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())).then_some(code)
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

/// What is paid for one unit, as an item stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnitPrice {
    /// Before the discount.
    pub list: Decimal,
    /// Percent.
    pub discount: Decimal,
    /// What is paid, where it is not the discounted list price.
    pub sale: Option<Decimal>,
}

impl UnitPrice {
    /// A price without a discount.
    pub(super) fn full(list: Decimal) -> UnitPrice {
        UnitPrice { list, discount: Decimal::ZERO, sale: None }
    }

    /// The list price as the shop gives it, and what is paid. The discount in whole percent is rounded down, so that the price
    /// which a front end computes from it is never below what is paid.
    pub(super) fn reduced(list: Decimal, paid: Decimal) -> UnitPrice {
        let discount = ((list - paid) * Decimal::ONE_HUNDRED / list).floor();
        UnitPrice { list, discount, sale: Some(paid) }.normalized()
    }

    /// In roubles, at so many roubles for one unit of its currency: the list price and what is paid are each rounded half up to the
    /// kopeck. `None`: it would be zero, or too large.
    pub(super) fn converted(self, rate: Decimal) -> Option<UnitPrice> {
        let list = converted(self.list, rate)?;
        let most = discounted(list, self.discount, 2);
        let sale = match self.sale {
            Some(sale) => Some(converted(sale, rate)?.min(most)),
            None => None,
        };
        Some(UnitPrice { list, sale, ..self }.normalized())
    }

    /// A sale price is stored only where it is needed.
    pub(super) fn normalized(self) -> UnitPrice {
        let sale = self.sale.filter(|sale| *sale != discounted(self.list, self.discount, 2));
        UnitPrice { sale, ..self }
    }
}

/// A sum in roubles, rounded half up to the kopeck. `None`: it would be zero, or too large for a price.
pub(super) fn converted(sum: Decimal, rate: Decimal) -> Option<Decimal> {
    let roubles = round_half_up(sum.checked_mul(rate)?, 2);
    (roubles > Decimal::ZERO && roubles <= MAX_PRICE).then_some(roubles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        price(text).map(|value| value.to_string())
    }

    /// List price, discount and sale price.
    fn parts(price: UnitPrice) -> (String, String, Option<String>) {
        let text = |value: Decimal| value.normalize().to_string();
        (text(price.list), text(price.discount), price.sale.map(text))
    }

    #[test]
    fn the_list_price_is_kept_and_no_discounted_price_is_below_what_is_paid() {
        for (old, price, percent, sale) in [
            ("1000", "900", "10", None),
            ("20504", "15188", "25", Some("15188")),
            ("1000", "996", "0", Some("996")),
            ("1000", "995", "0", Some("995")),
            ("1299", "999", "23", Some("999")),
            ("1000", "0.01", "99", Some("0.01")),
        ] {
            let [list, paid]: [Decimal; 2] = [old, price].map(|text| text.parse().unwrap());
            let reduced = UnitPrice::reduced(list, paid);
            assert_eq!(parts(reduced), (old.to_owned(), percent.to_owned(), sale.map(str::to_owned)), "{old} {price}");
            assert!(discounted(list, reduced.discount, 2) >= paid);
        }
    }

    #[test]
    fn a_price_in_another_currency_is_converted_to_the_kopeck() {
        let rate: Decimal = "90.515".parse().unwrap();
        let usd = |old: &str, price: &str| UnitPrice::reduced(old.parse().unwrap(), price.parse().unwrap());
        let text = |list: &str, discount: &str, sale: Option<&str>| {
            Some((list.to_owned(), discount.to_owned(), sale.map(str::to_owned)))
        };
        let roubles = |price: UnitPrice| price.converted(rate).map(parts);
        assert_eq!(roubles(UnitPrice::full("99.99".parse().unwrap())), text("9050.59", "0", None));
        assert_eq!(roubles(usd("100", "90")), text("9051.5", "10", None));
        assert_eq!(roubles(usd("12.99", "9.99")), text("1175.79", "23", Some("904.24")));
        assert_eq!(UnitPrice::full(Decimal::new(1, 2)).converted(Decimal::new(1, 1)), None, "it would be free");
        assert_eq!(UnitPrice::full(MAX_PRICE).converted(rate), None);
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
}
