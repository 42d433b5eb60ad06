//! Full-text search for items.
//!
//! The search vectors (`item.search`) hold every language with its own stemming; a query is parsed in all three
//! languages, whatever the language of the visitor.

pub(crate) mod http;
mod store;

use crate::catalog::Page;
use crate::catalog::item::{self, Item};
use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::tenant::context::RequestContext;

const MAX_QUERY_CHARS: usize = 512;

/// A page of matching items.
pub(crate) struct Hits {
    pub items: Vec<Item>,
    /// The number of all matches.
    pub total: i64,
    pub language: Language,
}

/// Trims and validates a search query.
///
/// # Errors
/// 400 when it is missing, blank or too long, or contains a NUL character.
pub(crate) fn check_query(text: Option<&str>) -> Result<&str> {
    let bad = |message: &'static str| Error::malformed("bad_search", message);
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Err(bad("search: expected the words to look for"));
    }
    if text.chars().count() > MAX_QUERY_CHARS {
        return Err(bad("search: at most 512 characters"));
    }
    if text.contains('\0') {
        return Err(bad("search: contains a NUL character"));
    }
    Ok(text)
}

/// A minus before a word does not exclude it, and is not the sign of a number.
fn without_minuses(query: &str) -> String {
    let words = query.split_whitespace().map(|word| word.trim_start_matches('-'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A page of the matching items, best first.
pub(crate) async fn find(cx: &RequestContext, query: &str, page: Page) -> Result<Hits> {
    let (rows, total) =
        store::find(&cx.brand.postgres().await?, &without_minuses(query), cx.region.as_deref(), page).await?;
    let (items, language) = item::read_list(&rows, cx.language)?;
    Ok(Hits { items, total, language })
}
