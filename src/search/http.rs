//! Search endpoints, and the lists of a category.

use rust_decimal::Decimal;
use serde::Serialize;

use super::index::categories::Categories;
use super::index::snapshot::IndexSnapshot;
use super::listing::FacetCounts;
use super::live::PublishedIndex;
use super::query_counts;
use super::request::{ListParameters, flag};
use crate::catalog::item::{Item, ItemSummary};
use crate::catalog::{self, Page};
use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
use crate::foundation::money::Exact;
use crate::http::cached_response::ResponseHook;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::tenant::cache::change_log::{ANY_ITEM, Version};
use crate::tenant::context::RequestContext;

#[derive(Serialize)]
struct SearchPage<'f> {
    items: Vec<Item>,
    total: i64,
    count: i64,
    skip: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<CategoryLink<'f>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<Facets<'f>>,
}

#[derive(Serialize)]
struct CategoryLink<'f> {
    id: &'f str,
    #[serde(rename = "categoryID")]
    category_id: i64,
    name: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// Of the name.
    #[serde(skip)]
    language: Language,
}

#[derive(Serialize)]
struct Facets<'f> {
    categories: Vec<CategoryLink<'f>>,
    tags: Vec<TagCount<'f>>,
    price: PriceRange,
}

#[derive(Serialize)]
struct TagCount<'f> {
    tag: &'f str,
    count: u32,
}

/// What is paid for the cheapest and the dearest item; 0 without items.
#[derive(Serialize)]
struct PriceRange {
    min: Exact,
    max: Exact,
}

#[derive(Serialize)]
struct SuggestionList<'f> {
    queries: Vec<String>,
    categories: Vec<CategoryLink<'f>>,
    items: Vec<ItemSummary<'f>>,
}

/// `GET /searchitems?search=…&count=50&skip=0`: a page of matching items and the number of all.
pub(crate) async fn search_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let page = Page { count: req.count(Page::DEFAULT_COUNT)?, skip: req.skip()? };
    let query = super::check_query(req.query("search")?)?;
    let parameters = ListParameters::read(&req, cx.region.as_deref())?.with_category(&req)?;
    let (exact, with_facets) = (flag(&req, "exact")?, flag(&req, "facets")?);
    let version = cx.brand.cache.version();
    let hits = super::find(&cx, query, &parameters, exact, with_facets, page).await?;
    // What changes the list of the same search is no other search.
    let is_counted = page.skip == 0 && !exact && parameters.is_plain();
    let counter = is_counted.then(|| query_counts::counter(&cx.brand, query, hits.total == 0)).flatten();
    let found = hits.found.as_ref();
    let index = found.map(|found| &*found.index);
    let categories = found.map(|found| links(&found.index.snapshot.categories, &found.categories, cx.language));
    let facets = found.filter(|_| with_facets).map(|found| facets(&found.index.snapshot, &found.facets, &cx));
    let found = SearchPage {
        items: hits.items,
        total: hits.total,
        count: page.count,
        skip: page.skip,
        corrected: hits.corrected,
        categories: categories.unwrap_or_default(),
        facets,
    };
    let links = found.categories.iter().chain(found.facets.iter().flat_map(|facets| &facets.categories));
    let language = used_language(hits.language, links);
    Ok(response(&found, language, index, version)?.with_hook(counter.map(ResponseHook::new)))
}

/// `GET /suggest?search=…&count=8`: completed queries, categories and items for a half-typed query.
pub(crate) async fn suggest(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    const DEFAULT_COUNT: i64 = 8;
    let count = usize::try_from(req.count(DEFAULT_COUNT)?).or_internal()?;
    let query = super::check_query(req.query("search")?)?;
    let version = cx.brand.cache.version();
    let suggestions = super::suggest(&cx, query, count).await?;
    let list = SuggestionList {
        queries: suggestions.queries,
        categories: links(&suggestions.index.snapshot.categories, &suggestions.categories, cx.language),
        items: suggestions.items.iter().map(Item::summary).collect(),
    };
    let language = used_language(suggestions.language, &list.categories);
    response(&list, language, Some(&suggestions.index), version)
}

/// `GET /category/{id}?count=50&skip=0`: items of a category and its descendants.
pub(crate) async fn category_items(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let page = Page { count: req.count(Page::DEFAULT_COUNT)?, skip: req.skip()? };
    let parameters = ListParameters::read(&req, cx.region.as_deref())?;
    if parameters.is_plain() {
        let (items, language) = catalog::category_items(&cx, req.param("id"), page).await?;
        let item_ids = items.iter().map(|item| item.item_id).collect();
        return ApiResponse::catalogue(&items, language, item_ids);
    }
    let version = cx.brand.cache.version();
    let (items, language, index) = super::category_items(&cx, req.param("id"), &parameters, page).await?;
    response(&items, language, Some(&index), version)
}

/// `GET /category/{id}/facets`: how many items of a category each of its categories and tags has, and their prices.
pub(crate) async fn category_facets(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let parameters = ListParameters::read(&req, cx.region.as_deref())?;
    let version = cx.brand.cache.version();
    let found = super::category_facets(&cx, req.param("id"), &parameters).await?;
    let facets = facets(&found.index.snapshot, &found.facets, &cx);
    let language = used_language(Language::Ru, &facets.categories);
    response(&facets, language, Some(&found.index), version)
}

/// The response to a request that began at `version`. It is provisional without an index, and with an older one: that a newer index
/// is published is no change of the catalogue, which would invalidate it.
fn response(
    value: &impl Serialize,
    language: Language,
    index: Option<&PublishedIndex>,
    version: Version,
) -> Result<ApiResponse> {
    let is_provisional = index.is_none_or(|index| index.version < version);
    Ok(ApiResponse::catalogue(value, language, vec![ANY_ITEM])?.provisional_if(is_provisional))
}

fn links<'c>(categories: &'c Categories, positions: &[u32], language: Language) -> Vec<CategoryLink<'c>> {
    positions.iter().map(|position| link(categories, *position, language, None)).collect()
}

fn link(categories: &Categories, position: u32, language: Language, count: Option<u32>) -> CategoryLink<'_> {
    let entry = categories.get(position);
    let (name, language) = entry.name(language);
    CategoryLink { id: &entry.id, category_id: entry.category_id, name, count, language }
}

/// The requested language if the items or any of these categories used it.
fn used_language<'c>(of_items: Language, categories: impl IntoIterator<Item = &'c CategoryLink<'c>>) -> Language {
    let mut languages = std::iter::once(of_items).chain(categories.into_iter().map(|link| link.language));
    languages.find(|language| *language != Language::Ru).unwrap_or(Language::Ru)
}

/// Without the categories that are not available in the request's region.
fn facets<'s>(snapshot: &'s IndexSnapshot, counts: &FacetCounts, cx: &RequestContext) -> Facets<'s> {
    let (min, max) = counts.prices.unwrap_or_default();
    let roubles = |kopecks: i64| Exact(Decimal::new(kopecks, 2));
    let is_available = |position: u32| snapshot.categories.is_available(position, cx.region.as_deref());
    let categories = counts.categories.iter().filter(|(position, _)| is_available(*position));
    let tags = counts.tags.iter();
    Facets {
        categories: categories
            .map(|(position, count)| link(&snapshot.categories, *position, cx.language, Some(*count)))
            .collect(),
        tags: tags.map(|(number, count)| TagCount { tag: snapshot.tags.name(*number), count: *count }).collect(),
        price: PriceRange { min: roubles(min), max: roubles(max) },
    }
}
