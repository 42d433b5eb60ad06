//! Reads an item of the API's JSON, in the legacy spelling, the BackOffice spelling, or both.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::fields::{Fields, MAX_OBJECTS_BYTES, check_size};
use crate::catalog::CatalogId;
use crate::catalog::import::money::UnitPrice;
use crate::catalog::import::record::{ItemRecord, MAX_LOT, MAX_PRICE, Stock};
use crate::catalog::import::stock;
use crate::foundation::hex;
use crate::foundation::money::discounted;
use crate::foundation::vat::{self, VAT_RATES};

/// Has to fit into a `tsvector`, see `fields`.
const MAX_DESCRIPTION_CHARS: usize = 50_000;

/// Reads an item, and why its stock is not understood, if it is not: the item is out of stock then. Other values that
/// are not understood become the record's defect.
///
/// # Errors
/// A message that names the field, when the record does not say which item it is.
pub(super) fn read(fields: &mut Fields) -> Result<(ItemRecord, Option<String>), String> {
    let number = fields.number("itemID")?;
    let id = fields.id("id")?;
    if number.is_none() && id.is_none() {
        return Err("itemID: expected a number, or id: a text".to_owned());
    }
    let mut defects = Defects::default();
    let (description, description_fields) = descriptions(fields, &mut defects);
    let (mut stock, unknown_stock) = stock(fields);
    let price = price(fields).and_then(Price::checked).unwrap_or_else(|reason| {
        // The item must not be sold at the price that it had before.
        stock = stock.filter(|stock| stock.is_out()).or(Some(Stock::Level("out")));
        defects.0.push(reason);
        Price::default()
    });
    let author = id.clone().or_else(|| number.map(|number| number.to_string())).unwrap_or_default();
    let record = ItemRecord {
        number,
        id,
        categories: defects.keep(fields.number("categoryID")).map(CatalogId::Number).into_iter().collect(),
        subcategory: defects.keep(fields.id("subcategoryId")),
        name: defects.keep(fields.name("name")),
        simple_description: defects.keep(fields.text_up_to("simpleDescription", 10_000)),
        description,
        description_fields,
        currency: price.currency,
        price: price.list,
        discount: price.discount,
        sale_price: price.sale,
        min_quantity: defects.keep(units(fields, "minQuantity")),
        step_quantity: defects.keep(units(fields, "stepQuantity")),
        purchase_price: defects.keep(fields.decimal("purchasePrice", MAX_PRICE, 2)),
        attributes: defects.keep(fields.object("attributes")),
        stock,
        vat: defects.keep(vat(fields)),
        vat_number: None,
        rating: defects.keep(fields.decimal("rating", Decimal::from(5), 1)),
        rating_count: defects.keep(count(fields, "ratingCount")),
        visible: defects.keep(fields.boolean("visible")),
        priority: defects.keep(fields.integer("priority")),
        tags: defects.keep(fields.texts("tags")),
        badges: defects.keep(fields.texts("badges")),
        photos: defects.keep(photos(fields)),
        questions: defects.keep(fields.objects("questions", question)),
        translations: defects.keep(fields.translations(&["name", "simpleDescription"])),
        regions: defects.keep(fields.region_ids()),
        reviews: defects.keep(reviews(fields, &author)),
        source: defects.keep(fields.source()),
        retired_at: defects.keep(timestamp(fields, "retiredAt")),
        defect: defects.text(),
    };
    Ok((record, unknown_stock))
}

/// The messages of fields that are not understood.
#[derive(Default)]
struct Defects(Vec<String>);

impl Defects {
    fn keep<T>(&mut self, field: Result<Option<T>, String>) -> Option<T> {
        field.unwrap_or_else(|reason| {
            self.0.push(reason);
            None
        })
    }

    fn text(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

/// `description` as a text, and as fields under either name.
fn descriptions(fields: &mut Fields, defects: &mut Defects) -> (Option<String>, Option<String>) {
    let listed = defects.keep(fields.description_fields("descriptionFields"));
    if fields.is_list("description") {
        let alone = defects.keep(fields.description_fields("description"));
        return (None, listed.or(alone));
    }
    (defects.keep(fields.text_up_to("description", MAX_DESCRIPTION_CHARS)), listed)
}

/// What decides the price that is paid. One without the others would be another price.
#[derive(Default)]
struct Price {
    currency: Option<String>,
    list: Option<Decimal>,
    discount: Option<Decimal>,
    sale: Option<Decimal>,
}

impl Price {
    /// The sale price belongs to a list price, and is not above its discounted price.
    fn checked(self) -> Result<Price, String> {
        let (list, sale) = match (self.list, self.sale) {
            (_, None) => return Ok(self),
            (None, Some(_)) => return Err("salePrice: expected together with price".to_owned()),
            (Some(list), Some(sale)) => (list, sale),
        };
        if sale.is_zero() || sale > discounted(list, self.discount.unwrap_or_default(), 2) {
            return Err("salePrice: expected more than 0, and at most price × (100 − discount) / 100".to_owned());
        }
        let price = match self.discount {
            Some(discount) => UnitPrice { list, discount, sale: Some(sale) }.normalized(),
            None => UnitPrice::reduced(list, sale),
        };
        Ok(Price { discount: Some(price.discount), sale: price.sale, ..self })
    }
}

fn price(fields: &mut Fields) -> Result<Price, String> {
    let currency = fields.text("currency")?.map(|code| if code == "RUR" { "RUB".to_owned() } else { code });
    if currency.as_ref().is_some_and(|code| code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err("currency: expected three capital letters, ISO 4217".to_owned());
    }
    Ok(Price {
        currency,
        list: fields.price("price")?,
        discount: fields.exact_decimal("discount", Decimal::ONE_HUNDRED, 2)?,
        sale: fields.price("salePrice")?,
    })
}

/// A number of units of which a cart may hold so many.
fn units(fields: &mut Fields, key: &str) -> Result<Option<i32>, String> {
    match fields.integer(key)? {
        Some(units) if !(1..=MAX_LOT).contains(&units) => {
            Err(format!("{key}: expected a whole number from 1 to {MAX_LOT}"))
        }
        units => Ok(units),
    }
}

fn vat(fields: &mut Fields) -> Result<Option<&'static str>, String> {
    let Some(text) = fields.filled_text("vat")? else { return Ok(None) };
    vat::parse(&text).map(Some).ok_or_else(|| format!("vat: expected one of {}", VAT_RATES.join(", ")))
}

/// A quantity takes precedence over a level. The second value is what is not understood.
fn stock(fields: &mut Fields) -> (Option<Stock>, Option<String>) {
    let (quantity, level) = (fields.take("quantity"), fields.take("remainings"));
    let (key, value) = match (&quantity, &level) {
        (Some(quantity), _) => ("quantity", quantity),
        (None, Some(level)) => ("remainings", level),
        (None, None) => return (None, None),
    };
    match stock::from_json(value) {
        Some(stock) => (Some(stock), None),
        None => {
            let reason = format!("{key}: is not a number of units or a word for one: out of stock until it is known");
            (Some(Stock::Level("out")), Some(reason))
        }
    }
}

/// `photos`, followed by the URLs of `imgs` that are not among them.
fn photos(fields: &mut Fields) -> Result<Option<String>, String> {
    let photos = fields.object_list("photos", |mut photo| {
        let mut out = Map::new();
        out.insert("url".to_owned(), photo.filled_text("url")?.ok_or("url: expected a text")?.into());
        for key in ["photo", "video", "type"] {
            photo.text(key)?.map(|value| out.insert(key.to_owned(), value.into()));
        }
        Ok(Value::Object(out))
    })?;
    let imgs = fields.texts("imgs")?;
    if photos.is_none() && imgs.is_none() {
        return Ok(None);
    }
    let mut all = photos.unwrap_or_default();
    for img in imgs.unwrap_or_default() {
        if all.iter().all(|photo| photo["url"] != img.as_str()) {
            all.push(json!({ "url": img }));
        }
    }
    check_size("photos", Value::Array(all).to_string(), MAX_OBJECTS_BYTES).map(Some)
}

fn question(mut fields: Fields) -> Result<Value, String> {
    Ok(json!({
        "question": fields.filled_text("question")?.ok_or("question: expected a text")?,
        "answer": fields.filled_text("answer")?,
        "upvotes": count(&mut fields, "upvotes")?,
        "downvotes": count(&mut fields, "downvotes")?,
        "hidden": fields.boolean("visible")? == Some(false),
    }))
}

fn count(fields: &mut Fields, key: &str) -> Result<Option<i32>, String> {
    match fields.integer(key)? {
        Some(..0) => Err(format!("{key}: expected a whole number, 0 or more")),
        count => Ok(count),
    }
}

/// A review in either spelling, all members optional but its text.
#[derive(Default)]
struct Review {
    id: Option<String>,
    author: Option<String>,
    stars: Option<i32>,
    text: String,
    answer: Option<String>,
    created_at: Option<String>,
    /// `visible: false` in an export.
    is_hidden: bool,
    /// Whether its callback was found; two reviews may be equal.
    is_matched: bool,
}

/// `comments` and `callbacks` are two spellings of one list; where both are present, only `callbacks` have the shop's
/// answers.
fn reviews(fields: &mut Fields, item: &str) -> Result<Option<String>, String> {
    let comments = fields.object_list("comments", |mut comment| {
        Ok(Review {
            id: comment.id("id")?,
            author: comment.filled_text("author")?,
            stars: stars(&mut comment, "stars")?,
            text: comment.text("text")?.ok_or("text: expected a text")?,
            answer: None,
            created_at: timestamp(&mut comment, "createdAt")?,
            is_hidden: comment.boolean("visible")? == Some(false),
            is_matched: false,
        })
    })?;
    let callbacks = fields.object_list("callbacks", |mut callback| {
        Ok(Review {
            id: None,
            author: callback.filled_text("userID")?,
            stars: stars(&mut callback, "rating")?,
            text: callback.text("content")?.unwrap_or_default(),
            answer: callback.filled_text("answer")?,
            created_at: timestamp(&mut callback, "timestamp")?,
            is_hidden: callback.boolean("visible")? == Some(false),
            is_matched: false,
        })
    })?;
    let mut all = match (comments, callbacks) {
        (None, None) => return Ok(None),
        (None, Some(callbacks)) => callbacks,
        (Some(comments), None) => comments,
        (Some(mut comments), Some(callbacks)) => {
            for callback in callbacks {
                let same = |comment: &&mut Review| {
                    !comment.is_matched
                        && (&comment.text, &comment.author, comment.stars)
                            == (&callback.text, &callback.author, callback.stars)
                        && (callback.created_at.is_none() || comment.created_at == callback.created_at)
                };
                match comments.iter_mut().find(same) {
                    Some(comment) => {
                        comment.answer = callback.answer;
                        comment.is_matched = true;
                    }
                    None => comments.push(callback),
                }
            }
            comments
        }
    };
    let list = all.iter_mut().map(|review| {
        let id = review.id.take().unwrap_or_else(|| review_id(item, review));
        json!({ "id": id, "author": review.author, "stars": review.stars, "text": review.text, "answer": review.answer,
                "createdAt": review.created_at, "hidden": review.is_hidden })
    });
    Ok(Some(Value::Array(list.collect()).to_string()))
}

/// Earlier times are errors in the file; PostgreSQL cannot store all of them.
const EARLIEST_TIME: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

fn stars(fields: &mut Fields, key: &str) -> Result<Option<i32>, String> {
    match fields.integer(key)? {
        Some(stars) if !(1..=5).contains(&stars) => Err(format!("{key}: expected a whole number from 1 to 5")),
        stars => Ok(stars),
    }
}

fn timestamp(fields: &mut Fields, key: &str) -> Result<Option<String>, String> {
    let Some(text) = fields.filled_text(key)? else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(time) if time >= EARLIEST_TIME => Ok(Some(time.to_string())),
        _ => Err(format!("{key}: expected an RFC 3339 time")),
    }
}

/// The id of a review that has none in the file: a hash, the same in every import of the file.
fn review_id(item: &str, review: &Review) -> String {
    let mut hash = Sha256::new();
    for part in [item, review.author.as_deref().unwrap_or(""), review.created_at.as_deref().unwrap_or(""), &review.text]
    {
        hash.update(part);
        hash.update([0]);
    }
    format!("cmt_{}", hex::encode(&hash.finalize()[..8]))
}
