//! The section `[mail]` of a brand's file: the SMTP server that takes the brand's mails, and who they are from.
//!
//! Read by `config`, used by `mail`. What must never happen: a password, or a mail, on its way to another machine without TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;

use super::sections::{milliseconds, read_secret, seconds};
use crate::config::toml_reader::Section;
use crate::foundation::secret::Secret;

#[derive(Debug, Clone)]
pub struct MailConfig {
    /// What is connected to, and what its certificate must be made out to.
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// `None`: the server takes mails from us without one.
    pub login: Option<MailLogin>,
    /// PEM of an authority that is trusted beside the system's own.
    pub ca: Option<PathBuf>,
    /// `Dexar <shop@dexarmarket.ru>`.
    pub from: Mailbox,
    pub reply_to: Option<Mailbox>,
    /// What opening a connection (TLS and login included) may take, and what handing over one mail may take.
    pub timeout: Duration,
    /// After the first try that failed; doubled after each further one.
    pub first_retry: Duration,
    /// The longest that two tries lie apart.
    pub longest_retry: Duration,
    /// From queueing to the moment when a failed try was the last.
    pub give_up_after: Duration,
    /// For how long a mail belongs to the instance that sends it.
    pub lease: Duration,
}

/// How the conversation is hidden from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// It begins in the clear and must be upgraded (RFC 3207); a server that does not offer it is given nothing.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// For a server on the same machine.
    None,
}

#[derive(Debug, Clone)]
pub struct MailLogin {
    pub user: String,
    pub password: Secret,
}

pub(super) fn read_mail(section: Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> MailConfig {
    let host = section.string("host", "\"smtp.example.org\"");
    let tls = match section.optional_string("tls").as_deref() {
        None | Some("starttls") => MailTls::StartTls,
        Some("tls") => MailTls::Tls,
        Some("none") => MailTls::None,
        Some(_) => {
            section.fault("tls", "expected \"starttls\", \"tls\" or \"none\"");
            MailTls::StartTls
        }
    };
    if tls == MailTls::None && !host.is_empty() && !is_loopback(&host) {
        section.fault("tls", format!("\"none\" is for a server on this machine only, and {host} is another one"));
    }
    let usual_port = match tls {
        MailTls::StartTls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    };
    let mail = MailConfig {
        port: u16::try_from(section.number("port", 1..=65_535, usual_port)).unwrap_or(u16::MAX),
        login: read_login(&section, brand, credentials),
        ca: section.optional_string("ca").map(PathBuf::from),
        from: read_sender(&section),
        reply_to: read_mailbox(&section, "reply_to"),
        timeout: milliseconds(section.number("timeout_ms", 100..=600_000, 30_000)),
        first_retry: milliseconds(section.number("first_retry_ms", 10..=3_600_000, 5_000)),
        longest_retry: milliseconds(section.number("longest_retry_ms", 10..=86_400_000, 900_000)),
        give_up_after: seconds(&section, "give_up_after_s", 1..=2_592_000, 345_600),
        lease: milliseconds(section.number("lease_ms", 500..=3_600_000, 120_000)),
        host,
        tls,
    };
    if mail.lease <= mail.timeout * 2 {
        section.fault("lease_ms", "expected more than twice timeout_ms: a mail must not belong to two instances");
    }
    if mail.longest_retry < mail.first_retry {
        section.fault("longest_retry_ms", "expected at least first_retry_ms");
    }
    section.finish();
    mail
}

fn read_login(section: &Section<'_, '_>, brand: &str, credentials: Option<&Path>) -> Option<MailLogin> {
    let user = section.optional_string("user");
    let password = read_secret(section, "password", brand, credentials);
    match (user, section.has("password")) {
        (Some(user), true) => Some(MailLogin { user, password: password? }),
        (None, false) => None,
        (Some(_), false) => {
            section.fault("user", format!("a login has a password too: password = \"{brand}.smtp-password\""));
            None
        }
        (None, true) => {
            section.fault("password", "a login has a user too: user = \"…\"");
            None
        }
    }
}

fn read_sender(section: &Section<'_, '_>) -> Mailbox {
    if !section.has("from") {
        section.string("from", "\"Dexar <shop@dexarmarket.ru>\"");
    }
    // A fault was noted, so nobody sends from this address.
    read_mailbox(section, "from").unwrap_or_else(|| Mailbox::new(None, Address::new_dangerous("nobody", "invalid")))
}

/// `Name <address>` or an address alone; `None` where the key is absent or wrong.
fn read_mailbox(section: &Section<'_, '_>, key: &'static str) -> Option<Mailbox> {
    let text = section.optional_string(key)?;
    let mailbox = match text.chars().any(char::is_control) {
        true => None,
        false => text.parse().ok(),
    };
    if mailbox.is_none() {
        section.fault(key, "expected a sender such as \"Dexar <shop@dexarmarket.ru>\"");
    }
    mailbox
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
