//! Typed access to the members of one JSON record.
//!
//! # Invariants
//! - A member that is absent or null is `None`; a member of the wrong type is an error that names it.
//! - No text contains a NUL character, which PostgreSQL cannot store.

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value};

use crate::catalog::import::money;
use crate::catalog::import::record::MAX_PRICE;
use crate::catalog::import::{SOURCE_NAME_RULE, is_source_name};
use crate::foundation::money::decimal_from_json;
use crate::foundation::whole_number;
use crate::http::request::MAX_SAFE_INTEGER;

type Field<T> = Result<Option<T>, String>;

/// Searchable texts have to fit into one `tsvector`, which PostgreSQL limits to 1 MB.
const MAX_FIELDS_BYTES: usize = 100_000;
const MAX_TRANSLATIONS_BYTES: usize = 200_000;
const MAX_LIST_BYTES: usize = 50_000;
/// Lists of photos and questions.
pub(super) const MAX_OBJECTS_BYTES: usize = 500_000;
/// Names, URLs and other texts without a limit of their own.
const MAX_TEXT_CHARS: usize = 100_000;
const MAX_NAME_CHARS: usize = 500;

pub(super) struct Fields {
    object: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(object: Map<String, Value>) -> Fields {
        Fields { object }
    }

    /// Removes and returns a member that is not null.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.object.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn is_list(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(Value::is_array)
    }

    /// A text of at most 100,000 characters.
    pub(super) fn text(&mut self, key: &str) -> Field<String> {
        self.text_up_to(key, MAX_TEXT_CHARS)
    }

    pub(super) fn text_up_to(&mut self, key: &str, max_chars: usize) -> Field<String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().count() > max_chars => {
                Err(format!("{key}: at most {max_chars} characters"))
            }
            Some(Value::String(text)) if !text.contains('\0') => Ok(Some(text)),
            Some(Value::String(_)) => Err(format!("{key}: contains a NUL character")),
            Some(_) => Err(format!("{key}: expected a text")),
        }
    }

    /// A text that is not blank; a blank one counts as absent.
    pub(super) fn filled_text(&mut self, key: &str) -> Field<String> {
        Ok(self.text(key)?.filter(|text| !text.trim().is_empty()))
    }

    /// A name: at most 500 characters, and not blank.
    pub(super) fn name(&mut self, key: &str) -> Field<String> {
        Ok(self.text_up_to(key, MAX_NAME_CHARS)?.filter(|text| !text.trim().is_empty()))
    }

    /// A string id: 1 to 200 characters.
    pub(super) fn id(&mut self, key: &str) -> Field<String> {
        match self.filled_text(key)? {
            Some(id) if id.chars().count() > 200 => Err(format!("{key}: at most 200 characters")),
            id => Ok(id),
        }
    }

    /// The member that an export has for what belongs to a named source.
    pub(super) fn source(&mut self) -> Field<String> {
        match self.text("source")? {
            Some(name) if !is_source_name(&name) => Err(format!("source: {SOURCE_NAME_RULE}")),
            name => Ok(name),
        }
    }

    /// A numeric id: 1 to 2^53 − 1.
    pub(super) fn number(&mut self, key: &str) -> Field<i64> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match whole_number::from_json(&value) {
                Some(number @ 1..=MAX_SAFE_INTEGER) => Ok(Some(number)),
                _ => Err(format!("{key}: expected a whole number from 1 to 2^53 - 1")),
            },
        }
    }

    pub(super) fn integer(&mut self, key: &str) -> Field<i32> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match whole_number::from_json(&value).and_then(|number| i32::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{key}: expected a whole number")),
            },
        }
    }

    pub(super) fn boolean(&mut self, key: &str) -> Field<bool> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(_) => Err(format!("{key}: expected true or false")),
        }
    }

    /// A decimal from 0 to `max`, rounded half up to this many decimal places.
    pub(super) fn decimal(&mut self, key: &str, max: Decimal, places: u32) -> Field<Decimal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => decimal_from_json(&number.to_string()),
            _ => None,
        };
        let rounded =
            number.map(|number| number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero));
        match rounded {
            Some(number) if number >= Decimal::ZERO && number <= max => Ok(Some(number)),
            _ => Err(format!("{key}: expected a number from 0 to {max}")),
        }
    }

    /// As [`Fields::decimal`], but further decimal places are an error: rounding would make it another value.
    pub(super) fn exact_decimal(&mut self, key: &str, max: Decimal, places: u32) -> Field<Decimal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => decimal_from_json(&number.to_string()).map(|number| number.normalize()),
            _ => None,
        };
        match number {
            Some(number) if number < Decimal::ZERO || number > max => {}
            Some(number) if number.scale() <= places => return Ok(Some(number)),
            Some(_) => return Err(format!("{key}: at most {places} decimal places")),
            None => {}
        }
        Err(format!("{key}: expected a number from 0 to {max}"))
    }

    /// A price: a number rounded to the kopeck, or a text in a usual notation (`1 990,50`).
    pub(super) fn price(&mut self, key: &str) -> Field<Decimal> {
        match self.object.get(key) {
            Some(Value::String(text)) => {
                let price = money::price(text).map(Some).map_err(str::to_owned);
                self.take(key);
                price
            }
            _ => self.decimal(key, MAX_PRICE, 2),
        }
    }

    /// A list of texts, at most 50,000 bytes altogether.
    pub(super) fn texts(&mut self, key: &str) -> Field<Vec<String>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(plain_text).collect::<Option<Vec<_>>>());
        let list = list.ok_or_else(|| format!("{key}: expected a list of texts"))?;
        if list.iter().map(|text| text.len() + 1).sum::<usize>() > MAX_LIST_BYTES {
            return Err(format!("{key}: at most {MAX_LIST_BYTES} bytes altogether"));
        }
        Ok(Some(list))
    }

    /// `regions`: a list of ids, or of regions as objects with an id.
    pub(super) fn region_ids(&mut self) -> Field<Vec<String>> {
        let Some(value) = self.take("regions") else { return Ok(None) };
        let id = |entry: &Value| plain_text(entry).or_else(|| plain_text(entry.get("id")?));
        let list = value.as_array().and_then(|list| list.iter().map(id).collect::<Option<Vec<_>>>());
        list.map(Some).ok_or_else(|| "regions: expected a list of region ids".to_owned())
    }

    /// A list of `{"key","value"}` as compact JSON.
    pub(super) fn description_fields(&mut self, key: &str) -> Field<String> {
        let list = self.take(key).map(|value| description_fields(&value, key)).transpose()?;
        list.map(|list| check_size(key, Value::Array(list).to_string(), MAX_FIELDS_BYTES)).transpose()
    }

    /// `translations`: an object by language of these texts, and of a description as fields or text, as compact JSON.
    pub(super) fn translations(&mut self, texts: &[&str]) -> Field<String> {
        let Some(value) = self.take("translations") else { return Ok(None) };
        let Value::Object(languages) = value else { return Err("translations: expected an object".to_owned()) };
        let mut out = Map::new();
        for (language, translation) in languages {
            let Value::Object(members) = translation else {
                return Err(format!("translations.{language}: expected an object"));
            };
            let mut translated = Map::new();
            for (key, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("translations.{language}.{key}");
                let is_description = key == "description" || key == "descriptionFields";
                let value = match value {
                    list @ Value::Array(_) if is_description => Value::Array(description_fields(&list, &path)?),
                    Value::String(text) if text.contains('\0') => {
                        return Err(format!("{path}: contains a NUL character"));
                    }
                    Value::String(text) if texts.contains(&key.as_str()) || key == "description" => Value::String(text),
                    _ if texts.contains(&key.as_str()) || is_description => {
                        return Err(format!("{path}: expected a text"));
                    }
                    _ => continue,
                };
                translated.insert(key, value);
            }
            if language.contains('\0') {
                return Err("translations: contains a NUL character".to_owned());
            }
            out.insert(language, Value::Object(translated));
        }
        check_size("translations", Value::Object(out).to_string(), MAX_TRANSLATIONS_BYTES).map(Some)
    }

    /// An object, as compact JSON of at most 50,000 bytes.
    pub(super) fn object(&mut self, key: &str) -> Field<String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                let json = Value::Object(object).to_string();
                // PostgreSQL stores no NUL.
                if json.contains("\\u0000") {
                    return Err(format!("{key}: contains a NUL character"));
                }
                check_size(key, json, MAX_LIST_BYTES).map(Some)
            }
            Some(_) => Err(format!("{key}: expected an object")),
        }
    }

    /// A list of objects, each converted by `read`, as compact JSON of at most 500,000 bytes.
    pub(super) fn objects(&mut self, key: &str, read: impl Fn(Fields) -> Result<Value, String>) -> Field<String> {
        let list = self.object_list(key, read)?.map(|list| Value::Array(list).to_string());
        list.map(|json| check_size(key, json, MAX_OBJECTS_BYTES)).transpose()
    }

    /// A list of objects, each converted by `read`.
    pub(super) fn object_list<T>(&mut self, key: &str, read: impl Fn(Fields) -> Result<T, String>) -> Field<Vec<T>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let Value::Array(list) = value else { return Err(format!("{key}: expected a list of objects")) };
        let entries = list.into_iter().enumerate().map(|(index, entry)| match entry {
            Value::Object(object) => read(Fields::new(object)).map_err(|reason| format!("{key}[{index}].{reason}")),
            _ => Err(format!("{key}[{index}]: expected an object")),
        });
        Ok(Some(entries.collect::<Result<_, _>>()?))
    }
}

pub(super) fn check_size(key: &str, json: String, max_bytes: usize) -> Result<String, String> {
    if json.len() > max_bytes { Err(format!("{key}: at most {max_bytes} bytes of JSON")) } else { Ok(json) }
}

fn plain_text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
}

fn description_fields(value: &Value, path: &str) -> Result<Vec<Value>, String> {
    let entry = |entry: &Value| {
        let text = |key: &str| plain_text(entry.get(key)?);
        Some(serde_json::json!({ "key": text("key")?, "value": text("value")? }))
    };
    let list = value.as_array().and_then(|list| list.iter().map(entry).collect::<Option<Vec<_>>>());
    list.ok_or_else(|| format!("{path}: expected a list of {{\"key\": text, \"value\": text}}"))
}
