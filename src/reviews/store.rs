//! SQL of the reviews. Every write locks in the order reviewer, item, review.

use tokio_postgres::Row;

use super::{Draft, ItemRating, Outcome, ReviewSelection, StoredReview, user_id_taken};
use crate::catalog::CatalogId;
use crate::foundation::error::{ConstraintExt, Result};
use crate::platform::postgres::{Executor, Parameters};
use crate::session::Owner;

/// Inserts or replaces the owner's review of an item.
///
/// # Errors
/// 409 when another owner claims the same user at the same time.
pub(super) async fn write(client: &impl Executor, owner: &Owner, draft: &Draft<'_>) -> Result<Outcome> {
    let statement = client.prepare_cached(include_str!("write_review.sql")).await?;
    let claim = draft.claim.as_ref();
    let (claimed_id, claimed_owner) = (claim.map(|claim| claim.user_id), claim.map(|claim| claim.user.key()));
    let review = draft.review;
    let parameters: Parameters<'_> = &[
        &review.item_id,
        &owner.key(),
        &draft.pseudonym,
        &claimed_id,
        &claimed_owner,
        &draft.id,
        &review.stars,
        &review.text,
        &draft.written_at,
        &draft.received_at,
        &draft.only_buyers,
    ];
    let written = client.query_one(&statement, parameters).await;
    let row = written.on_constraint("review_item_id_claimed_user_id_key", user_id_taken)?;
    Ok(match (row.get("found"), row.get("allowed"), row.get("written")) {
        (_, _, true) => Outcome::Written,
        (false, _, _) => Outcome::ItemNotFound,
        (true, false, _) => Outcome::NotBought,
        (true, true, false) => Outcome::UserIdTaken,
    })
}

/// The ids of the items that an owner has reviewed.
pub(super) async fn reviewed_items(client: &impl Executor, owner: &Owner) -> Result<Vec<i64>> {
    let statement = client.prepare_cached(r"select item_id from review where owner = $1").await?;
    let rows = client.query(&statement, &[&owner.key()]).await?;
    Ok(rows.iter().map(|row| row.get("item_id")).collect())
}

/// Blocks other writes of this owner's reviews until the end of the transaction.
pub(super) async fn lock_reviewer(client: &impl Executor, owner: &Owner) -> Result<()> {
    let statement = client.prepare_cached(r"select from reviewer where owner = $1 for no key update").await?;
    client.query_opt(&statement, &[&owner.key()]).await?;
    Ok(())
}

/// Returns the owner's pseudonym, after storing this one if there was none. Locks as [`lock_reviewer`].
pub(super) async fn pseudonym(client: &impl Executor, owner: &Owner, pseudonym: &str) -> Result<String> {
    let statement = client
        .prepare_cached(
            r"insert into reviewer (owner, pseudonym) values ($1, $2)
             on conflict (owner) do update set pseudonym = reviewer.pseudonym returning pseudonym",
        )
        .await?;
    Ok(client.query_one(&statement, &[&owner.key(), &pseudonym]).await?.get("pseudonym"))
}

/// Where both owners have reviewed an item, deletes the older review; returns how many were deleted.
pub(super) async fn delete_duplicates(client: &impl Executor, from: &Owner, into: &Owner) -> Result<u64> {
    let statement = client.prepare_cached(include_str!("delete_duplicates.sql")).await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key()]).await?)
}

/// Moves all reviews of one owner to another and signs them with that owner's pseudonym; returns how many were moved.
pub(super) async fn change_owner(client: &impl Executor, from: &Owner, into: &Owner, pseudonym: &str) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"update review set owner = $2, author = $3, claimed_user_id = null, verified = verified or has_bought($2, item_id)
             where owner = $1",
        )
        .await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key(), &pseudonym]).await?)
}

/// The numeric id of an item, visible or not.
pub(super) async fn item_id(client: &impl Executor, key: &CatalogId) -> Result<Option<i64>> {
    let statement = client.prepare_cached(r"select item_id from item where item_id = $1 or id = $2").await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id]).await?.map(|row| row.get("item_id")))
}

/// The one that was received last first.
pub(super) async fn list(
    client: &impl Executor,
    item_id: Option<i64>,
    only_hidden: bool,
    count: i64,
) -> Result<Vec<StoredReview>> {
    let statement = client
        .prepare_cached(
            r"select review_id, item_id, rating, author, created_at, received_at, verified, hidden, content, answer from review
             where ($1::bigint is null or item_id = $1) and (hidden or not $2)
             order by received_at desc, review_id desc limit $3",
        )
        .await?;
    let rows = client.query(&statement, &[&item_id, &only_hidden, &count]).await?;
    Ok(rows.iter().map(read).collect())
}

pub(super) async fn find(client: &impl Executor, review_id: i64) -> Result<Option<StoredReview>> {
    let statement = client
        .prepare_cached(
            r"select review_id, item_id, rating, author, created_at, received_at, verified, hidden, content, answer
             from review where review_id = $1",
        )
        .await?;
    Ok(client.query_opt(&statement, &[&review_id]).await?.as_ref().map(read))
}

fn read(row: &Row) -> StoredReview {
    StoredReview {
        review_id: row.get("review_id"),
        item_id: row.get("item_id"),
        stars: row.get("rating"),
        author: row.get("author"),
        created_at: row.get("created_at"),
        received_at: row.get("received_at"),
        is_verified: row.get("verified"),
        is_hidden: row.get("hidden"),
        text: row.get("content"),
        answer: row.get("answer"),
    }
}

/// The item of the review; `None` if the review does not exist.
pub(super) async fn set_answer(client: &impl Executor, review_id: i64, answer: Option<&str>) -> Result<Option<i64>> {
    let statement =
        client.prepare_cached(r"update review set answer = $2 where review_id = $1 returning item_id").await?;
    Ok(client.query_opt(&statement, &[&review_id, &answer]).await?.map(|row| row.get("item_id")))
}

/// The items of the selected reviews, each with their number.
pub(super) async fn set_hidden(
    client: &impl Executor,
    selection: &ReviewSelection,
    item_id: Option<i64>,
    is_hidden: bool,
) -> Result<Vec<(i64, i64)>> {
    let statement = client.prepare_cached(include_str!("set_hidden.sql")).await?;
    let parameters: Parameters<'_> = &[&selection.review_id, &item_id, &selection.since, &selection.author, &is_hidden];
    let rows = client.query(&statement, parameters).await?;
    Ok(rows.iter().map(|row| (row.get("item_id"), row.get("reviews"))).collect())
}

/// The ratings of the items that exist, by number.
pub(super) async fn ratings(client: &impl Executor, item_ids: &[i64]) -> Result<Vec<ItemRating>> {
    let statement =
        client.prepare_cached(r"select item_id, rating from item where item_id = any ($1) order by item_id").await?;
    let rows = client.query(&statement, &[&item_ids]).await?;
    Ok(rows.iter().map(|row| ItemRating { item_id: row.get("item_id"), rating: row.get("rating") }).collect())
}
