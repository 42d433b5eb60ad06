//! Text analysis, the same for items and queries: folding, tokens, quantities and stems.

pub(crate) mod fold;
pub(crate) mod quantity;
pub(crate) mod stem;
pub(crate) mod tokens;
