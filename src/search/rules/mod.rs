//! What the shop decides about its searches: synonyms, and pinned and buried items. Commands change it, and gateways follow.

mod pin;
pub mod pins;
mod store;
pub mod synonyms;

use tokio_postgres::Client;

use super::query::synonyms::{SynonymLine, Synonyms};
use crate::foundation::error::{Result, ResultExt};
pub(crate) use pin::{Pin, Placement};
use pins::Pins;

/// The shop's decisions in the form that requests read.
#[derive(Default)]
pub(crate) struct SearchRules {
    pub(crate) synonyms: Synonyms,
    pub(crate) pins: Pins,
}

impl SearchRules {
    /// # Errors
    /// An unavailable database.
    pub(crate) async fn load(client: &Client) -> Result<SearchRules> {
        let (own, pinned) = (store::synonyms(client).await?, store::all_pins(client).await?);
        // Stemming thousands of lines would delay the requests that share the thread.
        let analyse = tokio::task::spawn_blocking(move || SearchRules {
            synonyms: Synonyms::of_lines(synonyms::effective(&own).iter()),
            pins: Pins::new(&pinned),
        });
        analyse.await.or_internal()
    }
}

/// A row of the table of synonyms.
struct StoredSynonym {
    key: String,
    /// The line as it was written.
    text: String,
    /// `None`: this version of the program does not accept the line, so that it is not used.
    line: Option<SynonymLine>,
    is_active: bool,
}
