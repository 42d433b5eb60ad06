//! A segment: an immutable index of some of the items.

use super::columns::Columns;
use super::vocabulary::Vocabulary;

pub(crate) struct Segment {
    pub(crate) columns: Columns,
    pub(crate) vocabulary: Vocabulary,
    /// Where the postings of a word start; one more than there are words.
    pub(super) offsets: Vec<u32>,
    pub(super) documents: Vec<u32>,
    pub(super) impacts: Vec<u8>,
}

/// How much one unit of an impact is worth.
pub(crate) const IMPACT_STEP: f32 = 1.0 / 64.0;

/// The items that have a word, in order, and how much it says of each.
#[derive(Clone, Copy)]
pub(crate) struct Postings<'s> {
    pub(crate) documents: &'s [u32],
    pub(crate) impacts: &'s [u8],
}

impl Segment {
    /// The items that have the word at this position of the vocabulary.
    pub(crate) fn postings(&self, word: u32) -> Postings<'_> {
        let range = self.offsets[word as usize] as usize..self.offsets[word as usize + 1] as usize;
        Postings { documents: &self.documents[range.clone()], impacts: &self.impacts[range] }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The estimated size in memory.
    pub(crate) fn bytes(&self) -> usize {
        const BYTES_PER_WORD: usize = 110;
        const BYTES_PER_ITEM: usize = 126;
        self.documents.len() * 5 + self.vocabulary.len() * BYTES_PER_WORD + self.len() * BYTES_PER_ITEM
    }
}
