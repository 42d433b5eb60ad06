//! Categories and items: what is sold, as a visitor of one region sees it in one language.
//!
//! Called by `catalog::http`, `search` and (its import and export) by `bin/brandgate catalog`. Every list and every single
//! item is read through the view `listed_item`, which holds the rule of what is visible; a category's page alone says it itself, once for
//! each node. What must never happen: an item that is hidden, or below a hidden category, is shown anywhere.

pub mod category;
mod draw;
pub mod export;
pub mod http;
pub mod import;
pub mod item;
mod store;

use std::sync::Arc;

use jiff::SignedDuration;

use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::cached_response::CachedResponse;
use crate::http::request::{MAX_SAFE_INTEGER, Page};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

use category::Category;
use item::Item;

/// How a path names a category or an item: by number or by BackOffice's string id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogId {
    Number(i64),
    Id(String),
}

impl CatalogId {
    /// `None` for a text that nothing can be called.
    pub fn parse(text: &str) -> Option<CatalogId> {
        const LONGEST_ID_BYTES: usize = 800;
        if let Some(number) = import::record::natural_number(text).or_else(|| large_number(text)) {
            return Some(CatalogId::Number(number));
        }
        let possible = !text.is_empty() && text.len() <= LONGEST_ID_BYTES && !text.contains('\0');
        possible.then(|| CatalogId::Id(text.to_owned()))
    }

    /// The two parameters of a query that looks for either.
    pub fn number_and_id(&self) -> (Option<i64>, Option<&str>) {
        match self {
            CatalogId::Number(number) => (Some(*number), None),
            CatalogId::Id(id) => (None, Some(id)),
        }
    }
}

/// Numbers above 2^52 are given by the import; a path may still name them.
fn large_number(text: &str) -> Option<i64> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= MAX_SAFE_INTEGER)
}

/// The tree of categories that have something to show in the visitor's region.
pub async fn categories(cx: &RequestContext) -> Result<(Vec<Category>, Language)> {
    let nodes = store::categories(&cx.brand.postgres().await?, cx.region.as_deref()).await?;
    Ok(category::tree(nodes, cx.language))
}

/// One page of the items in a category and all its subcategories.
///
/// # Errors
/// 404 for a category that does not exist or is hidden.
pub async fn category_items(cx: &RequestContext, key: &str, page: Page) -> Result<(Vec<Item>, Language)> {
    let key = CatalogId::parse(key).ok_or_else(|| Error::not_found("category"))?;
    let client = cx.brand.postgres().await?;
    let mut shares = [Some(3), Some(12), None].into_iter();
    let rows = loop {
        // The last share leaves nothing out.
        let share = shares.next().flatten();
        match store::category_items(&client, &key, cx.region.as_deref(), page, share).await? {
            store::Found::Page(rows) => break Some(rows),
            store::Found::NoCategory => break None,
            store::Found::Uneven => {}
        }
    };
    item::read_all(&rows.ok_or_else(|| Error::not_found("category"))?, cx.language)
}

/// One item.
///
/// # Errors
/// 404 for an item that does not exist, is hidden, or is not available in the visitor's region.
pub async fn item(cx: &RequestContext, key: &str) -> Result<(Item, Language)> {
    let key = CatalogId::parse(key).ok_or_else(|| Error::not_found("item"))?;
    let reader = cx.brand.shared_connection().await?;
    let row = reader.with_timeout(store::item(&reader, &key, cx.region.as_deref())).await?;
    let row = row.ok_or_else(|| Error::not_found("item"))?;
    Item::read(&row, cx.language, item::QUESTIONS_OF_A_SINGLE_ITEM)
}

/// So many different items, evenly drawn, from one category or from all; fewer where there are no more. Each is JSON already.
pub async fn random_items(
    cx: &RequestContext,
    count: usize,
    category: Option<&str>,
) -> Result<(Vec<Arc<CachedResponse>>, Language)> {
    match category.map(CatalogId::parse) {
        None => draw::draw(cx, None, count).await,
        Some(Some(key)) => draw::draw(cx, Some(&key), count).await,
        Some(None) => Ok((Vec::new(), Language::Ru)),
    }
}

/// How long what changed is kept for instances that look for it; `cache::follow` trusts in it.
const CHANGES_KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Forgets which items changed longer ago than [`CHANGES_KEPT_FOR`]; returns how many changes went.
pub async fn forget_changes(brand: &Brand) -> Result<u64> {
    let before = brand.clock.now().checked_sub(CHANGES_KEPT_FOR).or_internal()?;
    let forgotten = store::forget_changes(&brand.postgres().await?, before).await?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_by_number_or_by_id() {
        assert_eq!(CatalogId::parse("17"), Some(CatalogId::Number(17)));
        assert_eq!(CatalogId::parse("9007199254740991"), Some(CatalogId::Number(9_007_199_254_740_991)));
        assert_eq!(CatalogId::parse("9007199254740992"), Some(CatalogId::Id("9007199254740992".to_owned())));
        assert_eq!(CatalogId::parse("007"), Some(CatalogId::Id("007".to_owned())));
        assert_eq!(CatalogId::parse("item_abc"), Some(CatalogId::Id("item_abc".to_owned())));
        assert_eq!(CatalogId::parse("a\0b"), None);
        assert_eq!(CatalogId::parse(&"x".repeat(4_096)), None);
    }
}
