//! Ranking: which items match a query, and in what order.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use crate::search::index::categories::Categories;
use crate::search::index::segment::{IMPACT_STEP, Segment};
use crate::search::index::snapshot::{IndexSnapshot, LiveSegment};
use crate::search::query::reading::{QueryWord, Reading, ReadingKind, Term};
use crate::search::query::understand::Query;
use crate::search::text::stem::stem;

/// A matching item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Match {
    /// Position of the segment in the snapshot.
    pub(crate) segment: u32,
    /// Position of the item in the segment.
    pub(crate) document: u32,
    pub(crate) score: f32,
    /// How many words of the query are missing.
    pub(crate) missing: u8,
    /// Whether the query is the item's name.
    pub(crate) is_name: bool,
}

impl Match {
    /// An item of a list that no words were searched for.
    pub(crate) fn without_score(segment: u32, document: u32) -> Match {
        Match { segment, document, score: 0.0, missing: 0, is_name: false }
    }
}

/// With fewer items that have all words, items that lack one are found too.
const ENOUGH: usize = 10;

/// What a word of the name costs that the query does not have.
const LENGTH_PENALTY: f32 = 0.02;
const MIN_LENGTH_FACTOR: f32 = 0.7;

/// How much an item gains whose category's name the query says.
const INTENT: f32 = 0.8;
/// The same for a category above the item's.
const PARENT_INTENT: f32 = 0.4;

/// A category is named by a search that says at least this much of its name.
const MIN_SAID_OF_NAME: f32 = 0.74;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Accumulators, kept between queries so that they are not allocated for each.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    counts: Vec<u8>,
    touched: Vec<u32>,
    /// Of the word that is being added.
    word_scores: Vec<f32>,
    word_touched: Vec<u32>,
}

/// The matching items that pass, in no order, and the categories whose name the query says, the best first.
pub(crate) fn matches(
    snapshot: &IndexSnapshot,
    query: &Query,
    pass: impl Fn(u32, u32) -> bool,
) -> (Vec<Match>, Vec<u32>) {
    let known = query.words.iter().filter(|word| !word.readings.is_empty()).count();
    if known == 0 {
        return (Vec::new(), Vec::new());
    }
    let intent = Intent::of(&snapshot.categories, &query.words);
    let mut found = Vec::new();
    SCRATCH.with_borrow_mut(|scratch| {
        for (number, live) in snapshot.segments.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            scratch.collect(number, live, query, &intent, snapshot.len(), &mut found);
        }
    });
    found.retain(|found| pass(found.segment, found.document));
    let allowed = allowed_missing(query.words.len());
    let complete = found.iter().filter(|found| found.missing == 0).count();
    if complete >= ENOUGH {
        found.retain(|found| found.missing == 0);
    } else {
        let least = found.iter().map(|found| found.missing).min().unwrap_or(0);
        let most = if least == 0 { 1 } else { least }.min(allowed);
        found.retain(|found| found.missing <= most);
    }
    (found, intent.said())
}

fn allowed_missing(words: usize) -> u8 {
    match words {
        ..=1 => 0,
        2..=3 => 1,
        4..=6 => 2,
        _ => 3,
    }
}

impl Scratch {
    fn collect(
        &mut self,
        number: u32,
        live: &LiveSegment,
        query: &Query,
        intent: &Intent,
        total_items: usize,
        found: &mut Vec<Match>,
    ) {
        let segment = &*live.segment;
        self.scores.resize(self.scores.len().max(segment.len()), 0.0);
        self.counts.resize(self.counts.len().max(segment.len()), 0);
        self.word_scores.resize(self.word_scores.len().max(segment.len()), 0.0);
        for word in &query.words {
            self.add_word(segment, word, total_items);
        }
        let words = query.words.len();
        let allowed = allowed_missing(words);
        for document in self.touched.drain(..) {
            let at = document as usize;
            let (score, count) = (self.scores[at], usize::from(self.counts[at]));
            self.scores[at] = 0.0;
            self.counts[at] = 0;
            let missing = words - count.min(words);
            if missing > usize::from(allowed) || !live.is_live(document) {
                continue;
            }
            let columns = &segment.columns;
            let extra = usize::from(columns.name_words[at]).saturating_sub(count);
            let length_factor = (1.0 - LENGTH_PENALTY * extra as f32).max(MIN_LENGTH_FACTOR);
            let coverage = count as f32 / words as f32;
            found.push(Match {
                segment: number,
                document,
                score: score * length_factor * intent.factor(columns.categories[at]) * coverage * coverage,
                missing: u8::try_from(missing).unwrap_or(u8::MAX),
                is_name: columns.name_hashes[at] == query.name_hash,
            });
        }
    }

    /// Adds what one word says of each item: the best of its readings, times how rare the word is.
    fn add_word(&mut self, segment: &Segment, word: &QueryWord, total_items: usize) {
        for reading in &word.readings {
            self.add_reading(segment, reading);
        }
        let frequency = self.word_touched.len() as f32;
        let total = total_items.max(segment.len()) as f32;
        let rarity = (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln();
        for document in self.word_touched.drain(..) {
            let at = document as usize;
            if self.counts[at] == 0 {
                self.touched.push(document);
            }
            self.counts[at] += 1;
            self.scores[at] += self.word_scores[at] * rarity;
            self.word_scores[at] = 0.0;
        }
    }

    fn add_reading(&mut self, segment: &Segment, reading: &Reading) {
        let step = IMPACT_STEP * reading.weight;
        match reading.terms.as_slice() {
            [] => {}
            [term] => {
                for word in words_of(segment, term) {
                    let postings = segment.postings(word);
                    for (document, impact) in postings.documents.iter().zip(postings.impacts) {
                        self.raise(*document, f32::from(*impact) * step);
                    }
                }
            }
            terms => {
                for (document, impact) in intersection(segment, terms) {
                    self.raise(document, f32::from(impact) * step);
                }
            }
        }
    }

    fn raise(&mut self, document: u32, score: f32) {
        let current = &mut self.word_scores[document as usize];
        if *current == 0.0 {
            self.word_touched.push(document);
        }
        if score > *current {
            *current = score;
        }
    }
}

/// The positions of the words of a term in the segment's vocabulary.
fn words_of(segment: &Segment, term: &Term) -> Vec<u32> {
    match term {
        Term::Word(word) => segment.vocabulary.get(word).map(|entry| entry.position).into_iter().collect(),
        Term::Stem(stem) => segment.vocabulary.with_stem(stem).map(|entry| entry.position).collect(),
    }
}

/// The items that have all terms, with the mean impact.
fn intersection(segment: &Segment, terms: &[Term]) -> Vec<(u32, u8)> {
    let words: Vec<Vec<u32>> = terms.iter().map(|term| words_of(segment, term)).collect();
    let size = |words: &[u32]| -> usize { words.iter().map(|word| segment.postings(*word).documents.len()).sum() };
    let Some(rarest) = (0..words.len()).min_by_key(|at| size(&words[*at])) else { return Vec::new() };
    let best_impact = |words: &[u32], document: u32| {
        let impacts = words.iter().filter_map(|word| {
            let postings = segment.postings(*word);
            postings.documents.binary_search(&document).ok().map(|at| postings.impacts[at])
        });
        impacts.max()
    };
    let mut found = Vec::new();
    for word in &words[rarest] {
        for document in segment.postings(*word).documents {
            let impacts: Option<Vec<u8>> = words.iter().map(|words| best_impact(words, *document)).collect();
            let Some(impacts) = impacts else { continue };
            let sum: u32 = impacts.iter().map(|impact| u32::from(*impact)).sum();
            let mean = sum / u32::try_from(impacts.len()).unwrap_or(1);
            found.push((*document, u8::try_from(mean).unwrap_or(u8::MAX)));
        }
    }
    found
}

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
struct Intent {
    /// Factors of categories other than 1.
    factors: HashMap<u32, f32>,
    said: Vec<(f32, u32)>,
}

impl Intent {
    fn of(categories: &Categories, words: &[QueryWord]) -> Intent {
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

    fn factor(&self, category: u32) -> f32 {
        1.0 + self.factors.get(&category).copied().unwrap_or(0.0)
    }

    fn said(&self) -> Vec<u32> {
        self.said.iter().map(|(_, category)| *category).collect()
    }
}
