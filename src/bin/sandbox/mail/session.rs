//! An SMTP session: greeting, login, envelope, message (RFC 5321).
//!
//! # Invariants
//! - A message is stored before it is confirmed with 250.

use std::io;

use super::command::{self, Command};
use super::connection::SmtpConnection;
use super::mailbox::{MailFault, MailFaultKind, Mailbox};
use super::message::{EmailMessage, Envelope};
use super::state::ServerState;

/// RFC 5321, 4.5.3.1.4, without the CRLF; the extensions below lengthen some commands.
const MAX_COMMAND_BYTES: usize = 510 + 26 + 10 + 17;
/// RFC 4954, 4.5.
const MAX_AUTH_LINE_BYTES: usize = 12_288;
const MAX_MAIL_BYTES: usize = 10 * 1024 * 1024;
/// The minimum that a server must accept (RFC 5321, 4.5.3.1.8).
const MAX_RECIPIENTS: usize = 100;

const OUT_OF_SEQUENCE: &str = "503 5.5.1 Bad sequence of commands";

/// The state of a session.
#[derive(Default)]
struct Session {
    greeted: bool,
    extended: bool,
    encrypted: bool,
    user: Option<String>,
    sender: Option<String>,
    recipients: Vec<String>,
    /// The injected rejection of this message's recipients.
    rejection: Option<MailFaultKind>,
}

/// Serves a client until it quits or disconnects.
///
/// # Errors
/// The connection failed.
pub async fn serve(mut connection: SmtpConnection, encrypted: bool, state: &ServerState) -> io::Result<()> {
    let mailbox: &Mailbox = &state.mailbox;
    let mut session = Session { encrypted, ..Session::default() };
    connection.send("220 localhost ESMTP sandbox").await?;
    loop {
        // AUTH with an initial response may be longer than any other command.
        let Some(line) = connection.line(MAX_AUTH_LINE_BYTES).await? else { return Ok(()) };
        let is_auth = line.bytes.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"AUTH "));
        if line.too_long || (line.bytes.len() > MAX_COMMAND_BYTES && !is_auth) {
            connection.send("500 5.5.2 Line too long").await?;
            continue;
        }
        if line.bare {
            connection.send("500 5.5.2 Lines must end with CRLF").await?;
            continue;
        }
        match command::parse(&line.bytes) {
            Ok(Command::Quit) => return connection.send("221 2.0.0 Bye").await,
            Ok(Command::Data) => {
                if session.data(&mut connection, mailbox).await? == Next::Close {
                    return Ok(());
                }
            }
            Ok(Command::Auth { mechanism, initial }) => {
                let reply = session.auth(&mut connection, state, &mechanism, initial).await?;
                connection.send(reply).await?;
            }
            Ok(Command::StartTls) => match &state.tls {
                Some(tls) if !session.encrypted => {
                    connection.send("220 2.0.0 Ready").await?;
                    connection = connection.encrypt(tls).await?;
                    // TLS resets the session (RFC 3207, 4.2).
                    session = Session { encrypted: true, ..Session::default() };
                }
                _ => connection.send(OUT_OF_SEQUENCE).await?,
            },
            Ok(command) => connection.send(&session.reply(command, state)).await?,
            Err(reply) => connection.send(reply).await?,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Close,
}

impl Session {
    /// The reply to a command that is complete in one line.
    fn reply(&mut self, command: Command, state: &ServerState) -> String {
        let mailbox = &state.mailbox;
        let reply = match command {
            Command::Helo | Command::Ehlo => {
                self.reset();
                self.greeted = true;
                self.extended = command == Command::Ehlo;
                if self.extended {
                    let starttls = if state.tls.is_some() && !self.encrypted { "250-STARTTLS\r\n" } else { "" };
                    return format!(
                        "250-localhost\r\n250-SIZE {MAX_MAIL_BYTES}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n\
                         250-ENHANCEDSTATUSCODES\r\n{starttls}250 AUTH PLAIN LOGIN"
                    );
                }
                "250 localhost"
            }
            Command::Mail { .. } if !self.greeted || self.sender.is_some() => OUT_OF_SEQUENCE,
            Command::Mail { .. } if state.login.is_some() && self.user.is_none() => "530 5.7.0 Authentication required",
            Command::Mail { size, .. } if size > MAX_MAIL_BYTES as u64 => "552 5.3.4 Message too big",
            Command::Mail { from, .. } => {
                self.sender = Some(from);
                self.rejection = mailbox
                    .take_fault(&[MailFaultKind::RejectTemporarily, MailFaultKind::RejectPermanently])
                    .map(|fault| fault.kind);
                "250 2.1.0 Sender ok"
            }
            Command::Rcpt { .. } if self.sender.is_none() => OUT_OF_SEQUENCE,
            Command::Rcpt { to } => match self.rejection {
                Some(MailFaultKind::RejectTemporarily) => "451 4.3.0 Try again later",
                Some(_) => "550 5.1.1 No such mailbox",
                None if self.recipients.len() == MAX_RECIPIENTS => "452 4.5.3 Too many recipients",
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
            Command::Vrfy => "252 2.5.2 Cannot verify, but will accept mail",
            Command::Help => "214 2.0.0 RFC 5321",
            Command::Quit | Command::Data | Command::StartTls | Command::Auth { .. } => OUT_OF_SEQUENCE,
        };
        reply.to_owned()
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.rejection = None;
    }

    async fn data(&mut self, connection: &mut SmtpConnection, mailbox: &Mailbox) -> io::Result<Next> {
        let Some(sender) = &self.sender else {
            connection.send(OUT_OF_SEQUENCE).await?;
            return Ok(Next::Continue);
        };
        if self.recipients.is_empty() {
            connection.send("554 5.5.1 No valid recipients").await?;
            return Ok(Next::Continue);
        }
        let (from, to, user) = (sender.clone(), self.recipients.clone(), self.user.clone());
        let envelope = Envelope { from, to, user, tls: self.encrypted };
        connection.send("354 End with a line that contains a single dot").await?;
        let Some(text) = connection.text(MAX_MAIL_BYTES).await? else { return Ok(Next::Close) };
        self.reset();
        let rejection = match &text {
            text if text.too_big => Some("552 5.3.4 Message too big"),
            text if text.line_too_long => Some("554 5.6.0 Message line too long"),
            text if text.bare => Some("554 5.6.0 Message lines must end with CRLF"),
            _ => None,
        };
        if let Some(rejection) = rejection {
            connection.send(rejection).await?;
            return Ok(Next::Continue);
        }
        mailbox.store(EmailMessage::new(envelope, &text.bytes), text.bytes);
        match mailbox.take_fault(&[MailFaultKind::DropAfterData, MailFaultKind::Slow]) {
            Some(MailFault { kind: MailFaultKind::DropAfterData, .. }) => return Ok(Next::Close),
            Some(slow) => tokio::time::sleep(slow.delay()).await,
            None => {}
        }
        connection.send("250 2.0.0 Stored").await?;
        Ok(Next::Continue)
    }

    /// Authenticates the client (RFC 4954). Any login succeeds unless the settings have `smtp_auth`.
    async fn auth(
        &mut self,
        connection: &mut SmtpConnection,
        state: &ServerState,
        mechanism: &str,
        initial: Option<String>,
    ) -> io::Result<&'static str> {
        if !self.extended || self.user.is_some() || self.sender.is_some() {
            return Ok(OUT_OF_SEQUENCE);
        }
        let login = match mechanism {
            "PLAIN" => {
                let message = response(connection, initial, "334 ").await?;
                message.and_then(|message| command::plain_login(&message).ok_or(NO_RESPONSE))
            }
            "LOGIN" => match response(connection, initial, "334 VXNlcm5hbWU6").await? {
                Ok(user) => {
                    let password = response(connection, None, "334 UGFzc3dvcmQ6").await?;
                    let text = |bytes| String::from_utf8(bytes).map_err(|_| NO_RESPONSE);
                    password.and_then(|password| Ok((text(user)?, text(password)?)))
                }
                Err(rejection) => Err(rejection),
            },
            _ => Err("504 5.5.4 AUTH PLAIN or LOGIN"),
        };
        let is_valid = |login: &(String, String)| state.login.as_ref().is_none_or(|valid| valid == login);
        Ok(match login {
            Err(rejection) => rejection,
            Ok(login) if state.mailbox.take_fault(&[MailFaultKind::RejectLogin]).is_some() || !is_valid(&login) => {
                "535 5.7.8 Authentication credentials invalid"
            }
            Ok((user, _)) => {
                self.user = Some(user);
                "235 2.7.0 Authentication successful"
            }
        })
    }
}

const NO_RESPONSE: &str = "501 5.5.2 Invalid response";

/// The client's response: the initial one, or the response to the challenge.
async fn response(
    connection: &mut SmtpConnection,
    initial: Option<String>,
    challenge: &str,
) -> io::Result<Result<Vec<u8>, &'static str>> {
    let text = match initial {
        // `=` is an empty initial response (RFC 4954, 4).
        Some(text) if text == "=" => String::new(),
        Some(text) => text,
        None => {
            connection.send(challenge).await?;
            let disconnected = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let line = connection.line(MAX_AUTH_LINE_BYTES).await?.ok_or_else(disconnected)?;
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
