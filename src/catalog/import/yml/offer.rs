//! Collects the elements of one offer and converts them to an item record.
//!
//! A field that the feed does not have stays `None`, which leaves the shop's value unchanged.

use rust_decimal::Decimal;
use serde_json::json;

use super::super::record::{ItemRecord, Stock, natural_number, number_of};
use super::{html, money, text};
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
pub(super) enum Field {
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
pub(super) struct Offer {
    /// The attribute `available`, if it is true or false.
    pub available: Option<bool>,
    /// In the order of the feed, with references decoded and otherwise unchanged.
    texts: Vec<(Field, String)>,
    params: Vec<(String, String)>,
    /// The stock of all outlets, in units.
    outlet_stock: Option<i64>,
}

impl Offer {
    pub(super) fn add(&mut self, field: Field, text: String) {
        self.texts.push((field, text));
    }

    pub(super) fn add_param(&mut self, name: &str, unit: &str, value: &str) {
        if self.params.len() < MAX_FIELDS {
            let (value, unit) = (text::line(value), text::line(unit));
            let value = if value.is_empty() || unit.is_empty() { value } else { format!("{value} {unit}") };
            self.params.push((text::line(name), value));
        }
    }

    /// Adds the attribute `instock` of an outlet.
    pub(super) fn add_outlet(&mut self, instock: &str) {
        if let Some(count) = units(instock) {
            self.outlet_stock = Some(self.outlet_stock.unwrap_or(0) + i64::from(count));
        }
    }

    /// Converts the offer with this id; corrections are added to the list.
    ///
    /// # Errors
    /// The reason why the offer is rejected.
    pub(super) fn into_record(self, id: &str, corrections: &mut Vec<&'static str>) -> Result<ItemRecord, &'static str> {
        let (price, discount) = self.price(corrections)?;
        let description = self.description();
        Ok(ItemRecord {
            number: natural_number(id),
            id: Some(format!("item_{id}")),
            categories: self.categories(),
            name: self.name(),
            simple_description: description.as_deref().and_then(|all| text::first_paragraph(all, MAX_SUMMARY_CHARS)),
            description,
            description_fields: self.description_fields(),
            currency: self.currency()?,
            price,
            discount,
            stock: self.stock(),
            vat: self.vat(corrections),
            photos: self.photos(),
            ..ItemRecord::default()
        })
    }

    fn all(&self, field: Field) -> impl Iterator<Item = &str> {
        self.texts.iter().filter(move |(of, _)| *of == field).map(|(_, text)| text.as_str())
    }

    /// The first value that is not empty, as one line.
    fn first(&self, field: Field, max_chars: usize) -> Option<String> {
        self.all(field).find_map(|raw| text::non_empty_line(raw, max_chars))
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

    /// The list price and the discount.
    fn price(&self, corrections: &mut Vec<&'static str>) -> Result<(Option<Decimal>, Option<Decimal>), &'static str> {
        let price = self.all(Field::Price).next().map(money::price).transpose()?;
        let old = self.all(Field::OldPrice).find(|raw| !raw.trim().is_empty()).map(money::price);
        let Some(price) = price else {
            if old.is_some() {
                corrections.push("oldprice without a price: ignored");
            }
            return Ok((None, None));
        };
        let old = match old {
            None => return Ok((Some(price), Some(Decimal::ZERO))),
            Some(Ok(old)) if old > price => old,
            Some(Ok(_) | Err("price is zero")) => {
                corrections.push("oldprice is not above the price: ignored");
                return Ok((Some(price), Some(Decimal::ZERO)));
            }
            Some(Err(_)) => {
                corrections.push("oldprice is not a usable number: ignored");
                return Ok((Some(price), Some(Decimal::ZERO)));
            }
        };
        let discount = money::discount(old, price);
        if discount == Decimal::ONE_HUNDRED {
            // Rounding up must not make the item free.
            corrections.push("discount would round to 100 %: 99 is used");
            return Ok((Some(money::list_price(old, price, Decimal::from(99))), Some(Decimal::from(99))));
        }
        Ok((Some(money::list_price(old, price, discount)), Some(discount)))
    }

    fn currency(&self) -> Result<Option<String>, &'static str> {
        let Some(code) = self.first(Field::Currency, 10) else { return Ok(None) };
        let code = code.to_ascii_uppercase();
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err("currency is not three letters");
        }
        Ok(Some(if code == "RUR" { "RUB".to_owned() } else { code }))
    }

    fn vat(&self, corrections: &mut Vec<&'static str>) -> Option<&'static str> {
        let text = self.first(Field::Vat, 20)?;
        let rate = vat::parse_yml(&text);
        if rate.is_none() {
            corrections.push("vat is not understood: ignored");
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
        self.all(Field::Description).map(|raw| html::plain(raw, MAX_DESCRIPTION_CHARS)).find(|plain| !plain.is_empty())
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
            self.all(field).take(MAX_FIELDS).for_each(|value| add(key, value));
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

    fn stock(&self) -> Option<Stock> {
        const COUNTS: [Field; 4] = [Field::Count, Field::QuantityInStock, Field::StockQuantity, Field::Quantity];
        if self.available == Some(false) {
            return Some(Stock::Level("out"));
        }
        let outlets = self.outlet_stock.map(|sum| i32::try_from(sum).unwrap_or(i32::MAX));
        let count = outlets.or_else(|| COUNTS.into_iter().flat_map(|field| self.all(field)).find_map(units));
        count.map(Stock::Count).or(self.available.map(|_| Stock::Available))
    }
}

/// A negative stock (1C can have one) is 0; fractions of a unit are dropped.
fn units(text: &str) -> Option<i32> {
    let text = text.trim();
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) {
        return None;
    }
    if whole.len() > digits.len() { Some(0) } else { Some(digits.parse().unwrap_or(i32::MAX)) }
}

#[cfg(test)]
mod tests;
