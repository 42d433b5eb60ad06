//! An item of the API: a row of `item_card`, translated, in the legacy and the BackOffice spelling.

use std::collections::HashMap;

use jiff::Timestamp;
use postgres_types::Json;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio_postgres::Row;

use super::store;
use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
use crate::foundation::money::Exact;
use crate::platform::postgres::Executor;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    #[serde(rename = "categoryID")]
    pub category_id: i64,
    #[serde(rename = "itemID")]
    pub item_id: i64,
    pub name: String,
    photos: Vec<Photo>,
    description: String,
    currency: String,
    price: Exact,
    discount: Exact,
    /// What is paid, where it is not the discounted price.
    #[serde(skip_serializing_if = "Option::is_none")]
    sale_price: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remainings: Option<String>,
    rating: Exact,
    callbacks: Vec<Callback>,
    /// Passed through as the database returns it.
    questions: Box<RawValue>,
    id: String,
    visible: bool,
    priority: i32,
    imgs: Vec<String>,
    tags: Vec<String>,
    badges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    simple_description: Option<String>,
    /// Passed through as the database returns it: parsing it would cost more than everything else.
    description_fields: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subcategory_id: Option<String>,
    translations: Box<RawValue>,
    comments: Vec<Comment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<i32>,
    /// The smallest quantity that is sold at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_quantity: Option<i32>,
    /// Of the quantities above the smallest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_quantity: Option<i32>,
}

/// An item as suggestions show it.
#[derive(Debug, Serialize)]
pub(crate) struct ItemSummary<'i> {
    #[serde(rename = "itemID")]
    item_id: i64,
    id: &'i str,
    name: &'i str,
    price: Exact,
    discount: Exact,
    #[serde(rename = "salePrice", skip_serializing_if = "Option::is_none")]
    sale_price: Option<Exact>,
    /// The first picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    img: Option<&'i str>,
}

/// A picture or video of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Photo {
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A review in the legacy spelling.
#[derive(Debug, Serialize)]
struct Callback {
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<i16>,
    content: String,
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
}

/// A review in the BackOffice spelling.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    id: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stars: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
}

/// A review in the JSON that the database aggregates.
#[derive(Debug, Clone, Deserialize)]
struct Review {
    id: String,
    rating: Option<i16>,
    content: String,
    author: Option<String>,
    answer: Option<String>,
    created_at: Option<Timestamp>,
    verified: bool,
}

impl Item {
    /// Reads a row of `item_card`, with `all_reviews` and `all_questions` for a single item, and translates it; returns the
    /// language that was used.
    pub(super) fn read(row: &Row, language: Language) -> Result<(Item, Language)> {
        let is_single = row.columns().iter().any(|column| column.name() == "all_reviews");
        let reviews: Json<Vec<Review>> = row.try_get(if is_single { "all_reviews" } else { "reviews" })?;
        let photos: Vec<Photo> = row.try_get::<_, Json<_>>("photos")?.0;
        let quantity: Option<i32> = row.try_get("quantity")?;
        let questions = row.try_get::<_, Json<_>>(if is_single { "all_questions" } else { "questions" })?.0;
        let mut item = Item {
            category_id: row.try_get("category_id")?,
            item_id: row.try_get("item_id")?,
            name: row.try_get("name")?,
            imgs: photos
                .iter()
                .filter(|photo| photo.video.as_ref() != Some(&photo.url))
                .map(|photo| photo.url.clone())
                .collect(),
            photos,
            description: row.try_get("description")?,
            currency: row.try_get("currency")?,
            price: Exact(row.try_get::<_, Decimal>("price")?),
            discount: Exact(row.try_get::<_, Decimal>("discount")?),
            sale_price: row.try_get::<_, Option<Decimal>>("sale_price")?.map(Exact),
            remainings: match quantity {
                Some(quantity) => Some(stock_level(quantity).to_owned()),
                None => row.try_get("remainings")?,
            },
            rating: Exact(row.try_get::<_, Decimal>("rating")?),
            callbacks: reviews.0.iter().cloned().map(Callback::from).collect(),
            questions,
            id: row.try_get("id")?,
            visible: true,
            priority: row.try_get("priority")?,
            tags: row.try_get("tags")?,
            badges: row.try_get("badges")?,
            simple_description: row.try_get("simple_description")?,
            description_fields: row.try_get::<_, Json<_>>("description_fields")?.0,
            subcategory_id: row.try_get("subcategory_id")?,
            translations: row.try_get::<_, Json<_>>("translations")?.0,
            comments: reviews.0.into_iter().map(Comment::from).collect(),
            quantity,
            min_quantity: row.try_get("min_quantity")?,
            step_quantity: row.try_get("step_quantity")?,
        };
        let language = item.translate(language)?;
        Ok((item, language))
    }

    /// The item as suggestions show it.
    pub(crate) fn summary(&self) -> ItemSummary<'_> {
        ItemSummary {
            item_id: self.item_id,
            id: &self.id,
            name: &self.name,
            price: self.price,
            discount: self.discount,
            sale_price: self.sale_price,
            img: self.imgs.first().map(String::as_str),
        }
    }

    /// Replaces the Russian fields by translated ones; returns the language that was used.
    fn translate(&mut self, language: Language) -> Result<Language> {
        // Most items have no translation into the requested language: parsing is avoided for them.
        if !self.translations.get().contains(&format!("\"{}\"", language.tag())) {
            return Ok(Language::Ru);
        }
        let mut translations: Map<String, Value> = serde_json::from_str(self.translations.get()).or_internal()?;
        let Some(Value::Object(translation)) = translations.remove(language.tag()) else { return Ok(Language::Ru) };
        let raw = |fields: &Value| serde_json::value::to_raw_value(fields).or_internal();
        let text = |key: &str| translation.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut used = Language::Ru;
        if let Some(name) = text("name") {
            self.name = name.to_owned();
            used = language;
        }
        if let Some(simple) = text("simpleDescription") {
            self.simple_description = Some(simple.to_owned());
            used = language;
        }
        match translation.get("description") {
            Some(Value::String(description)) if !description.is_empty() => {
                self.description.clone_from(description);
                used = language;
            }
            Some(fields @ Value::Array(list)) if !list.is_empty() => {
                self.description_fields = raw(fields)?;
                used = language;
            }
            _ => {}
        }
        if let Some(fields @ Value::Array(list)) = translation.get("descriptionFields")
            && !list.is_empty()
        {
            self.description_fields = raw(fields)?;
            used = language;
        }
        Ok(used)
    }
}

/// Reads these items, in this order, without those that are no longer listed; the language is the requested one if any item is
/// translated.
pub(crate) async fn load_list(
    client: &impl Executor,
    ids: &[i64],
    language: Language,
) -> Result<(Vec<Item>, Language)> {
    let (mut items, language) = read_list(&store::cards(client, ids).await?, language)?;
    let positions: HashMap<i64, usize> = ids.iter().enumerate().map(|(position, id)| (*id, position)).collect();
    items.sort_unstable_by_key(|item| positions.get(&item.item_id).copied());
    Ok((items, language))
}

/// Reads the rows of a list; the language is the requested one if any item is translated.
pub(crate) fn read_list(rows: &[Row], language: Language) -> Result<(Vec<Item>, Language)> {
    let mut used = Language::Ru;
    let items = rows.iter().map(|row| {
        let (item, language) = Item::read(row, language)?;
        if language != Language::Ru {
            used = language;
        }
        Ok(item)
    });
    let items = items.collect::<Result<Vec<_>>>()?;
    Ok((items, used))
}

/// The API returns whole seconds; the database stores microseconds for the order of reviews.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// An item of a cart: `quantity` is the cart's, `remainings` the level of the units that are `available` to its owner; with `None`,
/// the stored level. The item may be hidden.
pub(crate) fn read_cart_line(
    card: &Row,
    language: Language,
    quantity: i32,
    available: Option<i32>,
) -> Result<(Item, Language)> {
    let (mut item, language) = Item::read(card, language)?;
    item.quantity = Some(quantity);
    item.visible = card.try_get("is_visible")?;
    if let Some(available) = available {
        item.remainings = Some(stock_level(available).to_owned());
    }
    Ok((item, language))
}

/// The level of a stock in units: 0 is out, 1-9 low, 10-49 medium, 50 and more high.
pub(crate) fn stock_level(quantity: i32) -> &'static str {
    match quantity {
        ..=0 => "out",
        1..=9 => "low",
        10..=49 => "medium",
        50.. => "high",
    }
}

impl From<Review> for Callback {
    fn from(review: Review) -> Callback {
        Callback {
            rating: review.rating,
            content: review.content,
            user_id: review.author,
            answer: review.answer,
            timestamp: review.created_at.map(whole_seconds),
            verified: review.verified,
        }
    }
}

impl From<Review> for Comment {
    fn from(review: Review) -> Comment {
        Comment {
            id: review.id,
            text: review.content,
            author: review.author,
            stars: review.rating,
            created_at: review.created_at.map(whole_seconds),
            verified: review.verified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_levels_have_their_limits() {
        let levels = [0, 1, 9, 10, 49, 50].map(stock_level);
        assert_eq!(levels, ["out", "low", "low", "medium", "medium", "high"]);
    }
}
