//! The conversation with an SMTP server (RFC 5321), and the mail as it goes over the line (RFC 5322, MIME).
//!
//! Called by the worker and, without a mail, by `check`. What must never happen: a mail or a password on a line that should
//! be encrypted and is not, a step without a deadline, or a refusal taken for the wrong kind: the server's trouble and ours
//! passes, a recipient who does not exist does not.

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

/// The longest sentence about a failure that is kept.
const LONGEST_SENTENCE: usize = 300;

/// What a mail is made of.
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

/// `Auto-Submitted: auto-generated` (RFC 3834): no holiday notice comes back.
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

/// The mail itself. The same letter is the same mail at every try, but for the boundary of its parts.
///
/// # Errors
/// A sentence: what can never be sent.
pub(super) fn compose(letter: &Email<'_>) -> Result<Message, String> {
    let to: Address = letter.to.parse().map_err(|_| "the recipient is no address".to_owned())?;
    if [letter.to, letter.message_id, letter.subject].iter().any(|text| text.chars().any(char::is_control)) {
        return Err("a line break in a header".to_owned());
    }
    let mut message = Message::builder()
        .from(letter.from.clone())
        .to(Mailbox::new(None, to))
        .subject(letter.subject)
        .date(SystemTime::from(letter.date))
        .message_id(Some(letter.message_id.to_owned()))
        .header(AutoSubmitted);
    if let Some(reply_to) = letter.reply_to {
        message = message.reply_to(reply_to.clone());
    }
    let parts = MultiPart::alternative_plain_html(letter.text.to_owned(), letter.html.to_owned());
    message.multipart(parts).map_err(|error| error.to_string())
}

/// Why a mail was not taken, as a sentence that may be shown to a sysadmin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeliveryError {
    /// The server takes nothing from us now: no answer, no TLS, no login, or it refuses the sender.
    Server(String),
    /// Not this mail, not now.
    Later(String),
    /// Not this mail, ever.
    Never(String),
}

/// An open connection, greeted and logged in.
pub(super) struct SmtpSession<'a> {
    config: &'a MailConfig,
    connection: AsyncSmtpConnection,
    usable: bool,
}

impl<'a> SmtpSession<'a> {
    /// Connects, greets as `own_host`, encrypts and logs in, within the configured timeout in all.
    ///
    /// # Errors
    /// A sentence that names the step.
    pub async fn open(config: &'a MailConfig, own_host: &str) -> Result<SmtpSession<'a>, String> {
        match tokio::time::timeout(config.timeout, open(config, own_host)).await {
            Ok(connection) => Ok(SmtpSession { config, connection: connection?, usable: true }),
            Err(_) => Err(format!("no connection within {} ms", config.timeout.as_millis())),
        }
    }

    /// Whether another mail may follow.
    pub fn is_usable(&self) -> bool {
        self.usable && !self.connection.has_broken()
    }

    /// Hands over one mail, within the configured timeout in all.
    ///
    /// # Errors
    /// What the server said, by what it means for this mail. Without an answer to the mail's end it may have been taken.
    pub async fn hand_over(&mut self, message: &Message) -> Result<(), DeliveryError> {
        // Until it is known what the server thinks: whoever leaves in the middle leaves the line unusable.
        self.usable = false;
        let bytes = message.formatted();
        let conversation = converse(&mut self.connection, message.envelope(), &bytes);
        let Ok(said) = tokio::time::timeout(self.config.timeout, conversation).await else {
            return Err(DeliveryError::Later(format!("no answer within {} ms", self.config.timeout.as_millis())));
        };
        let Err((step, error)) = said else {
            self.usable = true;
            return Ok(());
        };
        let goes_on = error.status().is_some_and(|code| u16::from(code) != CLOSING);
        if goes_on {
            let reset = tokio::time::timeout(self.config.timeout, self.connection.command(Rset)).await;
            self.usable = reset.is_ok_and(|answer| answer.is_ok());
        }
        Err(judge(step, &error))
    }

    /// Takes leave, politely but without waiting for long.
    pub async fn close(mut self) {
        // The mails are handed over; how the line ends changes nothing.
        drop(tokio::time::timeout(self.config.timeout, self.connection.quit()).await);
    }
}

/// "Service not available, closing transmission channel" (RFC 5321, 4.2.2).
const CLOSING: u16 = 421;

/// Where in the conversation about a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Sender,
    Recipient,
    Data,
    /// From the first byte of the mail to the answer to its end.
    Content,
}

async fn converse(connection: &mut AsyncSmtpConnection, envelope: &Envelope, mail: &[u8]) -> Result<(), (Step, Error)> {
    let features: &extension::ServerInfo = connection.server_info();
    let mut parameters = Vec::new();
    if !mail.is_ascii() {
        // Only an address can be what is not ASCII: all else is encoded. A server without these refuses it in words.
        if features.supports_feature(Extension::SmtpUtfEight) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if features.supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
    }
    let at = |step: Step| move |error: Error| (step, error);
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await.map_err(at(Step::Sender))?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(at(Step::Recipient))?;
    }
    connection.command(Data).await.map_err(at(Step::Data))?;
    connection.message(mail).await.map_err(at(Step::Content))?;
    Ok(())
}

/// What a refusal or a broken line at this step means for the mail.
fn judge(step: Step, error: &Error) -> DeliveryError {
    let sentence = sentence(error);
    let code = error.status().map(u16::from);
    let place = match step {
        Step::Sender => "the sender",
        Step::Recipient => "the recipient",
        Step::Data => "DATA",
        Step::Content => "the mail",
    };
    let told = match code {
        Some(_) => format!("{place} was refused: {sentence}"),
        None => format!("the conversation broke at {place}: {sentence}"),
    };
    match (step, code) {
        // It is about us, or the server, and every other mail would meet the same.
        (Step::Sender, _) | (_, Some(CLOSING)) => DeliveryError::Server(told),
        // A login is wanted, or a policy is in the way (RFC 3463, 3.8): that is mended by a person, on our side or on theirs.
        (Step::Recipient, Some(530 | 535 | 538)) => DeliveryError::Later(told),
        (Step::Recipient, Some(500..)) if is_policy(&sentence) => DeliveryError::Later(told),
        (_, Some(500..)) => DeliveryError::Never(told),
        _ => DeliveryError::Later(told),
    }
}

fn is_policy(sentence: &str) -> bool {
    sentence.split(' ').nth(1).is_some_and(|status| status.starts_with("5.7."))
}

/// `550 5.1.1 No such mailbox`, or the whole chain of causes; one line, of limited length.
fn sentence(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = match (error.status(), error.source()) {
        (Some(code), Some(said)) => format!("{code} {said}"),
        (Some(code), None) => code.to_string(),
        (None, _) => error.to_string(),
    };
    let mut source = error.source().and_then(std::error::Error::source);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SENTENCE).collect()
}

async fn open(config: &MailConfig, own_host: &str) -> Result<AsyncSmtpConnection, String> {
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
    let (at_once, later) = match config.tls {
        MailTls::StartTls => (None, tls),
        MailTls::Tls | MailTls::None => (tls, None),
    };
    let connected = AsyncSmtpConnection::connect_tokio1(server, None, &own_name, at_once, None).await;
    let mut connection = connected.map_err(|error| format!("no connection: {}", sentence(&error)))?;
    if let Some(tls) = later {
        let upgraded = connection.starttls(tls, &own_name).await;
        upgraded.map_err(|error| format!("no STARTTLS: {}", sentence(&error)))?;
    }
    if let Some(login) = &config.login {
        let credentials = Credentials::new(login.user.clone(), login.password.reveal().to_owned());
        let answered = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
        if let Err(error) = answered {
            connection.abort().await;
            return Err(format!("no login as {}: {}", login.user, sentence(&error)));
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
    parameters.build().map_err(|error| sentence(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(from: &'a Mailbox, to: &'a str, subject: &'a str) -> Email<'a> {
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
    fn a_mail_has_its_headers_and_nothing_but_ascii() {
        let from: Mailbox = "Дексар <shop@dexar.example>".parse().expect("a sender");
        let message = compose(&letter(&from, "anna@example.org", "Заказ №1")).expect("a mail");
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
    fn nothing_puts_a_header_of_its_own_into_a_mail() {
        let from: Mailbox = "Dexar <shop@dexar.example>".parse().expect("a sender");
        for (to, subject) in [
            ("anna@example.org", "Order\r\nBcc: eve@example.org"),
            ("anna@example.org", "Order\nBcc: eve@example.org"),
            ("anna@example.org\r\nBcc: eve@example.org", "Order"),
            ("anna@example.org>\r\nRCPT TO:<eve@example.org", "Order"),
            ("nobody", "Order"),
        ] {
            assert!(compose(&letter(&from, to, subject)).is_err(), "{to:?} {subject:?}");
        }
    }
}
