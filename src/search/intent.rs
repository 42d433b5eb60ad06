//! Category intent: how much of the names of categories a query says.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::search::index::categories::Categories;
use crate::search::query::reading::{QueryWord, Reading, ReadingKind, Term};
use crate::search::text::stem::stem;

/// How much an item gains whose category's name the query says.
const INTENT: f32 = 0.8;
/// The same for a category above the item's.
const PARENT_INTENT: f32 = 0.4;

/// A category is named by a search that says at least this much of its name.
const MIN_SAID_OF_NAME: f32 = 0.74;

/// Whether a reading of a word may name a category. A word that exists says nothing of the longer ones that begin with it: "tea" is
/// no "team".
fn names_category(word: &QueryWord, reading: &Reading) -> bool {
    match reading.kind {
        ReadingKind::Number => false,
        ReadingKind::Prefix => word.readings.iter().all(|other| other.kind != ReadingKind::Typed),
        _ => true,
    }
}

/// How much of the categories' names a query says.
pub(crate) struct Intent {
    /// Factors of categories other than 1.
    factors: HashMap<u32, f32>,
    said: Vec<(f32, u32)>,
}

impl Intent {
    pub(crate) fn of(categories: &Categories, words: &[QueryWord]) -> Intent {
        // For each name of a category, the weight with which each of its stems is said.
        let mut said: HashMap<(u32, u8), (f32, u32)> = HashMap::new();
        for word in words {
            let mut of_word: HashMap<(u32, u8), f32> = HashMap::new();
            for reading in word.readings.iter().filter(|reading| names_category(word, reading)) {
                for term in &reading.terms {
                    let stem = match term {
                        Term::Word(word) => stem(word),
                        Term::Stem(stem) => Cow::Borrowed(stem.as_str()),
                    };
                    for name in categories.with_stem(&stem) {
                        let weight = of_word.entry(*name).or_default();
                        *weight = weight.max(reading.weight);
                    }
                }
            }
            for (name, weight) in of_word {
                let (sum, count) = said.entry(name).or_default();
                *sum += weight;
                *count += 1;
            }
        }
        let mut coverage: HashMap<u32, f32> = HashMap::new();
        let mut best_said: HashMap<u32, f32> = HashMap::new();
        for ((category, name), (sum, count)) in said {
            let stems = categories.get(category).stems[usize::from(name)].len() as f32;
            let of_name = (sum / stems).min(1.0);
            let of_query = count as f32 / words.len() as f32;
            let covered = coverage.entry(category).or_default();
            *covered = covered.max(of_name * (0.5 + 0.5 * of_query));
            if of_name >= MIN_SAID_OF_NAME && count as f32 >= stems {
                let best = best_said.entry(category).or_default();
                *best = best.max(of_name * of_query);
            }
        }
        let mut fully_said: Vec<(f32, u32)> = best_said.into_iter().map(|(category, said)| (said, category)).collect();
        fully_said.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut factors = HashMap::new();
        for (category, covered) in &coverage {
            factors.insert(*category, INTENT * covered);
        }
        if coverage.is_empty() {
            return Intent { factors, said: fully_said };
        }
        // A category inherits from those above it.
        let mut inherited = Vec::new();
        for category in 0..u32::try_from(categories.len()).unwrap_or(u32::MAX) {
            let own = factors.get(&category).copied().unwrap_or(0.0);
            let above = categories.path(category).skip(1).filter_map(|parent| coverage.get(&parent));
            let best = above.fold(own, |best, covered| best.max(PARENT_INTENT * covered));
            if best > own {
                inherited.push((category, best));
            }
        }
        factors.extend(inherited);
        Intent { factors, said: fully_said }
    }

    /// What the scores of the items of a category are multiplied by.
    pub(crate) fn factor(&self, category: u32) -> f32 {
        1.0 + self.factors.get(&category).copied().unwrap_or(0.0)
    }

    /// The categories whose names the query says, the best first.
    pub(crate) fn said(&self) -> Vec<u32> {
        self.said.iter().map(|(_, category)| *category).collect()
    }
}
