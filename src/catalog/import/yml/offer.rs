//! Collects the elements of one offer and converts them to an item record.
//!
//! A field that the feed does not have stays `None`, which leaves the shop's value unchanged.

use super::super::record::{ItemRecord, ProblemKind, Stock, natural_number, number_of};
use super::super::stock;
use super::{html, text};
use crate::catalog::CatalogId;
use crate::foundation::vat;

mod attributes;
mod fields;
mod photos;
mod price;

pub(super) use attributes::DeliveryOption;
use price::Price;

const MAX_NAME_CHARS: usize = 500;
const MAX_DESCRIPTION_CHARS: usize = 20_000;
const MAX_SUMMARY_CHARS: usize = 200;
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
    PurchasePrice,
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
    MinQuantity,
    StepQuantity,
    Url,
    GroupId,
    Video,
    Keywords,
    SalesNotes,
    Certificate,
    Dimensions,
    Condition,
    ConditionType,
    ConditionQuality,
    ConditionReason,
    Age,
    AgeUnit,
    Warranty,
    WarrantyDays,
    ServiceLife,
    Validity,
    Adult,
    Delivery,
    Pickup,
    Store,
    DeliveryOptions,
    PickupOptions,
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
            "purchase_price" => Field::PurchasePrice,
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
            "min-quantity" | "min_quantity" | "minimum_order_quantity" => Field::MinQuantity,
            "step-quantity" | "step_quantity" => Field::StepQuantity,
            "url" => Field::Url,
            "group_id" => Field::GroupId,
            "video" => Field::Video,
            "keywords" => Field::Keywords,
            "sales_notes" => Field::SalesNotes,
            "certificate" => Field::Certificate,
            "dimensions" => Field::Dimensions,
            "condition" => Field::Condition,
            "age" => Field::Age,
            "manufacturer_warranty" => Field::Warranty,
            "warranty-days" => Field::WarrantyDays,
            "service-life-days" => Field::ServiceLife,
            "period-of-validity-days" | "expiry" => Field::Validity,
            "adult" => Field::Adult,
            "delivery" => Field::Delivery,
            "pickup" => Field::Pickup,
            "store" => Field::Store,
            "delivery-options" => Field::DeliveryOptions,
            "pickup-options" => Field::PickupOptions,
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
    /// The attribute `group_id`.
    pub group_id: Option<String>,
    /// The address of the shop, against which others are resolved.
    pub shop_url: Option<String>,
    pub delivery_options: Vec<DeliveryOption>,
    pub pickup_options: Vec<DeliveryOption>,
    /// Whether it has elements in another language.
    pub is_translated: bool,
    /// The attribute `from` of the price: the price is the lowest one, not the one of this offer.
    pub is_lowest_price: bool,
}

/// What is reported of an offer that is imported, and how much of it is.
pub(in crate::catalog::import) type OfferProblem = (ProblemKind, &'static str);

impl Offer {
    /// An offer without elements, of the shop with this address.
    pub(super) fn of_shop(shop_url: Option<String>) -> Offer {
        Offer { shop_url, ..Offer::default() }
    }

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
        let [min_quantity, step_quantity] = [Field::MinQuantity, Field::StepQuantity].map(|field| {
            self.lot(field).unwrap_or_else(|()| {
                stock = stock.filter(|stock| stock.is_out()).or(Some(Stock::Level("out")));
                let reason = "min-quantity or step-quantity is not a whole number from 1 to 999: out of stock";
                remarks.push((ProblemKind::Incomplete, reason));
                None
            })
        });
        if self.is_translated {
            remarks.push((ProblemKind::Corrected, "has elements in another language (such as name_ua): left out"));
        }
        let description = self.description();
        let (vat, vat_number) = self.vat(remarks);
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
            price: price.unit.map(|unit| unit.list),
            discount: price.unit.map(|unit| unit.discount),
            sale_price: price.unit.and_then(|unit| unit.sale),
            min_quantity,
            step_quantity,
            purchase_price: self.purchase_price(remarks),
            stock,
            vat,
            vat_number,
            photos: self.photos(remarks),
            attributes: self.attributes(),
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

    /// The rate, or the number in its place that only the shop understands.
    fn vat(&self, remarks: &mut Vec<OfferProblem>) -> (Option<&'static str>, Option<u8>) {
        let Some(text) = self.first(Field::Vat, 20) else { return (None, None) };
        let (rate, number) = (vat::parse_yml(&text), vat::ambiguous_number(&text));
        if rate.is_none() && number.is_none() {
            remarks.push((ProblemKind::Corrected, "vat is not understood: ignored"));
        }
        (rate, number)
    }

    fn description(&self) -> Option<String> {
        self.all(Field::Description)
            .map(|raw| html::description(raw, MAX_DESCRIPTION_CHARS))
            .find(|plain| !plain.is_empty())
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

/// Whether an element is one in another language, as `name_ua` is.
pub(super) fn is_translation(element: &str) -> bool {
    const NAMES: [&str; 8] =
        ["name", "description", "short_description", "title", "model", "vendor", "keywords", "sales_notes"];
    const LANGUAGES: [&str; 18] =
        ["ua", "uk", "en", "hy", "am", "kz", "kk", "by", "be", "uz", "ka", "ge", "ro", "pl", "de", "az", "tr", "ru"];
    let parts = element.rsplit_once('_');
    parts.is_some_and(|(name, language)| NAMES.contains(&name) && LANGUAGES.contains(&language))
}

/// The meaning of a `true` or `false`.
fn flag(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "да" | "есть" => Some(true),
        "false" | "0" | "no" | "нет" => Some(false),
        _ => None,
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
