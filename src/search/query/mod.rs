//! Query understanding: what a visitor typed, as price limits and words with their readings.

pub(crate) mod corrections;
pub(crate) mod price;
pub(crate) mod query_key;
pub(crate) mod reading;
pub(crate) mod readings;
pub(crate) mod stop_words;
pub(crate) mod synonyms;
pub(crate) mod understand;
