//! The records of a catalogue file, independent of its format.
//!
//! # Invariants
//! - `None` means that the file does not mention the field: the shop keeps the value that it has.
//! - Readers do not guess values. A missing mandatory field is rejected by the merge, which knows whether the record is
//!   new.

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::file_time::FileTime;
use crate::catalog::CatalogId;

/// One record of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Region(RegionRecord),
    Category(CategoryRecord),
    Item(Box<ItemRecord>),
    /// The moment that the whole file is of.
    FileTime(FileTime),
    /// A currency of the file; it comes before the items that are priced in it.
    Currency(CurrencyRecord),
}

/// What a reader yields for one record of a file: the record, or a problem with it.
pub(crate) type ReadRecord = Result<Record, RecordProblem>;

/// How much of a record with a problem is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Nothing.
    Rejected,
    /// All but a value that is not understood. An item whose stock or price is not understood becomes out of stock.
    Incomplete,
    /// All, with a correction.
    Corrected,
}

/// Why a record was rejected, or how it was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProblem {
    /// Identifies the record in its file: `offer 21111112084_1`, `line 17`, `items[3] (item_abc)`.
    pub record: String,
    /// The reason without the record's name, so that equal reasons are counted together.
    pub reason: String,
    pub kind: ProblemKind,
    /// The item that a rejected record belongs to: `--replace` must not remove it.
    pub item: Option<CatalogId>,
}

impl RecordProblem {
    pub fn rejected(record: impl Into<String>, reason: impl Into<String>) -> RecordProblem {
        RecordProblem { record: record.into(), reason: reason.into(), kind: ProblemKind::Rejected, item: None }
    }

    pub fn corrected(record: impl Into<String>, reason: impl Into<String>) -> RecordProblem {
        RecordProblem { kind: ProblemKind::Corrected, ..RecordProblem::rejected(record, reason) }
    }

    pub fn incomplete(record: impl Into<String>, reason: impl Into<String>) -> RecordProblem {
        RecordProblem { kind: ProblemKind::Incomplete, ..RecordProblem::rejected(record, reason) }
    }

    /// Names the item that the record belongs to.
    pub fn with_item(self, item: Option<CatalogId>) -> RecordProblem {
        RecordProblem { item, ..self }
    }
}

/// A currency as a file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrencyRecord {
    /// ISO 4217; the old `RUR` is read as `RUB`.
    pub code: String,
    /// How many units of the file's main currency one unit is; `None` where the file names a bank instead.
    pub rate: Option<Decimal>,
    /// By how many percent the shop's rate is above the bank's.
    pub plus: Decimal,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RegionRecord {
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The file says that the category is a top-level one.
    Top,
    Of(CatalogId),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CategoryRecord {
    /// At least one of `number` and `id` is present.
    pub number: Option<i64>,
    pub id: Option<String>,
    pub parent: Option<Parent>,
    pub name: Option<String>,
    /// The name of a new category that has none in the file.
    pub fallback_name: Option<String>,
    pub icon: Option<String>,
    pub wide_banner: Option<String>,
    pub project_id: Option<String>,
    pub priority: Option<i32>,
    pub visible: Option<bool>,
    /// Replaces the category's list of regions; an empty list means all regions.
    pub regions: Option<Vec<String>>,
    /// JSON object by language: `{"en":{"name":"…"}}`.
    pub translations: Option<String>,
    /// The source that it belongs to, in an export; otherwise that of the import.
    pub source: Option<String>,
    /// Its number in the files of its source, where that is another one.
    pub source_number: Option<i64>,
}

/// The stock of an item. A count and a level exclude each other: either replaces both columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stock {
    /// Units, 0 or more.
    Count(i32),
    /// `high`, `medium`, `low` or `out`, where the number of units is not known.
    Level(&'static str),
    /// Available in an unknown quantity: changes an item that is out of stock, and leaves a positive count as it is.
    Available,
}

impl Stock {
    /// Whether nothing can be sold.
    pub(crate) fn is_out(self) -> bool {
        matches!(self, Stock::Count(..=0) | Stock::Level("out"))
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ItemRecord {
    /// At least one of `number` and `id` is present.
    pub number: Option<i64>,
    pub id: Option<String>,
    /// The source that an exported item has; `None`: that of the import.
    pub source: Option<String>,
    /// When an import hid the exported item, as an RFC 3339 time.
    pub retired_at: Option<String>,
    /// Values that are not understood and are left out. A new item is rejected for it; an item of the shop takes the
    /// rest.
    pub defect: Option<String>,
    /// In the file's order: the first one that exists is used.
    pub categories: Vec<CatalogId>,
    pub subcategory: Option<String>,
    pub name: Option<String>,
    pub simple_description: Option<String>,
    pub description: Option<String>,
    /// JSON array of `{"key","value"}`.
    pub description_fields: Option<String>,
    /// ISO 4217; the old `RUR` is read as `RUB`.
    pub currency: Option<String>,
    /// The list price, before the discount, in roubles.
    pub price: Option<Decimal>,
    /// Percent, 0-100.
    pub discount: Option<Decimal>,
    /// What is paid for one unit, where it is not the discounted price. A record with a price and without it clears it.
    pub sale_price: Option<Decimal>,
    /// The smallest quantity that is sold at once, 1-999.
    pub min_quantity: Option<i32>,
    /// Of the quantities above the smallest one, 1-999.
    pub step_quantity: Option<i32>,
    /// What the shop pays for one unit, in roubles.
    pub purchase_price: Option<Decimal>,
    /// JSON object of what programs read; its members replace those of the same name.
    pub attributes: Option<String>,
    pub stock: Option<Stock>,
    /// One of [`crate::foundation::vat::VAT_RATES`].
    pub vat: Option<&'static str>,
    /// A number in place of `vat`, of which only the shop can say what it means.
    pub vat_number: Option<u8>,
    /// 0-5.
    pub rating: Option<Decimal>,
    /// How many reviews the rating is the mean of.
    pub rating_count: Option<i32>,
    pub visible: Option<bool>,
    pub priority: Option<i32>,
    pub tags: Option<Vec<String>>,
    pub badges: Option<Vec<String>>,
    /// JSON array of `{"url", "photo"?, "video"?, "type"?}`.
    pub photos: Option<String>,
    /// JSON array of `{"question","answer"?,"upvotes"?,"downvotes"?,"hidden"}`.
    pub questions: Option<String>,
    /// JSON object by language, as in the API.
    pub translations: Option<String>,
    /// Replaces the item's list of regions; an empty list means all regions.
    pub regions: Option<Vec<String>>,
    /// JSON array of `{"id","author","stars","text","answer","createdAt"}`.
    pub reviews: Option<String>,
}

/// The subject of a record of an item without an id, which cannot be that of any item in the shop.
pub(crate) const NAMELESS_ITEM: CatalogId = CatalogId::Id(String::new());

/// `item.price` is numeric(14, 2).
pub(crate) const MAX_PRICE: Decimal = Decimal::from_parts(276_447_231, 23_283, 0, false, 2);

/// The largest [`ItemRecord::min_quantity`] and [`ItemRecord::step_quantity`]: a line of a cart has no more units.
pub(crate) const MAX_LOT: i32 = 999;

/// The largest number that a file may assign itself; larger ones are hashes (see [`number_of`]).
pub(crate) const MAX_NATURAL_NUMBER: i64 = (1 << 52) - 1;

/// The number of a category or item whose file identifies it by text.
///
/// A plain positive decimal up to 2^52 − 1 is its own number. Any other text is hashed with `namespace` to a number
/// between 2^52 and 2^53 − 1, which is the same in every import and every database.
pub(crate) fn number_of(namespace: &str, external_id: &str) -> i64 {
    natural_number(external_id).unwrap_or_else(|| hashed_number(namespace, external_id))
}

/// The number of a category or item whose text id is never read as a number: between 2^52 and 2^53 − 1.
pub(crate) fn hashed_number(namespace: &str, external_id: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(namespace);
    hash.update([0]);
    hash.update(external_id);
    let digest = hash.finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    (1 << 52) | (i64::from_be_bytes(first) & ((1 << 52) - 1))
}

/// Parses `"123"`; `None` for `"0"`, `"007"`, `"+1"` and numbers above [`MAX_NATURAL_NUMBER`].
pub(crate) fn natural_number(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|n| *n <= MAX_NATURAL_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_price_is_the_maximum_of_the_column() {
        assert_eq!(MAX_PRICE.to_string(), "999999999999.99");
    }

    #[test]
    fn plain_numbers_are_kept_and_other_ids_are_hashed_above_them() {
        assert_eq!(number_of("item", "110101000001"), 110101000001);
        for id in ["0", "007", "413376464C229995501", "999999999999999999", "", "я"] {
            let number = number_of("item", id);
            assert!(number > MAX_NATURAL_NUMBER && number < 1 << 53, "{id} became {number}");
            assert_eq!(number, number_of("item", id));
            assert_ne!(number, number_of("category", id));
        }
    }
}
