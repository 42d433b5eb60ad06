//! What HTTP demands of a request head and hyper leaves to the server: Host, transfer codings, expectations.

use std::net::Ipv6Addr;

use hyper::Version;
use hyper::header::{EXPECT, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::http::request::Parts;

use crate::foundation::error::{Error, Kind, Result};

/// # Errors
/// 400 for a missing, repeated or invalid host, 501 for a transfer coding other than `chunked`, 417 for an expectation
/// other than `100-continue`.
pub(crate) fn check(parts: &Parts) -> Result<()> {
    check_host(parts)?;
    check_transfer_codings(&parts.headers)?;
    check_expectations(parts)
}

/// Whether the client waits for `100 Continue` before it sends the body. hyper sends it when the body is first polled.
pub(crate) fn awaits_continue(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11 && parts.headers.contains_key(EXPECT)
}

/// RFC 9112, 3.2, and RFC 9113, 8.3.1. In an `https` URI the host is never empty (RFC 9110, 4.2.2).
fn check_host(parts: &Parts) -> Result<()> {
    let mut hosts = parts.headers.get_all(HOST).iter().map(|value| value.as_bytes());
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() || (host.is_none() && parts.version == Version::HTTP_11) {
        return Err(Error::malformed("bad_host", "A request has exactly one Host header."));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if !host.into_iter().chain(authority).all(is_host_with_port) {
        return Err(Error::malformed("bad_host", "Host: expected a host name or address, with or without a port"));
    }
    // In HTTP/1.1 the authority of an absolute URI replaces Host (RFC 9112, 3.2.2).
    let differs = |host: &[u8]| authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host));
    if parts.version == Version::HTTP_2 && host.is_some_and(differs) {
        return Err(Error::malformed("bad_host", "Host: expected the same as :authority"));
    }
    Ok(())
}

/// `uri-host [ ":" port ]` (RFC 3986, 3.2.2) with a host that is not empty.
fn is_host_with_port(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (is_valid_host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (is_name(&text.as_bytes()[..end]), &text[end..])
        }
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_valid_host && (matches!(rest, "" | ":") || rest.strip_prefix(':').is_some_and(is_port))
}

/// A registered name or IPv4 address: unreserved characters, sub-delimiters and percent-encoded octets.
fn is_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

/// RFC 9112, 6.1. hyper requires that the last coding is `chunked` and ignores the codings before it.
fn check_transfer_codings(headers: &HeaderMap) -> Result<()> {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let codings: Vec<&[u8]> = lines.flat_map(|line| members(line.as_bytes())).collect();
    match codings[..] {
        [] => Ok(()),
        [coding] if coding.eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let public = "Transfer-Encoding: only chunked is supported here.";
            Err(Error::new(Kind::NotImplemented, "unknown_transfer_coding", public))
        }
    }
}

/// RFC 9110, 10.1.1; HTTP/1.0 has no expectations.
fn check_expectations(parts: &Parts) -> Result<()> {
    let lines = parts.headers.get_all(EXPECT).iter();
    let mut expectations = lines.flat_map(|line| members(line.as_bytes()));
    let is_known = expectations.all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue"));
    if is_known || parts.version < Version::HTTP_11 {
        return Ok(());
    }
    Err(Error::new(Kind::ExpectationFailed, "unknown_expectation", "Expect: only 100-continue is supported here."))
}

/// The members of a list (RFC 9110, 5.6.1).
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_or_address_with_or_without_a_port() {
        for valid in [
            "localhost",
            "api.novo.market:444",
            "LOCALHOST:",
            "127.0.0.1:445",
            "[::1]",
            "[2001:db8::1]:445",
            "a_b",
            "%D1%8F",
            "xn--e1afmkfd.xn--p1ai:65535",
        ] {
            assert!(is_host_with_port(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "",
            ":445",
            "a b",
            "anna@localhost",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "\"a\"",
            "<a>",
            "%zz",
            "%4",
            "a:1:2",
            "a:x",
            "a:+1",
            "a:65536",
            "[zz]",
            "[::1",
            "[::1]445",
            "::1",
            "[127.0.0.1]",
            "пример",
        ] {
            assert!(!is_host_with_port(invalid.as_bytes()), "{invalid}");
        }
        assert!(!is_host_with_port(b"a\xff"));
    }
}
