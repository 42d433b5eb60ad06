//! The price of an offer, and how many units of it are sold at once.

use rust_decimal::Decimal;

use super::super::super::money::{self, UnitPrice};
use super::super::super::record::{MAX_LOT, ProblemKind};
use super::{Field, Offer, OfferProblem};

/// What decides the price that is paid.
#[derive(Default)]
pub(super) struct Price {
    pub unit: Option<UnitPrice>,
    pub currency: Option<String>,
}

impl Offer {
    /// # Errors
    /// The reason why the offer has no usable price.
    pub(super) fn price(&self, remarks: &mut Vec<OfferProblem>) -> Result<Price, &'static str> {
        let mut corrected = |remark| remarks.push((ProblemKind::Corrected, remark));
        let currency = self.currency()?;
        let with = |unit| Ok(Price { unit, currency });
        let price = self.all(Field::Price).next().map(money::price).transpose()?;
        let old = self.all(Field::OldPrice).find(|raw| !raw.trim().is_empty()).map(money::price);
        let Some(price) = price else {
            if old.is_some() {
                corrected("oldprice without a price: ignored");
            }
            return with(None);
        };
        with(Some(match old {
            None => UnitPrice::full(price),
            Some(Ok(old)) if old > price => UnitPrice::reduced(old, price),
            Some(Ok(_) | Err("price is zero")) => {
                corrected("oldprice is not above the price: ignored");
                UnitPrice::full(price)
            }
            Some(Err(_)) => {
                corrected("oldprice is not a usable number: ignored");
                UnitPrice::full(price)
            }
        }))
    }

    fn currency(&self) -> Result<Option<String>, &'static str> {
        let Some(code) = self.first(Field::Currency, 10) else { return Ok(None) };
        money::currency_code(&code).map(Some).ok_or("currency is not three letters")
    }

    /// What the shop pays for the item.
    pub(super) fn purchase_price(&self, remarks: &mut Vec<OfferProblem>) -> Option<Decimal> {
        let text = self.all(Field::PurchasePrice).find(|raw| !raw.trim().is_empty())?;
        let price = money::price(text).ok();
        if price.is_none() {
            remarks.push((ProblemKind::Corrected, "purchase_price is not a usable number: ignored"));
        }
        price
    }

    /// A number of units from 1 to 999.
    pub(super) fn lot(&self, field: Field) -> Result<Option<i32>, ()> {
        let Some(text) = self.first(field, 20) else { return Ok(None) };
        let whole = text.split_once(['.', ',']).map_or(text.as_str(), |(whole, fraction)| {
            if fraction.bytes().all(|digit| digit == b'0') { whole } else { "" }
        });
        let units: Option<i32> = whole.parse().ok();
        units.filter(|units| (1..=MAX_LOT).contains(units)).map(Some).ok_or(())
    }
}
