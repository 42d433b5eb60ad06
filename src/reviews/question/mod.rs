//! Questions about items: asking, voting, and the shop's answers. They are read with their item.
//!
//! # Invariants
//!
//! - A question of a visitor is not shown before the shop has answered it.
//! - A visitor or user has at most one vote on a question.

pub(crate) mod http;
mod request_body;
mod store;

use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::http::rate_limit::Quota;
use crate::platform::postgres::Executor;
use crate::session::{Caller, Owner};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;
use jiff::Timestamp;

/// A question as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct NewQuestion {
    item_id: i64,
    text: String,
}

/// A vote as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct NewVote {
    item_id: i64,
    question_id: i64,
    is_up: bool,
}

/// Stores the caller's question for the shop to answer. The same question by the same owner is stored once.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, 429 when the caller's address has asked too much without a session.
pub async fn ask(cx: &RequestContext, caller: &Caller, question: &NewQuestion) -> Result<()> {
    if caller.session.is_none() {
        cx.check_address_limit(Quota::AnonymousQuestions).await?;
    }
    match store::ask(&cx.brand.postgres().await?, &caller.owner(), question, cx.now()).await? {
        true => Ok(()),
        false => Err(Error::not_found("item")),
    }
}

/// Stores the caller's vote on a question of an item, in place of an earlier one.
///
/// # Errors
/// 404 for an item that does not exist or is hidden, and for a question that the item does not show.
pub async fn vote(cx: &RequestContext, caller: &Caller, vote: &NewVote) -> Result<()> {
    let is_found = store::vote(&cx.brand.postgres().await?, &caller.owner(), vote, cx.now()).await?;
    if !is_found {
        return Err(Error::not_found("question"));
    }
    cx.brand.cache.items_changed([vote.item_id]);
    Ok(())
}

/// Moves a visitor's questions and votes to a user, in the transaction of the login. What the user has asked or voted on already
/// stays with the visitor. Idempotent.
pub(super) async fn merge(client: &impl Executor, from: &Owner, into: &Owner) -> Result<()> {
    store::change_owner(client, from, into).await
}

/// Selects the questions of [`list`].
#[derive(Debug, Clone)]
pub struct QuestionFilter {
    pub item: Option<CatalogId>,
    /// Excludes those with an answer, and hidden ones.
    pub only_unanswered: bool,
    /// Excludes those that are not hidden.
    pub only_hidden: bool,
    /// The maximum number of questions.
    pub count: i64,
}

/// A question as the shop sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredQuestion {
    pub question_id: i64,
    pub item_id: i64,
    pub text: String,
    pub answer: Option<String>,
    /// `None` for an imported one.
    pub asked_at: Option<Timestamp>,
    pub upvotes: i32,
    pub downvotes: i32,
    pub is_hidden: bool,
}

/// The questions in the order of their arrival, the last one first; imported ones included.
///
/// # Errors
/// 404 for an item that does not exist, 503 while PostgreSQL is unavailable.
pub async fn list(brand: &Brand, filter: &QuestionFilter) -> Result<Vec<StoredQuestion>> {
    store::list(&brand.postgres().await?, filter).await
}

/// # Errors
/// 404 for a question that does not exist, 503 while PostgreSQL is unavailable.
pub async fn find(brand: &Brand, question_id: i64) -> Result<StoredQuestion> {
    let found = store::find(&brand.postgres().await?, question_id).await?;
    found.ok_or_else(|| Error::not_found("question"))
}

/// Sets the shop's answer, or removes it with `None`; returns the question.
///
/// # Errors
/// 404 for a question that does not exist, 503 while PostgreSQL is unavailable.
pub async fn answer(brand: &Brand, question_id: i64, answer: Option<&str>) -> Result<StoredQuestion> {
    let changed = store::set_answer(&brand.postgres().await?, question_id, answer).await?;
    changed.ok_or_else(|| Error::not_found("question"))
}

/// Hides a question or shows it again; returns the question.
///
/// # Errors
/// 404 for a question that does not exist, 503 while PostgreSQL is unavailable.
pub async fn set_hidden(brand: &Brand, question_id: i64, is_hidden: bool) -> Result<StoredQuestion> {
    let changed = store::set_hidden(&brand.postgres().await?, question_id, is_hidden).await?;
    changed.ok_or_else(|| Error::not_found("question"))
}
