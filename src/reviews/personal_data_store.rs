//! SQL of the personal data in reviews: read, and removed on request.

use serde_json::value::RawValue;

use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres::Executor;

/// The reviews of these owners, and those of visitors who claimed to be this user, as a JSON array.
pub async fn personal_data(client: &impl Executor, owners: &[String], telegram_id: i64) -> Result<Box<RawValue>> {
    let statement = client
        .prepare_cached(
            r"select coalesce(jsonb_agg(jsonb_build_object(
                         'itemID', item_id, 'rating', rating, 'comment', content, 'author', author, 'answer', answer,
                         'createdAt', created_at, 'hidden', hidden, 'own', owner = any ($1)) order by review_id), '[]')::text as data
              from review where owner = any ($1) or claimed_user_id = $2",
        )
        .await?;
    let row = client.query_one(&statement, &[&owners, &telegram_id]).await?;
    RawValue::from_string(row.try_get("data")?).or_internal()
}

/// Gives each review, question and vote of these owners an owner of its own, whom nothing leads to, and removes claims to be this user;
/// returns how many reviews changed their author.
pub async fn erase(client: &impl Executor, owners: &[String], telegram_id: i64) -> Result<u64> {
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
    let erased = client.execute(&reassign, &[&owners]).await?;
    let claims = client.prepare_cached("update review set claimed_user_id = null where claimed_user_id = $1").await?;
    client.execute(&claims, &[&telegram_id]).await?;
    let reviewers = client.prepare_cached("delete from reviewer where owner = any ($1)").await?;
    client.execute(&reviewers, &[&owners]).await?;
    let questions =
        client.prepare_cached("update question set owner = 'erased:' || question_id where owner = any ($1)").await?;
    client.execute(&questions, &[&owners]).await?;
    let votes = client
        .prepare_cached("update question_vote set voter = 'erased:' || gen_random_uuid()::text where voter = any ($1)")
        .await?;
    client.execute(&votes, &[&owners]).await?;
    Ok(erased)
}
