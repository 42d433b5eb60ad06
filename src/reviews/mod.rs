//! Reviews of items: writing them, moving them to a user at login, hiding them. They are read with their item.
//!
//! # Invariants
//!
//! - An [`Owner`] has at most one review of an item, signed with the owner's pseudonym of this brand. No Telegram id and no hash
//!   of a cookie is ever shown.
//! - A visitor's claim to be a user never affects a review that was written with a session.
//! - An item's rating is updated by triggers in the statement that writes a review.
//! - Every write locks in the order reviewer, item, review, so that writes do not deadlock.

pub(crate) mod http;
mod personal_data_store;
mod request_body;
mod store;

use crate::platform::postgres::Executor;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::foundation::hex::random_name;
use crate::http::rate_limit::Quota;
use crate::session::{Caller, Owner};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

pub use personal_data_store::{erase, personal_data};

/// The number of random hexadecimal digits of a pseudonym.
const PSEUDONYM_DIGITS: usize = 16;

/// How old a client's time of a review may be: a page that was offline for a while, and no way to put a review among old ones.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(1);

/// A review as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct NewReview {
    item_id: i64,
    /// From 1 to 5.
    stars: i16,
    text: String,
    /// The Telegram user that the client claims to be.
    user_id: Option<i64>,
    written_at: Option<Timestamp>,
}

/// The result of a write, as determined by the statement that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written,
    /// The item does not exist or is hidden.
    ItemNotFound,
    /// Another owner has reviewed this item as the claimed user.
    UserIdTaken,
}

/// A review as the store writes it.
struct Draft<'a> {
    /// `cmt_…`; unused if the review replaces an earlier one.
    id: String,
    /// Unused if the owner has a pseudonym.
    pseudonym: String,
    claim: Option<Claim>,
    written_at: Timestamp,
    review: &'a NewReview,
}

/// The claim of a visitor without a session to be a user.
struct Claim {
    user_id: i64,
    /// The owner of the reviews that the user wrote with a session.
    user: Owner,
}

/// Writes the caller's review of an item, or replaces an earlier one. The user id is ignored if the caller has a session; a time
/// that is in the future or older than [`MAX_AGE`] is replaced by the current time.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, 409 if another owner claims the same user id for the item, 429 when the
/// caller's address has written too many reviews without a session.
pub async fn write(cx: &RequestContext, caller: &Caller, review: &NewReview) -> Result<()> {
    if caller.session.is_none() {
        cx.check_address_limit(Quota::AnonymousReviews).await?;
    }
    let owner = caller.owner();
    let claimed = review.user_id.filter(|_| caller.session.is_none());
    let now = cx.now();
    let draft = Draft {
        id: format!("cmt_{}", random_name()?),
        pseudonym: new_pseudonym()?,
        claim: claimed.map(|user_id| Claim { user_id, user: Owner::User(user_id) }),
        written_at: review.written_at.filter(|time| (now - MAX_AGE..=now).contains(time)).unwrap_or(now),
        review,
    };
    let outcome = store::write(&cx.brand.postgres().await?, &owner, &draft).await?;
    match outcome {
        Outcome::Written => {
            cx.brand.cache.items_changed([review.item_id]);
            Ok(())
        }
        Outcome::ItemNotFound => Err(Error::not_found("item")),
        Outcome::UserIdTaken => Err(user_id_taken()),
    }
}

fn user_id_taken() -> Error {
    Error::conflict(
        "user_id_taken",
        "userId: this user has reviewed the item already; log in to change that review, or leave userId out.",
    )
}

/// `user_…`
fn new_pseudonym() -> Result<String> {
    let mut digits = random_name()?;
    digits.truncate(PSEUDONYM_DIGITS);
    Ok(format!("user_{digits}"))
}

/// Moves a visitor's reviews to a user, in the transaction of the login; returns the ids of the items that change with its commit.
/// If both have reviewed an item, the newer review is kept, hidden if either was. Idempotent.
pub async fn merge(client: &impl Executor, from: &Owner, into: &Owner) -> Result<Vec<i64>> {
    let item_ids = store::reviewed_items(client, from).await?;
    if !item_ids.is_empty() {
        store::lock_reviewer(client, from).await?;
        let pseudonym = store::pseudonym(client, into, &new_pseudonym()?).await?;
        store::delete_duplicates(client, from, into).await?;
        store::change_owner(client, from, into, &pseudonym).await?;
    }
    Ok(item_ids)
}

/// Selects the reviews of [`list`].
#[derive(Debug, Clone)]
pub struct ReviewFilter {
    pub item: Option<CatalogId>,
    /// Excludes the visible ones.
    pub only_hidden: bool,
    /// The maximum number of reviews.
    pub count: i64,
}

/// A review in the shop's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewSummary {
    pub review_id: i64,
    pub item_id: i64,
    pub stars: Option<i16>,
    /// The pseudonym of the reviewer.
    pub author: Option<String>,
    pub created_at: Option<Timestamp>,
    /// The first [`EXCERPT_CHARACTERS`] of the text.
    pub excerpt: String,
    pub is_hidden: bool,
}

/// The length of a [`ReviewSummary::excerpt`].
pub const EXCERPT_CHARACTERS: i32 = 60;

/// The newest reviews, imported ones included.
///
/// # Errors
/// 404 for an item that does not exist, 503 while PostgreSQL is unavailable.
pub async fn list(brand: &Brand, filter: &ReviewFilter) -> Result<Vec<ReviewSummary>> {
    let client = brand.postgres().await?;
    let item_id = match &filter.item {
        Some(key) => Some(store::item_id(&client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    store::list(&client, item_id, filter.only_hidden, filter.count).await
}

/// An item and its rating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRating {
    pub item_id: i64,
    pub rating: rust_decimal::Decimal,
}

/// Hides a review or shows it again; returns the new rating of its item.
///
/// # Errors
/// 404 for a review that does not exist, 503 while PostgreSQL is unavailable.
pub async fn set_hidden(brand: &Brand, review_id: i64, is_hidden: bool) -> Result<ItemRating> {
    let client = brand.postgres().await?;
    store::set_hidden(&client, review_id, is_hidden).await?;
    let rating = store::item_rating(&client, review_id).await?;
    rating.ok_or_else(|| Error::not_found("review"))
}
