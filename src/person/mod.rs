//! The data of one person: exported, and erased from everything but the books.
//!
//! # Invariants
//! - An erasure keeps every order, amount, refund, receipt, review, rating, question and vote, and removes what leads from them to the person.
//! - It may be repeated, and is recorded without personal data.

mod store;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::foundation::clock::whole_seconds;
use crate::foundation::error::Result;
use crate::session::{self, Session};
use crate::tenant::brand::Brand;
use crate::{cart, mail, payments, reviews};

use reviews::ErasedAuthors;

/// Who exports or erases a person's data, and why; kept in the record.
#[derive(Debug, Clone, Copy)]
pub struct RecordedBy<'a> {
    /// The operator's account.
    pub operator: &'a str,
    /// Such as the number of the person's request; without personal data.
    pub note: Option<&'a str>,
}

/// What the shop knows of a person. The raw members are JSON arrays, oldest entry first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonalData {
    telegram_id: i64,
    sessions: Vec<SessionData>,
    cart: Box<RawValue>,
    orders: Box<RawValue>,
    emails: Box<RawValue>,
    reviews: Box<RawValue>,
    questions: Box<RawValue>,
    votes: Box<RawValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionData {
    session_id: String,
    username: Option<String>,
    display_name: String,
    active: bool,
    expires_at: String,
}

impl SessionData {
    fn new(session: Session) -> SessionData {
        SessionData {
            session_id: session.id,
            username: session.user.username,
            display_name: session.user.display_name,
            active: session.is_active,
            expires_at: whole_seconds(session.expires_at),
        }
    }
}

/// What an erasure has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// Payments that no longer name the person.
    pub payments: u64,
    /// Emails that lost recipient and text, or were deleted because they were not sent.
    pub emails: u64,
    /// Reviews, questions and votes with a new author.
    #[serde(flatten)]
    pub authors: ErasedAuthors,
    /// Deleted lines of carts.
    pub cart_lines: u64,
}

/// Exports the data of a Telegram user.
///
/// # Errors
/// 503 while PostgreSQL or Redis is unavailable.
pub async fn export(brand: &Brand, telegram_id: i64, recorded_by: RecordedBy<'_>) -> Result<PersonalData> {
    let sessions = session::of_user(brand, telegram_id).await?;
    let client = brand.postgres().await?;
    let owners = payments::owner_keys(&client, telegram_id).await?;
    let payment_ids = payments::of_person(&client, &owners, &spellings(telegram_id)).await?;
    let written = reviews::personal_data(&client, &owners, telegram_id).await?;
    let data = PersonalData {
        telegram_id,
        sessions: sessions.into_iter().map(SessionData::new).collect(),
        cart: cart::personal_data(&client, &owners).await?,
        orders: payments::personal_data(&client, &payment_ids, &owners).await?,
        emails: mail::personal_data(&client, &mail_keys(&payment_ids)).await?,
        reviews: written.reviews,
        questions: written.questions,
        votes: written.votes,
    };
    store::record(&client, "export", recorded_by, None, brand.clock.now()).await?;
    Ok(data)
}

/// Ends the sessions of a Telegram user and removes what identifies the user. Idempotent.
///
/// # Errors
/// 503 while PostgreSQL or Redis is unavailable: repeat it.
pub async fn erase(brand: &Brand, telegram_id: i64, recorded_by: RecordedBy<'_>) -> Result<Erasure> {
    // First, so that the user's devices write nothing afterwards.
    session::end_all(brand, telegram_id).await?;
    let transaction = brand.transaction().await?;
    let owners = payments::owner_keys(&transaction, telegram_id).await?;
    payments::lock_owners(&transaction, brand.name(), &owners).await?;
    let payment_ids = payments::of_person(&transaction, &owners, &spellings(telegram_id)).await?;
    let emails = mail::erase(&transaction, &mail_keys(&payment_ids)).await?;
    payments::erase(&transaction, &payment_ids, &owners).await?;
    let erasure = Erasure {
        payments: payment_ids.len() as u64,
        emails,
        authors: reviews::erase(&transaction, &owners, telegram_id).await?,
        cart_lines: cart::erase(&transaction, &owners).await?,
    };
    store::record(&transaction, "erase", recorded_by, Some(&erasure), brand.clock.now()).await?;
    transaction.commit().await?;
    let Erasure { payments, emails, authors, cart_lines } = erasure;
    let ErasedAuthors { reviews, questions, votes } = authors;
    let name = brand.name();
    tracing::info!(brand = name, payments, emails, reviews, questions, votes, cart_lines, "personal data erased");
    Ok(erasure)
}

/// The user as front ends name them in orders.
fn spellings(telegram_id: i64) -> [String; 2] {
    [telegram_id.to_string(), format!("tg_{telegram_id}")]
}

fn mail_keys(payment_ids: &[i64]) -> Vec<String> {
    payment_ids.iter().map(|id| payments::mail_key(*id)).collect()
}
