//! Ranking: which items match a query, and in what order.

use std::cell::RefCell;

use crate::search::index::segment::{IMPACT_STEP, Segment};
use crate::search::index::snapshot::{IndexSnapshot, LiveSegment};
use crate::search::intent::Intent;
use crate::search::query::reading::{Reading, Term};
use crate::search::query::understand::Query;

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
    /// Whether the query is the item's name in some language.
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

thread_local! {
    static SCRATCH: RefCell<Vec<Scratch>> = RefCell::default();
}

/// Accumulators of a segment, kept between queries so that they are not allocated for each.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    counts: Vec<u8>,
    touched: Vec<u32>,
    /// Of the word that is being added.
    word_scores: Vec<f32>,
    word_touched: Vec<u32>,
}

/// A segment, by its position in the snapshot, and an item, by its position in the segment.
pub(crate) type Location = (u32, u32);

/// What the score of an item is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoreParts {
    /// The sum over the words: for each the best reading's weight times the field's, times how rare the word is.
    pub(crate) words: f32,
    /// Less for names with words that the query does not have.
    pub(crate) length_factor: f32,
    /// More for categories whose name the query says.
    pub(crate) intent_factor: f32,
    /// The share of the query's words that the item has.
    pub(crate) coverage: f32,
}

impl ScoreParts {
    pub(crate) fn score(&self) -> f32 {
        self.words * self.length_factor * self.intent_factor * self.coverage * self.coverage
    }
}

/// Receives the parts of scores while they are computed. Words and readings are given by their positions in the query.
pub(crate) trait Observer {
    /// A reading of a word applies to an item, with this weight of the fields that have it.
    fn reading(&mut self, _word: usize, _reading: usize, _at: Location, _field_weight: f32) {}

    /// An item has a word, which is as rare as this.
    fn word(&mut self, _word: usize, _at: Location, _rarity: f32) {}

    /// An item has enough of the words.
    fn item(&mut self, _at: Location, _parts: &ScoreParts) {}
}

/// Of requests: nothing observes them.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}

/// The matching items that pass, in no order, and the categories whose name the query says, the best first.
pub(crate) fn matches(
    snapshot: &IndexSnapshot,
    query: &Query,
    pass: impl Fn(u32, u32) -> bool,
    observer: &mut impl Observer,
) -> (Vec<Match>, Vec<u32>) {
    let known = query.words.iter().filter(|word| !word.readings.is_empty()).count();
    if known == 0 {
        return (Vec::new(), Vec::new());
    }
    let intent = Intent::of(&snapshot.categories, &query.words);
    let mut found = Vec::new();
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize_with(scratch.len().max(snapshot.segments.len()), Scratch::default);
        add_words(snapshot, query, scratch, observer);
        for ((number, live), scratch) in (0..).zip(&snapshot.segments).zip(scratch) {
            scratch.collect(number, live, query, &intent, &mut found, observer);
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

/// Adds what each word says of each item: the best of its readings, times how rare the word is in all segments.
fn add_words(snapshot: &IndexSnapshot, query: &Query, scratch: &mut [Scratch], observer: &mut impl Observer) {
    for (live, scratch) in snapshot.segments.iter().zip(&mut *scratch) {
        scratch.make_room(live.segment.len());
    }
    for (position, word) in query.words.iter().enumerate() {
        let mut frequency = 0;
        for ((number, live), scratch) in (0..).zip(&snapshot.segments).zip(&mut *scratch) {
            for (reading_position, reading) in word.readings.iter().enumerate() {
                scratch.add_reading(&live.segment, reading, |document, field_weight| {
                    observer.reading(position, reading_position, (number, document), field_weight);
                });
            }
            frequency += scratch.word_touched.len();
        }
        let (total, frequency) = (snapshot.len() as f32, frequency as f32);
        let rarity = (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln();
        for (number, scratch) in (0..).zip(&mut scratch[..snapshot.segments.len()]) {
            scratch.add_word(rarity, |document| observer.word(position, (number, document), rarity));
        }
    }
}

/// How many words an item may lack.
pub(crate) fn allowed_missing(words: usize) -> u8 {
    match words {
        ..=1 => 0,
        2..=3 => 1,
        4..=6 => 2,
        _ => 3,
    }
}

impl Scratch {
    fn make_room(&mut self, items: usize) {
        self.scores.resize(self.scores.len().max(items), 0.0);
        self.counts.resize(self.counts.len().max(items), 0);
        self.word_scores.resize(self.word_scores.len().max(items), 0.0);
    }

    /// Takes out the items that have enough of the words.
    fn collect(
        &mut self,
        number: u32,
        live: &LiveSegment,
        query: &Query,
        intent: &Intent,
        found: &mut Vec<Match>,
        observer: &mut impl Observer,
    ) {
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
            let columns = &live.segment.columns;
            let extra = usize::from(columns.name_words[at]).saturating_sub(count);
            let parts = ScoreParts {
                words: score,
                length_factor: (1.0 - LENGTH_PENALTY * extra as f32).max(MIN_LENGTH_FACTOR),
                intent_factor: intent.factor(columns.categories[at]),
                coverage: count as f32 / words as f32,
            };
            observer.item((number, document), &parts);
            found.push(Match {
                segment: number,
                document,
                score: parts.score(),
                missing: u8::try_from(missing).unwrap_or(u8::MAX),
                is_name: columns.name_hashes[at].contains(&query.name_hash),
            });
        }
    }

    fn add_word(&mut self, rarity: f32, mut observe: impl FnMut(u32)) {
        for document in self.word_touched.drain(..) {
            let at = document as usize;
            if self.counts[at] == 0 {
                self.touched.push(document);
            }
            self.counts[at] += 1;
            self.scores[at] += self.word_scores[at] * rarity;
            self.word_scores[at] = 0.0;
            observe(document);
        }
    }

    fn add_reading(&mut self, segment: &Segment, reading: &Reading, mut observe: impl FnMut(u32, f32)) {
        let step = IMPACT_STEP * reading.weight;
        let mut add = |document: u32, impact: u8| {
            self.raise(document, f32::from(impact) * step);
            observe(document, f32::from(impact) * IMPACT_STEP);
        };
        match reading.terms.as_slice() {
            [] => {}
            [term] => {
                for word in words_of(segment, term) {
                    let postings = segment.postings(word);
                    for (document, impact) in postings.documents.iter().zip(postings.impacts) {
                        add(*document, *impact);
                    }
                }
            }
            terms => {
                for (document, impact) in intersection(segment, terms) {
                    add(document, impact);
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
