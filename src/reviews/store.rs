//! SQL of the reviews. Every write locks in one order: the reviewer, the item, the review.

use crate::platform::postgres::Executor;
use tokio_postgres::error::SqlState;

use super::{Draft, Listed, OPENING_CHARACTERS, Outcome, Rated};
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::session::Owner;

/// Writes or replaces the owner's review of an item: one statement, and so one transaction.
///
/// The answer of the shop stays with an unchanged text, and what is hidden stays hidden. Two who claim one user at the same
/// moment both see no claim; the unique index lets one of them through.
pub(super) async fn write(client: &impl Executor, owner: &Owner, draft: &Draft<'_>) -> Result<Outcome> {
    let statement = client
        .prepare_cached(
            "with named as ( \
                 insert into reviewer (owner, pseudonym) \
                 select $2, $3 where exists (select from listed_item where item_id = $1) \
                 on conflict (owner) do update set pseudonym = reviewer.pseudonym \
                 returning pseudonym \
             ), found as ( \
                 select i.item_id, named.pseudonym \
                 from named, item i join listed_item using (item_id) where i.item_id = $1 \
                 for no key update of i \
             ), taken as ( \
                 select from review where item_id = $1 and owner <> $2 and (claimed_user_id = $4 or owner = $5) \
             ), written as ( \
                 insert into review as r (id, item_id, owner, claimed_user_id, rating, content, author, created_at) \
                 select $6, f.item_id, $2, $4, $7, $8, f.pseudonym, $9 \
                 from found f where not exists (select from taken) \
                 on conflict (item_id, owner) where owner is not null do update \
                 set claimed_user_id = excluded.claimed_user_id, rating = excluded.rating, content = excluded.content, \
                     created_at = excluded.created_at, \
                     answer = case when r.content = excluded.content then r.answer end \
                 returning 1 \
             ) \
             select exists (select from found) as found, exists (select from written) as written",
        )
        .await?;
    let claim = draft.claim.as_ref();
    let (claimed, claimed_owner) = (claim.map(|claim| claim.user_id), claim.map(|claim| claim.user.key()));
    let posted = draft.posted;
    let written = client
        .query_one(
            &statement,
            &[
                &posted.item_id,
                &owner.key(),
                &draft.pseudonym,
                &claimed,
                &claimed_owner,
                &draft.id,
                &posted.stars,
                &posted.text,
                &draft.written_at,
            ],
        )
        .await;
    match written {
        Ok(row) if row.get("written") => Ok(Outcome::Written),
        Ok(row) if row.get("found") => Ok(Outcome::Claimed),
        Ok(_) => Ok(Outcome::NoItem),
        Err(error) if breaks(&error, "review_item_id_claimed_user_id_key") => Ok(Outcome::Claimed),
        Err(error) => Err(Error::from(error)),
    }
}

/// Whether a unique index of that name refused a row.
fn breaks(error: &tokio_postgres::Error, index: &str) -> bool {
    error.as_db_error().is_some_and(|db| *db.code() == SqlState::UNIQUE_VIOLATION && db.constraint() == Some(index))
}

/// The items that the owner has reviewed.
pub(super) async fn reviewed(client: &impl Executor, owner: &Owner) -> Result<Vec<i64>> {
    let statement = client.prepare_cached("select item_id from review where owner = $1").await?;
    let rows = client.query(&statement, &[&owner.key()]).await?;
    Ok(rows.iter().map(|row| row.get("item_id")).collect())
}

/// Until the end of the transaction nobody else writes a review as this owner.
pub(super) async fn lock_reviewer(client: &impl Executor, owner: &Owner) -> Result<()> {
    let statement = client.prepare_cached("select from reviewer where owner = $1 for no key update").await?;
    client.query_opt(&statement, &[&owner.key()]).await?;
    Ok(())
}

/// The owner's pseudonym, which is this one if there was none; locked as by [`lock_reviewer`].
pub(super) async fn reviewer(client: &impl Executor, owner: &Owner, pseudonym: &str) -> Result<String> {
    let statement = client
        .prepare_cached(
            "insert into reviewer (owner, pseudonym) values ($1, $2) \
             on conflict (owner) do update set pseudonym = reviewer.pseudonym returning pseudonym",
        )
        .await?;
    Ok(client.query_one(&statement, &[&owner.key(), &pseudonym]).await?.get("pseudonym"))
}

/// Where both have reviewed an item, the older review goes, and what was hidden of the two stays hidden. Returns how many went.
pub(super) async fn drop_doubles(client: &impl Executor, from: &Owner, into: &Owner) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "with locked as ( \
                 select item_id from item \
                 where item_id in (select item_id from review where owner = $1 \
                                   intersect select item_id from review where owner = $2) \
                 order by item_id for no key update \
             ), ranked as ( \
                 select v.review_id, \
                        row_number() over (partition by v.item_id order by v.created_at desc nulls last, v.owner = $2 desc) \
                            as position, \
                        bool_or(v.hidden) over (partition by v.item_id) as hidden \
                 from locked join review v using (item_id) where v.owner in ($1, $2) \
             ), kept as ( \
                 update review v set hidden = true from ranked r \
                 where v.review_id = r.review_id and r.position = 1 and r.hidden and not v.hidden \
             ) \
             delete from review v using ranked r where v.review_id = r.review_id and r.position = 2",
        )
        .await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key()]).await?)
}

/// Signs everything that one owner wrote with the name of the other.
pub(super) async fn hand_over(client: &impl Executor, from: &Owner, into: &Owner, pseudonym: &str) -> Result<u64> {
    let statement = client
        .prepare_cached("update review set owner = $2, author = $3, claimed_user_id = null where owner = $1")
        .await?;
    Ok(client.execute(&statement, &[&from.key(), &into.key(), &pseudonym]).await?)
}

/// The number of an item, visible or not.
pub(super) async fn item_id(client: &impl Executor, key: &CatalogId) -> Result<Option<i64>> {
    let statement = client.prepare_cached("select item_id from item where item_id = $1 or id = $2").await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id]).await?.map(|row| row.get("item_id")))
}

/// Newest first.
pub(super) async fn list(
    client: &impl Executor,
    item_id: Option<i64>,
    only_hidden: bool,
    count: i64,
) -> Result<Vec<Listed>> {
    let statement = client
        .prepare_cached(
            "select review_id, item_id, rating, author, created_at, left(content, $4) as opening, hidden \
             from review \
             where ($1::bigint is null or item_id = $1) and (hidden or not $2) \
             order by created_at desc nulls last, review_id desc limit $3",
        )
        .await?;
    let rows = client.query(&statement, &[&item_id, &only_hidden, &count, &OPENING_CHARACTERS]).await?;
    let listed = rows.iter().map(|row| Listed {
        review_id: row.get("review_id"),
        item_id: row.get("item_id"),
        stars: row.get("rating"),
        author: row.get("author"),
        created_at: row.get("created_at"),
        opening: row.get("opening"),
        is_hidden: row.get("hidden"),
    });
    Ok(listed.collect())
}

/// Does nothing where there is no such review.
pub(super) async fn set_hidden(client: &impl Executor, review_id: i64, is_hidden: bool) -> Result<()> {
    let statement = client
        .prepare_cached(
            "with found as ( \
                 select i.item_id from item i join review using (item_id) where review_id = $1 for no key update of i \
             ) \
             update review r set hidden = $2 from found f where r.review_id = $1 and r.item_id = f.item_id",
        )
        .await?;
    client.execute(&statement, &[&review_id, &is_hidden]).await?;
    Ok(())
}

pub(super) async fn rated(client: &impl Executor, review_id: i64) -> Result<Option<Rated>> {
    let statement = client
        .prepare_cached("select i.item_id, i.rating from review join item i using (item_id) where review_id = $1")
        .await?;
    let row = client.query_opt(&statement, &[&review_id]).await?;
    Ok(row.map(|row| Rated { item_id: row.get("item_id"), rating: row.get("rating") }))
}
