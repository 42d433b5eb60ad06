//! A conversation in SMTP: greeting, log-in, envelope, mail (RFC 5321).
//!
//! Started by `mail` for every connection. What must never happen: a 250 for a mail that is not in the mailbox.

use std::io;

use tokio::net::TcpStream;

use super::command::{self, Command};
use super::letter::{Envelope, Letter};
use super::mailbox::{How, Mailbox, Trouble};
use super::wire::Wire;

/// RFC 5321, 4.5.3.1.4, without the CRLF; the extensions below lengthen some commands.
const COMMAND_BYTES: usize = 510 + 26 + 10 + 17;
/// RFC 4954, 4.5.
const AUTH_LINE_BYTES: usize = 12_288;
const MAIL_BYTES: usize = 10 * 1024 * 1024;
/// The least that a server has to take (RFC 5321, 4.5.3.1.8).
const RECIPIENTS: usize = 100;

const OUT_OF_SEQUENCE: &str = "503 5.5.1 Bad sequence of commands";

/// What a client has said so far.
#[derive(Default)]
struct Session {
    greeted: bool,
    extended: bool,
    user: Option<String>,
    sender: Option<String>,
    recipients: Vec<String>,
    /// What happens to this mail's recipients.
    refusal: Option<How>,
}

/// Serves a client until it leaves.
///
/// # Errors
/// The connection broke.
pub async fn serve(stream: TcpStream, mailbox: &Mailbox) -> io::Result<()> {
    if mailbox.strike(&[How::Down]).is_some() {
        return Ok(());
    }
    let mut wire = Wire::new(stream);
    let mut session = Session::default();
    wire.say("220 localhost ESMTP sandbox").await?;
    loop {
        // An initial response of AUTH may fill a longer line than any other command.
        let Some(line) = wire.line(AUTH_LINE_BYTES).await? else { return Ok(()) };
        let is_auth = line.bytes.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"AUTH "));
        if line.too_long || (line.bytes.len() > COMMAND_BYTES && !is_auth) {
            wire.say("500 5.5.2 Line too long").await?;
            continue;
        }
        if line.bare {
            wire.say("500 5.5.2 Lines end with CRLF").await?;
            continue;
        }
        match command::read(&line.bytes) {
            Ok(Command::Quit) => return wire.say("221 2.0.0 Bye").await,
            Ok(Command::Data) => {
                if session.data(&mut wire, mailbox).await? == Next::HangUp {
                    return Ok(());
                }
            }
            Ok(Command::Auth { mechanism, initial }) => {
                let reply = session.auth(&mut wire, mailbox, &mechanism, initial).await?;
                wire.say(reply).await?;
            }
            Ok(command) => wire.say(&session.answer(command, mailbox)).await?,
            Err(reply) => wire.say(reply).await?,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    HangUp,
}

impl Session {
    /// What needs no more than this one line.
    fn answer(&mut self, command: Command, mailbox: &Mailbox) -> String {
        let reply = match command {
            Command::Helo | Command::Ehlo => {
                self.reset();
                self.greeted = true;
                self.extended = command == Command::Ehlo;
                if self.extended {
                    return format!(
                        "250-localhost\r\n250-SIZE {MAIL_BYTES}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n\
                         250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN"
                    );
                }
                "250 localhost"
            }
            Command::Mail { .. } if !self.greeted || self.sender.is_some() => OUT_OF_SEQUENCE,
            Command::Mail { size, .. } if size > MAIL_BYTES as u64 => "552 5.3.4 The mail is too big",
            Command::Mail { from, .. } => {
                self.sender = Some(from);
                self.refusal = mailbox.strike(&[How::Later, How::Never]).map(|trouble| trouble.how);
                "250 2.1.0 Sender ok"
            }
            Command::Rcpt { .. } if self.sender.is_none() => OUT_OF_SEQUENCE,
            Command::Rcpt { to } => match self.refusal {
                Some(How::Later) => "451 4.3.0 Try again later",
                Some(_) => "550 5.1.1 No such mailbox",
                None if self.recipients.len() == RECIPIENTS => "452 4.5.3 Too many recipients",
                None => {
                    self.recipients.push(to);
                    "250 2.1.5 Recipient ok"
                }
            },
            Command::Rset => {
                self.reset();
                "250 2.0.0 Reset"
            }
            Command::Noop => "250 2.0.0 Ok",
            Command::Vrfy => "252 2.5.2 Cannot verify, but will take mail",
            Command::Help => "214 2.0.0 RFC 5321",
            Command::Quit | Command::Data | Command::Auth { .. } => OUT_OF_SEQUENCE,
        };
        reply.to_owned()
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.refusal = None;
    }

    async fn data(&mut self, wire: &mut Wire, mailbox: &Mailbox) -> io::Result<Next> {
        let Some(sender) = &self.sender else {
            wire.say(OUT_OF_SEQUENCE).await?;
            return Ok(Next::GoOn);
        };
        if self.recipients.is_empty() {
            wire.say("554 5.5.1 No valid recipients").await?;
            return Ok(Next::GoOn);
        }
        let envelope = Envelope { from: sender.clone(), to: self.recipients.clone(), user: self.user.clone() };
        wire.say("354 End with a line that holds one dot").await?;
        let Some(text) = wire.text(MAIL_BYTES).await? else { return Ok(Next::HangUp) };
        self.reset();
        let refusal = match &text {
            text if text.too_big => Some("552 5.3.4 The mail is too big"),
            text if text.line_too_long => Some("554 5.6.0 A line of the mail is too long"),
            text if text.bare => Some("554 5.6.0 Lines of the mail end with CRLF"),
            _ => None,
        };
        if let Some(refusal) = refusal {
            wire.say(refusal).await?;
            return Ok(Next::GoOn);
        }
        mailbox.keep(Letter::new(envelope, &text.bytes), text.bytes);
        match mailbox.strike(&[How::DropAfterData, How::Slow]) {
            Some(Trouble { how: How::DropAfterData, .. }) => return Ok(Next::HangUp),
            Some(slow) => tokio::time::sleep(slow.wait()).await,
            None => {}
        }
        wire.say("250 2.0.0 Kept").await?;
        Ok(Next::GoOn)
    }

    /// Every user and every password is right (RFC 4954).
    async fn auth(
        &mut self,
        wire: &mut Wire,
        mailbox: &Mailbox,
        mechanism: &str,
        initial: Option<String>,
    ) -> io::Result<&'static str> {
        if !self.extended || self.user.is_some() || self.sender.is_some() {
            return Ok(OUT_OF_SEQUENCE);
        }
        let user = match mechanism {
            "PLAIN" => {
                let message = response(wire, initial, "334 ").await?;
                message.and_then(|message| command::plain_user(&message).ok_or(NO_RESPONSE))
            }
            "LOGIN" => match response(wire, initial, "334 VXNlcm5hbWU6").await? {
                Ok(user) => {
                    let password = response(wire, None, "334 UGFzc3dvcmQ6").await?;
                    password.and_then(|_| String::from_utf8(user).map_err(|_| NO_RESPONSE))
                }
                Err(refusal) => Err(refusal),
            },
            _ => Err("504 5.5.4 AUTH PLAIN or LOGIN"),
        };
        Ok(match user {
            Err(refusal) => refusal,
            Ok(_) if mailbox.strike(&[How::Password]).is_some() => "535 5.7.8 Authentication credentials invalid",
            Ok(user) => {
                self.user = Some(user);
                "235 2.7.0 Authentication successful"
            }
        })
    }
}

const NO_RESPONSE: &str = "501 5.5.2 This is no response to the challenge";

/// The client's response: the one it has sent already, or the answer to the challenge.
async fn response(
    wire: &mut Wire,
    initial: Option<String>,
    challenge: &str,
) -> io::Result<Result<Vec<u8>, &'static str>> {
    let text = match initial {
        // An empty initial response is written as a sign (RFC 4954, 4).
        Some(text) if text == "=" => String::new(),
        Some(text) => text,
        None => {
            wire.say(challenge).await?;
            let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let line = wire.line(AUTH_LINE_BYTES).await?.ok_or_else(gone)?;
            if line.too_long {
                return Ok(Err("500 5.5.6 Authentication exchange line is too long"));
            }
            String::from_utf8_lossy(&line.bytes).into_owned()
        }
    };
    Ok(match text.as_str() {
        "*" => Err("501 5.7.0 Authentication cancelled"),
        text => command::base64(text).ok_or(NO_RESPONSE),
    })
}
