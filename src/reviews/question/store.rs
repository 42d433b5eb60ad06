//! SQL of the questions.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{NewQuestion, NewVote, QuestionFilter, StoredQuestion};
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::Executor;
use crate::session::Owner;

/// Stores a question unless its owner has asked it before; returns whether the item is listed.
pub(super) async fn ask(client: &impl Executor, owner: &Owner, question: &NewQuestion, now: Timestamp) -> Result<bool> {
    let statement = client
        .prepare_cached(
            r"with found as (
                 select item_id from listed_item where item_id = $1
             ), asked as (
                 insert into question (item_id, owner, content, asked_at) select item_id, $2, $3, $4 from found
                 on conflict do nothing
             )
             select exists (select from found) as found",
        )
        .await?;
    let row = client.query_one(&statement, &[&question.item_id, &owner.key(), &question.text, &now]).await?;
    Ok(row.get("found"))
}

/// Stores a vote or changes it; returns whether the item shows the question.
pub(super) async fn vote(client: &impl Executor, owner: &Owner, vote: &NewVote, now: Timestamp) -> Result<bool> {
    let statement = client.prepare_cached(include_str!("vote.sql")).await?;
    let row =
        client.query_one(&statement, &[&vote.item_id, &vote.question_id, &owner.key(), &vote.is_up, &now]).await?;
    Ok(row.get("found"))
}

/// Moves questions and votes to another owner, except those that the other owner has too.
pub(super) async fn change_owner(client: &impl Executor, from: &Owner, into: &Owner) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"with asked as (
                 update question q set owner = $2 where q.owner = $1
                 and not exists (select from question d where d.item_id = q.item_id and d.owner = $2 and d.content = q.content)
             )
             update question_vote v set voter = $2 where v.voter = $1
             and not exists (select from question_vote d where d.question_id = v.question_id and d.voter = $2)",
        )
        .await?;
    client.execute(&statement, &[&from.key(), &into.key()]).await?;
    Ok(())
}

/// The last question first.
///
/// # Errors
/// 404 for an item that does not exist.
pub(super) async fn list(client: &impl Executor, filter: &QuestionFilter) -> Result<Vec<StoredQuestion>> {
    let item_id = match &filter.item {
        Some(key) => Some(item_id(client, key).await?.ok_or_else(|| Error::not_found("item"))?),
        None => None,
    };
    let statement = client
        .prepare_cached(
            r"select question_id, item_id, content, answer, asked_at, upvotes, downvotes, hidden from question
             where ($1::bigint is null or item_id = $1) and (not $2 or answer is null and not hidden) and (hidden or not $3)
             order by question_id desc limit $4",
        )
        .await?;
    let rows =
        client.query(&statement, &[&item_id, &filter.only_unanswered, &filter.only_hidden, &filter.count]).await?;
    Ok(rows.iter().map(read).collect())
}

/// The numeric id of an item, visible or not.
async fn item_id(client: &impl Executor, key: &CatalogId) -> Result<Option<i64>> {
    let statement = client.prepare_cached(r"select item_id from item where item_id = $1 or id = $2").await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id]).await?.map(|row| row.get("item_id")))
}

pub(super) async fn find(client: &impl Executor, question_id: i64) -> Result<Option<StoredQuestion>> {
    let statement = client
        .prepare_cached(
            r"select question_id, item_id, content, answer, asked_at, upvotes, downvotes, hidden
             from question where question_id = $1",
        )
        .await?;
    Ok(client.query_opt(&statement, &[&question_id]).await?.as_ref().map(read))
}

/// `None` if the question does not exist.
pub(super) async fn set_answer(
    client: &impl Executor,
    question_id: i64,
    answer: Option<&str>,
) -> Result<Option<StoredQuestion>> {
    let statement = client
        .prepare_cached(
            r"update question set answer = $2 where question_id = $1
             returning question_id, item_id, content, answer, asked_at, upvotes, downvotes, hidden",
        )
        .await?;
    Ok(client.query_opt(&statement, &[&question_id, &answer]).await?.as_ref().map(read))
}

/// `None` if the question does not exist.
pub(super) async fn set_hidden(
    client: &impl Executor,
    question_id: i64,
    is_hidden: bool,
) -> Result<Option<StoredQuestion>> {
    let statement = client
        .prepare_cached(
            r"update question set hidden = $2 where question_id = $1
             returning question_id, item_id, content, answer, asked_at, upvotes, downvotes, hidden",
        )
        .await?;
    Ok(client.query_opt(&statement, &[&question_id, &is_hidden]).await?.as_ref().map(read))
}

fn read(row: &Row) -> StoredQuestion {
    StoredQuestion {
        question_id: row.get("question_id"),
        item_id: row.get("item_id"),
        text: row.get("content"),
        answer: row.get("answer"),
        asked_at: row.get("asked_at"),
        upvotes: row.get("upvotes"),
        downvotes: row.get("downvotes"),
        is_hidden: row.get("hidden"),
    }
}
