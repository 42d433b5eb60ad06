//! What a feed says of the whole shop: its currencies.

use rust_decimal::Decimal;

use super::super::money;
use super::super::record::CurrencyRecord;

/// The currency of a `<currency>` with these attributes: `id`, `rate` (a number, or the name of a bank) and `plus` (percent).
pub(super) fn currency([id, rate, plus]: [Option<String>; 3]) -> Option<CurrencyRecord> {
    let number = |text: Option<String>| {
        let text = text?.trim().replace(',', ".");
        Decimal::from_str_exact(&text).ok().filter(|number| !number.is_sign_negative())
    };
    Some(CurrencyRecord {
        code: money::currency_code(id?.trim())?,
        rate: number(rate),
        plus: number(plus).filter(|plus| *plus <= Decimal::ONE_HUNDRED).unwrap_or_default(),
    })
}
