//! Explains a search: how the query was read, why the first results stand where they stand, and why an item is not among them.
//!
//! The ranking is the one that requests use, over an index that is built for the explanation.

mod explanation;
mod obstacles;
mod recorder;

use std::collections::HashMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tokio_postgres::Client;

use super::build::{self, BaseIndex};
use super::index::builder::{IndexedField, IndexedItem, fields_with};
use super::index::snapshot::IndexSnapshot;
use super::intent::Intent;
use super::listing::{self, Filters};
use super::query::reading::{Reading, Term};
use super::query::understand::{Query, understand};
use super::ranking::{Location, Match, Unobserved};
use super::rules::{Pin, Placement, SearchRules};
use super::store;
use super::text::stem::stem;
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::foundation::money::Exact;
use crate::platform::postgres;
use crate::tenant::brand::Brand;
use explanation::rounded;
pub use explanation::{
    CategoryExplanation, Explanation, ItemExplanation, ItemLookup, ObstacleExplanation, PartsExplanation,
    ReadingExplanation, WordExplanation, WordScore,
};
use obstacles::Context;
use recorder::{RecordedWord, Recorder};

/// How many of the first results are explained.
const EXPLAINED_RESULTS: usize = 10;

/// How many of the categories are named whose names the query says.
const MAX_NAMED_CATEGORIES: usize = 10;

/// A search to explain, with the parameters that it would have as a request.
#[derive(Debug, Default, Clone)]
pub struct ExplainedSearch {
    /// Valid as a request's `search`.
    pub query: String,
    pub exact: bool,
    /// An item whose place, or absence, is explained too.
    pub item: Option<CatalogId>,
    pub region: Option<String>,
    pub category: Option<CatalogId>,
    /// Limits of what is paid, in roubles.
    pub price_min: Option<Decimal>,
    pub price_max: Option<Decimal>,
    pub in_stock: bool,
    pub discounted: bool,
    /// All of them.
    pub tags: Vec<String>,
}

/// Builds the brand's index from the database and searches it.
///
/// # Errors
/// 404 for an item or a category that does not exist; an unavailable database.
pub async fn explain(brand: &Brand, search: &ExplainedSearch) -> Result<Explanation> {
    let database = &brand.config.database;
    let connect = postgres::connect_reading(database);
    let client = tokio::time::timeout(database.connect_timeout, connect).await.or_timeout()??;
    let decimals = brand.config.payments.rounding.decimals();
    let asked = match &search.item {
        Some(key) => Some(store::item_state(&client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    let rules = SearchRules::load(&client).await?;
    let base = build::build(&client, decimals).await?;
    let snapshot = base.snapshot();
    let query = understand(&snapshot, &rules.synonyms, &search.query, search.exact);
    let filters = super::with_price_limits(filters(search, &snapshot)?, query.price);
    let pins = rules.pins.of(&search.query, query.corrected.as_deref());
    let (list, _) = super::results(&snapshot, &query, &filters, pins, &mut Unobserved);
    let total = list.len();
    let order = list.page(&snapshot, None, 0, total);

    let asked_at = asked.as_ref().and_then(|asked| snapshot.find_item(asked.item_id));
    let asked_place = asked_at.and_then(|at| order.iter().position(|found| location(found) == at));
    let first = order.iter().take(EXPLAINED_RESULTS).enumerate();
    let explained: Vec<(usize, Match)> =
        first.chain(asked_place.map(|place| (place, &order[place]))).map(|(place, found)| (place, *found)).collect();
    let mut recorder = Recorder::new(&query, explained.iter().map(|(_, found)| location(found)).chain(asked_at));
    super::results(&snapshot, &query, &filters, pins, &mut recorder);
    let texts = read_texts(&client, &base, &snapshot, &explained, decimals).await?;

    let results = Results { snapshot: &snapshot, query: &query, recorder: &recorder, pins, texts: &texts };
    let items = explained.iter().take(total.min(EXPLAINED_RESULTS)).map(|(place, found)| results.item(*place, found));
    let context = Context { snapshot: &snapshot, query: &query, filters: &filters, recorder: &recorder };
    let item = asked.map(|asked| ItemLookup {
        item_id: asked.item_id,
        obstacles: if asked_place.is_some() { Vec::new() } else { context.obstacles(&asked, asked_at) },
        result: asked_place.map(|place| results.item(place, &order[place])),
        name: asked.name,
    });
    Ok(Explanation {
        query: search.query.clone(),
        corrected: query.corrected.clone().filter(|_| total > 0),
        price_min: filters.price_min.map(roubles),
        price_max: filters.price_max.map(roubles),
        words: words(&query),
        categories: categories(&snapshot, &query),
        total,
        items: items.collect(),
        item,
    })
}

/// # Errors
/// 404 for a category that does not exist or is hidden.
fn filters(search: &ExplainedSearch, snapshot: &IndexSnapshot) -> Result<Filters> {
    let category = match &search.category {
        Some(id) => Some(snapshot.categories.find(id).ok_or_else(|| Error::not_found("category"))?),
        None => None,
    };
    let kopecks = |roubles: Option<Decimal>| roubles.map(|roubles| roubles * Decimal::ONE_HUNDRED);
    Ok(Filters {
        category,
        price_min: kopecks(search.price_min).and_then(|price| price.ceil().to_i64()),
        price_max: kopecks(search.price_max).and_then(|price| price.floor().to_i64()),
        in_stock: search.in_stock,
        discounted: search.discounted,
        tags: search.tags.clone(),
        region: search.region.clone(),
    })
}

fn roubles(kopecks: i64) -> Exact {
    Exact(Decimal::new(kopecks, 2))
}

fn location(found: &Match) -> Location {
    (found.segment, found.document)
}

/// The texts of the explained items, by number.
async fn read_texts(
    client: &Client,
    base: &BaseIndex,
    snapshot: &IndexSnapshot,
    explained: &[(usize, Match)],
    decimals: u32,
) -> Result<HashMap<i64, IndexedItem>> {
    let ids: Vec<i64> = explained.iter().map(|(_, found)| listing::item_id(snapshot, found)).collect();
    let (mut tags, mut region_sets) = (base.tags.clone(), base.region_sets.clone());
    let rows = store::index_items(client, &ids).await?.into_iter();
    let items = rows.filter_map(|row| row.into_indexed(&base.categories, &mut tags, &mut region_sets, decimals));
    Ok(items.map(|item| (item.item_id, item)).collect())
}

fn words(query: &Query) -> Vec<WordExplanation> {
    let readings = |readings: &[Reading]| readings.iter().map(reading).collect();
    query
        .words
        .iter()
        .map(|word| WordExplanation { typed: word.typed.clone(), readings: readings(&word.readings) })
        .collect()
}

fn reading(reading: &Reading) -> ReadingExplanation {
    ReadingExplanation { kind: reading.kind.name(), weight: rounded(reading.weight), terms: terms(reading) }
}

fn terms(reading: &Reading) -> Vec<String> {
    let terms = reading.terms.iter().map(|term| match term {
        Term::Word(word) => word.clone(),
        Term::Stem(stem) => format!("{stem}*"),
    });
    terms.collect()
}

fn categories(snapshot: &IndexSnapshot, query: &Query) -> Vec<CategoryExplanation> {
    if query.words.is_empty() {
        return Vec::new();
    }
    let intent = Intent::of(&snapshot.categories, &query.words);
    let mut factors: Vec<(u32, f32)> = (0..u32::try_from(snapshot.categories.len()).unwrap_or(u32::MAX))
        .map(|position| (position, intent.factor(position)))
        .filter(|(_, factor)| *factor > 1.0)
        .collect();
    factors.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let named = factors.into_iter().take(MAX_NAMED_CATEGORIES).map(|(position, factor)| {
        let entry = snapshot.categories.get(position);
        CategoryExplanation {
            category_id: entry.category_id,
            name: entry.name(Language::Ru).0.to_owned(),
            factor: rounded(factor),
        }
    });
    named.collect()
}

/// What the explanations of results are made of.
struct Results<'s> {
    snapshot: &'s IndexSnapshot,
    query: &'s Query,
    recorder: &'s Recorder<'s>,
    pins: &'s [Pin],
    texts: &'s HashMap<i64, IndexedItem>,
}

impl Results<'_> {
    /// `place`: from 0.
    fn item(&self, place: usize, found: &Match) -> ItemExplanation {
        let item_id = listing::item_id(self.snapshot, found);
        let columns = &self.snapshot.segments[found.segment as usize].segment.columns;
        let at = found.document as usize;
        let text = self.texts.get(&item_id);
        let recorded = self.recorder.item(location(found)).cloned().unwrap_or_default();
        let placement = self.pins.iter().find(|pin| pin.item_id == item_id).map(|pin| pin.placement);
        let is_missing = |word: &usize| recorded.words.iter().all(|recorded| recorded.word != *word);
        let missing = (0..self.query.words.len()).filter(is_missing);
        let parts = recorded.parts.map(|parts| PartsExplanation {
            words: rounded(parts.words),
            of_words: recorded.words.iter().map(|word| self.word(word, text)).collect(),
            length_factor: rounded(parts.length_factor),
            intent_factor: rounded(parts.intent_factor),
            coverage: rounded(parts.coverage),
        });
        ItemExplanation {
            place: place + 1,
            item_id,
            name: text.map_or_else(|| columns.names[at].to_string(), |text| text.name.clone()),
            pinned: placement.and_then(|placement| match placement {
                Placement::Position(position) => Some(position),
                Placement::Buried => None,
            }),
            buried: placement == Some(Placement::Buried),
            is_name: found.is_name,
            missing: missing.map(|word| self.query.words[word].typed.clone()).collect(),
            in_stock: columns.in_stock[at],
            score: rounded(found.score),
            parts,
            priority: columns.priorities[at],
        }
    }

    fn word(&self, recorded: &RecordedWord, text: Option<&IndexedItem>) -> WordScore {
        let word = &self.query.words[recorded.word];
        let reading = &word.readings[recorded.reading];
        let is_meant = |word: &str| {
            reading.terms.iter().any(|term| match term {
                Term::Word(meant) => meant == word,
                Term::Stem(meant) => *meant == stem(word),
            })
        };
        let fields = text.map(|text| fields_with(text, &self.snapshot.categories, is_meant)).unwrap_or_default();
        WordScore {
            typed: word.typed.clone(),
            score: rounded(reading.weight * recorded.field_weight * recorded.rarity),
            reading: reading.kind.name(),
            found: terms(reading),
            reading_weight: rounded(reading.weight),
            fields: fields.into_iter().map(IndexedField::name).collect(),
            field_weight: rounded(recorded.field_weight),
            rarity: rounded(recorded.rarity),
        }
    }
}
