//! What buyers say of items: writing it, moving it at login, hiding it.
//!
//! Called by `reviews::http`, by `auth` at login and by `bin/brandgate reviews`; reading is the catalogue's, a review is
//! shown with its item. A review belongs to an [`Owner`], who has at most one of an item, and is signed with the owner's
//! pseudonym of this brand. The item's rating follows by triggers, in the same statement. Whoever writes locks the reviewer
//! first, then the item, then the review, so that no two wait for each other. What must never happen: a Telegram id or a
//! cookie's hash is shown, or the claim of somebody without a session touches a review made with one.

mod body;
pub mod http;
mod store;

use crate::platform::postgres::Executor;
use jiff::Timestamp;

use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::foundation::hex::random_id;
use crate::session::Owner;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// How many random hexadecimal digits a pseudonym has.
const PSEUDONYM_DIGITS: usize = 16;

/// A review as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Posted {
    item_id: i64,
    /// 1-5
    stars: i16,
    text: String,
    /// Whom the sender says to be, in Telegram's numbers.
    user_id: Option<i64>,
    written_at: Option<Timestamp>,
}

/// What a write came to; the store decides it in the statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// No such item, or one that is hidden.
    NoItem,
    /// Somebody else, or somebody with a session, has reviewed this item as that user.
    Claimed,
}

/// A review as the store writes it.
struct Draft<'a> {
    /// `cmt_…`, for a review that replaces none.
    id: String,
    /// For an owner who has none yet.
    pseudonym: String,
    claim: Option<Claim>,
    written_at: Timestamp,
    posted: &'a Posted,
}

/// What a visitor without a session says of themselves.
struct Claim {
    user_id: i64,
    /// Whose reviews it must not touch.
    user: Owner,
}

/// Writes the owner's review of an item, in the place of an earlier one. A claim counts only from a visitor; a time that
/// has not come yet is replaced by the server's.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, 409 for a claim that is taken.
pub async fn post(cx: &RequestContext, owner: &Owner, posted: &Posted) -> Result<()> {
    let claimed = posted.user_id.filter(|_| matches!(owner, Owner::Visitor(_)));
    let now = cx.now();
    let draft = Draft {
        id: format!("cmt_{}", random_id()?),
        pseudonym: new_pseudonym()?,
        claim: claimed.map(|user_id| Claim { user_id, user: Owner::User(user_id) }),
        written_at: posted.written_at.filter(|time| *time <= now).unwrap_or(now),
        posted,
    };
    let outcome = store::write(&cx.brand.postgres().await?, owner, &draft).await?;
    match outcome {
        Outcome::Written => {
            cx.brand.cache.items_changed([posted.item_id]);
            Ok(())
        }
        Outcome::NoItem => Err(Error::not_found("item")),
        Outcome::Claimed => Err(Error::conflict(
            "user_id_taken",
            "userId: this user has reviewed the item already; log in to change that review, or leave userId out.",
        )),
    }
}

/// `user_…`
fn new_pseudonym() -> Result<String> {
    let mut digits = random_id()?;
    digits.truncate(PSEUDONYM_DIGITS);
    Ok(format!("user_{digits}"))
}

/// Moves a visitor's reviews to the user who logged in, in the login's transaction; returns their items, which are shown differently
/// after its commit. Of two reviews of one item the newer stays; it is hidden if either was. Doing it again does nothing.
pub async fn join(client: &impl Executor, from: &Owner, into: &Owner) -> Result<Vec<i64>> {
    let item_ids = store::reviewed(client, from).await?;
    if !item_ids.is_empty() {
        store::lock_reviewer(client, from).await?;
        let pseudonym = store::reviewer(client, into, &new_pseudonym()?).await?;
        store::drop_doubles(client, from, into).await?;
        store::hand_over(client, from, into, &pseudonym).await?;
    }
    Ok(item_ids)
}

/// Which reviews the shop wants to see.
#[derive(Debug, Clone)]
pub struct ReviewFilter {
    pub item: Option<CatalogId>,
    /// Only those that are hidden.
    pub only_hidden: bool,
    pub count: i64,
}

/// A review as the shop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub review_id: i64,
    pub item_id: i64,
    pub stars: Option<i16>,
    /// A pseudonym.
    pub author: Option<String>,
    pub created_at: Option<Timestamp>,
    /// The first [`OPENING_CHARACTERS`] of the text.
    pub opening: String,
    pub is_hidden: bool,
}

/// How much of a text a list shows.
pub const OPENING_CHARACTERS: i32 = 60;

/// The newest reviews, imported ones included.
///
/// # Errors
/// 404 for an item that does not exist; a database that is away.
pub async fn list(brand: &Brand, wanted: &ReviewFilter) -> Result<Vec<Listed>> {
    let client = brand.postgres().await?;
    let item_id = match &wanted.item {
        Some(key) => Some(store::item_id(&client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    let listed = store::list(&client, item_id, wanted.only_hidden, wanted.count).await?;
    Ok(listed)
}

/// The item of a review, and its rating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rated {
    pub item_id: i64,
    pub rating: rust_decimal::Decimal,
}

/// Takes a review from sight, or shows it again; the item's rating follows in the same statement.
///
/// # Errors
/// 404 for a review that does not exist; a database that is away.
pub async fn set_hidden(brand: &Brand, review_id: i64, is_hidden: bool) -> Result<Rated> {
    let client = brand.postgres().await?;
    store::set_hidden(&client, review_id, is_hidden).await?;
    let rated = store::rated(&client, review_id).await?;
    rated.ok_or_else(|| Error::not_found("review"))
}
