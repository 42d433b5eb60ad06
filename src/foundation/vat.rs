//! VAT rates, as the bank's fiscal API and the database name them.

/// `none`: without VAT. `vat105` is 5/105, a rate that is contained in a price, and so on.
pub const VAT_RATES: [&str; 12] =
    ["none", "vat0", "vat5", "vat7", "vat10", "vat20", "vat22", "vat105", "vat107", "vat110", "vat120", "vat122"];

/// Parses a rate, in capitals or not.
pub fn parse(text: &str) -> Option<&'static str> {
    VAT_RATES.into_iter().find(|rate| rate.eq_ignore_ascii_case(text.trim()))
}

/// What the numbers 5, 7 and 10 in the element `<vat>` of a YML offer mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VatNumbers {
    /// It is not known: the rate is not used.
    Ambiguous,
    /// Percentages.
    Percent,
    /// The numbers of Yandex's table.
    Yandex,
}

impl VatNumbers {
    /// The rate that the number means; `None` where it is not known.
    pub fn rate(self, number: u8) -> Option<&'static str> {
        match (self, number) {
            (VatNumbers::Percent, 5) | (VatNumbers::Yandex, 10) => Some("vat5"),
            (VatNumbers::Percent, 7) => Some("vat7"),
            (VatNumbers::Percent, 10) => Some("vat10"),
            (VatNumbers::Yandex, 5) => Some("vat0"),
            (VatNumbers::Yandex, 7) => Some("vat20"),
            _ => None,
        }
    }
}

/// One of the numbers of which only the shop can say what they mean.
pub fn ambiguous_number(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|number| [5, 7, 10].contains(number))
}

/// Parses the element `<vat>` of a YML offer: `VAT_22`, `VAT_20_120`, `NO_VAT`, `22%`, or one of the numbers that have one meaning only.
/// `5`, `7` and `10` are percentages to some shops and other rates in Yandex's table, so they are not understood ([`VatNumbers`]).
pub fn parse_yml(text: &str) -> Option<&'static str> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if let Some(rate) = text.strip_prefix("VAT_") {
        let percent = rate.split_once('_').map_or(rate, |(percent, base)| {
            let sum = percent.parse().ok().map(|percent: u32| percent + 100);
            if base.parse().ok() == sum { base } else { "" }
        });
        return parse(&format!("vat{percent}"));
    }
    match text.as_str() {
        "NO_VAT" | "6" => Some("none"),
        "0" => Some("vat0"),
        "2" => Some("vat10"),
        "20" => Some("vat20"),
        "22" => Some("vat22"),
        _ => text
            .strip_suffix('%')
            .filter(|percent| percent.len() < 3)
            .and_then(|percent| parse(&format!("vat{percent}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_numbers_mean_what_the_shop_says() {
        for (number, percent, yandex) in [(5, "vat5", "vat0"), (7, "vat7", "vat20"), (10, "vat10", "vat5")] {
            assert_eq!(ambiguous_number(&format!(" {number} ")), Some(number));
            assert_eq!(VatNumbers::Percent.rate(number), Some(percent));
            assert_eq!(VatNumbers::Yandex.rate(number), Some(yandex));
            assert_eq!(VatNumbers::Ambiguous.rate(number), None);
        }
        assert_eq!((ambiguous_number("20"), VatNumbers::Percent.rate(20)), (None, None));
    }

    #[test]
    fn rates_of_offers_are_read_or_refused() {
        for (text, rate) in [
            ("VAT_22", Some("vat22")),
            (" vat_10 ", Some("vat10")),
            ("VAT_20_120", Some("vat120")),
            ("VAT_22_122", Some("vat122")),
            ("VAT_5_105", Some("vat105")),
            ("VAT_20_110", None),
            ("VAT_18", None),
            ("NO_VAT", Some("none")),
            ("6", Some("none")),
            ("2", Some("vat10")),
            ("22 %", Some("vat22")),
            ("110%", None),
            ("22", Some("vat22")),
            ("0", Some("vat0")),
            ("5", None),
            ("7", None),
            ("10", None),
            ("", None),
            ("VAT_", None),
        ] {
            assert_eq!(parse_yml(text), rate, "{text:?}");
        }
        assert_eq!((parse("VAT22"), parse("vat19")), (Some("vat22"), None));
    }
}
