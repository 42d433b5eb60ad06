//! A consistent state of the index: segments, categories, tags and sets of regions.

use std::collections::HashMap;
use std::sync::Arc;

use super::categories::Categories;
use super::segment::Segment;
use super::vocabulary::Entry;
use crate::search::text::stem::stem;

/// A segment, and which of its items have been replaced since.
#[derive(Clone)]
pub(crate) struct LiveSegment {
    pub(crate) segment: Arc<Segment>,
    /// One bit an item.
    pub(crate) replaced: Arc<Vec<u64>>,
}

impl LiveSegment {
    pub(crate) fn new(segment: Arc<Segment>) -> LiveSegment {
        let words = segment.len().div_ceil(64);
        LiveSegment { segment, replaced: Arc::new(vec![0; words]) }
    }

    /// Marks these items as replaced.
    pub(crate) fn replace(&mut self, item_ids: &[i64]) {
        let replaced = Arc::make_mut(&mut self.replaced);
        for id in item_ids {
            // Segments are built in the order of the numbers.
            if let Ok(at) = self.segment.columns.item_ids.binary_search(id) {
                replaced[at / 64] |= 1 << (at % 64);
            }
        }
    }

    pub(crate) fn is_live(&self, document: u32) -> bool {
        self.replaced[document as usize / 64] & (1 << (document % 64)) == 0
    }
}

#[derive(Default, Clone)]
pub(crate) struct IndexSnapshot {
    pub(crate) segments: Vec<LiveSegment>,
    pub(crate) categories: Arc<Categories>,
    pub(crate) tags: Arc<Tags>,
    pub(crate) region_sets: Arc<RegionSets>,
}

/// The sets of regions that items have, by number; an empty one is everywhere.
#[derive(Default, Clone)]
pub(crate) struct RegionSets(Vec<Vec<String>>);

impl RegionSets {
    pub(crate) fn number(&mut self, regions: &[String]) -> u32 {
        let known = self.0.iter().position(|set| set == regions);
        let number = known.unwrap_or_else(|| {
            self.0.push(regions.to_vec());
            self.0.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    pub(crate) fn sets(&self) -> &[Vec<String>] {
        &self.0
    }
}

/// The tags of all items, by number.
#[derive(Default, Clone)]
pub(crate) struct Tags {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Tags {
    pub(crate) fn find(&self, tag: &str) -> Option<u32> {
        self.numbers.get(tag).copied()
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    pub(crate) fn number(&mut self, tag: &str) -> u32 {
        if let Some(number) = self.numbers.get(tag) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(tag.to_owned());
        self.numbers.insert(tag.to_owned(), number);
        number
    }
}

/// A word of the vocabulary with the number of items that have it, over all segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownWord {
    pub(crate) word: String,
    pub(crate) frequency: u32,
}

impl IndexSnapshot {
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|live| live.segment.len()).sum()
    }

    /// The segment of an item and its position there, if it is in the index.
    pub(crate) fn find_item(&self, item_id: i64) -> Option<(u32, u32)> {
        self.segments.iter().zip(0..).find_map(|(live, number)| {
            // Segments are built in the order of the numbers.
            let at = live.segment.columns.item_ids.binary_search(&item_id).ok()?;
            let document = u32::try_from(at).ok()?;
            live.is_live(document).then_some((number, document))
        })
    }

    /// The number of items with a form of the stem; those with two forms count twice.
    pub(crate) fn frequency(&self, stem: &str) -> u32 {
        let of_segment =
            |live: &LiveSegment| -> u32 { live.segment.vocabulary.with_stem(stem).map(|entry| entry.frequency).sum() };
        self.segments.iter().map(of_segment).sum()
    }

    /// The number of items with exactly this word.
    pub(crate) fn form_frequency(&self, word: &str) -> u32 {
        let of_segment = |live: &LiveSegment| live.segment.vocabulary.get(word).map_or(0, |entry| entry.frequency);
        self.segments.iter().map(of_segment).sum()
    }

    /// Whether the word, in any form, occurs.
    pub(crate) fn knows(&self, word: &str) -> bool {
        self.frequency(&stem(word)) > 0
    }

    /// The words that `of_segment` finds, each once.
    pub(crate) fn words<'s, I>(&'s self, of_segment: impl Fn(&'s Segment) -> I) -> Vec<KnownWord>
    where
        I: Iterator<Item = Entry<'s>>,
    {
        let mut words: HashMap<&str, u32> = HashMap::new();
        for live in &self.segments {
            for entry in of_segment(&live.segment) {
                *words.entry(entry.word).or_default() += entry.frequency;
            }
        }
        let mut words: Vec<_> =
            words.into_iter().map(|(word, frequency)| KnownWord { word: word.to_owned(), frequency }).collect();
        words.sort_unstable_by(|a, b| b.frequency.cmp(&a.frequency).then_with(|| a.word.cmp(&b.word)));
        words
    }
}
