//! What an explanation of a search says, in the form in which it is printed as JSON.

use serde::Serialize;

use crate::foundation::money::Exact;

/// How a query was read, and why its results stand where they stand.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub query: String,
    /// What was searched for, if that is not what was typed.
    pub corrected: Option<String>,
    /// Limits of what is paid, in roubles: the query's own and those of the filters.
    pub price_min: Option<Exact>,
    pub price_max: Option<Exact>,
    pub words: Vec<WordExplanation>,
    /// The categories whose names the query says at least in part, the best first.
    pub categories: Vec<CategoryExplanation>,
    pub total: usize,
    /// The first results.
    pub items: Vec<ItemExplanation>,
    /// The item that was asked about.
    pub item: Option<ItemLookup>,
}

/// A word of the query.
#[derive(Debug, Serialize)]
pub struct WordExplanation {
    pub typed: String,
    /// Empty: nothing is known of the word.
    pub readings: Vec<ReadingExplanation>,
}

/// A reading of a word.
#[derive(Debug, Serialize)]
pub struct ReadingExplanation {
    pub kind: &'static str,
    pub weight: f64,
    /// What is looked for: one word, or any form of each stem, which ends in `*`.
    pub terms: Vec<String>,
}

/// A category whose name the query says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CategoryExplanation {
    #[serde(rename = "categoryID")]
    pub category_id: i64,
    pub name: String,
    /// What the scores of its items are multiplied by.
    pub factor: f64,
}

/// Why a result stands where it stands. The members are in the order in which results are compared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemExplanation {
    /// From 1.
    pub place: usize,
    #[serde(rename = "itemID")]
    pub item_id: i64,
    pub name: String,
    /// The place that the shop pins it to.
    pub pinned: Option<u16>,
    /// Whether the shop shows it after all others.
    pub buried: bool,
    /// Whether the query is its name.
    pub is_name: bool,
    /// The words of the query that it lacks.
    pub missing: Vec<String>,
    pub in_stock: bool,
    pub score: f64,
    /// `None` for an item that no words were searched for, or that is among the results only because it is pinned.
    pub parts: Option<PartsExplanation>,
    pub priority: i32,
}

/// What a score is the product of; `coverage` counts twice.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartsExplanation {
    /// The sum over the words of the query.
    pub words: f64,
    pub of_words: Vec<WordScore>,
    /// Less for names with words that the query does not have.
    pub length_factor: f64,
    /// More for categories whose name the query says.
    pub intent_factor: f64,
    /// The share of the query's words that the item has.
    pub coverage: f64,
}

/// What one word adds to a score: `readingWeight` × `fieldWeight` × `rarity`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WordScore {
    pub typed: String,
    pub score: f64,
    /// The best of the readings that apply.
    pub reading: &'static str,
    pub found: Vec<String>,
    pub reading_weight: f64,
    /// Where the item has it, the weightiest first.
    pub fields: Vec<&'static str>,
    pub field_weight: f64,
    pub rarity: f64,
}

/// Where an item is in the results, or why it is not among them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemLookup {
    #[serde(rename = "itemID")]
    pub item_id: i64,
    pub name: String,
    /// Empty for a result.
    pub obstacles: Vec<ObstacleExplanation>,
    pub result: Option<ItemExplanation>,
}

/// What keeps an item out of the results.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ObstacleExplanation {
    /// Stable.
    pub code: &'static str,
    pub message: String,
}

/// With the decimals that matter.
pub(super) fn rounded(value: f32) -> f64 {
    (f64::from(value) * 10_000.0).round() / 10_000.0
}
