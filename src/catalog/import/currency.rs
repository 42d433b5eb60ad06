//! Converts prices in other currencies to roubles, at the rates of the file or of the brand.

use std::collections::HashMap;

use rust_decimal::Decimal;

use super::money::{self, UnitPrice};
use super::record::{CurrencyRecord, ItemRecord, RecordProblem};
use crate::config::ExchangeRate;

const ROUBLE: &str = "RUB";

/// The rates of one file, and those of the brand for the currencies that it has no rate of.
pub(super) struct Rates {
    of_brand: Vec<ExchangeRate>,
    of_file: HashMap<String, CurrencyRecord>,
}

impl Rates {
    pub(super) fn new(of_brand: &[ExchangeRate]) -> Rates {
        Rates { of_brand: of_brand.to_vec(), of_file: HashMap::new() }
    }

    /// Adds a currency of the file.
    pub(super) fn add(&mut self, currency: CurrencyRecord) {
        self.of_file.insert(currency.code.clone(), currency);
    }

    /// Forgets the currencies of a file before the next one.
    pub(super) fn begin_file(&mut self) {
        self.of_file.clear();
    }

    /// How many roubles one unit of the currency is. The file's rate counts where the file says what a rouble is.
    fn roubles_for_one(&self, code: &str) -> Option<Decimal> {
        let rate_of = |code: &str| self.of_file.get(code).and_then(|currency| currency.rate);
        if let (Some(rate), Some(rouble)) = (rate_of(code), rate_of(ROUBLE)) {
            return rate.checked_div(rouble);
        }
        let rate = self.of_brand.iter().find(|rate| rate.code == code)?.roubles;
        let plus = self.of_file.get(code).map_or(Decimal::ZERO, |currency| currency.plus);
        rate.checked_mul(Decimal::ONE_HUNDRED + plus)?.checked_div(Decimal::ONE_HUNDRED)
    }

    /// Converts the item's prices to roubles where there is a rate, and returns what is to be reported of it. Without a rate the item keeps
    /// its currency, in which nothing can be paid.
    pub(super) fn convert(&self, item: &mut ItemRecord) -> Option<RecordProblem> {
        let currency = item.currency.clone().filter(|code| code != ROUBLE)?;
        let rate = self.roubles_for_one(&currency);
        let Some(list) = item.price else {
            if rate.is_some() {
                // The price that the shop has is in roubles.
                item.currency = None;
            }
            return None;
        };
        let label = item.id.clone().unwrap_or_else(|| format!("item {}", item.number.unwrap_or_default()));
        let price = UnitPrice { list, discount: item.discount.unwrap_or_default(), sale: item.sale_price };
        let Some((rate, price)) = rate.and_then(|rate| Some((rate, price.converted(rate)?))) else {
            let reason =
                format!("is priced in {currency}, and neither the file nor the brand has a rate: shown, not for sale");
            return Some(RecordProblem::corrected(label, reason));
        };
        item.currency = Some(ROUBLE.to_owned());
        item.price = Some(price.list);
        item.sale_price = price.sale;
        item.purchase_price = item.purchase_price.and_then(|price| money::converted(price, rate));
        Some(RecordProblem::corrected(label, format!("is priced in {currency}: converted to roubles")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str, rate: &str, plus: i64) -> CurrencyRecord {
        CurrencyRecord { code: code.to_owned(), rate: rate.parse().ok(), plus: Decimal::from(plus) }
    }

    /// The price in roubles of 100 units of the currency, or `None` where it is not converted.
    fn roubles(currencies: &[CurrencyRecord], code: &str) -> Option<String> {
        let of_brand = ["USD", "KZT"].map(|code| ExchangeRate { code: code.to_owned(), roubles: Decimal::from(90) });
        let mut rates = Rates::new(&of_brand);
        currencies.iter().cloned().for_each(|currency| rates.add(currency));
        let price = Some(Decimal::ONE_HUNDRED);
        let mut item = ItemRecord { currency: Some(code.to_owned()), price, ..ItemRecord::default() };
        let problem = rates.convert(&mut item);
        assert_eq!(problem.is_some(), code != "RUB");
        (item.currency.as_deref() == Some("RUB")).then(|| item.price.expect("a price").normalize().to_string())
    }

    #[test]
    fn the_files_rate_is_used_before_the_brands() {
        let file = [currency("RUB", "1", 0), currency("USD", "92.5", 3), currency("KZT", "CBRF", 2)];
        for (code, price) in [("USD", Some("9250")), ("KZT", Some("9180")), ("AMD", None), ("RUB", Some("100"))] {
            assert_eq!(roubles(&file, code).as_deref(), price, "{code}");
        }
        assert_eq!(roubles(&[], "USD").as_deref(), Some("9000"));
    }

    #[test]
    fn rates_of_another_main_currency_count_where_the_rouble_has_one() {
        let tenge = [currency("KZT", "1", 0), currency("USD", "450", 0)];
        assert_eq!(roubles(&tenge, "KZT").as_deref(), Some("9000"), "the brand's rate");
        let with_rouble = [&tenge[..], &[currency("RUB", "5", 0)]].concat();
        assert_eq!(roubles(&with_rouble, "USD").as_deref(), Some("9000"));
        assert_eq!(roubles(&with_rouble, "KZT").as_deref(), Some("20"));
        let zero = [currency("RUB", "0", 0), currency("USD", "450", 0)];
        assert_eq!(roubles(&zero, "USD"), None);
    }
}
