//! Search for items: query understanding over an index in memory, with filters, sorts, facets and suggestions.
//!
//! The index is derived from PostgreSQL and follows its changes. While it is being built, the database is searched by
//! full text, in every language with its own stemming.

mod build;
mod computation;
pub mod explain;
mod follower;
pub(crate) mod http;
mod index;
mod intent;
mod listing;
mod live;
mod placement;
mod query;
pub mod query_counts;
mod ranking;
mod request;
pub mod rules;
mod spelling;
mod store;
mod suggest;
mod text;

use std::sync::Arc;

pub use follower::follow;

use self::index::snapshot::IndexSnapshot;
use self::listing::{FacetCounts, Filters, Sort};
use self::live::PublishedIndex;
use self::placement::ResultList;
use self::query::price::PriceLimits;
use self::query::understand::{Query, understand};
use self::ranking::{Match, Observer, Unobserved};
use self::request::ListParameters;
use self::rules::Pin;
use self::text::fold::fold;
use crate::catalog::item::{self, Item};
use crate::catalog::{CatalogId, Page};
use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::tenant::context::RequestContext;

const MAX_QUERY_CHARS: usize = 512;

/// How many categories a search names.
const MAX_CATEGORIES: usize = 3;

/// Of the items that a query finds by their prices alone.
const PRICE_ONLY_SCORE: f32 = 1.0;

/// A page of matching items.
pub(crate) struct Hits {
    pub items: Vec<Item>,
    /// The number of all matches.
    pub total: i64,
    pub language: Language,
    /// What was searched for, if that is not what was typed.
    pub corrected: Option<String>,
    /// The categories whose names the query says, and the facets over all matches, with the state of the index.
    pub found: Option<Found>,
}

/// What a search of the index found beside the items.
pub(crate) struct Found {
    pub(crate) index: Arc<PublishedIndex>,
    pub(crate) categories: Vec<u32>,
    /// Empty unless they were requested.
    pub(crate) facets: FacetCounts,
}

/// Trims and validates a search query.
///
/// # Errors
/// 400 when it is missing, blank or too long, or contains a NUL character.
pub(crate) fn check_query(text: Option<&str>) -> Result<&str> {
    let bad = |message: &'static str| Error::malformed("bad_search", message);
    let text = text.unwrap_or_default().trim();
    // Folded, a text of invisible characters alone is blank.
    if fold(text).trim().is_empty() {
        return Err(bad("search: expected the words to look for"));
    }
    if text.chars().count() > MAX_QUERY_CHARS {
        return Err(bad("search: at most 512 characters"));
    }
    if text.contains('\0') {
        return Err(bad("search: contains a NUL character"));
    }
    Ok(text)
}

/// A minus before a word does not exclude it, and is not the sign of a number.
fn without_minuses(query: &str) -> String {
    let words = query.split_whitespace().map(|word| word.trim_start_matches('-'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A page of the matching items, best first. Without other parameters than the page it is answered by the database while
/// there is no index.
pub(crate) async fn find(
    cx: &RequestContext,
    query: &str,
    parameters: &ListParameters,
    exact: bool,
    with_facets: bool,
    page: Page,
) -> Result<Hits> {
    let index = match live::current_index(&cx.brand).await {
        Some(index) => index,
        None if parameters.is_plain() && !with_facets => return find_in_database(cx, query, page).await,
        None => live::ready_index(&cx.brand).await?,
    };
    let (typed, wanted) = (query.to_owned(), parameters.clone());
    let searched = {
        let index = index.clone();
        computation::compute(&cx.brand, move || search(&index, &typed, &wanted, exact, with_facets, page)).await?
    };
    let Searched { ids, total, corrected, categories, facets } = searched;
    let (items, language) = load_items(cx, &ids).await?;
    Ok(Hits { items, total, language, corrected, found: Some(Found { index, categories, facets }) })
}

/// What a search of the index finds.
#[derive(Default)]
struct Searched {
    /// Of the page.
    ids: Vec<i64>,
    total: i64,
    corrected: Option<String>,
    categories: Vec<u32>,
    facets: FacetCounts,
}

fn search(
    index: &PublishedIndex,
    typed: &str,
    parameters: &ListParameters,
    exact: bool,
    with_facets: bool,
    page: Page,
) -> Searched {
    let snapshot = &index.snapshot;
    let query = understand(snapshot, &index.rules.synonyms, typed, exact);
    let Some(filters) = parameters.filters(snapshot) else { return Searched::default() };
    let pins = match parameters.sort {
        None => index.rules.pins.of(typed, query.corrected.as_deref()),
        Some(_) => &[],
    };
    let filters = with_price_limits(filters, query.price);
    let (results, mut categories) = results(snapshot, &query, &filters, pins, &mut Unobserved);
    let facets = if with_facets { listing::facets(snapshot, results.iter()) } else { FacetCounts::default() };
    let total = i64::try_from(results.len()).unwrap_or(i64::MAX);
    categories.retain(|position| snapshot.categories.is_available(*position, filters.region.as_deref()));
    categories.truncate(MAX_CATEGORIES);
    Searched {
        ids: page_ids(snapshot, results, parameters.sort, page),
        total,
        corrected: query.corrected.filter(|_| total > 0),
        categories,
        facets,
    }
}

/// The filters with the query's own price limits.
fn with_price_limits(mut filters: Filters, limits: PriceLimits) -> Filters {
    let tighter = |a: Option<i64>, b: Option<i64>, choose: fn(i64, i64) -> i64| match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (a, b) => a.or(b),
    };
    filters.price_min = tighter(filters.price_min, limits.min, i64::max);
    filters.price_max = tighter(filters.price_max, limits.max, i64::min);
    filters
}

/// The results that pass the filters, which have the query's own price limits, and the categories that the query says.
fn results(
    snapshot: &IndexSnapshot,
    query: &Query,
    filters: &Filters,
    pins: &[Pin],
    observer: &mut impl Observer,
) -> (ResultList, Vec<u32>) {
    if query.words.is_empty() && query.price == PriceLimits::default() {
        return (ResultList::default(), Vec::new());
    }
    let resolved = listing::ResolvedFilters::new(snapshot, filters);
    let pass = |segment, document| resolved.pass(snapshot, segment, document);
    let (matches, categories) = match query.words.is_empty() {
        // With a score, goods in stock come first, as in every search.
        true => {
            let items = listing::all_items(snapshot, filters).into_iter();
            (items.map(|found| Match { score: PRICE_ONLY_SCORE, ..found }).collect(), Vec::new())
        }
        false => ranking::matches(snapshot, query, pass, observer),
    };
    (ResultList::new(snapshot, matches, pins, pass), categories)
}

/// The items of a page, in its order.
fn page_ids(snapshot: &IndexSnapshot, results: ResultList, sort: Option<Sort>, page: Page) -> Vec<i64> {
    let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
    let count = usize::try_from(page.count).unwrap_or(0);
    let found = results.page(snapshot, sort, skip, count);
    found.iter().map(|found| listing::item_id(snapshot, found)).collect()
}

/// Reads these items, in their order.
async fn load_items(cx: &RequestContext, ids: &[i64]) -> Result<(Vec<Item>, Language)> {
    if ids.is_empty() {
        return Ok((Vec::new(), Language::Ru));
    }
    item::load_list(&cx.brand.postgres().await?, ids, cx.language).await
}

async fn find_in_database(cx: &RequestContext, query: &str, page: Page) -> Result<Hits> {
    let client = cx.brand.postgres().await?;
    let (rows, total) = store::find(&client, &without_minuses(query), cx.region.as_deref(), page).await?;
    let (items, language) = item::read_list(&rows, cx.language)?;
    Ok(Hits { items, total, language, corrected: None, found: None })
}

/// The items of a category and of those below it, sorted or filtered, and the index that chose them.
///
/// # Errors
/// 404 for a category that does not exist or is hidden.
pub(crate) async fn category_items(
    cx: &RequestContext,
    key: &str,
    parameters: &ListParameters,
    page: Page,
) -> Result<(Vec<Item>, Language, Arc<PublishedIndex>)> {
    let index = live::ready_index(&cx.brand).await?;
    let (searched, key, wanted) = (index.clone(), key.to_owned(), parameters.clone());
    let ids = computation::compute(&cx.brand, move || {
        let items = items_of_category(&searched.snapshot, &key, &wanted);
        items.map(|items| page_ids(&searched.snapshot, items, wanted.sort, page))
    });
    let (items, language) = load_items(cx, &ids.await??).await?;
    Ok((items, language, index))
}

/// The facets of the items of a category, filtered.
///
/// # Errors
/// 404 for a category that does not exist or is hidden.
pub(crate) async fn category_facets(cx: &RequestContext, key: &str, parameters: &ListParameters) -> Result<Found> {
    let index = live::ready_index(&cx.brand).await?;
    let (searched, key, wanted) = (index.clone(), key.to_owned(), parameters.clone());
    let facets = computation::compute(&cx.brand, move || {
        let items = items_of_category(&searched.snapshot, &key, &wanted);
        items.map(|items| listing::facets(&searched.snapshot, items.iter()))
    });
    let facets = facets.await??;
    Ok(Found { index, categories: Vec::new(), facets })
}

fn items_of_category(snapshot: &IndexSnapshot, key: &str, parameters: &ListParameters) -> Result<ResultList> {
    let key = CatalogId::parse(key);
    let category = key.and_then(|key| snapshot.categories.find(&key)).ok_or_else(|| Error::not_found("category"))?;
    let filters = parameters.filters(snapshot).unwrap_or_default();
    let items = listing::all_items(snapshot, &Filters { category: Some(category), ..filters });
    Ok(ResultList::new(snapshot, items, &[], |_, _| true))
}

/// Suggestions for a half-typed query.
pub(crate) struct Suggestions {
    pub queries: Vec<String>,
    pub index: Arc<PublishedIndex>,
    /// Positions in the index.
    pub categories: Vec<u32>,
    pub items: Vec<Item>,
    pub language: Language,
}

/// At most `count` suggestions of each kind.
pub(crate) async fn suggest(cx: &RequestContext, text: &str, count: usize) -> Result<Suggestions> {
    let index = live::ready_index(&cx.brand).await?;
    let (searched, text, region) = (index.clone(), text.to_owned(), cx.region.clone());
    let suggested = computation::compute(&cx.brand, move || suggest_from(&searched, &text, region, count));
    let (queries, categories, ids) = suggested.await?;
    let (items, language) = load_items(cx, &ids).await?;
    Ok(Suggestions { queries, categories, items, language, index })
}

/// Completed queries, categories, and the numbers of items.
fn suggest_from(
    index: &PublishedIndex,
    text: &str,
    region: Option<String>,
    count: usize,
) -> (Vec<String>, Vec<u32>, Vec<i64>) {
    let snapshot = &index.snapshot;
    let query = understand(snapshot, &index.rules.synonyms, text, false);
    let of_region = Filters { region, ..Filters::default() };
    let pins = index.rules.pins.of(text, query.corrected.as_deref());
    let filters = with_price_limits(of_region.clone(), query.price);
    let (results, said) = results(snapshot, &query, &filters, pins, &mut Unobserved);
    let queries = suggest::completions(index, text, &query, &of_region, count);
    let region = of_region.region.as_deref();
    let categories = suggest::categories(snapshot, &said, text, &results, region, MAX_CATEGORIES);
    let page = Page { count: i64::try_from(count).unwrap_or(i64::MAX), skip: 0 };
    (queries, categories, page_ids(snapshot, results, None, page))
}
