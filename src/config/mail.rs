//! Settings and reader of `[mail]`: the SMTP server and the sender address.

use std::path::PathBuf;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;

use super::is_loopback;
use super::toml_reader::{SecretSource, Section};
use crate::foundation::secret::Secret;

#[derive(Debug, Clone, PartialEq)]
pub struct MailConfig {
    /// Host of the SMTP server; its certificate must be issued for it.
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// `None`: the server needs no login.
    pub login: Option<MailLogin>,
    /// PEM file of a certificate authority that is trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// `Dexar <shop@dexarmarket.ru>`.
    pub from: Mailbox,
    pub reply_to: Option<Mailbox>,
    /// Timeout of opening a connection (TLS and login included), and of sending one email.
    pub timeout: Duration,
    /// Delay before the first retry; it doubles with each further one.
    pub first_retry_delay: Duration,
    pub max_retry_delay: Duration,
    /// An attempt that fails this long after the email was queued is the last.
    pub give_up_after: Duration,
    /// How long an instance owns the email that it sends.
    pub lease: Duration,
}

/// Encryption of the SMTP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// STARTTLS, required (RFC 3207): nothing is sent to a server that does not offer it.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No encryption; only to a server on this machine.
    None,
}

impl MailTls {
    fn default_port(self) -> u32 {
        match self {
            MailTls::StartTls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MailLogin {
    pub user: String,
    pub password: Secret,
}

pub(super) fn read_mail(root: &Section<'_, '_>, source: SecretSource<'_>) -> Option<MailConfig> {
    let help = "The SMTP server that sends the brand's emails. Without this section emails are queued and not sent.";
    let section = root.optional_section("mail", help)?;
    let host = section.key("host", "Host of the SMTP server.").string("\"smtp.example.org\"");
    let help = "`starttls` is required of the server; `tls` encrypts from the first byte; `none` is for a server on this machine.";
    let words = [("starttls", MailTls::StartTls), ("tls", MailTls::Tls), ("none", MailTls::None)];
    let tls = section.key("tls", help).choice(&words);
    if tls == MailTls::None && !host.is_empty() && !is_loopback(&host) {
        section.problem("tls", format!("\"none\" is only for a server on this machine, and {host} is not"));
    }
    let port = section
        .key("port", "Port of the SMTP server.")
        .default("587 with `starttls`, 465 with `tls`, 25 with `none`")
        .number(1..=65_535, tls.default_port());
    let mail = MailConfig {
        port: u16::try_from(port).unwrap_or(u16::MAX),
        login: read_login(&section, source),
        ca_file: section
            .key("ca", "PEM file of a certificate authority that is trusted in addition to the system's.")
            .optional_path(),
        from: read_sender(&section),
        reply_to: read_reply_to(&section),
        timeout: section
            .key("timeout_ms", "Timeout of opening a connection, login included, and of sending one email.")
            .milliseconds(100..=600_000, 30_000),
        first_retry_delay: section
            .key("first_retry_ms", "Delay before the first retry; it doubles with each further one.")
            .milliseconds(10..=3_600_000, 5_000),
        max_retry_delay: section
            .key("longest_retry_ms", "Maximum delay between two attempts.")
            .milliseconds(10..=86_400_000, 900_000),
        give_up_after: section
            .key(
                "give_up_after_s",
                "An attempt that fails this long after the email was queued is the last; the email then needs manual action \
                 (`brandgate outbox list --failed`).",
            )
            .seconds(1..=2_592_000, 345_600),
        lease: section
            .key("lease_ms", "Another worker takes over an email this long after its worker died; more than twice `timeout_ms`.")
            .milliseconds(500..=3_600_000, 120_000),
        host,
        tls,
    };
    if mail.lease <= mail.timeout * 2 {
        section.problem("lease_ms", "expected more than twice timeout_ms, so that no email is sent by two instances");
    }
    if mail.max_retry_delay < mail.first_retry_delay {
        section.problem("longest_retry_ms", "expected at least first_retry_ms");
    }
    section.finish();
    Some(mail)
}

fn read_login(section: &Section<'_, '_>, source: SecretSource<'_>) -> Option<MailLogin> {
    let user =
        section.key("user", "Login name; omit `user` and `password` for a server without a login.").optional_string();
    let password = section.key("password", "Password of the login.").secret(source);
    match (user, section.has("password")) {
        (Some(user), true) => Some(MailLogin { user, password: password? }),
        (None, false) => None,
        (Some(_), false) => {
            section.problem("user", format!("needs a password too: password = \"{}.smtp-password\"", source.brand));
            None
        }
        (None, true) => {
            section.problem("password", "needs a user too: user = \"…\"");
            None
        }
    }
}

fn read_sender(section: &Section<'_, '_>) -> Mailbox {
    let key = section.key("from", "Sender of all emails.").values("`Name <address>` or an address");
    let text = key.string("\"Dexar <shop@dexarmarket.ru>\"");
    let mailbox = if text.is_empty() { None } else { parse_mailbox(section, "from", &text) };
    // Without a sender the file has a problem, and this value is never used.
    mailbox.unwrap_or_else(|| Mailbox::new(None, Address::new_dangerous("unset", "invalid")))
}

fn read_reply_to(section: &Section<'_, '_>) -> Option<Mailbox> {
    let key = section.key("reply_to", "Address for replies, if it is not the sender.");
    let text = key.values("`Name <address>` or an address").optional_string()?;
    parse_mailbox(section, "reply_to", &text)
}

/// `Name <address>` or an address alone; `None` after a problem.
fn parse_mailbox(section: &Section<'_, '_>, key: &'static str, text: &str) -> Option<Mailbox> {
    let mailbox = match text.chars().any(char::is_control) {
        true => None,
        false => text.parse().ok(),
    };
    if mailbox.is_none() {
        section.problem(key, "expected a sender such as \"Dexar <shop@dexarmarket.ru>\"");
    }
    mailbox
}
