//! Requests that pages of other sites make browsers send, recognised before they count against a rate limit.
//!
//! Browsers tell with `Sec-Fetch-*` (Fetch Metadata Request Headers), which scripts cannot forge; the `Referer` of an older browser
//! is taken as a hint. Clients that are no browsers send neither.

use hyper::header::{ACCEPT, HeaderMap, HeaderName, REFERER};

use super::cors::Origin;
use crate::foundation::error::{Error, Result};

/// Which requests of other sites a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrossSite {
    /// All of them; the handler and the Origin check decide.
    #[default]
    Any,
    /// A visitor's browser that opens a link, and scripts of the brand's origins.
    Navigation,
    /// As [`CrossSite::Navigation`], but only where the visitor clicked or the link is on a page of the brand.
    ClickedLink,
}

/// Checks where a request comes from. `is_brand_origin` tells the brand's origins and the API's own.
///
/// # Errors
/// 403 for a request that another site's page caused.
pub(crate) fn check(
    accepted: CrossSite,
    headers: &HeaderMap,
    origin: &Origin,
    is_brand_origin: impl Fn(&str) -> bool,
) -> Result<()> {
    let header = |name: &'static str| headers.get(HeaderName::from_static(name)).map(|value| value.as_bytes());
    let is_refused = match (accepted, origin) {
        (CrossSite::Any, _) | (_, Origin::Allowed(_)) => false,
        (_, Origin::Foreign) => true,
        (_, Origin::Absent | Origin::Own) if !is_from_browser(headers) => {
            let referrer = referrer_origin(headers);
            !opens_page(headers) && referrer.is_some_and(|origin| !is_brand_origin(origin))
        }
        (_, Origin::Absent | Origin::Own) => {
            let is_top_level = header("sec-fetch-dest").is_none_or(|dest| dest == b"document")
                && header("sec-fetch-mode").is_none_or(|mode| mode == b"navigate")
                && header("sec-purpose").is_none_or(|purpose| !purpose.starts_with(b"prefetch"));
            let is_unsolicited = accepted == CrossSite::ClickedLink
                && header("sec-fetch-site") == Some(b"cross-site")
                && header("sec-fetch-user") != Some(b"?1")
                && !referrer_origin(headers).is_some_and(&is_brand_origin);
            !is_top_level || is_unsolicited
        }
    };
    match is_refused {
        true => {
            Err(Error::forbidden("not_for_browsers", "Only a page of the storefront can log a visitor in like this."))
        }
        false => Ok(()),
    }
}

/// Whether a current browser sent the request.
pub(crate) fn is_from_browser(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Whether the client wants a page, as a browser that opens a link does.
pub(crate) fn opens_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The origin of the page that the request comes from, as its `Referer` tells.
pub(crate) fn referrer_origin(headers: &HeaderMap) -> Option<&str> {
    let referrer = headers.get(REFERER)?.to_str().ok()?;
    let host = referrer.find("://")? + 3;
    let path = referrer[host..].find('/').map_or(referrer.len(), |path| host + path);
    Some(&referrer[..path])
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn is_accepted(accepted: CrossSite, sent: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let shop = "https://shop.example";
        let origin = Origin::from_headers(&headers, &[shop.to_owned()], "https://api.shop.example");
        check(accepted, &headers, &origin, |origin| origin == shop).is_ok()
    }

    #[test]
    fn what_other_sites_embed_or_fetch_is_refused() {
        for sent in [
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-purpose", "prefetch;prerender")],
            &[("origin", "null")],
            &[("referer", "https://evil.example/page"), ("accept", "image/avif,*/*")],
        ] {
            for accepted in [CrossSite::Navigation, CrossSite::ClickedLink] {
                assert!(!is_accepted(accepted, sent), "{accepted:?} {sent:?}");
            }
            assert!(is_accepted(CrossSite::Any, sent));
        }
    }

    #[test]
    fn visitors_storefronts_and_programs_are_accepted() {
        let navigation =
            [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(is_accepted(CrossSite::Navigation, &navigation));
        assert!(!is_accepted(CrossSite::ClickedLink, &navigation), "a page may navigate without a click");
        for more in [("sec-fetch-user", "?1"), ("referer", "https://shop.example/"), ("sec-fetch-site", "none")] {
            assert!(is_accepted(CrossSite::ClickedLink, &[&navigation[..], &[more]].concat()), "{more:?}");
        }
        let script = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
        assert!(is_accepted(CrossSite::ClickedLink, &[&script[..], &[("origin", "https://shop.example")]].concat()));
        assert!(is_accepted(CrossSite::ClickedLink, &[("user-agent", "curl/8.5.0"), ("accept", "*/*")]));
    }
}
