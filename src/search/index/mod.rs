//! The index of a brand's listed items, in memory: postings by stem, the vocabulary, and the columns of filters and sorts.

pub(crate) mod builder;
pub(crate) mod categories;
pub(crate) mod columns;
pub(crate) mod segment;
pub(crate) mod snapshot;
pub(crate) mod vocabulary;
