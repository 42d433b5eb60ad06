//! Reads what a file says about stock, for all formats: numbers in the notations of price lists, and words.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use super::record::Stock;
use crate::foundation::money::decimal_from_json;

/// The largest stock that is called low, as in the API.
const MAX_LOW: i32 = 9;

const OUT: [&str; 24] = [
    "out",
    "out of stock",
    "out_of_stock",
    "outofstock",
    "not available",
    "unavailable",
    "false",
    "no",
    "n",
    "none",
    "нет",
    "нет на складе",
    "нет в наличии",
    "не в наличии",
    "отсутствует",
    "закончился",
    "закончилась",
    "закончилось",
    "продано",
    "распродано",
    "под заказ",
    "предзаказ",
    "ожидается",
    "снят с производства",
];
const AVAILABLE: [&str; 14] = [
    "true",
    "yes",
    "y",
    "in stock",
    "in_stock",
    "instock",
    "available",
    "да",
    "есть",
    "есть в наличии",
    "есть на складе",
    "в наличии",
    "на складе",
    "имеется",
];
const LEVELS: [(&str, &str); 9] = [
    ("high", "high"),
    ("много", "high"),
    ("очень много", "high"),
    ("medium", "medium"),
    ("достаточно", "medium"),
    ("средне", "medium"),
    ("low", "low"),
    ("мало", "low"),
    ("заканчивается", "low"),
];

/// The stock that a text states: `5`, `1 200`, `8.0`, `-3` (0, as 1C can have it), `5 шт.`, `>10` (at least 10), `<5`
/// (low), `нет`, `в наличии`, `много`. Fractions of a unit are dropped. `None` when it is not understood or blank.
pub(super) fn from_text(text: &str) -> Option<Stock> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let text = text.trim_end_matches(['.', '!', ';', ',']);
    if let Some(units) = units(text) {
        return Some(Stock::Count(units));
    }
    let at_least = ["более ", "больше ", "свыше ", "от "].iter().find_map(|word| text.strip_prefix(word));
    let at_least = at_least.or_else(|| text.strip_prefix(['>', '≥'])).or_else(|| text.strip_suffix('+'));
    if let Some(rest) = at_least {
        return units(rest.trim_start_matches('=')).map(Stock::Count);
    }
    let below = ["менее ", "меньше ", "до "].iter().find_map(|word| text.strip_prefix(word));
    if let Some(rest) = below.or_else(|| text.strip_prefix(['<', '≤'])) {
        let bound = units(rest.trim_start_matches('='))?;
        return (1..=MAX_LOW + 1).contains(&bound).then_some(Stock::Level("low"));
    }
    if OUT.contains(&text) {
        return Some(Stock::Level("out"));
    }
    if AVAILABLE.contains(&text) {
        return Some(Stock::Available);
    }
    LEVELS.iter().find(|(word, _)| *word == text).map(|(_, level)| Stock::Level(level))
}

/// The same for a JSON number, text or boolean.
pub(super) fn from_json(value: &Value) -> Option<Stock> {
    match value {
        Value::Number(number) => decimal_from_json(&number.to_string()).map(|number| Stock::Count(whole_units(number))),
        Value::String(text) => from_text(text),
        Value::Bool(true) => Some(Stock::Available),
        Value::Bool(false) => Some(Stock::Level("out")),
        _ => None,
    }
}

/// Whether a flag like `available="true"` says that there is stock: a word, or a number. `None` when it is not
/// understood.
pub(super) fn is_available(flag: &str) -> Option<bool> {
    match from_text(flag)? {
        Stock::Count(count) => Some(count > 0),
        Stock::Level(level) => Some(level != "out"),
        Stock::Available => Some(true),
    }
}

/// A number of units, with or without the word for them.
fn units(text: &str) -> Option<i32> {
    const UNIT_WORDS: [&str; 7] = ["штук", "шт.", "шт", "ед.", "ед", "pcs", "units"];
    let text = text.trim();
    let text = UNIT_WORDS.iter().find_map(|word| text.strip_suffix(word)).unwrap_or(text).trim_end();
    let (sign, digits) = match text.strip_prefix(['-', '−']) {
        Some(digits) => ("-", digits.trim_start()),
        None => ("", text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (whole, rest) = digits.split_at(digits.find(['.', ',', 'e']).unwrap_or(digits.len()));
    let whole = super::money::joined_thousands(whole)?;
    if rest.is_empty() && whole.bytes().all(|b| b.is_ascii_digit()) {
        let count = whole.parse().unwrap_or(i32::MAX);
        return Some(if sign.is_empty() { count } else { 0 });
    }
    let rest = rest.replacen(',', ".", 1);
    let has_digits = |part: &str| part.bytes().any(|b| b.is_ascii_digit());
    let number = if has_digits(&rest) { format!("{sign}{whole}{rest}") } else { return None };
    decimal_from_json(&number).map(whole_units)
}

fn whole_units(number: Decimal) -> i32 {
    number.trunc().max(Decimal::ZERO).to_i32().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_alike_as_text_and_as_json() {
        for (text, units) in [
            ("5", 5),
            ("0", 0),
            ("-3", 0),
            ("2.5", 2),
            ("8.0", 8),
            ("0.9", 0),
            ("-0.5", 0),
            ("1e2", 100),
            ("3000000000", i32::MAX),
        ] {
            assert_eq!(from_text(text), Some(Stock::Count(units)), "{text}");
            let number: Value = serde_json::from_str(text).expect("a number");
            assert_eq!(from_json(&number), Some(Stock::Count(units)), "{text}");
            assert_eq!(from_json(&Value::from(text)), Some(Stock::Count(units)), "{text}");
        }
    }

    #[test]
    fn notations_of_price_lists_are_understood() {
        for (text, stock) in [
            (" 4 ", Stock::Count(4)),
            ("1 200", Stock::Count(1200)),
            ("12\u{a0}000", Stock::Count(12_000)),
            ("5,000", Stock::Count(5)),
            ("5.", Stock::Count(5)),
            ("5 шт.", Stock::Count(5)),
            ("5шт", Stock::Count(5)),
            (">10", Stock::Count(10)),
            ("> 10", Stock::Count(10)),
            ("≥10", Stock::Count(10)),
            ("10+", Stock::Count(10)),
            ("Более 100 шт", Stock::Count(100)),
            ("−3", Stock::Count(0)),
            ("<5", Stock::Level("low")),
            ("<= 10", Stock::Level("low")),
            ("до 5", Stock::Level("low")),
            ("НЕТ", Stock::Level("out")),
            ("Нет  в наличии.", Stock::Level("out")),
            ("под заказ", Stock::Level("out")),
            ("Много", Stock::Level("high")),
            ("мало", Stock::Level("low")),
            ("В наличии", Stock::Available),
            ("true", Stock::Available),
        ] {
            assert_eq!(from_text(text), Some(stock), "{text}");
        }
    }

    #[test]
    fn everything_else_is_not_understood() {
        for text in ["", " ", "x", "5 кг", "1 23", "1.2.3", "5-10", "1,200,000", "<0", "<100", ">", "5e", "٣", "скоро"]
        {
            assert_eq!(from_text(text), None, "{text}");
        }
        for json in ["null", "[]", "{}", "[5]"] {
            assert_eq!(from_json(&serde_json::from_str(json).expect("JSON")), None, "{json}");
        }
    }

    #[test]
    fn flags_are_words_or_numbers() {
        for (flag, available) in [
            ("true", Some(true)),
            (" TRUE ", Some(true)),
            ("1", Some(true)),
            ("да", Some(true)),
            ("false", Some(false)),
            ("0", Some(false)),
            ("нет", Some(false)),
            ("под заказ", Some(false)),
            ("", None),
            ("возможно", None),
        ] {
            assert_eq!(is_available(flag), available, "{flag}");
        }
    }
}
