//! Collects the elements of one offer and converts them to an item record.
//!
//! A field that the feed does not have stays `None`, which leaves the shop's value unchanged.

use rust_decimal::Decimal;
use serde_json::json;

use super::super::record::{ItemRecord, ProblemKind, Stock, natural_number, number_of};
use super::super::{money, stock};
use super::{html, text};
use crate::catalog::CatalogId;
use crate::foundation::vat;

const MAX_NAME_CHARS: usize = 500;
const MAX_DESCRIPTION_CHARS: usize = 20_000;
const MAX_SUMMARY_CHARS: usize = 200;
const MAX_PHOTO_URL_CHARS: usize = 2048;
const MAX_PHOTOS: usize = 50;
const MAX_KEY_CHARS: usize = 200;
const MAX_VALUE_CHARS: usize = 2_000;
const MAX_FIELDS: usize = 200;

/// The children of `<offer>` that are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog::import) enum Field {
    Name,
    TypePrefix,
    Vendor,
    Model,
    Title,
    Price,
    OldPrice,
    Currency,
    Category,
    Picture,
    Description,
    VendorCode,
    Barcode,
    Country,
    Weight,
    Param,
    Outlets,
    Count,
    QuantityInStock,
    StockQuantity,
    Quantity,
    Vat,
}

impl Field {
    /// The field of an element.
    pub(super) fn of(element: &str) -> Option<Field> {
        Some(match element {
            "name" => Field::Name,
            "typePrefix" => Field::TypePrefix,
            "vendor" => Field::Vendor,
            "model" => Field::Model,
            "title" => Field::Title,
            "price" => Field::Price,
            "oldprice" => Field::OldPrice,
            "currencyId" => Field::Currency,
            "categoryId" => Field::Category,
            "picture" => Field::Picture,
            "description" => Field::Description,
            "vendorCode" => Field::VendorCode,
            "barcode" => Field::Barcode,
            "country_of_origin" => Field::Country,
            "weight" => Field::Weight,
            "param" => Field::Param,
            "outlets" => Field::Outlets,
            "count" => Field::Count,
            "quantity_in_stock" => Field::QuantityInStock,
            "stock_quantity" => Field::StockQuantity,
            "quantity" => Field::Quantity,
            "vat" => Field::Vat,
            _ => return None,
        })
    }
}

/// The elements of an offer.
#[derive(Debug, Default)]
pub(in crate::catalog::import) struct Offer {
    /// The attribute `available`, if it is not blank.
    pub available: Option<String>,
    /// In the order of the feed, with references decoded and otherwise unchanged.
    texts: Vec<(Field, String)>,
    params: Vec<(String, String)>,
    /// The attributes `instock` of the outlets.
    outlets: Vec<String>,
    /// The attribute `from` of the price: the price is the lowest one, not the one of this offer.
    pub is_lowest_price: bool,
}

/// What is reported of an offer that is imported, and how much of it is.
pub(in crate::catalog::import) type OfferProblem = (ProblemKind, &'static str);

/// What decides the price that is paid.
#[derive(Default)]
struct Price {
    list: Option<Decimal>,
    discount: Option<Decimal>,
    currency: Option<String>,
}

impl Offer {
    pub(in crate::catalog::import) fn add(&mut self, field: Field, text: String) {
        self.texts.push((field, text));
    }

    pub(in crate::catalog::import) fn add_param(&mut self, name: &str, unit: &str, value: &str) {
        let line = |text| text::line(&html::decode_again(text));
        if self.params.len() < MAX_FIELDS {
            let (name, value, unit) = (line(name), line(value), line(unit));
            let value = if value.is_empty() || unit.is_empty() { value } else { format!("{value} {unit}") };
            self.params.push((name, value));
        }
    }

    /// Makes the price the crossed-out one, and this the one that is paid.
    pub(in crate::catalog::import) fn reduce_price(&mut self, sale_price: String) {
        self.texts.retain(|(field, _)| *field != Field::OldPrice);
        self.texts
            .iter_mut()
            .filter(|(field, _)| *field == Field::Price)
            .for_each(|(field, _)| *field = Field::OldPrice);
        self.texts.push((Field::Price, sale_price));
    }

    /// Adds the attribute `instock` of an outlet.
    pub(super) fn add_outlet(&mut self, instock: String) {
        if !instock.trim().is_empty() {
            self.outlets.push(instock);
        }
    }

    /// Converts the offer with this id; remarks are added to the list.
    pub(in crate::catalog::import) fn into_record(self, id: &str, remarks: &mut Vec<OfferProblem>) -> ItemRecord {
        let mut stock = self.stock(remarks);
        let mut defect = None;
        let price = self.price(remarks).unwrap_or_else(|reason| {
            if stock.is_some_and(Stock::is_out) {
                // Sold-out offers without a price are common in feeds.
                remarks.push((ProblemKind::Corrected, "is sold out and has no usable price: the price is unchanged"));
            } else {
                // The item must not be sold at the price that it had before.
                stock = Some(Stock::Level("out"));
                defect = Some(reason.to_owned());
            }
            Price::default()
        });
        if self.is_lowest_price && !stock.is_some_and(Stock::is_out) {
            stock = Some(Stock::Level("out"));
            remarks.push((ProblemKind::Incomplete, "price is only the lowest one (from=\"true\"): out of stock"));
        }
        let description = self.description();
        ItemRecord {
            number: natural_number(id),
            id: Some(format!("item_{id}")),
            defect,
            categories: self.categories(),
            name: self.name(),
            simple_description: description.as_deref().and_then(|all| text::first_paragraph(all, MAX_SUMMARY_CHARS)),
            description,
            description_fields: self.description_fields(),
            currency: price.currency,
            price: price.list,
            discount: price.discount,
            stock,
            vat: self.vat(remarks),
            photos: self.photos(),
            ..ItemRecord::default()
        }
    }

    fn all(&self, field: Field) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(of, _)| *of == field).map(|(_, text)| text.as_str())
    }

    /// The first value that is not empty, as one line.
    fn first(&self, field: Field, max_chars: usize) -> Option<String> {
        self.all(field).find_map(|raw| text::non_empty_line(&html::decode_again(raw), max_chars))
    }

    fn name(&self) -> Option<String> {
        let first = |field| self.first(field, MAX_NAME_CHARS);
        first(Field::Name).or_else(|| self.model_name()).or_else(|| first(Field::Title))
    }

    /// The parts of a `vendor.model` offer; `None` when it has only a vendor.
    fn model_name(&self) -> Option<String> {
        let [prefix, vendor, model] =
            [Field::TypePrefix, Field::Vendor, Field::Model].map(|field| self.first(field, MAX_NAME_CHARS));
        let others = || [prefix.as_deref(), model.as_deref()].into_iter().flatten();
        others().next()?;
        let vendor = vendor.as_deref().filter(|vendor| !others().any(|other| text::has_word(other, vendor)));
        let parts: Vec<&str> = [prefix.as_deref(), vendor, model.as_deref()].into_iter().flatten().collect();
        text::non_empty_line(&parts.join(" "), MAX_NAME_CHARS)
    }

    fn categories(&self) -> Vec<CatalogId> {
        let mut categories = Vec::new();
        for id in self.all(Field::Category).map(text::line).filter(|id| !id.is_empty()) {
            let category = CatalogId::Number(number_of("category", &id));
            if !categories.contains(&category) {
                categories.push(category);
            }
            // `contains` is linear, and an offer with so many categories is not meaningful.
            if categories.len() == MAX_FIELDS {
                break;
            }
        }
        categories
    }

    /// # Errors
    /// The reason why the offer has no usable price.
    fn price(&self, remarks: &mut Vec<OfferProblem>) -> Result<Price, &'static str> {
        let mut corrected = |remark| remarks.push((ProblemKind::Corrected, remark));
        let currency = self.currency()?;
        let with = |list, discount| Price { list: Some(list), discount: Some(discount), currency: currency.clone() };
        let price = self.all(Field::Price).next().map(money::price).transpose()?;
        let old = self.all(Field::OldPrice).find(|raw| !raw.trim().is_empty()).map(money::price);
        let Some(price) = price else {
            if old.is_some() {
                corrected("oldprice without a price: ignored");
            }
            return Ok(Price { list: None, discount: None, currency });
        };
        let old = match old {
            None => return Ok(with(price, Decimal::ZERO)),
            Some(Ok(old)) if old > price => old,
            Some(Ok(_) | Err("price is zero")) => {
                corrected("oldprice is not above the price: ignored");
                return Ok(with(price, Decimal::ZERO));
            }
            Some(Err(_)) => {
                corrected("oldprice is not a usable number: ignored");
                return Ok(with(price, Decimal::ZERO));
            }
        };
        let mut discount = money::discount(old, price);
        if discount == Decimal::ONE_HUNDRED {
            // Rounding up must not make the item free.
            corrected("discount would round to 100 %: 99 is used");
            discount = Decimal::from(99);
        }
        Ok(with(money::list_price(old, price, discount), discount))
    }

    fn currency(&self) -> Result<Option<String>, &'static str> {
        let Some(code) = self.first(Field::Currency, 10) else { return Ok(None) };
        if money::is_rouble(&code) {
            return Ok(Some("RUB".to_owned()));
        }
        let code = code.to_ascii_uppercase();
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err("currency is not three letters");
        }
        Ok(Some(code))
    }

    fn vat(&self, remarks: &mut Vec<OfferProblem>) -> Option<&'static str> {
        let text = self.first(Field::Vat, 20)?;
        let rate = vat::parse_yml(&text);
        if rate.is_none() {
            remarks.push((ProblemKind::Corrected, "vat is not understood: ignored"));
        }
        rate
    }

    fn photos(&self) -> Option<String> {
        let mut urls: Vec<String> = Vec::new();
        'pictures: for picture in self.all(Field::Picture).map(text::line) {
            for url in picture.split(" | ").map(|url| url.trim_matches([' ', '|'])) {
                let scheme = url.split_once("://").filter(|(_, rest)| !rest.is_empty()).map(|(scheme, _)| scheme);
                if !scheme.is_some_and(|s| s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https")) {
                    continue;
                }
                let url = url.replace(' ', "%20");
                if url.chars().count() <= MAX_PHOTO_URL_CHARS && !urls.contains(&url) {
                    urls.push(url);
                }
                if urls.len() == MAX_PHOTOS {
                    break 'pictures;
                }
            }
        }
        let photos: Vec<_> = urls.iter().map(|url| json!({"url": url})).collect();
        (!photos.is_empty()).then(|| serde_json::Value::from(photos).to_string())
    }

    fn description(&self) -> Option<String> {
        self.all(Field::Description)
            .map(|raw| html::description(raw, MAX_DESCRIPTION_CHARS))
            .find(|plain| !plain.is_empty())
    }

    fn description_fields(&self) -> Option<String> {
        const NAMED: [(Field, &str); 5] = [
            (Field::Vendor, "Производитель"),
            (Field::VendorCode, "Артикул"),
            (Field::Barcode, "Штрихкод"),
            (Field::Country, "Страна"),
            (Field::Weight, "Вес, кг"),
        ];
        let mut fields: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |key: &str, value: &str| {
            let (Some(key), Some(value)) =
                (text::non_empty_line(key, MAX_KEY_CHARS), text::non_empty_line(value, MAX_VALUE_CHARS))
            else {
                return;
            };
            match fields.iter_mut().find(|(of, _)| *of == key) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => fields.push((key, vec![value])),
            }
        };
        for (field, key) in NAMED {
            self.all(field).take(MAX_FIELDS).for_each(|value| add(key, &html::decode_again(value)));
        }
        self.params.iter().for_each(|(key, value)| add(key, value));
        fields.truncate(MAX_FIELDS);
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(key, values)| {
                let mut value = values.join(", ");
                text::truncate(&mut value, MAX_VALUE_CHARS);
                json!({"key": key, "value": value})
            })
            .collect();
        (!fields.is_empty()).then(|| serde_json::Value::from(fields).to_string())
    }

    fn stock(&self, remarks: &mut Vec<OfferProblem>) -> Option<Stock> {
        const COUNTS: [Field; 4] = [Field::Count, Field::QuantityInStock, Field::StockQuantity, Field::Quantity];
        let available = self.available.as_deref().map(stock::is_available);
        if available == Some(Some(false)) {
            return Some(Stock::Level("out"));
        }
        let outlets: Vec<_> = self.outlets.iter().map(|instock| stock::from_text(instock)).collect();
        if outlets.contains(&None) && outlets.iter().any(|stock| matches!(stock, Some(Stock::Count(_)))) {
            remarks.push((ProblemKind::Incomplete, "stock of an outlet is not understood: it is not counted"));
        }
        let counts: Vec<_> = COUNTS.into_iter().flat_map(|field| self.all(field)).collect();
        let counts = counts.into_iter().filter(|text| !text.trim().is_empty()).map(stock::from_text);
        let stated: Vec<_> = total(&outlets).into_iter().chain(counts).collect();
        let number = stated.iter().flatten().find(|stock| matches!(stock, Stock::Count(_)));
        match number.or_else(|| stated.iter().flatten().next()) {
            Some(stock) => Some(*stock),
            None if !stated.is_empty() || available == Some(None) => {
                remarks.push((ProblemKind::Incomplete, "stock is not understood: out of stock until it is"));
                Some(Stock::Level("out"))
            }
            None => available.map(|_| Stock::Available),
        }
    }
}

/// The stock of all outlets: the sum of the numbers, or else the first word. `None` without outlets, and
/// `Some(None)` when nothing that they state is understood.
fn total(outlets: &[Option<Stock>]) -> Option<Option<Stock>> {
    let counts = outlets.iter().filter_map(|stock| match stock {
        Some(Stock::Count(count)) => Some(i64::from(*count)),
        _ => None,
    });
    if outlets.is_empty() {
        return None;
    }
    let word = || outlets.iter().flatten().find(|stock| !stock.is_out()).or(outlets.iter().flatten().next()).copied();
    let sum = counts.reduce(|sum, count| sum + count);
    Some(sum.map(|sum| Stock::Count(i32::try_from(sum).unwrap_or(i32::MAX))).or_else(word))
}

#[cfg(test)]
mod tests;
