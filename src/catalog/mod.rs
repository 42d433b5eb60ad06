//! Categories and items, as a visitor of one region sees them in one language; import and export of the catalogue.
//!
//! # Invariants
//! - Hidden items, and items below a hidden category, are shown nowhere: lists and single items are read through the
//!   view `listed_item`, except the pages of a category, whose statement (`category_items.sql`) has the same rule.

pub(crate) mod category;
pub mod export;
pub(crate) mod http;
pub mod import;
pub(crate) mod item;
pub mod prune;
mod random;
mod store;

use jiff::SignedDuration;

use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::request::MAX_SAFE_INTEGER;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

use category::Category;
use item::Item;
pub use random::Card;
use store::CategoryPage;

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// 1-200.
    pub count: i64,
    /// 0 or more.
    pub skip: i64,
}

impl Page {
    pub const DEFAULT_COUNT: i64 = 50;
}

/// Identifies a category or an item: by number, or by BackOffice's string id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogId {
    Number(i64),
    Id(String),
}

impl CatalogId {
    /// `None` for a text that cannot be an id.
    pub fn parse(text: &str) -> Option<CatalogId> {
        const MAX_ID_BYTES: usize = 800;
        if let Some(number) = import::record::natural_number(text).or_else(|| large_number(text)) {
            return Some(CatalogId::Number(number));
        }
        let is_possible = !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.contains('\0');
        is_possible.then(|| CatalogId::Id(text.to_owned()))
    }

    /// The parameters of a statement that looks up either.
    pub fn number_and_id(&self) -> (Option<i64>, Option<&str>) {
        match self {
            CatalogId::Number(number) => (Some(*number), None),
            CatalogId::Id(id) => (None, Some(id)),
        }
    }
}

/// Numbers above 2^52 are assigned by the import; they are valid in a path.
fn large_number(text: &str) -> Option<i64> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= MAX_SAFE_INTEGER)
}

/// The tree of the categories that are shown in the visitor's region, and the language that was used.
pub async fn categories(cx: &RequestContext) -> Result<(Vec<Category>, Language)> {
    let rows = store::categories(&cx.brand.postgres().await?, cx.region.as_deref()).await?;
    Ok(category::tree(rows, cx.language))
}

/// How much is read of each category below the requested one, in multiples of the even share of a page, until the page
/// is complete.
const SHARES: [Option<i64>; 3] = [Some(3), Some(12), None];

/// A page of the items in a category and its descendants.
///
/// # Errors
/// 404 for a category that does not exist or is hidden.
pub async fn category_items(cx: &RequestContext, key: &str, page: Page) -> Result<(Vec<Item>, Language)> {
    let key = CatalogId::parse(key).ok_or_else(|| Error::not_found("category"))?;
    let client = cx.brand.postgres().await?;
    for share in SHARES {
        match store::category_items(&client, &key, cx.region.as_deref(), page, share).await? {
            CategoryPage::Complete(rows) => return item::read_list(&rows, cx.language),
            CategoryPage::NotFound => return Err(Error::not_found("category")),
            CategoryPage::Truncated => {}
        }
    }
    Err(Error::internal("a category page that was read without a limit is truncated"))
}

/// One item.
///
/// # Errors
/// 404 for an item that does not exist, is hidden, or is not available in the visitor's region.
pub async fn item(cx: &RequestContext, key: &str) -> Result<(Item, Language)> {
    let key = CatalogId::parse(key).ok_or_else(|| Error::not_found("item"))?;
    let connection = cx.brand.shared_connection().await?;
    let row = connection.with_timeout(store::item(&connection, &key, cx.region.as_deref())).await?;
    let row = row.ok_or_else(|| Error::not_found("item"))?;
    Item::read(&row, cx.language)
}

/// `count` distinct random items of a category or of all, or fewer if there are no more.
pub async fn random_items(cx: &RequestContext, count: usize, category: Option<&str>) -> Result<(Vec<Card>, Language)> {
    match category.map(CatalogId::parse) {
        None => random::draw(cx, None, count).await,
        Some(Some(key)) => random::draw(cx, Some(&key), count).await,
        Some(None) => Ok((Vec::new(), Language::Ru)),
    }
}

/// As [`random_items`], without a query; `None` when not all that is needed is cached.
pub fn random_items_from_memory(
    cx: &RequestContext,
    count: usize,
    category: Option<&str>,
) -> Result<Option<(Vec<Card>, Language)>> {
    match category.map(CatalogId::parse) {
        None => random::draw_from_memory(cx, None, count),
        Some(Some(key)) => random::draw_from_memory(cx, Some(&key), count),
        Some(None) => Ok(Some((Vec::new(), Language::Ru))),
    }
}

/// How long instances can read a change; `cache::invalidation` relies on it.
const CHANGE_RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// Deletes a batch of changes older than [`CHANGE_RETENTION`]; returns how many.
pub async fn delete_old_changes(brand: &Brand) -> Result<u64> {
    let before = brand.clock.now().checked_sub(CHANGE_RETENTION).or_internal()?;
    store::delete_changes(&brand.postgres().await?, before).await
}

/// Applies the counts that a killed import has stored and not written into the stock; returns 1 if there were any, and 0 while an import is
/// running, which applies them itself.
pub async fn complete_import(brand: &Brand) -> Result<u64> {
    if !store::has_stored_counts(&brand.postgres().await?).await? {
        return Ok(0);
    }
    import::complete(&brand.config).await.map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_as_a_number_or_an_id() {
        assert_eq!(CatalogId::parse("17"), Some(CatalogId::Number(17)));
        assert_eq!(CatalogId::parse("9007199254740991"), Some(CatalogId::Number(9_007_199_254_740_991)));
        assert_eq!(CatalogId::parse("9007199254740992"), Some(CatalogId::Id("9007199254740992".to_owned())));
        assert_eq!(CatalogId::parse("007"), Some(CatalogId::Id("007".to_owned())));
        assert_eq!(CatalogId::parse("item_abc"), Some(CatalogId::Id("item_abc".to_owned())));
        assert_eq!(CatalogId::parse("a\0b"), None);
        assert_eq!(CatalogId::parse(&"x".repeat(4_096)), None);
    }
}
