//! Quantities with units: one spelling of `1л`, `1 л`, `1 литр` and `1000 мл`.

/// Units by spelling: the base unit, and how many of it they are.
const UNITS: &[(&str, &str, u64)] = &[
    ("мл", "мл", 1),
    ("ml", "мл", 1),
    ("миллилитр", "мл", 1),
    ("л", "мл", 1_000),
    ("l", "мл", 1_000),
    ("литр", "мл", 1_000),
    ("liter", "мл", 1_000),
    ("litre", "мл", 1_000),
    ("լ", "мл", 1_000),
    ("լիտր", "мл", 1_000),
    ("мг", "мг", 1),
    ("mg", "мг", 1),
    ("г", "мг", 1_000),
    ("гр", "мг", 1_000),
    ("g", "мг", 1_000),
    ("gr", "мг", 1_000),
    ("грамм", "мг", 1_000),
    ("gram", "мг", 1_000),
    ("գ", "мг", 1_000),
    ("գր", "мг", 1_000),
    ("кг", "мг", 1_000_000),
    ("kg", "мг", 1_000_000),
    ("килограмм", "мг", 1_000_000),
    ("կգ", "мг", 1_000_000),
    ("мм", "мм", 1),
    ("mm", "мм", 1),
    ("миллиметр", "мм", 1),
    ("см", "мм", 10),
    ("cm", "мм", 10),
    ("сантиметр", "мм", 10),
    ("м", "мм", 1_000),
    ("m", "мм", 1_000),
    ("метр", "мм", 1_000),
    ("\"", "дюйм", 1),
    ("''", "дюйм", 1),
    ("дюйм", "дюйм", 1),
    ("inch", "дюйм", 1),
    ("гб", "гб", 1),
    ("gb", "гб", 1),
    ("гигабайт", "гб", 1),
    ("гиг", "гб", 1),
    ("тб", "гб", 1_024),
    ("tb", "гб", 1_024),
    ("терабайт", "гб", 1_024),
    ("мб", "мб", 1),
    ("mb", "мб", 1),
    ("мегабайт", "мб", 1),
    ("вт", "вт", 1),
    ("w", "вт", 1),
    ("ватт", "вт", 1),
    ("watt", "вт", 1),
    ("квт", "вт", 1_000),
    ("kw", "вт", 1_000),
    ("v", "в", 1),
    ("вольт", "в", 1),
    ("мач", "мач", 1),
    ("mah", "мач", 1),
    ("шт", "шт", 1),
    ("штук", "шт", 1),
    ("штука", "шт", 1),
    ("штуки", "шт", 1),
    ("pcs", "шт", 1),
    ("%", "%", 1),
    ("лист", "лист", 1),
    ("гц", "гц", 1),
    ("hz", "гц", 1),
];

/// Endings of units that are written out: `литра`, `дюймов`, `граммовый`.
const ENDINGS: &[&str] = &["а", "ов", "ы", "е", "ом", "ами", "s", "es", "овый", "овая", "овое"];

/// The longest spelling, ending included.
const MAX_UNIT_CHARS: usize = 14;

/// The base unit and how many of it a unit is; `None` if it is none.
pub(crate) fn unit(word: &str) -> Option<(&'static str, u64)> {
    if word.is_empty() || word.chars().count() > MAX_UNIT_CHARS {
        return None;
    }
    let exact =
        |word: &str| UNITS.iter().find(|(spelling, ..)| *spelling == word).map(|(_, base, many)| (*base, *many));
    exact(word).or_else(|| {
        ENDINGS.iter().find_map(|ending| {
            let stem = word.strip_suffix(ending)?;
            if stem.chars().count() >= 4 { exact(stem) } else { None }
        })
    })
}

/// A decimal number without insignificant zeros and with a point, e.g. `0,50` as `0.5`.
pub(crate) fn number(digits: &str) -> String {
    let digits = digits.replace(',', ".");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// The quantity in its base unit, e.g. `1000мл`; the number comes from [`number`].
pub(crate) fn canonical(number: &str, base: &str, many: u64) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Decimal arithmetic on digits: the factor is at most a million, the number has few digits.
    const SCALE: usize = 6;
    let mut scaled: u128 = whole.chars().take(18).filter_map(|c| c.to_digit(10)).fold(0, |n, d| n * 10 + u128::from(d));
    for place in 0..SCALE {
        let digit = fraction.as_bytes().get(place).map_or(0, |b| u128::from(b - b'0'));
        scaled = scaled * 10 + digit;
    }
    let total = scaled * u128::from(many);
    let (whole, rest) = (total / 1_000_000, total % 1_000_000);
    if rest == 0 {
        return format!("{whole}{base}");
    }
    let rest = format!("{rest:06}");
    format!("{whole}.{}{base}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_quantity_are_one() {
        for (digits, word) in [("1", "л"), ("1,0", "литр"), ("1000", "мл"), ("1.000", "l"), ("1", "литра")]
        {
            let (base, many) = unit(word).expect("a unit");
            assert_eq!(canonical(&number(digits), base, many), "1000мл", "{digits} {word}");
        }
        let (base, many) = unit("кг").expect("a unit");
        assert_eq!(canonical(&number("0,0000015"), base, many), "1мг");
        assert_eq!(unit("лампа"), None);
        assert_eq!(number("007,50"), "7.5");
    }
}
