//! Filters and sorts of lists.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::index::snapshot::IndexSnapshot;
use super::ranking::Match;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The cheapest first, by what is paid.
    Price,
    PriceDescending,
    Rating,
    /// The newest first.
    New,
    Name,
}

impl Sort {
    /// The values of the parameter `sort`.
    pub(crate) const VALUES: [(&'static str, Sort); 5] = [
        ("price", Sort::Price),
        ("-price", Sort::PriceDescending),
        ("rating", Sort::Rating),
        ("new", Sort::New),
        ("name", Sort::Name),
    ];
}

/// Which items of a list are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    /// A category by position in the index; with all below it.
    pub(crate) category: Option<u32>,
    /// What is paid, in kopecks.
    pub(crate) price_min: Option<i64>,
    pub(crate) price_max: Option<i64>,
    pub(crate) in_stock: bool,
    pub(crate) discounted: bool,
    /// All of them.
    pub(crate) tags: Vec<String>,
    pub(crate) region: Option<String>,
}

/// The filters with the texts replaced by numbers of the snapshot.
pub(crate) struct ResolvedFilters<'f> {
    filters: &'f Filters,
    /// Whether items of a category pass, by position of the category.
    categories: Option<Vec<bool>>,
    /// Whether items with a set of regions pass.
    region_sets: Option<Vec<bool>>,
    /// `None`: a tag that no item has.
    tags: Option<Vec<u32>>,
}

impl<'f> ResolvedFilters<'f> {
    pub(crate) fn new(snapshot: &IndexSnapshot, filters: &'f Filters) -> ResolvedFilters<'f> {
        let categories = filters.category.map(|wanted| {
            let positions = 0..u32::try_from(snapshot.categories.len()).unwrap_or(u32::MAX);
            positions.map(|position| snapshot.categories.path(position).any(|above| above == wanted)).collect()
        });
        let region_sets = filters.region.as_ref().map(|region| {
            let sets = snapshot.region_sets.sets().iter();
            sets.map(|regions| regions.is_empty() || regions.contains(region)).collect()
        });
        let tags = filters.tags.iter().map(|tag| snapshot.tags.find(tag)).collect();
        ResolvedFilters { filters, categories, region_sets, tags }
    }

    /// Whether the item at this position of the segment passes.
    pub(crate) fn pass(&self, snapshot: &IndexSnapshot, segment: u32, document: u32) -> bool {
        self.obstacle(snapshot, segment, document).is_none()
    }

    /// The first filter that the item at this position of the segment does not pass.
    pub(crate) fn obstacle(&self, snapshot: &IndexSnapshot, segment: u32, document: u32) -> Option<Obstacle> {
        let columns = &snapshot.segments[segment as usize].segment.columns;
        let at = document as usize;
        let price = columns.prices[at];
        let Some(wanted_tags) = &self.tags else { return Some(Obstacle::Tags) };
        if self.categories.as_ref().is_some_and(|pass| !pass[columns.categories[at] as usize]) {
            return Some(Obstacle::Category);
        }
        if self.region_sets.as_ref().is_some_and(|pass| !pass[columns.regions[at] as usize]) {
            return Some(Obstacle::Region);
        }
        if self.filters.price_min.is_some_and(|min| price < min) {
            return Some(Obstacle::PriceMin);
        }
        if self.filters.price_max.is_some_and(|max| price > max) {
            return Some(Obstacle::PriceMax);
        }
        if self.filters.in_stock && !columns.in_stock[at] {
            return Some(Obstacle::InStock);
        }
        if self.filters.discounted && !columns.discounted[at] {
            return Some(Obstacle::Discounted);
        }
        (!wanted_tags.iter().all(|tag| columns.tags(at).contains(tag))).then_some(Obstacle::Tags)
    }
}

/// A filter that an item does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Category,
    Region,
    PriceMin,
    PriceMax,
    InStock,
    Discounted,
    Tags,
}

/// All items, as matches without a score.
pub(crate) fn all_items(snapshot: &IndexSnapshot, filters: &Filters) -> Vec<Match> {
    let resolved = ResolvedFilters::new(snapshot, filters);
    let mut items = Vec::new();
    for (segment, live) in (0_u32..).zip(&snapshot.segments) {
        for document in 0..u32::try_from(live.segment.len()).unwrap_or(u32::MAX) {
            if live.is_live(document) && resolved.pass(snapshot, segment, document) {
                items.push(Match::without_score(segment, document));
            }
        }
    }
    items
}

/// A page of the matches in this order: without a sort by relevance, or in the order of the shop for a list without scores.
pub(crate) fn page(
    snapshot: &IndexSnapshot,
    mut matches: Vec<Match>,
    sort: Option<Sort>,
    skip: usize,
    count: usize,
) -> Vec<Match> {
    let compare = |a: &Match, b: &Match| compare(snapshot, sort, a, b);
    if skip >= matches.len() || count == 0 {
        return Vec::new();
    }
    let end = skip.saturating_add(count).min(matches.len());
    if end < matches.len() {
        matches.select_nth_unstable_by(end - 1, compare);
        matches.truncate(end);
    }
    matches.sort_unstable_by(compare);
    matches.drain(..skip);
    matches
}

pub(crate) fn item_id(snapshot: &IndexSnapshot, found: &Match) -> i64 {
    snapshot.segments[found.segment as usize].segment.columns.item_ids[found.document as usize]
}

fn compare(snapshot: &IndexSnapshot, sort: Option<Sort>, a: &Match, b: &Match) -> Ordering {
    let columns = |found: &Match| &snapshot.segments[found.segment as usize].segment.columns;
    let (of_a, of_b) = (columns(a), columns(b));
    let (at_a, at_b) = (a.document as usize, b.document as usize);
    let by_sort = match sort {
        Some(Sort::Price) => of_a.prices[at_a].cmp(&of_b.prices[at_b]),
        Some(Sort::PriceDescending) => of_b.prices[at_b].cmp(&of_a.prices[at_a]),
        Some(Sort::Rating) => of_b.ratings[at_b].cmp(&of_a.ratings[at_a]),
        Some(Sort::New) => of_b.item_ids[at_b].cmp(&of_a.item_ids[at_a]),
        Some(Sort::Name) => of_a.names[at_a].cmp(&of_b.names[at_b]),
        None => {
            let relevance = (b.is_name, std::cmp::Reverse(b.missing)).cmp(&(a.is_name, std::cmp::Reverse(a.missing)));
            let scores = b.score.total_cmp(&a.score);
            let is_search = a.score > 0.0 || b.score > 0.0;
            let stock = if is_search { of_b.in_stock[at_b].cmp(&of_a.in_stock[at_a]) } else { Ordering::Equal };
            relevance.then(stock).then(scores).then(of_b.priorities[at_b].cmp(&of_a.priorities[at_a]))
        }
    };
    by_sort.then(of_a.item_ids[at_a].cmp(&of_b.item_ids[at_b]))
}

/// How many matches each category, tag and price has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FacetCounts {
    /// By position of the category, the most frequent first.
    pub(crate) categories: Vec<(u32, u32)>,
    /// By number of the tag, the most frequent first.
    pub(crate) tags: Vec<(u32, u32)>,
    /// The lowest and highest price, in kopecks.
    pub(crate) prices: Option<(i64, i64)>,
}

pub(crate) fn facets<'m>(snapshot: &IndexSnapshot, matches: impl Iterator<Item = &'m Match>) -> FacetCounts {
    let mut categories: HashMap<u32, u32> = HashMap::new();
    let mut tags: HashMap<u32, u32> = HashMap::new();
    let mut prices: Option<(i64, i64)> = None;
    for found in matches {
        let columns = &snapshot.segments[found.segment as usize].segment.columns;
        let at = found.document as usize;
        *categories.entry(columns.categories[at]).or_default() += 1;
        for tag in columns.tags(at) {
            *tags.entry(*tag).or_default() += 1;
        }
        let price = columns.prices[at];
        let (low, high) = prices.unwrap_or((price, price));
        prices = Some((low.min(price), high.max(price)));
    }
    let sorted = |counts: HashMap<u32, u32>| {
        let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts
    };
    FacetCounts { categories: sorted(categories), tags: sorted(tags), prices }
}
