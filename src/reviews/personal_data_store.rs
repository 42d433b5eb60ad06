//! SQL of the personal data in reviews, questions and votes: read, and removed on request.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres::Executor;

/// What a person has written, as JSON arrays, oldest entry first.
#[derive(Debug)]
pub struct WrittenData {
    pub reviews: Box<RawValue>,
    pub questions: Box<RawValue>,
    pub votes: Box<RawValue>,
}

/// How much of what a person has written has lost its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ErasedAuthors {
    pub reviews: u64,
    pub questions: u64,
    pub votes: u64,
}

/// The reviews, questions and votes of these owners, and the reviews of visitors who claimed to be this user.
pub async fn personal_data(client: &impl Executor, owners: &[String], telegram_id: i64) -> Result<WrittenData> {
    let statement = client.prepare_cached(include_str!("personal_data.sql")).await?;
    let row = client.query_one(&statement, &[&owners, &telegram_id]).await?;
    Ok(WrittenData {
        reviews: RawValue::from_string(row.try_get("reviews")?).or_internal()?,
        questions: RawValue::from_string(row.try_get("questions")?).or_internal()?,
        votes: RawValue::from_string(row.try_get("votes")?).or_internal()?,
    })
}

/// Gives each review, question and vote of these owners an owner of its own, whom nothing leads to, and removes claims to be this user;
/// returns how many there were.
pub async fn erase(client: &impl Executor, owners: &[String], telegram_id: i64) -> Result<ErasedAuthors> {
    let lock =
        client.prepare_cached("select from reviewer where owner = any ($1) order by owner for no key update").await?;
    client.query(&lock, &[&owners]).await?;
    let reassign = client
        .prepare_cached(
            r"with mine as (
                  select review_id from review where owner = any ($1) order by review_id for update
              ), fresh as (
                  insert into reviewer (owner, pseudonym)
                  select 'erased:' || review_id, 'user_' || replace(gen_random_uuid()::text, '-', '') from mine
                  returning owner, pseudonym
              )
              update review r set owner = f.owner, author = f.pseudonym, claimed_user_id = null
              from mine m, fresh f where r.review_id = m.review_id and f.owner = 'erased:' || m.review_id",
        )
        .await?;
    let reviews = client.execute(&reassign, &[&owners]).await?;
    let claims = client.prepare_cached("update review set claimed_user_id = null where claimed_user_id = $1").await?;
    client.execute(&claims, &[&telegram_id]).await?;
    let reviewers = client.prepare_cached("delete from reviewer where owner = any ($1)").await?;
    client.execute(&reviewers, &[&owners]).await?;
    let of_questions =
        client.prepare_cached("update question set owner = 'erased:' || question_id where owner = any ($1)").await?;
    let questions = client.execute(&of_questions, &[&owners]).await?;
    let of_votes = client
        .prepare_cached("update question_vote set voter = 'erased:' || gen_random_uuid()::text where voter = any ($1)")
        .await?;
    let votes = client.execute(&of_votes, &[&owners]).await?;
    Ok(ErasedAuthors { reviews, questions, votes })
}
