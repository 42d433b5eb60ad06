//! Records what the ranking computes for some items.

use std::collections::HashMap;

use crate::search::query::understand::Query;
use crate::search::ranking::{Location, Observer, ScoreParts};

/// Observes the ranking.
pub(super) struct Recorder<'q> {
    query: &'q Query,
    items: HashMap<Location, RecordedItem>,
}

/// What was computed for an item.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordedItem {
    /// Of the words that the item has, in the order of the query.
    pub(super) words: Vec<RecordedWord>,
    /// `None` for an item that lacks too many words.
    pub(super) parts: Option<ScoreParts>,
    /// The best reading of the word that is being added, with its weight in the item.
    best: Option<(usize, f32)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RecordedWord {
    /// Positions in the query.
    pub(super) word: usize,
    pub(super) reading: usize,
    pub(super) field_weight: f32,
    pub(super) rarity: f32,
}

impl<'q> Recorder<'q> {
    /// Records what is computed for these items.
    pub(super) fn new(query: &'q Query, items: impl Iterator<Item = Location>) -> Recorder<'q> {
        Recorder { query, items: items.map(|at| (at, RecordedItem::default())).collect() }
    }

    pub(super) fn item(&self, at: Location) -> Option<&RecordedItem> {
        self.items.get(&at)
    }
}

impl Observer for Recorder<'_> {
    fn reading(&mut self, word: usize, reading: usize, at: Location, field_weight: f32) {
        let Some(item) = self.items.get_mut(&at) else { return };
        let weight = |reading: usize| self.query.words[word].readings[reading].weight;
        let score = field_weight * weight(reading);
        if item.best.is_none_or(|(best, of_best)| score > of_best * weight(best)) {
            item.best = Some((reading, field_weight));
        }
    }

    fn word(&mut self, word: usize, at: Location, rarity: f32) {
        let Some(item) = self.items.get_mut(&at) else { return };
        if let Some((reading, field_weight)) = item.best.take() {
            item.words.push(RecordedWord { word, reading, field_weight, rarity });
        }
    }

    fn item(&mut self, at: Location, parts: &ScoreParts) {
        if let Some(item) = self.items.get_mut(&at) {
            item.parts = Some(*parts);
        }
    }
}
