//! Suggestions for a half-typed query: completed queries, categories and items.

use super::index::snapshot::IndexSnapshot;
use super::listing::{Filters, ResolvedFilters};
use super::live::PublishedIndex;
use super::placement::ResultList;
use super::query::understand::{Query, understand};
use super::ranking::{self, Unobserved};
use super::text::fold::fold;

/// How many completions are tried.
const MAX_TRIED: usize = 24;

const MAX_COMPLETED_WORDS: usize = 2_000;

/// Queries that complete the typed one and find something that passes the filters, the most promising first.
pub(crate) fn completions(
    index: &PublishedIndex,
    typed: &str,
    query: &Query,
    filters: &Filters,
    count: usize,
) -> Vec<String> {
    let snapshot = &index.snapshot;
    let folded = fold(query.corrected.as_deref().unwrap_or(typed));
    let text = folded.trim();
    let (before, last) = text.rsplit_once(' ').map_or(("", text), |(before, last)| (before.trim_end(), last));
    let mut completions: Vec<String> = Vec::new();
    if last.is_empty() {
        return completions;
    }
    if query.corrected.is_some() && finds_all(index, text, filters) {
        completions.push(text.to_owned());
    }
    let words = snapshot.words(|segment| segment.vocabulary.with_prefix(last, MAX_COMPLETED_WORDS));
    let is_readable =
        |word: &str| word.chars().count() >= 3 && !word.chars().next().is_some_and(|c| c.is_ascii_digit());
    for known in words.iter().filter(|known| is_readable(&known.word)).take(MAX_TRIED) {
        if completions.len() == count {
            break;
        }
        let completed = if before.is_empty() { known.word.clone() } else { format!("{before} {}", known.word) };
        // Some item has a word of the vocabulary.
        let is_found = before.is_empty() && *filters == Filters::default();
        if !completions.contains(&completed) && (is_found || finds_all(index, &completed, filters)) {
            completions.push(completed);
        }
    }
    completions.truncate(count);
    completions
}

/// Whether some item that passes the filters has all words.
fn finds_all(index: &PublishedIndex, text: &str, filters: &Filters) -> bool {
    let snapshot = &index.snapshot;
    let query = understand(snapshot, &index.rules.synonyms, text, true);
    let resolved = ResolvedFilters::new(snapshot, filters);
    let pass = |segment, document| resolved.pass(snapshot, segment, document);
    let (matches, _) = ranking::matches(snapshot, &query, pass, &mut Unobserved);
    matches.iter().any(|found| found.missing == 0)
}

/// The categories whose names the query says or begins, at most `count`; those that are not available in the region, or without
/// results, are left out.
pub(crate) fn categories(
    snapshot: &IndexSnapshot,
    said: &[u32],
    typed: &str,
    results: &ResultList,
    region: Option<&str>,
    count: usize,
) -> Vec<u32> {
    let mut found: Vec<u32> = said.to_vec();
    let folded = fold(typed);
    let text = folded.trim();
    if text.chars().count() >= 3 {
        for position in 0..u32::try_from(snapshot.categories.len()).unwrap_or(u32::MAX) {
            if snapshot.categories.get(position).has_name_starting_with(text) && !found.contains(&position) {
                found.push(position);
            }
        }
    }
    let has_items = |category: &u32| {
        results.iter().any(|found| {
            let columns = &snapshot.segments[found.segment as usize].segment.columns;
            snapshot.categories.path(columns.categories[found.document as usize]).any(|above| above == *category)
        })
    };
    let is_available = |category: &u32| snapshot.categories.is_available(*category, region);
    found.into_iter().filter(|category| is_available(category) && has_items(category)).take(count).collect()
}
