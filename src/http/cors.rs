//! CORS headers, and the Origin check of writes.
//!
//! Cookies are `SameSite=None`, so the Origin check is the defence against cross-site request forgery.
//!
//! # Invariants
//!
//! - `Access-Control-Allow-Origin` is never `*` and never an origin that the brand's configuration does not list.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN,
};
use hyper::{Method, http};

use crate::foundation::error::{Error, Result};

/// The `Origin` header of a request.
pub enum Origin {
    /// Not sent: not a cross-origin request of a browser.
    Absent,
    /// An origin of the brand's configuration, as it is sent back.
    Allowed(HeaderValue),
    /// The API's own origin.
    Own,
    /// Any other, including `null` and more than one.
    Foreign,
}

impl Origin {
    pub fn from_headers(headers: &HeaderMap, allowed: &[String], own: &str) -> Origin {
        let mut sent = headers.get_all(ORIGIN).iter();
        match (sent.next(), sent.next()) {
            (None, _) => Origin::Absent,
            (Some(origin), None) if allowed.iter().any(|a| a.as_bytes() == origin.as_bytes()) => {
                Origin::Allowed(origin.clone())
            }
            (Some(origin), None) if own.as_bytes() == origin.as_bytes() => Origin::Own,
            _ => Origin::Foreign,
        }
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self, Origin::Allowed(_))
    }

    /// Rejects writes from foreign origins. The API's own origin is foreign too, except to routes with
    /// `allow_own_origin`.
    ///
    /// # Errors
    /// 403.
    pub fn check(&self, method: &Method, allow_own_origin: bool) -> Result<()> {
        match self {
            Origin::Own if allow_own_origin => Ok(()),
            Origin::Foreign | Origin::Own if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) => {
                Err(Error::forbidden("origin_not_allowed", "This origin may not change anything here."))
            }
            _ => Ok(()),
        }
    }

    /// Sets the headers that let a page of an allowed origin read the response.
    pub fn allow_access(&self, headers: &mut HeaderMap) {
        let Origin::Allowed(origin) = self else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("X-Request-Id, ETag, Retry-After, RateLimit, RateLimit-Policy"),
        );
    }

    /// Sets the headers of a successful preflight response.
    pub fn allow_preflight(&self, headers: &mut HeaderMap) {
        let Origin::Allowed(_) = self else { return };
        let entries = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE, OPTIONS"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, X-Region, X-Language"),
            (ACCESS_CONTROL_MAX_AGE, "7200"),
        ];
        for (name, value) in entries {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Whether a request is a CORS preflight (Fetch standard, 4.8).
pub(crate) fn is_preflight(parts: &http::request::Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(sent: &[&str]) -> Origin {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(ORIGIN, HeaderValue::from_str(value).expect("ASCII"));
        }
        Origin::from_headers(&headers, &["https://dexarmarket.ru".to_owned()], "https://api.dexarmarket.ru:445")
    }

    #[test]
    fn only_an_exactly_matching_origin_may_write() {
        assert!(origin_of(&[]).check(&Method::POST, false).is_ok(), "not a browser");
        assert!(origin_of(&["https://dexarmarket.ru"]).check(&Method::POST, false).is_ok());
        let own = origin_of(&["https://api.dexarmarket.ru:445"]);
        assert!(own.check(&Method::POST, false).is_err() && own.check(&Method::POST, true).is_ok());
        for sent in [
            &["null"][..],
            &["https://novo.market"],
            &["https://dexarmarket.ru.evil.example"],
            &["http://dexarmarket.ru"],
            &["https://dexarmarket.ru:445"],
            &["https://dexarmarket.ru", "https://dexarmarket.ru"],
        ] {
            assert!(origin_of(sent).check(&Method::POST, true).is_err(), "{sent:?}");
            assert!(origin_of(sent).check(&Method::GET, false).is_ok(), "{sent:?}: reads are left to the browser");
            let mut headers = HeaderMap::new();
            origin_of(sent).allow_access(&mut headers);
            assert!(headers.is_empty(), "{sent:?}");
        }
    }
}
