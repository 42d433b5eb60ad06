//! Mail: an outbox in PostgreSQL, and the worker that hands it to the brand's SMTP server.
//!
//! Whoever has something to tell calls [`queue`] in the transaction of the fact itself; `workers` calls [`send_due`], the
//! command line [`list`] and [`retry`]. What must never happen: a mail that was queued and is lost, two mails about one
//! thing to one address (a Message-ID may arrive twice when a server takes it and says nothing), or a recipient, a
//! subject or a text that puts a header of its own into a mail.

mod smtp;
mod store;
mod worker;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use lettre::Address;

use crate::config::{BrandConfig, MailConfig, MailTls};
use crate::foundation::error::{Error, Result};
use crate::foundation::hex;
use crate::foundation::language::Language;
use crate::telemetry::metrics::Queue;
use crate::tenant::brand::Brand;

pub use worker::send_due;

/// The longest address (RFC 5321, 4.5.3.1.3, without its angle brackets).
const LONGEST_ADDRESS: usize = 254;

/// The longest subject in characters; encoded, it still fits the lines of a header.
const LONGEST_SUBJECT: usize = 200;

/// A mail as somebody wants it sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What it is about: `payment:123`. One mail for each of these and address, for ever.
    pub about: String,
    /// As [`address`] returns it.
    pub to: String,
    pub language: Language,
    /// One line; it is cut after 200 characters.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Whether a mail is in the outbox because of this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    Now,
    /// One about this to this address was queued earlier; nothing was changed.
    Before,
}

/// Puts a mail into the outbox; it is sent after the transaction of `client` commits, and not before.
///
/// `message_id_host` stands behind the @ of its Message-ID: the host of the brand's public URL.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn queue(client: &impl Executor, draft: &Draft, now: Timestamp, message_id_host: &str) -> Result<Queued> {
    let subject: String = draft.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let subject: String = subject.trim().chars().take(LONGEST_SUBJECT).collect();
    let host = match message_id_host.parse::<IpAddr>() {
        // RFC 5322, 3.6.4: a domain-literal.
        Ok(address) => format!("[{address}]"),
        Err(_) => message_id_host.to_owned(),
    };
    let message_id = format!("<{}@{host}>", hex::random_name()?);
    let new = store::insert(client, draft, &subject, &message_id, now).await?;
    Ok(if new { Queued::Now } else { Queued::Before })
}

/// To whom mails about each of these were queued, sent or not; what has none is left out.
///
/// A rule such as "at most three addresses an order" holds only if the caller locks the order's row first.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn recipients(client: &impl Executor, abouts: &[String]) -> Result<HashMap<String, Vec<String>>> {
    let mut recipients: HashMap<String, Vec<String>> = HashMap::new();
    for (about, recipient) in store::recipients(client, abouts).await? {
        recipients.entry(about).or_default().push(recipient);
    }
    Ok(recipients)
}

/// How many addresses mails about this were queued for, sent or not.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn count_addresses(client: &impl Executor, about: &str) -> Result<i64> {
    store::count_addresses(client, about).await
}

/// An address that a mail can be sent to: its domain in lower case, letters beyond ASCII as DNS writes them (RFC 5890).
///
/// # Errors
/// 400 `bad_email`.
pub fn address(text: &str) -> Result<String> {
    let bad = || Error::malformed("bad_email", "email: expected an address such as anna@example.com");
    // Before anything else looks at it: what is too long is read by nobody.
    if text.len() > 4 * LONGEST_ADDRESS || text.chars().any(char::is_control) {
        return Err(bad());
    }
    let (user, domain) = text.trim().rsplit_once('@').ok_or_else(bad)?;
    let domain = match domain.is_ascii() {
        true => domain.to_ascii_lowercase(),
        false => idna::domain_to_ascii(domain).map_err(|_| bad())?,
    };
    let address = Address::new(user, domain).map_err(|_| bad())?.to_string();
    // For a header and an SMTP command alike; a quoted name may hold what neither has any use for.
    // A mail that leaves this machine goes to a domain with a dot in it, and not to a number.
    let (_, domain) = address.rsplit_once('@').ok_or_else(bad)?;
    if domain.starts_with('[') || !domain.contains('.') {
        return Err(bad());
    }
    let clean = !address.chars().any(|c| c.is_whitespace() || "<>\"\\,;:()".contains(c));
    if address.len() > LONGEST_ADDRESS || !clean { Err(bad()) } else { Ok(address) }
}

/// Says once, when the workers begin, that a brand's mails go nowhere.
pub fn tell_whether_it_is_sent(brand: &Brand) {
    match &brand.config.mail {
        Some(mail) => tracing::info!(brand = brand.name(), server = server(mail), "sending mail"),
        None => tracing::warn!(brand = brand.name(), "no section [mail]: mails are queued, and nobody sends them"),
    }
}

/// Connects and logs in to the brand's SMTP server and sends nothing; says how that went. `None`: no server is configured.
pub async fn greet(config: &BrandConfig) -> Option<Result<String, String>> {
    let mail = config.mail.as_ref()?;
    let line = match smtp::SmtpSession::open(mail, config.host()).await {
        Ok(line) => line,
        Err(sentence) => return Some(Err(format!("{}: {sentence}", server(mail)))),
    };
    line.close().await;
    let tls = match mail.tls {
        MailTls::None => "without TLS",
        MailTls::StartTls => "TLS after STARTTLS",
        MailTls::Tls => "TLS",
    };
    let login = mail.login.as_ref().map_or(String::new(), |login| format!(", logged in as {}", login.user));
    Some(Ok(format!("{} answers, {tls}{login}; mails are from {}", server(mail), mail.from)))
}

fn server(config: &MailConfig) -> String {
    format!("{}:{}", config.host, config.port)
}

/// A mail that waits, or that was given up.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: i64,
    pub about: String,
    pub to: String,
    pub failed: bool,
    pub tries: i32,
    pub next_try_at: Timestamp,
    pub last_error: Option<String>,
}

/// What is queued or was given up, oldest first, at most so many; and how many there are of each.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub waiting: Vec<Waiting>,
    pub queued: i64,
    pub failed: i64,
}

/// Looks into the outbox; `failed` leaves out what is still tried.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn list(brand: &Brand, failed: bool, count: i64) -> Result<Outbox> {
    let client = brand.postgres().await?;
    let waiting = store::waiting(&client, failed, count).await?;
    let (queued, failed) = store::counts(&client).await?;
    Ok(Outbox { waiting, queued, failed })
}

/// How long the outbox is.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn figures(brand: &Brand) -> Result<Queue> {
    let queue = store::figures(&brand.postgres().await?, brand.clock.now()).await?;
    Ok(queue)
}

/// What came of [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is due now, and its tries begin anew.
    Due,
    /// It was sent, and no mail is sent twice.
    Sent,
    Unknown,
}

/// Makes a mail due now, whether it waits or was given up.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn retry(brand: &Brand, id: i64) -> Result<Retried> {
    let retried = store::retry(&brand.postgres().await?, id, brand.clock.now()).await?;
    Ok(retried)
}

/// Makes due now whatever was given up; returns how many.
///
/// # Errors
/// 503 while PostgreSQL is away.
pub async fn retry_all_failed(brand: &Brand) -> Result<u64> {
    let retried = store::retry_all_failed(&brand.postgres().await?, brand.clock.now()).await?;
    Ok(retried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_put_into_one_form_or_refused() {
        for (text, expected) in [
            ("Anna@Example.COM", "Anna@example.com"),
            (" anna+shop@example.com ", "anna+shop@example.com"),
            ("anna@почта.рф", "anna@xn--80a1acny.xn--p1ai"),
            ("почта@example.com", "почта@example.com"),
        ] {
            assert_eq!(address(text).expect(text), expected);
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
            let refused = address(text).expect_err(text);
            assert_eq!(refused.code, "bad_email", "{text:?}");
            assert!(refused.public.starts_with("email: expected"), "{text:?}");
        }
    }
}
