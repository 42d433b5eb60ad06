//! A received email, decoded (RFC 5322, MIME). Also a message that cannot be parsed is kept.

use jiff::Timestamp;
use mailparse::{DispositionType, MailAddr, MailHeaderMap, ParsedMail};
use serde::Serialize;

/// An email in `GET /mail`.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailMessage {
    pub id: u64,
    /// The `From` header, decoded: `Dexar <shop@dexar.example>`.
    from: String,
    /// The address in `From`.
    from_address: String,
    /// The addresses of all recipients.
    to: Vec<String>,
    subject: String,
    text: Option<String>,
    html: Option<String>,
    /// With its angle brackets.
    message_id: Option<String>,
    received_at: String,
    /// The `Date` and `Reply-To` headers.
    date: Option<String>,
    reply_to: Option<String>,
    /// File names of the attachments.
    attachments: Vec<String>,
    /// The sender in the envelope, and the authenticated user.
    envelope_from: String,
    user: Option<String>,
    /// Whether it was received over TLS.
    tls: bool,
}

/// What the SMTP session adds to the message.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    pub from: String,
    pub to: Vec<String>,
    pub user: Option<String>,
    pub tls: bool,
}

impl EmailMessage {
    pub fn new(envelope: Envelope, raw: &[u8]) -> EmailMessage {
        let received_at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let Envelope { from: envelope_from, to, user, tls } = envelope;
        let mut message = EmailMessage { to, received_at, envelope_from, user, tls, ..EmailMessage::default() };
        if let Ok(mail) = mailparse::parse_mail(raw) {
            message.fill_in(&mail);
        }
        message
    }

    fn fill_in(&mut self, mail: &ParsedMail<'_>) {
        let header = |name: &str| mail.headers.get_first_value(name);
        self.from = header("From").unwrap_or_default();
        self.subject = header("Subject").unwrap_or_default();
        self.message_id = header("Message-ID");
        self.date = header("Date");
        self.reply_to = header("Reply-To");
        let from = mail.headers.get_first_header("From").and_then(|from| mailparse::addrparse_header(from).ok());
        self.from_address = match from.as_deref().and_then(|addresses| addresses.first()) {
            Some(MailAddr::Single(single)) => single.addr.clone(),
            _ => String::new(),
        };
        for part in mail.parts() {
            let disposition = part.get_content_disposition();
            if disposition.disposition == DispositionType::Attachment {
                let name = disposition.params.get("filename").cloned();
                self.attachments.push(name.unwrap_or_else(|| part.ctype.mimetype.clone()));
                continue;
            }
            let target = match part.ctype.mimetype.as_str() {
                "text/plain" => &mut self.text,
                "text/html" => &mut self.html,
                _ => continue,
            };
            // The first part of a type is the body, later ones are attachments.
            if target.is_none() {
                *target = part.get_body().ok().map(|body| body.replace("\r\n", "\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_decoded() {
        let raw = "From: =?utf-8?B?0JTQtdC60YHQsNGA?= <shop@dexar.example>\r\nTo: <a@example.org>\r\n\
                   Subject: =?utf-8?Q?=D0=97=D0=B0=D0=BA=D0=B0=D0=B7_1?=\r\nMessage-ID: <1@dexar.example>\r\n\
                   Content-Type: multipart/alternative; boundary=b\r\n\r\n\
                   --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   0KHQv9Cw0YHQuNCx0L4=\r\n\
                   --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   <p>=D0=A1</p>\r\n--b--\r\n";
        let envelope = Envelope { to: vec!["a@example.org".to_owned()], ..Envelope::default() };
        let message = EmailMessage::new(envelope, raw.as_bytes());
        assert_eq!(message.from, "Дексар <shop@dexar.example>");
        assert_eq!(message.from_address, "shop@dexar.example");
        assert_eq!(message.to, ["a@example.org"]);
        assert_eq!(message.subject, "Заказ 1");
        assert_eq!(message.message_id.as_deref(), Some("<1@dexar.example>"));
        assert_eq!(message.text.as_deref(), Some("Спасибо"));
        assert_eq!(message.html.as_deref().map(str::trim), Some("<p>С</p>"));
    }

    #[test]
    fn unparsable_message_is_kept() {
        let message = EmailMessage::new(Envelope::default(), b"\xFF\xFE");
        assert_eq!((message.subject.as_str(), message.message_id), ("", None));
    }
}
