//! Parsing of SMTP commands (RFC 5321, 4.1; STARTTLS: RFC 3207; AUTH: RFC 4954; SIZE: RFC 1870; SMTPUTF8: RFC 6531).

/// An SMTP command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Helo,
    Ehlo,
    StartTls,
    Auth { mechanism: String, initial: Option<String> },
    Mail { from: String, size: u64 },
    Rcpt { to: String },
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

/// The reply to an invalid command.
pub type ErrorReply = &'static str;

const SYNTAX: ErrorReply = "501 5.5.4 Syntax error in parameters or arguments";

/// Parses a command line.
///
/// # Errors
/// The reply to an invalid command.
pub fn parse(line: &[u8]) -> Result<Command, ErrorReply> {
    let line = std::str::from_utf8(line).map_err(|_| "500 5.5.2 Invalid UTF-8")?;
    let line = line.trim_end_matches(' ');
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_start();
    match verb.to_ascii_uppercase().as_str() {
        "HELO" if rest.is_empty() => Err(SYNTAX),
        "HELO" => Ok(Command::Helo),
        "EHLO" if rest.is_empty() => Err(SYNTAX),
        "EHLO" => Ok(Command::Ehlo),
        "AUTH" => {
            let (mechanism, initial) = rest.split_once(' ').map_or((rest, None), |(name, text)| (name, Some(text)));
            let (mechanism, initial) = (mechanism.to_ascii_uppercase(), initial.map(str::to_owned));
            if mechanism.is_empty() { Err(SYNTAX) } else { Ok(Command::Auth { mechanism, initial }) }
        }
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "VRFY" if rest.is_empty() => Err(SYNTAX),
        "VRFY" => Ok(Command::Vrfy),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "DATA" if rest.is_empty() => Ok(Command::Data),
        "RSET" if rest.is_empty() => Ok(Command::Rset),
        "QUIT" if rest.is_empty() => Ok(Command::Quit),
        "STARTTLS" if rest.is_empty() => Ok(Command::StartTls),
        "DATA" | "RSET" | "QUIT" | "STARTTLS" => Err(SYNTAX),
        "EXPN" | "TURN" | "BDAT" => Err("502 5.5.1 Command not implemented"),
        _ => Err("500 5.5.1 Command unrecognized"),
    }
}

fn mail(rest: &str) -> Result<Command, ErrorReply> {
    let (from, parameters) = path(rest, "FROM:")?;
    let (mut size, mut utf8) = (0, false);
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", digits) => size = digits.parse().map_err(|_| SYNTAX)?,
            ("BODY", "7BIT" | "8BITMIME") => {}
            ("SMTPUTF8", "") => utf8 = true,
            ("AUTH", text) if !text.is_empty() => {}
            ("BODY" | "SMTPUTF8" | "AUTH", _) => return Err(SYNTAX),
            _ => return Err("555 5.5.4 MAIL FROM parameters not recognized"),
        }
    }
    if !from.is_ascii() && !utf8 {
        return Err("553 5.6.7 The address needs SMTPUTF8");
    }
    if !from.is_empty() && !is_mailbox(from) {
        return Err("553 5.1.7 Invalid sender address");
    }
    Ok(Command::Mail { from: from.to_owned(), size })
}

fn rcpt(rest: &str) -> Result<Command, ErrorReply> {
    let (to, mut parameters) = path(rest, "TO:")?;
    if parameters.next().is_some() {
        return Err("555 5.5.4 RCPT TO parameters not recognized");
    }
    if !is_mailbox(to) && !to.eq_ignore_ascii_case("postmaster") {
        return Err("553 5.1.3 Invalid recipient address");
    }
    Ok(Command::Rcpt { to: to.to_owned() })
}

/// `FROM:<a@example.org> SIZE=5`: the address and the parameters. A space after the colon is accepted although it is invalid.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, impl Iterator<Item = &'a str>), ErrorReply> {
    let head = rest.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword)).ok_or(SYNTAX)?;
    let path = rest[head.len()..].trim_start().strip_prefix('<').ok_or(SYNTAX)?;
    let (address, parameters) = path.split_once('>').ok_or(SYNTAX)?;
    if !parameters.is_empty() && !parameters.starts_with(' ') {
        return Err(SYNTAX);
    }
    Ok((address, parameters.split(' ').filter(|parameter| !parameter.is_empty())))
}

/// `local@domain` within the limits of RFC 5321, 4.5.3.1.
fn is_mailbox(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let labels =
        || domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    let literal = domain.starts_with('[') && domain.ends_with(']');
    let dots = local.starts_with('"') || local.split('.').all(|atom| !atom.is_empty());
    let clean = |text: &str| !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>(),;:\\".contains(c));
    let sizes = (1..=64).contains(&local.len()) && (1..=255).contains(&domain.len());
    sizes && dots && clean(local) && (literal || (labels() && clean(domain) && !local.contains('@')))
}

/// Decodes padded Base64 (RFC 4648, 4).
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        bits = (bits << 6) | u32::from(value(digit)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// The user and the password of an AUTH PLAIN message: `authzid NUL authcid NUL password` (RFC 4616).
pub fn plain_login(message: &[u8]) -> Option<(String, String)> {
    let mut parts = std::str::from_utf8(message).ok()?.split('\0');
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && !user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_parsed() {
        let mail = |from: &str, size| Ok(Command::Mail { from: from.to_owned(), size });
        for (line, expected) in [
            ("EHLO localhost", Ok(Command::Ehlo)),
            ("ehlo", Err(SYNTAX)),
            ("MAIL FROM:<a@example.org>", mail("a@example.org", 0)),
            ("mail from:<> size=17 BODY=8BITMIME", mail("", 17)),
            ("MAIL FROM:<ж@example.org> SMTPUTF8", mail("ж@example.org", 0)),
            ("MAIL FROM:<ж@example.org>", Err("553 5.6.7 The address needs SMTPUTF8")),
            ("MAIL FROM:a@example.org", Err(SYNTAX)),
            ("MAIL FROM:<a@example.org> RET=FULL", Err("555 5.5.4 MAIL FROM parameters not recognized")),
            ("MAIL FROM:<a b@example.org>", Err("553 5.1.7 Invalid sender address")),
            ("MAIL TO:<a@example.org>", Err(SYNTAX)),
            ("RCPT TO:<Postmaster>", Ok(Command::Rcpt { to: "Postmaster".to_owned() })),
            ("RCPT TO:<a@b@example.org>", Err("553 5.1.3 Invalid recipient address")),
            ("RCPT TO:<a@-example.org>", Err("553 5.1.3 Invalid recipient address")),
            ("RCPT TO:<>", Err("553 5.1.3 Invalid recipient address")),
            ("DATA now", Err(SYNTAX)),
            ("starttls", Ok(Command::StartTls)),
            ("STARTTLS now", Err(SYNTAX)),
            ("BDAT 5 LAST", Err("502 5.5.1 Command not implemented")),
            ("GET / HTTP/1.1", Err("500 5.5.1 Command unrecognized")),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn auth_plain_message_is_decoded() {
        assert_eq!(base64("AHVzZXIAcGFzcw==").as_deref(), Some(&b"\0user\0pass"[..]));
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
        for wrong in ["A", "AAA", "A===", "AA-A", "AH=z"] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
        assert_eq!(plain_login(b"\0user\0pass"), Some(("user".to_owned(), "pass".to_owned())));
        assert_eq!(plain_login(b"user\0pass"), None);
    }
}
