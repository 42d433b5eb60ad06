//! Finding items by words.
//!
//! Called by `search::http`. The vectors are stored with the items (`item.search`), each language in its own stemming; a query
//! is understood in all three, whatever language the visitor reads.

pub mod http;
mod store;

use crate::catalog::item::{self, Item};
use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::http::request::Page;
use crate::tenant::context::RequestContext;

/// The longest query that is looked at.
const LONGEST_QUERY_CHARS: usize = 512;

/// A page of hits and how many there are in all.
pub struct Hits {
    pub items: Vec<Item>,
    pub total: i64,
    pub language: Language,
}

/// Checks what a visitor typed.
///
/// # Errors
/// 400 when it is missing, blank, too long, or has a NUL in it.
pub fn check_query(text: Option<&str>) -> Result<&str> {
    let bad = |sentence: &'static str| Error::malformed("bad_search", sentence);
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Err(bad("search: expected the words to look for"));
    }
    if text.chars().count() > LONGEST_QUERY_CHARS {
        return Err(bad("search: at most 512 characters"));
    }
    if text.contains('\0') {
        return Err(bad("search: a NUL is no letter"));
    }
    Ok(text)
}

/// A minus before a word excludes nothing, and is no sign of a number either.
fn without_minuses(query: &str) -> String {
    let words = query.split_whitespace().map(|word| word.trim_start_matches('-'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One page of what matches, best first.
pub async fn find(cx: &RequestContext, query: &str, page: Page) -> Result<Hits> {
    let (rows, total) =
        store::find(&cx.brand.postgres().await?, &without_minuses(query), cx.region.as_deref(), page).await?;
    let (items, language) = item::read_all(&rows, cx.language)?;
    Ok(Hits { items, total, language })
}
