//! URLs as the brands' files have them: which are origins, and what their host is.
//!
//! Used by `config` alone.

/// Whether a text is `scheme://host` or `scheme://host:port`, as browsers write an `Origin`.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = url_host(text).unwrap_or_default();
    let port = rest.strip_prefix(host).unwrap_or(":");
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-[]:".contains(&b))
        && (port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok()))
}

/// Whether a URL names the machine that it is used on.
pub(super) fn is_local_url(url: &str) -> bool {
    matches!(url_host(url), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// The host of `scheme://host:port`, an IPv6 address with its brackets.
pub(super) fn url_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let end = match rest.starts_with('[') {
        true => rest.find(']')? + 1,
        false => rest.find(':').unwrap_or(rest.len()),
    };
    Some(&rest[..end])
}
