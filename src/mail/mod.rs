//! Email: an outbox in PostgreSQL, and the job that delivers it to the brand's SMTP server.
//!
//! # Invariants
//!
//! - A queued email is delivered or reported as failed, never lost.
//! - One email per subject key and recipient. Its Message-ID may arrive twice only when the server accepted it and its response
//!   was lost.
//! - Neither the recipient nor the subject nor the text can add a header.

mod delivery;
mod personal_data_store;
mod smtp;
mod store;

use std::net::IpAddr;

use jiff::Timestamp;
use lettre::Address;

use crate::config::{BrandConfig, MailConfig, MailTls};
use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::language::Language;
use crate::platform::postgres::Executor;
use crate::telemetry::metrics::Queue;
use crate::tenant::brand::Brand;

pub use delivery::send_due;
pub use personal_data_store::{erase, forget, personal_data};

/// RFC 5321, 4.5.3.1.3, without the angle brackets.
const MAX_ADDRESS_BYTES: usize = 254;

/// Encoded, such a subject still fits the lines of a header.
const MAX_SUBJECT_CHARS: usize = 200;

/// An email to be queued.
#[derive(Debug, Clone)]
pub struct EmailDraft {
    /// What the email is about: `payment:123`. Each recipient gets one email per key.
    pub subject_key: String,
    /// As [`parse_address`] returns it.
    pub to: String,
    pub language: Language,
    /// One line; truncated to 200 characters.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The result of [`queue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueOutcome {
    Queued,
    /// An email with this key and recipient was queued before; nothing has changed.
    AlreadyQueued,
}

/// Puts an email into the outbox; it is sent once the transaction of `client` has committed.
///
/// `message_id_host` is the part of the Message-ID after the @: the host of the brand's public URL.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn queue(
    client: &impl Executor,
    draft: &EmailDraft,
    now: Timestamp,
    message_id_host: &str,
) -> Result<QueueOutcome> {
    let subject: String = draft.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let subject: String = subject.trim().chars().take(MAX_SUBJECT_CHARS).collect();
    let host = match message_id_host.parse::<IpAddr>() {
        // RFC 5322, 3.6.4: a domain-literal.
        Ok(address) => format!("[{address}]"),
        Err(_) => message_id_host.to_owned(),
    };
    let message_id = format!("<{}@{host}>", hex::random_name()?);
    let is_new = store::insert(client, draft, &subject, &message_id, now).await?;
    Ok(if is_new { QueueOutcome::Queued } else { QueueOutcome::AlreadyQueued })
}

/// To whom an email was queued, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedEmail {
    pub subject_key: String,
    pub recipient: String,
    pub queued_at: Timestamp,
    /// `None`: not sent yet, or given up.
    pub sent_at: Option<Timestamp>,
}

/// All emails with these subject keys, sent or not, oldest first.
///
/// A rule such as "at most three addresses per order" holds only if the caller locks the order's row first.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn queued(client: &impl Executor, subject_keys: &[String]) -> Result<Vec<QueuedEmail>> {
    store::queued(client, subject_keys).await
}

/// Parses an address that an email can be sent to. The domain is returned in lower case and in ASCII (RFC 5890).
///
/// # Errors
/// 400 `bad_email`.
pub fn parse_address(text: &str) -> Result<String> {
    let bad = || Error::malformed("bad_email", "email: expected an address such as anna@example.com");
    // Bounds the work of the parsers below.
    if text.len() > 4 * MAX_ADDRESS_BYTES || text.chars().any(char::is_control) {
        return Err(bad());
    }
    let (user, domain) = text.trim().rsplit_once('@').ok_or_else(bad)?;
    let domain = match domain.is_ascii() {
        true => domain.to_ascii_lowercase(),
        false => idna::domain_to_ascii(domain).map_err(|_| bad())?,
    };
    let address = Address::new(user, domain).map_err(|_| bad())?.to_string();
    // Neither an address literal nor a host of the local network can be a customer's.
    let (_, domain) = address.rsplit_once('@').ok_or_else(bad)?;
    if domain.starts_with('[') || !domain.contains('.') {
        return Err(bad());
    }
    // A quoted local part may hold characters that separate headers or SMTP parameters.
    let has_specials = address.chars().any(|c| c.is_whitespace() || "<>\"\\,;:()".contains(c));
    if address.len() > MAX_ADDRESS_BYTES || has_specials { Err(bad()) } else { Ok(address) }
}

/// Logs at start whether the brand's emails are sent.
pub fn log_delivery_config(brand: &Brand) {
    match &brand.config.mail {
        Some(mail) => tracing::info!(brand = brand.name(), "delivering email through {}", server(mail)),
        None => tracing::warn!(brand = brand.name(), "no section [mail]: email is queued but not sent"),
    }
}

/// Connects and logs in to the brand's SMTP server without sending anything. `None` for a brand without a server.
pub async fn health_check(config: &BrandConfig) -> Option<Result<String, String>> {
    let mail = config.mail.as_ref()?;
    let session = match smtp::SmtpSession::open(mail, config.host()).await {
        Ok(session) => session,
        Err(message) => return Some(Err(format!("{}: {message}", server(mail)))),
    };
    session.close().await;
    let tls = match mail.tls {
        MailTls::None => "without TLS",
        MailTls::StartTls => "TLS by STARTTLS",
        MailTls::Tls => "TLS",
    };
    let login = mail.login.as_ref().map_or(String::new(), |login| format!(", logged in as {}", login.user));
    Some(Ok(format!("{} answers, {tls}{login}; sender {}", server(mail), mail.from)))
}

fn server(config: &MailConfig) -> String {
    format!("{}:{}", config.host, config.port)
}

/// An email that is queued or has failed.
#[derive(Debug, Clone)]
pub struct OutboxEntry {
    pub id: i64,
    pub subject_key: String,
    pub to: String,
    pub is_failed: bool,
    pub attempts: i32,
    pub next_attempt_at: Timestamp,
    pub last_error: Option<String>,
}

/// The outbox: the oldest entries, and the total numbers of each state.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub entries: Vec<OutboxEntry>,
    pub queued: i64,
    pub failed: i64,
}

/// Lists at most `limit` entries, oldest first; `failed_only` leaves out queued ones.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn list(brand: &Brand, failed_only: bool, limit: i64) -> Result<Outbox> {
    let client = brand.postgres().await?;
    let entries = store::list(&client, failed_only, limit).await?;
    let (queued, failed) = store::counts(&client).await?;
    Ok(Outbox { entries, queued, failed })
}

/// The length and the age of the queue.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn queue_metrics(brand: &Brand) -> Result<Queue> {
    store::queue_metrics(&brand.postgres().await?, brand.clock.now()).await
}

/// The result of [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Due now, with its attempts reset.
    Due,
    /// Sent before, and not sent again.
    AlreadySent,
    Unknown,
}

/// Makes a queued or failed email due now.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn retry(brand: &Brand, id: i64) -> Result<RetryOutcome> {
    store::retry(&brand.postgres().await?, id, brand.clock.now()).await
}

/// Makes all failed emails due now; returns their number.
///
/// # Errors
/// 503 when PostgreSQL is unavailable.
pub async fn retry_all_failed(brand: &Brand) -> Result<u64> {
    store::retry_all_failed(&brand.postgres().await?, brand.clock.now()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized_or_rejected() {
        for (text, expected) in [
            ("Anna@Example.COM", "Anna@example.com"),
            (" anna+shop@example.com ", "anna+shop@example.com"),
            ("anna@почта.рф", "anna@xn--80a1acny.xn--p1ai"),
            ("почта@example.com", "почта@example.com"),
        ] {
            assert_eq!(parse_address(text).expect(text), expected);
        }
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("anna@{}example.com", "abcdefghi.".repeat(25));
        for text in [
            "",
            "anna",
            "@example.com",
            "anna@",
            "anna@exa mple.com",
            "an na@example.com",
            "anna@example.com\r\nBcc: eve@example.com",
            "anna@example.com\n",
            "anna\0@example.com",
            "Anna <anna@example.com>",
            "anna@example.com,eve@example.com",
            "\"a> b\"@example.com",
            "anna@example..com",
            "anna@localhost",
            "anna@[127.0.0.1]",
            &long,
            &longer,
        ] {
            let error = parse_address(text).expect_err(text);
            assert_eq!(error.code, "bad_email", "{text:?}");
            assert!(error.public.starts_with("email: expected"), "{text:?}");
        }
    }
}
