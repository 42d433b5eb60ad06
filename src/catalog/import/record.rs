//! What a catalogue file says, one record at a time, whatever its format.
//!
//! Made by the readers (`json`, `yml`), eaten by `stage`. `None` means that the file is silent: what the shop already has
//! stays. A reader must never fill a field with a guess; what a new record needs and lacks is refused later, where it is
//! known whether the record is new.

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

/// One record of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Region(RegionRecord),
    Category(CategoryRecord),
    Item(Box<ItemRecord>),
}

/// A reader's word on one record: the record, or why it cannot be used.
pub type Read = Result<Record, Rejected>;

/// A record that was left out, or one that was taken with a correction which a person should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What a person finds the record by: `offer 21111112084_1`, `line 17`, `items[3] (item_abc)`.
    pub record: String,
    /// Why, in a sentence without the record's name, so that equal reasons can be counted together.
    pub reason: String,
    /// Whether the record was taken all the same.
    pub kept: bool,
    /// The item that a record left out was about: `--replace` must not take it for one that the file no longer has.
    pub item: Option<Reference>,
}

impl Rejected {
    pub fn left_out(record: impl Into<String>, reason: impl Into<String>) -> Rejected {
        Rejected { record: record.into(), reason: reason.into(), kept: false, item: None }
    }

    /// Names the item that the record was about.
    pub fn about(self, item: Option<Reference>) -> Rejected {
        Rejected { item, ..self }
    }

    pub fn kept(record: impl Into<String>, reason: impl Into<String>) -> Rejected {
        Rejected { record: record.into(), reason: reason.into(), kept: true, item: None }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionRecord {
    pub id: String,
    pub city: Option<String>,
    pub country: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country_code: Option<String>,
    /// IANA name.
    pub timezone: Option<String>,
    /// JSON object by language: `{"en":{"city":"Moscow","country":"Russia"}}`.
    pub translations: Option<String>,
}

/// How a file names a category or an item: by its number or by its string id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Number(i64),
    Id(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// The category is said to be top-level.
    Top,
    Of(Reference),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CategoryRecord {
    /// At least one of `number` and `id` is there.
    pub number: Option<i64>,
    pub id: Option<String>,
    pub parent: Option<Parent>,
    pub name: Option<String>,
    /// What a new category is called when the file gives it no name.
    pub fallback_name: Option<String>,
    pub icon: Option<String>,
    pub wide_banner: Option<String>,
    pub project_id: Option<String>,
    pub priority: Option<i32>,
    pub visible: Option<bool>,
    /// Replaces the category's list; an empty list means everywhere.
    pub regions: Option<Vec<String>>,
    /// JSON object by language: `{"en":{"name":"…"}}`.
    pub translations: Option<String>,
}

/// What a file says of an item's stock. A count and a level exclude each other: the later word replaces both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// Pieces, 0 or more.
    Count(i32),
    /// `high`, `medium`, `low` or `out`, where the number is not known.
    Level(&'static str),
    /// It can be had, nobody says how many: lifts an item that was out, and says nothing of one whose pieces are counted.
    Available,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemRecord {
    /// At least one of `number` and `id` is there.
    pub number: Option<i64>,
    pub id: Option<String>,
    /// Candidates in the file's order: the first one that exists is taken.
    pub categories: Vec<Reference>,
    pub subcategory: Option<String>,
    pub name: Option<String>,
    pub simple_description: Option<String>,
    pub description: Option<String>,
    /// JSON array of `{"key","value"}`.
    pub description_fields: Option<String>,
    /// ISO 4217; the old `RUR` has become `RUB`.
    pub currency: Option<String>,
    /// The list price, before the discount, in roubles.
    pub price: Option<Decimal>,
    /// Percent, 0-100.
    pub discount: Option<Decimal>,
    pub stock: Option<Stock>,
    /// 0-5.
    pub rating: Option<Decimal>,
    pub visible: Option<bool>,
    pub priority: Option<i32>,
    pub tags: Option<Vec<String>>,
    pub badges: Option<Vec<String>>,
    /// JSON array of `{"url", "photo"?, "video"?, "type"?}`.
    pub photos: Option<String>,
    /// JSON array of `{"question","answer","upvotes","downvotes"}`.
    pub questions: Option<String>,
    /// JSON object by language, as the document has it.
    pub translations: Option<String>,
    /// Replaces the item's list; an empty list means everywhere.
    pub regions: Option<Vec<String>>,
    /// JSON array of `{"id","author","stars","text","answer","createdAt"}`.
    pub reviews: Option<String>,
}

/// `item.price` is numeric(14, 2).
pub const LARGEST_PRICE: Decimal = Decimal::from_parts(276_447_231, 23_283, 0, false, 2);

/// The largest number that a file may choose itself; those above are ours (see [`number_of`]).
pub const LARGEST_NATURAL_NUMBER: i64 = (1 << 52) - 1;

/// The number of a thing that its file names by text.
///
/// A plain positive decimal up to 2^52 − 1 is its own number. Anything else gets one between 2^52 and 2^53 − 1 from a
/// hash of `namespace` and the text, so that it is the same after every import, on every machine.
pub fn number_of(namespace: &str, external_id: &str) -> i64 {
    natural_number(external_id).unwrap_or_else(|| hashed_number(namespace, external_id))
}

/// The number of a thing whose text id is never its number, between 2^52 and 2^53 − 1.
pub fn hashed_number(namespace: &str, external_id: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(namespace);
    hash.update([0]);
    hash.update(external_id);
    let digest = hash.finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    (1 << 52) | (i64::from_be_bytes(first) & ((1 << 52) - 1))
}

/// `"123"` is 123; `"0"`, `"007"`, `"+1"` and what is larger than [`LARGEST_NATURAL_NUMBER`] are not numbers.
pub fn natural_number(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|n| *n <= LARGEST_NATURAL_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_price_is_what_the_column_holds() {
        assert_eq!(LARGEST_PRICE.to_string(), "999999999999.99");
    }

    #[test]
    fn plain_numbers_stay_and_the_rest_is_hashed_above_them() {
        assert_eq!(number_of("item", "110101000001"), 110101000001);
        for id in ["0", "007", "413376464C229995501", "999999999999999999", "", "я"] {
            let number = number_of("item", id);
            assert!(number > LARGEST_NATURAL_NUMBER && number < 1 << 53, "{id} became {number}");
            assert_eq!(number, number_of("item", id));
            assert_ne!(number, number_of("category", id));
        }
    }
}
