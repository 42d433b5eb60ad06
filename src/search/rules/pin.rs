//! A pinned or buried item.

/// Where an item stands in the results of a query, whatever its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placement {
    /// The place from 1; after the last result where there are fewer.
    Position(u16),
    /// After all other results.
    Buried,
}

/// A pinned or buried item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPin {
    pub query: String,
    pub item_id: i64,
    pub name: String,
    pub placement: Placement,
    /// Whether visitors may see the item in some region; otherwise it is not pinned.
    pub is_listed: bool,
}

/// An item that a query pins or buries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) item_id: i64,
    pub(crate) placement: Placement,
}
