//! The caller of a request: the visitor's cookie, the session after a login, and the owner of carts, payments and reviews.
//!
//! # Invariants
//!
//! - A session that has expired or was ended grants nothing.
//! - While Redis is unavailable, a request with a session cookie fails; it never continues as an anonymous visitor.

mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::foundation::error::Result;
use crate::foundation::hex;
use crate::http::cookie::{self, CookieSecret, SetCookie};
use crate::http::request::ApiRequest;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// A year, counted from the last use.
const VISITOR_MAX_AGE_S: u32 = 31_536_000;

/// Longer than the idle timeout, so that an expired session can be reported once more.
const SESSION_MAX_AGE_S: u32 = 86_400;

/// A Telegram user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: i64,
    pub username: Option<String>,
    /// First and last name.
    pub display_name: String,
}

/// A session, active or expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `sess_…`: public, unlike the secret in the cookie.
    pub id: String,
    pub user: User,
    pub is_active: bool,
    pub expires_at: Timestamp,
}

/// The owner of a cart, a payment or a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The hash of the visitor's cookie.
    Visitor(String),
    /// The Telegram user id.
    User(i64),
}

impl Owner {
    pub fn visitor(secret: &CookieSecret) -> Owner {
        Owner::Visitor(secret.hash())
    }

    /// Whether a stored [`Owner::key`] is that of an owner without a session.
    pub fn is_visitor_key(key: &str) -> bool {
        key.starts_with("visitor:")
    }

    /// As stored in the database: `visitor:…`, `user:…`.
    pub fn key(&self) -> String {
        match self {
            Owner::Visitor(hash) => format!("visitor:{hash}"),
            Owner::User(id) => format!("user:{id}"),
        }
    }
}

/// The brand's cookies that a request carries.
pub struct RequestCookies {
    brand: String,
    pub visitor: Option<CookieSecret>,
    pub session: Option<CookieSecret>,
    pub attempt: Option<CookieSecret>,
}

impl RequestCookies {
    pub fn from_request(brand: &Brand, req: &ApiRequest) -> RequestCookies {
        let cookie = |name| req.cookie(&cookie::name(brand.name(), name));
        RequestCookies {
            visitor: cookie(cookie::VISITOR),
            session: cookie(cookie::SESSION),
            attempt: cookie(cookie::ATTEMPT),
            brand: brand.name().to_owned(),
        }
    }

    pub fn set_visitor(&self, secret: &CookieSecret) -> SetCookie {
        secret.set_cookie(&cookie::name(&self.brand, cookie::VISITOR), VISITOR_MAX_AGE_S)
    }

    /// Renews the visitor's cookie, or issues one.
    pub fn issue_visitor(&self) -> Result<SetCookie> {
        let visitor = self.visitor.clone().map_or_else(CookieSecret::new, Ok)?;
        Ok(self.set_visitor(&visitor))
    }

    pub fn set_session(&self, secret: &CookieSecret) -> SetCookie {
        secret.set_cookie(&cookie::name(&self.brand, cookie::SESSION), SESSION_MAX_AGE_S)
    }

    pub fn set_attempt(&self, secret: &CookieSecret, max_age_s: u32) -> SetCookie {
        secret.set_cookie(&cookie::name(&self.brand, cookie::ATTEMPT), max_age_s)
    }

    /// Deletes the session cookie; `None` when the request carries none.
    pub fn clear_session(&self) -> Option<SetCookie> {
        self.session.as_ref().map(|_| cookie::remove(&cookie::name(&self.brand, cookie::SESSION)))
    }

    /// Deletes the attempt cookie; `None` when the request carries none.
    pub fn clear_attempt(&self) -> Option<SetCookie> {
        self.attempt.as_ref().map(|_| cookie::remove(&cookie::name(&self.brand, cookie::ATTEMPT)))
    }
}

/// The caller of a request: a user with an active session, or an anonymous visitor.
pub struct Caller {
    pub session: Option<Session>,
    visitor: CookieSecret,
}

impl Caller {
    /// Queries Redis only when the request carries a session cookie, and extends that session. An anonymous visitor gets their
    /// cookie with every response, failed ones included, so that a retry comes from the same visitor.
    ///
    /// # Errors
    /// 503 when Redis is unavailable and the request carries a session cookie.
    pub async fn from_request(cx: &RequestContext, req: &ApiRequest) -> Result<Caller> {
        let cookies = RequestCookies::from_request(&cx.brand, req);
        let session = match &cookies.session {
            Some(secret) => check(&cx.brand, secret).await?.filter(|session| session.is_active),
            None => None,
        };
        let visitor = cookies.visitor.clone().map_or_else(CookieSecret::new, Ok)?;
        if session.is_none() {
            cx.set_cookie(cookies.set_visitor(&visitor));
        }
        Ok(Caller { session, visitor })
    }

    pub fn owner(&self) -> Owner {
        match &self.session {
            Some(session) => Owner::User(session.user.id),
            None => Owner::visitor(&self.visitor),
        }
    }

    /// The visitor that a user was before the login, or still is in a tab that was opened before it.
    pub fn previous_visitor(&self) -> Option<Owner> {
        self.session.as_ref().map(|_| Owner::visitor(&self.visitor))
    }
}

/// The session of a secret. An active one is extended, an expired one is returned unchanged until Redis drops it. One round
/// trip.
pub async fn check(brand: &Brand, secret: &CookieSecret) -> Result<Option<Session>> {
    store::check(&brand.redis, secret, brand.clock.now(), &brand.config.session).await
}

/// Creates the session of a secret. An existing one is returned unchanged; `None` when a logout has ended it.
pub async fn create(brand: &Brand, secret: &CookieSecret, id: &str, user: &User) -> Result<Option<Session>> {
    store::create(&brand.redis, secret, id, user, brand.clock.now(), &brand.config.session).await
}

/// Ends a session on every instance at once. A secret without a session leaves no trace in Redis.
pub async fn end(brand: &Brand, secret: &CookieSecret) -> Result<()> {
    store::end(&brand.redis, &secret.hash(), false, &brand.config.session).await
}

/// Ends a session that a concurrent request may be about to create: it is not created later.
pub async fn end_or_prevent(brand: &Brand, secret: &CookieSecret) -> Result<()> {
    store::end(&brand.redis, &secret.hash(), true, &brand.config.session).await
}

/// Ends every session of a user on every instance.
pub async fn end_all(brand: &Brand, user_id: i64) -> Result<()> {
    store::end_all(&brand.redis, user_id, &brand.config.session).await
}

/// The sessions of a user, active or expired, none of them extended.
///
/// # Errors
/// 503 while Redis is unavailable.
pub async fn of_user(brand: &Brand, user_id: i64) -> Result<Vec<Session>> {
    store::of_user(&brand.redis, user_id, brand.clock.now()).await
}

/// A new session id.
///
/// # Errors
/// 500 when the operating system's random source fails.
pub fn new_id() -> Result<String> {
    Ok(format!("sess_{}", hex::random_name()?))
}
