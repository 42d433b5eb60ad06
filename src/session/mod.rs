//! Who is asking: the visitor's cookie, the session of somebody who logged in, and whom a cart, a payment or a review belongs
//! to.
//!
//! Called by every domain that knows people. Sessions live in Redis under the hash of their cookie (contract section 7);
//! logging in is `auth`'s. What must never happen: an ended session opens anything, or Redis being away turns somebody who is
//! logged in into a stranger with an empty cart.

mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::foundation::error::Result;
use crate::foundation::hex;
use crate::http::cookie::{self, CookieSecret, SetCookie};
use crate::http::request::ApiRequest;
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// The visitor's cookie lives a year from its last use.
const VISITOR_MAX_AGE_S: u32 = 31_536_000;

/// The session's cookie outlives the session, so that a browser can be told that it ended.
const SESSION_MAX_AGE_S: u32 = 86_400;

/// A person as Telegram knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: i64,
    pub username: Option<String>,
    /// First and last name.
    pub display_name: String,
}

/// A login that was made, ended or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `sess_…`: a name, never the cookie's secret.
    pub id: String,
    pub user: User,
    pub is_active: bool,
    pub expires_at: Timestamp,
}

/// Whose cart, payment or review it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The hash of the visitor's cookie.
    Visitor(String),
    /// The Telegram user's id.
    User(i64),
}

impl Owner {
    pub fn visitor(secret: &CookieSecret) -> Owner {
        Owner::Visitor(secret.hash())
    }

    /// As the database has it: `visitor:…`, `user:…`.
    pub fn key(&self) -> String {
        match self {
            Owner::Visitor(hash) => format!("visitor:{hash}"),
            Owner::User(id) => format!("user:{id}"),
        }
    }
}

/// The cookies of ours that a browser sent.
pub struct RequestCookies {
    brand: String,
    pub visitor: Option<CookieSecret>,
    pub session: Option<CookieSecret>,
    pub attempt: Option<CookieSecret>,
}

impl RequestCookies {
    pub fn of(brand: &Brand, req: &ApiRequest) -> RequestCookies {
        let cookie = |what| req.cookie(&cookie::name(brand.name(), what));
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

    /// The visitor's cookie for another year, or one for who has none.
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

    /// Takes the session's cookie away; `None` when none was sent.
    pub fn clear_session(&self) -> Option<SetCookie> {
        self.session.as_ref().map(|_| cookie::remove(&cookie::name(&self.brand, cookie::SESSION)))
    }

    /// Takes the attempt's cookie away; `None` when none was sent.
    pub fn clear_attempt(&self) -> Option<SetCookie> {
        self.attempt.as_ref().map(|_| cookie::remove(&cookie::name(&self.brand, cookie::ATTEMPT)))
    }
}

/// Who is asking: somebody with a session, or the visitor of a cookie, which is made here when there is none.
pub struct Caller {
    pub session: Option<Session>,
    visitor: CookieSecret,
}

impl Caller {
    /// Asks Redis only when a session's cookie was sent; using a session prolongs it. A visitor is handed their cookie with
    /// whatever is answered, so that a request that failed is tried again by the same visitor.
    ///
    /// # Errors
    /// 503 while Redis is away and a session's cookie was sent.
    pub async fn of(cx: &RequestContext, req: &ApiRequest) -> Result<Caller> {
        let browser = RequestCookies::of(&cx.brand, req);
        let session = match &browser.session {
            Some(secret) => check(&cx.brand, secret).await?.filter(|session| session.is_active),
            None => None,
        };
        let visitor = browser.visitor.clone().map_or_else(CookieSecret::new, Ok)?;
        if session.is_none() {
            cx.set_cookie(browser.set_visitor(&visitor));
        }
        Ok(Caller { session, visitor })
    }

    pub fn owner(&self) -> Owner {
        match &self.session {
            Some(session) => Owner::User(session.user.id),
            None => Owner::visitor(&self.visitor),
        }
    }

    /// The visitor that somebody with a session was before, or is in another tab that does not know of the login yet.
    pub fn previous_visitor(&self) -> Option<Owner> {
        self.session.as_ref().map(|_| Owner::visitor(&self.visitor))
    }
}

/// The session of this secret: a living one is prolonged, one that ended is told and left alone, and one that ended long ago
/// is unknown. One round trip.
pub async fn check(brand: &Brand, secret: &CookieSecret) -> Result<Option<Session>> {
    store::check(&brand.redis, secret, brand.clock.now(), &brand.config.session).await
}

/// Begins a session under this secret and this `id`. When there is one already, it stays and is given back; `None` when it was
/// ended by a logout.
pub async fn begin(brand: &Brand, secret: &CookieSecret, id: &str, user: &User) -> Result<Option<Session>> {
    store::begin(&brand.redis, secret, id, user, brand.clock.now(), &brand.config.session).await
}

/// Ends a session on every instance at once.
pub async fn end(brand: &Brand, secret: &CookieSecret) -> Result<()> {
    store::end(&brand.redis, secret, &brand.config.session).await
}

/// A name for a new session.
///
/// # Errors
/// Only when the operating system has no randomness to give.
pub fn new_id() -> Result<String> {
    Ok(format!("sess_{}", hex::random_name()?))
}
