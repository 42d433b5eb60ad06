//! Why an item is not among the results of a search.

use super::explanation::ObstacleExplanation;
use super::recorder::Recorder;
use crate::search::index::snapshot::IndexSnapshot;
use crate::search::listing::{Filters, Obstacle, ResolvedFilters};
use crate::search::query::price::PriceLimits;
use crate::search::query::understand::Query;
use crate::search::ranking::{Location, allowed_missing};
use crate::search::store::ItemState;

/// A search that did not find an item.
pub(super) struct Context<'s> {
    pub(super) snapshot: &'s IndexSnapshot,
    pub(super) query: &'s Query,
    /// With the query's own price limits.
    pub(super) filters: &'s Filters,
    pub(super) recorder: &'s Recorder<'s>,
}

impl Context<'_> {
    /// At least one reason; `at` is `None` for an item that is not in the index.
    pub(super) fn obstacles(&self, item: &ItemState, at: Option<Location>) -> Vec<ObstacleExplanation> {
        let Some(at) = at else { return not_listed(item) };
        let resolved = ResolvedFilters::new(self.snapshot, self.filters);
        let mut obstacles: Vec<ObstacleExplanation> = Vec::new();
        obstacles.extend(resolved.obstacle(self.snapshot, at.0, at.1).map(|obstacle| self.filter(obstacle, at)));
        if self.query.words.is_empty() && self.query.price == PriceLimits::default() {
            obstacles.push(explanation("no_words", "the query has no word to search for".to_owned()));
        }
        if !self.query.words.is_empty() {
            obstacles.extend(self.words(at));
        }
        if obstacles.is_empty() {
            let message = format!("it lacks {}, and enough other items lack fewer words", self.missing(at).join(", "));
            obstacles.push(explanation("others_have_more_words", message));
        }
        obstacles
    }

    /// `None` when the item has enough of the words.
    fn words(&self, at: Location) -> Option<ObstacleExplanation> {
        let words = &self.query.words;
        if words.iter().all(|word| word.readings.is_empty()) {
            return Some(explanation("unknown_query", "no word of the query is known".to_owned()));
        }
        let missing = self.missing(at);
        let allowed = usize::from(allowed_missing(words.len()));
        (missing.len() > allowed).then(|| {
            let list = missing.join(", ");
            let message = match allowed {
                0 => format!("it lacks {list}"),
                _ => format!("it lacks {list}; of {} words a result may lack {allowed}", words.len()),
            };
            explanation("lacks_words", message)
        })
    }

    /// The words that the item lacks.
    fn missing(&self, at: Location) -> Vec<&str> {
        let recorded = self.recorder.item(at);
        let has = |position: usize| recorded.is_some_and(|item| item.words.iter().any(|word| word.word == position));
        let missing = self.query.words.iter().enumerate().filter(|(position, _)| !has(*position));
        missing.map(|(_, word)| word.typed.as_str()).collect()
    }

    fn filter(&self, obstacle: Obstacle, at: Location) -> ObstacleExplanation {
        let kopecks = self.snapshot.segments[at.0 as usize].segment.columns.prices[at.1 as usize];
        let limit = |limit: Option<i64>| {
            limit.map_or_else(String::new, |limit| super::roubles(limit).0.normalize().to_string())
        };
        let paid = super::roubles(kopecks).0.normalize();
        let (code, message) = match obstacle {
            Obstacle::Category => ("other_category", "it is not in the category of the filter".to_owned()),
            Obstacle::Region => ("other_region", "it is not available in the region".to_owned()),
            Obstacle::PriceMin => {
                ("price_limit", format!("{paid} is paid for it, less than {}", limit(self.filters.price_min)))
            }
            Obstacle::PriceMax => {
                ("price_limit", format!("{paid} is paid for it, more than {}", limit(self.filters.price_max)))
            }
            Obstacle::InStock => ("out_of_stock", "it is out of stock".to_owned()),
            Obstacle::Discounted => ("not_discounted", "it has no discount".to_owned()),
            Obstacle::Tags => ("lacks_tags", "it lacks a tag of the filter".to_owned()),
        };
        explanation(code, message)
    }
}

fn not_listed(item: &ItemState) -> Vec<ObstacleExplanation> {
    let mut obstacles = Vec::new();
    if !item.is_visible {
        obstacles.push(explanation("hidden", "the item is hidden".to_owned()));
    }
    if !item.is_category_shown {
        let message = "its category, or one above it, is hidden".to_owned();
        obstacles.push(explanation("hidden_category", message));
    }
    if obstacles.is_empty() {
        let message = "it changed while the index was built; try again".to_owned();
        obstacles.push(explanation("not_indexed", message));
    }
    obstacles
}

fn explanation(code: &'static str, message: String) -> ObstacleExplanation {
    ObstacleExplanation { code, message }
}
