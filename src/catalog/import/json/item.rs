//! Reads an item of the API's JSON, in the legacy spelling, the BackOffice spelling, or both.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::fields::Fields;
use crate::catalog::CatalogId;
use crate::catalog::import::record::{ItemRecord, MAX_PRICE, Stock};
use crate::foundation::hex;

/// Has to fit into a `tsvector`, see `fields`.
const MAX_DESCRIPTION_CHARS: usize = 50_000;

/// # Errors
/// A message that names the field.
pub(super) fn read(fields: &mut Fields) -> Result<ItemRecord, String> {
    let number = fields.number("itemID")?;
    let id = fields.id("id")?;
    if number.is_none() && id.is_none() {
        return Err("itemID: expected a number, or id: a text".to_owned());
    }
    let name = fields.filled_text("name")?;
    if name.as_ref().is_some_and(|name| name.chars().count() > 500) {
        return Err("name: at most 500 characters".to_owned());
    }
    let mut description_fields = fields.description_fields("descriptionFields")?;
    let description = match fields.take("description") {
        None => None,
        Some(Value::String(text)) if text.chars().count() > MAX_DESCRIPTION_CHARS => {
            return Err(format!("description: at most {MAX_DESCRIPTION_CHARS} characters"));
        }
        Some(Value::String(text)) if !text.contains('\0') => Some(text),
        Some(list @ Value::Array(_)) => {
            let mut alone = Fields::new(Map::from_iter([("description".to_owned(), list)]));
            description_fields = description_fields.or(alone.description_fields("description")?);
            None
        }
        Some(_) => return Err("description: expected a text".to_owned()),
    };
    let currency = fields.text("currency")?.map(|code| if code == "RUR" { "RUB".to_owned() } else { code });
    if currency.as_ref().is_some_and(|code| code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err("currency: expected three capital letters, ISO 4217".to_owned());
    }
    let author = id.clone().or_else(|| number.map(|number| number.to_string())).unwrap_or_default();
    Ok(ItemRecord {
        number,
        id,
        categories: fields.number("categoryID")?.map(CatalogId::Number).into_iter().collect(),
        subcategory: fields.id("subcategoryId")?,
        name,
        simple_description: fields.text_up_to("simpleDescription", 10_000)?,
        description,
        description_fields,
        currency,
        price: fields.decimal("price", MAX_PRICE, 2)?,
        discount: fields.decimal("discount", Decimal::ONE_HUNDRED, 2)?,
        stock: stock(fields)?,
        rating: fields.decimal("rating", Decimal::from(5), 1)?,
        rating_count: count(fields, "ratingCount")?,
        visible: fields.boolean("visible")?,
        priority: fields.integer("priority")?,
        tags: fields.texts("tags")?,
        badges: fields.texts("badges")?,
        photos: photos(fields)?,
        questions: fields.objects("questions", question)?,
        translations: fields.translations(&["name", "simpleDescription"])?,
        regions: fields.region_ids()?,
        reviews: reviews(fields, &author)?,
    })
}

/// A quantity takes precedence over a level.
fn stock(fields: &mut Fields) -> Result<Option<Stock>, String> {
    let quantity = fields.integer("quantity")?;
    let level = fields.text("remainings")?;
    match (quantity, level.as_deref()) {
        (Some(count @ 0..), _) => Ok(Some(Stock::Count(count))),
        (Some(_), _) => Err("quantity: expected a whole number, 0 or more".to_owned()),
        (None, None) => Ok(None),
        (None, Some("high")) => Ok(Some(Stock::Level("high"))),
        (None, Some("medium")) => Ok(Some(Stock::Level("medium"))),
        (None, Some("low")) => Ok(Some(Stock::Level("low"))),
        (None, Some("out")) => Ok(Some(Stock::Level("out"))),
        (None, Some(_)) => Err("remainings: expected high, medium, low or out".to_owned()),
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
    Ok(Some(Value::Array(all).to_string()))
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
