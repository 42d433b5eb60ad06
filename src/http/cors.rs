//! Which pages may use a brand's API: CORS for reading, the Origin check for writing.
//!
//! Called by `serve` for every request, before any handler. Cookies are `SameSite=None`, so the check on writes is the
//! defence against forged requests (contract section 1). What must never happen: an origin is reflected that the brand's
//! file does not name, or `*`.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN,
};
use hyper::{Method, http};

use crate::foundation::error::{Error, Result};

/// What the `Origin` header of a request says.
pub enum Origin {
    /// None was sent: not a page of another site.
    Absent,
    /// One that the brand allows, ready to be sent back.
    Allowed(HeaderValue),
    /// A page of the API's own.
    Own,
    /// Any other, `null` and two at once included.
    Foreign,
}

impl Origin {
    pub fn of(headers: &HeaderMap, allowed: &[String], own: &str) -> Origin {
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

    /// Refuses a request that could change something when a foreign page sent it. A page of our own is foreign too, except
    /// to the route that its form is for.
    pub fn check(&self, method: &Method, from_own_pages: bool) -> Result<()> {
        match self {
            Origin::Own if from_own_pages => Ok(()),
            Origin::Foreign | Origin::Own if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) => {
                Err(Error::forbidden("origin_not_allowed", "This origin may not change anything here."))
            }
            _ => Ok(()),
        }
    }

    /// The headers that let an allowed page read an answer.
    pub fn allow_reading(&self, headers: &mut HeaderMap) {
        let Origin::Allowed(origin) = self else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("X-Request-Id, ETag, Retry-After, RateLimit, RateLimit-Policy"),
        );
    }

    /// The headers that let an allowed page ask in the first place.
    pub fn allow_asking(&self, headers: &mut HeaderMap) {
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

/// Whether a request is a browser's question before the real one.
pub fn is_preflight(parts: &http::request::Parts) -> bool {
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
        Origin::of(&headers, &["https://dexarmarket.ru".to_owned()], "https://api.dexarmarket.ru:445")
    }

    #[test]
    fn only_the_exact_origin_may_write() {
        assert!(origin_of(&[]).check(&Method::POST, false).is_ok(), "a bank or curl");
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
            assert!(origin_of(sent).check(&Method::GET, false).is_ok(), "{sent:?} may look, its page may not read");
            let mut headers = HeaderMap::new();
            origin_of(sent).allow_reading(&mut headers);
            assert!(headers.is_empty(), "{sent:?}");
        }
    }
}
