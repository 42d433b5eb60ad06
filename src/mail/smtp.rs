//! SMTP delivery (RFC 5321), and the composition of an email (RFC 5322, MIME).
//!
//! # Invariants
//!
//! - Neither an email nor a password is sent over a connection that lacks the configured encryption.
//! - Every step has a deadline.
//! - A failure of the server or of our configuration is transient for the email; only a rejection of the email itself is not.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{Error, extension};

use crate::config::{MailConfig, MailTls};

/// Longer messages are truncated before they are stored.
const MAX_ERROR_CHARS: usize = 300;

pub(super) struct Email<'a> {
    pub from: &'a Mailbox,
    pub reply_to: Option<&'a Mailbox>,
    pub to: &'a str,
    /// With its angle brackets.
    pub message_id: &'a str,
    pub subject: &'a str,
    pub date: Timestamp,
    pub text: &'a str,
    pub html: &'a str,
}

/// `Auto-Submitted: auto-generated` (RFC 3834) prevents automatic replies.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Composes the message; the same for every attempt but for the MIME boundary.
///
/// # Errors
/// A message when the email can never be sent.
pub(super) fn compose(email: &Email<'_>) -> Result<Message, String> {
    let to: Address = email.to.parse().map_err(|_| "invalid recipient address".to_owned())?;
    if [email.to, email.message_id, email.subject].iter().any(|text| text.chars().any(char::is_control)) {
        return Err("control character in a header".to_owned());
    }
    let mut message = Message::builder()
        .from(email.from.clone())
        .to(Mailbox::new(None, to))
        .subject(email.subject)
        .date(SystemTime::from(email.date))
        .message_id(Some(email.message_id.to_owned()))
        .header(AutoSubmitted);
    if let Some(reply_to) = email.reply_to {
        message = message.reply_to(reply_to.clone());
    }
    let parts = MultiPart::alternative_plain_html(email.text.to_owned(), email.html.to_owned());
    message.multipart(parts).map_err(|error| error.to_string())
}

/// Why an email was not delivered, as a message for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeliveryError {
    /// The server accepts no email at present: unreachable, no TLS, no login, or the sender is rejected.
    ServerUnavailable(String),
    /// This email was not accepted; a retry may succeed.
    Transient(String),
    /// This email will never be accepted.
    Permanent(String),
}

/// A connection to an SMTP server, encrypted and logged in as configured.
pub(super) struct SmtpSession<'a> {
    config: &'a MailConfig,
    connection: AsyncSmtpConnection,
    is_idle: bool,
}

impl<'a> SmtpSession<'a> {
    /// Connects as `own_host`, encrypts and logs in, within the configured timeout in all.
    ///
    /// # Errors
    /// A message that names the step.
    pub async fn open(config: &'a MailConfig, own_host: &str) -> Result<SmtpSession<'a>, String> {
        match tokio::time::timeout(config.timeout, connect(config, own_host)).await {
            Ok(connection) => Ok(SmtpSession { config, connection: connection?, is_idle: true }),
            Err(_) => Err(format!("connection failed: timeout after {} ms", config.timeout.as_millis())),
        }
    }

    /// Whether another email can be sent over this connection.
    pub fn is_usable(&self) -> bool {
        self.is_idle && !self.connection.has_broken()
    }

    /// Sends one email, within the configured timeout in all.
    ///
    /// # Errors
    /// The server's response, classified. When the response to the content is missing, the server may have accepted the email.
    pub async fn send(&mut self, message: &Message) -> Result<(), DeliveryError> {
        // Stays false when this future is dropped in the middle of the dialogue.
        self.is_idle = false;
        let bytes = message.formatted();
        let dialogue = send_message(&mut self.connection, message.envelope(), &bytes);
        let Ok(result) = tokio::time::timeout(self.config.timeout, dialogue).await else {
            let timeout_ms = self.config.timeout.as_millis();
            return Err(DeliveryError::Transient(format!("no response within {timeout_ms} ms")));
        };
        let Err((step, error)) = result else {
            self.is_idle = true;
            return Ok(());
        };
        let stays_open = error.status().is_some_and(|code| u16::from(code) != CLOSING);
        if stays_open {
            let reset = tokio::time::timeout(self.config.timeout, self.connection.command(Rset)).await;
            self.is_idle = reset.is_ok_and(|response| response.is_ok());
        }
        Err(classify(step, &error))
    }

    pub async fn close(mut self) {
        // Every email has its result by now: a failed QUIT changes nothing.
        drop(tokio::time::timeout(self.config.timeout, self.connection.quit()).await);
    }
}

/// "Service not available, closing transmission channel" (RFC 5321, 4.2.2).
const CLOSING: u16 = 421;

/// The step of the dialogue that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Sender,
    Recipient,
    Data,
    /// From the first byte of the content to the response to its end.
    Content,
}

async fn send_message(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    content: &[u8],
) -> Result<(), (Step, Error)> {
    let features: &extension::ServerInfo = connection.server_info();
    let mut parameters = Vec::new();
    if !content.is_ascii() {
        // Only addresses are not encoded as ASCII. A server without these extensions rejects such an email.
        if features.supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if features.supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
    }
    let failed_at = |step: Step| move |error: Error| (step, error);
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await.map_err(failed_at(Step::Sender))?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(failed_at(Step::Recipient))?;
    }
    connection.command(Data).await.map_err(failed_at(Step::Data))?;
    connection.message(content).await.map_err(failed_at(Step::Content))?;
    Ok(())
}

/// Classifies a rejection or a broken connection by its step.
fn classify(step: Step, error: &Error) -> DeliveryError {
    let reason = describe(error);
    let code = error.status().map(u16::from);
    let subject = match step {
        Step::Sender => "sender",
        Step::Recipient => "recipient",
        Step::Data => "DATA",
        Step::Content => "content",
    };
    let message = match code {
        Some(_) => format!("{subject} rejected: {reason}"),
        None => format!("connection lost at {subject}: {reason}"),
    };
    match (step, code) {
        // Every other email would fail in the same way.
        (Step::Sender, _) | (_, Some(CLOSING)) => DeliveryError::ServerUnavailable(message),
        // A missing login or a policy (RFC 3463, 3.8) is a matter of configuration, here or at the server.
        (Step::Recipient, Some(530 | 535 | 538)) => DeliveryError::Transient(message),
        (Step::Recipient, Some(500..)) if is_policy(&reason) => DeliveryError::Transient(message),
        (_, Some(500..)) => DeliveryError::Permanent(message),
        _ => DeliveryError::Transient(message),
    }
}

/// Whether the enhanced status code (RFC 3463) of a response is in the class of policies.
fn is_policy(response: &str) -> bool {
    response.split(' ').nth(1).is_some_and(|status| status.starts_with("5.7."))
}

/// `550 5.1.1 No such mailbox`, or the chain of causes, on one line of limited length.
fn describe(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = match (error.status(), error.source()) {
        (Some(code), Some(response)) => format!("{code} {response}"),
        (Some(code), None) => code.to_string(),
        (None, _) => error.to_string(),
    };
    let mut source = error.source().and_then(std::error::Error::source);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_CHARS).collect()
}

async fn connect(config: &MailConfig, own_host: &str) -> Result<AsyncSmtpConnection, String> {
    let own_name = match own_host.parse() {
        Ok(std::net::IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(std::net::IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Domain(own_host.to_owned()),
    };
    let tls = match config.tls {
        MailTls::None => None,
        MailTls::StartTls | MailTls::Tls => Some(tls_parameters(config)?),
    };
    let server = (config.host.as_str(), config.port);
    let (implicit_tls, starttls) = match config.tls {
        MailTls::StartTls => (None, tls),
        MailTls::Tls | MailTls::None => (tls, None),
    };
    let connection = AsyncSmtpConnection::connect_tokio1(server, None, &own_name, implicit_tls, None).await;
    let mut connection = connection.map_err(|error| format!("connection failed: {}", describe(&error)))?;
    if let Some(tls) = starttls {
        let upgrade = connection.starttls(tls, &own_name).await;
        upgrade.map_err(|error| format!("STARTTLS failed: {}", describe(&error)))?;
    }
    if let Some(login) = &config.login {
        let credentials = Credentials::new(login.user.clone(), login.password.reveal().to_owned());
        let response = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
        if let Err(error) = response {
            connection.abort().await;
            return Err(format!("login as {} failed: {}", login.user, describe(&error)));
        }
    }
    Ok(connection)
}

fn tls_parameters(config: &MailConfig) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let authority = Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        parameters = parameters.add_root_certificate(authority);
    }
    parameters.build().map_err(|error| describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email<'a>(from: &'a Mailbox, to: &'a str, subject: &'a str) -> Email<'a> {
        let date = "2026-02-28T12:00:00Z".parse().expect("a time");
        Email {
            from,
            reply_to: None,
            to,
            message_id: "<1@dexar.example>",
            subject,
            date,
            text: "Спасибо!\n.\nДо свидания",
            html: "<p>Շնորհակալություն</p>",
        }
    }

    #[test]
    fn a_message_has_its_headers_and_is_ascii() {
        let from: Mailbox = "Дексар <shop@dexar.example>".parse().expect("a sender");
        let message = compose(&email(&from, "anna@example.org", "Заказ №1")).expect("valid");
        let text = String::from_utf8(message.formatted()).expect("UTF-8");
        assert!(text.is_ascii(), "{text}");
        for line in [
            "To: anna@example.org\r\n",
            "Message-ID: <1@dexar.example>\r\n",
            "Date: Sat, 28 Feb 2026 12:00:00 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Type: multipart/alternative",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 998));
    }

    #[test]
    fn no_field_can_add_a_header() {
        let from: Mailbox = "Dexar <shop@dexar.example>".parse().expect("a sender");
        for (to, subject) in [
            ("anna@example.org", "Order\r\nBcc: eve@example.org"),
            ("anna@example.org", "Order\nBcc: eve@example.org"),
            ("anna@example.org\r\nBcc: eve@example.org", "Order"),
            ("anna@example.org>\r\nRCPT TO:<eve@example.org", "Order"),
            ("not an address", "Order"),
        ] {
            assert!(compose(&email(&from, to, subject)).is_err(), "{to:?} {subject:?}");
        }
    }
}
