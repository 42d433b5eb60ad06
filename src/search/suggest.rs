//! Suggestions for a half-typed query: completed queries, categories and items.

use super::index::snapshot::IndexSnapshot;
use super::live::PublishedIndex;
use super::placement::ResultList;
use super::query::understand::{Query, understand};
use super::ranking::{self, Unobserved};
use super::text::fold::fold;

/// How many completions are tried.
const MAX_TRIED: usize = 24;

const MAX_COMPLETED_WORDS: usize = 2_000;

/// Queries that complete the typed one and find something, the most promising first.
pub(crate) fn completions(index: &PublishedIndex, typed: &str, query: &Query, count: usize) -> Vec<String> {
    let snapshot = &index.snapshot;
    let folded = fold(query.corrected.as_deref().unwrap_or(typed));
    let text = folded.trim();
    let (before, last) = text.rsplit_once(' ').map_or(("", text), |(before, last)| (before.trim_end(), last));
    let mut completions: Vec<String> = Vec::new();
    if last.is_empty() {
        return completions;
    }
    if query.corrected.is_some() && finds_all(index, text) {
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
        if !completions.contains(&completed) && (before.is_empty() || finds_all(index, &completed)) {
            completions.push(completed);
        }
    }
    completions.truncate(count);
    completions
}

/// Whether some item has all words.
fn finds_all(index: &PublishedIndex, text: &str) -> bool {
    let query = understand(&index.snapshot, &index.rules.synonyms, text, true);
    let (matches, _) = ranking::matches(&index.snapshot, &query, |_, _| true, &mut Unobserved);
    matches.iter().any(|found| found.missing == 0)
}

/// The categories whose names the query says or begins, at most `count`; those without items are left out.
pub(crate) fn categories(
    snapshot: &IndexSnapshot,
    said: &[u32],
    typed: &str,
    results: &ResultList,
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
    found.into_iter().filter(has_items).take(count).collect()
}
