//! A mail, decoded: who, to whom, what (RFC 5322, MIME).
//!
//! Made by a session once a mail is complete. What must never happen: a mail that is refused because it cannot be read.

use jiff::Timestamp;
use mailparse::{DispositionType, MailAddr, MailHeaderMap, ParsedMail};
use serde::Serialize;

/// As scripts and the page see it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    pub id: u64,
    /// The header, decoded: `Dexar <shop@dexar.example>`.
    from: String,
    /// Its bare address.
    from_address: String,
    /// Everybody whom it was delivered to, bare addresses.
    to: Vec<String>,
    subject: String,
    text: Option<String>,
    html: Option<String>,
    /// With its angle brackets.
    message_id: Option<String>,
    received_at: String,
    /// `Date:` and `Reply-To:` as they stand there.
    date: Option<String>,
    reply_to: Option<String>,
    /// Names of the attached files.
    attachments: Vec<String>,
    /// The envelope's sender and who had logged in.
    envelope_from: String,
    user: Option<String>,
}

/// What a session knows beside the mail itself.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    pub from: String,
    pub to: Vec<String>,
    pub user: Option<String>,
}

impl Letter {
    pub fn new(envelope: Envelope, raw: &[u8]) -> Letter {
        let received_at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let Envelope { from: envelope_from, to, user } = envelope;
        let mut letter = Letter { to, received_at, envelope_from, user, ..Letter::default() };
        if let Ok(mail) = mailparse::parse_mail(raw) {
            letter.read(&mail);
        }
        letter
    }

    fn read(&mut self, mail: &ParsedMail<'_>) {
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
            let place = match part.ctype.mimetype.as_str() {
                "text/plain" => &mut self.text,
                "text/html" => &mut self.html,
                _ => continue,
            };
            // The first one of a kind is the mail, what follows is attached to it.
            if place.is_none() {
                *place = part.get_body().ok().map(|body| body.replace("\r\n", "\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_decoded() {
        let raw = "From: =?utf-8?B?0JTQtdC60YHQsNGA?= <shop@dexar.example>\r\nTo: <a@example.org>\r\n\
                   Subject: =?utf-8?Q?=D0=97=D0=B0=D0=BA=D0=B0=D0=B7_1?=\r\nMessage-ID: <1@dexar.example>\r\n\
                   Content-Type: multipart/alternative; boundary=b\r\n\r\n\
                   --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   0KHQv9Cw0YHQuNCx0L4=\r\n\
                   --b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   <p>=D0=A1</p>\r\n--b--\r\n";
        let envelope = Envelope { to: vec!["a@example.org".to_owned()], ..Envelope::default() };
        let letter = Letter::new(envelope, raw.as_bytes());
        assert_eq!(letter.from, "Дексар <shop@dexar.example>");
        assert_eq!(letter.from_address, "shop@dexar.example");
        assert_eq!(letter.to, ["a@example.org"]);
        assert_eq!(letter.subject, "Заказ 1");
        assert_eq!(letter.message_id.as_deref(), Some("<1@dexar.example>"));
        assert_eq!(letter.text.as_deref(), Some("Спасибо"));
        assert_eq!(letter.html.as_deref().map(str::trim), Some("<p>С</p>"));
    }

    #[test]
    fn what_is_no_mail_is_kept_all_the_same() {
        let letter = Letter::new(Envelope::default(), b"\xFF\xFE");
        assert_eq!((letter.subject.as_str(), letter.message_id), ("", None));
    }
}
