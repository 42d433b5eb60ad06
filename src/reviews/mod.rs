//! Reviews of items: writing them, moving them to a user at login, answering and hiding them. They are read with their item.
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
pub mod question;
mod request_body;
mod store;

use crate::platform::postgres::Executor;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::CatalogId;
use crate::config::Reviewers;
use crate::foundation::error::{Error, Result};
use crate::foundation::hex::random_name;
use crate::http::rate_limit::Quota;
use crate::session::{Caller, Owner};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

pub use personal_data_store::{ErasedAuthors, erase, personal_data};

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
    /// Only buyers may review, and the owner has not bought the item.
    NotBought,
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
    received_at: Timestamp,
    only_buyers: bool,
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
/// 401 without a session where the brand requires one, 403 where only buyers may review and the caller has not bought the item, 404
/// for an item that does not exist or is hidden, 409 if another owner claims the same user id for the item, 429 when the caller's
/// address has written too many reviews without a session.
pub async fn write(cx: &RequestContext, caller: &Caller, review: &NewReview) -> Result<()> {
    let reviewers = cx.brand.config.reviewers;
    if reviewers == Reviewers::Session && caller.session.is_none() {
        return Err(Error::unauthorized(
            "login_required",
            "This shop accepts reviews after a login only; log in and try again.",
        ));
    }
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
        received_at: now,
        only_buyers: reviewers == Reviewers::Buyers,
        review,
    };
    let outcome = store::write(&cx.brand.postgres().await?, &owner, &draft).await?;
    match outcome {
        Outcome::Written => {
            cx.brand.cache.items_changed([review.item_id]);
            Ok(())
        }
        Outcome::ItemNotFound => Err(Error::not_found("item")),
        Outcome::NotBought => Err(Error::forbidden(
            "buyers_only",
            "This shop accepts reviews from buyers of the item only: there is no paid order of it by this visitor or user.",
        )),
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

/// Moves a visitor's reviews, questions and votes to a user, in the transaction of the login, after the payments; returns the ids of the items that change with its commit.
/// If both have reviewed an item, the newer review is kept, hidden if either was. Idempotent.
pub async fn merge(client: &impl Executor, from: &Owner, into: &Owner) -> Result<Vec<i64>> {
    question::merge(client, from, into).await?;
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

/// A review as the shop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReview {
    pub review_id: i64,
    pub item_id: i64,
    pub stars: Option<i16>,
    /// The pseudonym of the reviewer.
    pub author: Option<String>,
    /// The time that visitors see.
    pub created_at: Option<Timestamp>,
    /// When the shop received the present text.
    pub received_at: Timestamp,
    /// Whether the reviewer had bought the item.
    pub is_verified: bool,
    pub is_hidden: bool,
    pub text: String,
    /// The shop's answer.
    pub answer: Option<String>,
}

/// The reviews in the order of their arrival, the last one first; imported ones included.
///
/// # Errors
/// 404 for an item that does not exist, 503 while PostgreSQL is unavailable.
pub async fn list(brand: &Brand, filter: &ReviewFilter) -> Result<Vec<StoredReview>> {
    let client = brand.postgres().await?;
    let item_id = match &filter.item {
        Some(key) => Some(store::item_id(&client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    store::list(&client, item_id, filter.only_hidden, filter.count).await
}

/// # Errors
/// 404 for a review that does not exist, 503 while PostgreSQL is unavailable.
pub async fn find(brand: &Brand, review_id: i64) -> Result<StoredReview> {
    let found = store::find(&brand.postgres().await?, review_id).await?;
    found.ok_or_else(|| Error::not_found("review"))
}

/// Sets the shop's answer to a review, or removes it with `None`; returns the number of the item.
///
/// # Errors
/// 404 for a review that does not exist, 503 while PostgreSQL is unavailable.
pub async fn answer(brand: &Brand, review_id: i64, answer: Option<&str>) -> Result<i64> {
    let item_id = store::set_answer(&brand.postgres().await?, review_id, answer).await?;
    item_id.ok_or_else(|| Error::not_found("review"))
}

/// Selects reviews that all given members apply to.
#[derive(Debug, Clone, Default)]
pub struct ReviewSelection {
    pub review_id: Option<i64>,
    pub item: Option<CatalogId>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// The pseudonym of the reviewer, or the author of an imported review.
    pub author: Option<String>,
}

/// An item and its rating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRating {
    pub item_id: i64,
    pub rating: rust_decimal::Decimal,
}

/// The result of [`set_hidden`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenReviews {
    /// How many reviews were selected, those that were in the wanted state already included.
    pub selected: u64,
    /// The items of the selected reviews with their new ratings, by number.
    pub ratings: Vec<ItemRating>,
}

/// Hides the selected reviews or shows them again, all of them or none.
///
/// # Errors
/// 404 when there is no such review or item, 503 while PostgreSQL is unavailable.
pub async fn set_hidden(brand: &Brand, selection: &ReviewSelection, is_hidden: bool) -> Result<HiddenReviews> {
    let client = brand.postgres().await?;
    let item_id = match &selection.item {
        Some(key) => Some(store::item_id(&client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    let changed = store::set_hidden(&client, selection, item_id, is_hidden).await?;
    if changed.is_empty() {
        return Err(Error::not_found("review"));
    }
    let item_ids: Vec<i64> = changed.iter().map(|(item_id, _)| *item_id).collect();
    let selected = changed.iter().map(|(_, count)| count.cast_unsigned()).sum();
    Ok(HiddenReviews { selected, ratings: store::ratings(&client, &item_ids).await? })
}
