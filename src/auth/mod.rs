//! Logging in with Telegram (contract section 7): three ways that end in the same session.
//!
//! Called by `auth::http` for browsers and by `telegram` for the bot. What must never happen: a browser is logged in that did
//! not hold the attempt's cookie, confirm a page of ours, or present fresh data signed by this brand's bot; or one signature
//! makes two sessions.

mod attempt;
pub mod http;
mod page;
mod signed;
mod store;
mod texts;

use std::time::Duration;

use jiff::SignedDuration;

use crate::cart;
use crate::config::TelegramConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::foundation::hex;
use crate::http::cookie::CookieSecret;
use crate::payments;
use crate::reviews;
use crate::session::{self, Owner, RequestCookies, Session};
use crate::tenant::brand::Brand;

use attempt::AttemptState;
pub use attempt::{Attempt, Decision};
pub use signed::{SignedData, Signer, callback_url};

/// What a browser needs to come back with an attempt that was just approved.
const CLAIM_MARGIN: Duration = Duration::from_secs(5);

/// What the token in a link is derived for, and what the session of an approved attempt is.
const LINK: &str = "link";
const SESSION: &str = "session";

/// Whom `GET /auth/session` recognises.
pub enum SessionState {
    /// A session; the secret is the cookie that the browser keeps from now on. `is_pending`: beside it, an attempt waits.
    Session {
        session: Session,
        secret: CookieSecret,
        is_pending: bool,
    },
    /// An attempt that nobody decided yet.
    Pending,
    Nobody,
}

/// What a callback came to.
pub enum LoggedIn {
    /// A session of whoever called.
    Here { session: Session, secret: CookieSecret },
    /// An attempt is approved: the browser that began it gets the session of this id.
    Elsewhere { session_id: String },
}

impl LoggedIn {
    pub fn session_id(&self) -> &str {
        match self {
            LoggedIn::Here { session, .. } => &session.id,
            LoggedIn::Elsewhere { session_id } => session_id,
        }
    }
}

/// The brand's bot.
///
/// # Errors
/// 503 for a brand whose file names none.
pub fn telegram(brand: &Brand) -> Result<&TelegramConfig> {
    brand.config.telegram.as_ref().ok_or_else(|| Error::unavailable("the brand's file has no [telegram]"))
}

/// Begins an attempt; its secret is for the browser's cookie alone.
/// One that the browser held before is ended: its cookie is about to be replaced.
pub async fn start(
    brand: &Brand,
    browser: &RequestCookies,
    user_agent: &str,
    address: String,
) -> Result<(Attempt, CookieSecret)> {
    telegram(brand)?;
    if let Some(before) = &browser.attempt {
        store::end(&brand.redis, &before.name(LINK)).await?;
    }
    let secret = CookieSecret::new()?;
    let user_agent = attempt::describe(user_agent);
    let attempt = Attempt::new(secret.name(LINK), user_agent, address, brand.clock.now())?;
    // Whoever presses in the last moment must still find a browser that holds its cookie.
    let lifetime = brand.config.session.attempt_lifetime;
    store::begin(&brand.redis, &attempt, lifetime - CLAIM_MARGIN.min(lifetime / 4)).await?;
    Ok((attempt, secret))
}

/// The attempt that a browser holds, while it waits for its press.
pub async fn pending(brand: &Brand, secret: &CookieSecret) -> Result<Option<Attempt>> {
    let found = store::look(&brand.redis, &secret.name(LINK)).await?;
    Ok(found.and_then(|(attempt, progress)| (progress == AttemptState::Pending).then_some(attempt)))
}

/// Who a browser is: the session of an attempt that was approved, else the session of its cookie.
///
/// # Errors
/// 503 while Redis is away, or PostgreSQL when a cart is to be merged; asking again goes on where it stopped.
pub async fn recognise(brand: &Brand, browser: &RequestCookies) -> Result<SessionState> {
    let mut pending = false;
    if let Some(secret) = &browser.attempt {
        match store::look(&brand.redis, &secret.name(LINK)).await? {
            Some((_, AttemptState::Approved { user, session_id, is_claimed })) => {
                if let Some(found) = claim(brand, browser, secret, &user, &session_id, is_claimed).await? {
                    return Ok(found);
                }
            }
            Some((_, AttemptState::Pending)) => pending = true,
            Some((_, AttemptState::Denied)) | None => {}
        }
    }
    if let Some(secret) = &browser.session
        && let Some(session) = session::check(brand, secret).await?
    {
        return Ok(SessionState::Session { session, secret: secret.clone(), is_pending: pending });
    }
    Ok(if pending { SessionState::Pending } else { SessionState::Nobody })
}

/// Gives the browser the session of its approved attempt. The session's secret is derived from the attempt's, and every step
/// may be done twice: two polls at once get one session, and a poll after a kill goes on where the last one stopped.
async fn claim(
    brand: &Brand,
    browser: &RequestCookies,
    attempt: &CookieSecret,
    user: &session::User,
    session_id: &str,
    is_claimed: bool,
) -> Result<Option<SessionState>> {
    let secret = attempt.derive(SESSION);
    if is_claimed {
        let session = session::check(brand, &secret).await?;
        if session.is_some() {
            end_previous(brand, browser, &secret).await?;
        }
        return Ok(session.map(|session| SessionState::Session { session, secret, is_pending: false }));
    }
    join_visitor(brand, browser, user.id).await?;
    let Some(session) = session::begin(brand, &secret, session_id, user).await? else { return Ok(None) };
    store::mark_claimed(&brand.redis, &attempt.name(LINK)).await?;
    end_previous(brand, browser, &secret).await?;
    Ok(Some(SessionState::Session { session, secret, is_pending: false }))
}

/// What the visitor had is the user's from now on, all of it at once: a payment that completes meanwhile finds its cart. Doing
/// it again does nothing.
async fn join_visitor(brand: &Brand, browser: &RequestCookies, user_id: i64) -> Result<()> {
    let Some(visitor) = &browser.visitor else { return Ok(()) };
    let (visitor, user) = (Owner::visitor(visitor), Owner::User(user_id));
    let transaction = brand.transaction().await?;
    payments::reassign_owner(&transaction, brand, &visitor, &user).await?;
    let reviewed = reviews::merge(&transaction, &visitor, &user).await?;
    cart::merge(&transaction, &visitor, &user, brand.clock.now()).await?;
    transaction.commit().await?;
    brand.cache.items_changed(reviewed);
    Ok(())
}

/// A browser has one session: a fresh one ends the one before.
async fn end_previous(brand: &Brand, browser: &RequestCookies, fresh: &CookieSecret) -> Result<()> {
    match &browser.session {
        Some(previous) if previous != fresh => session::end(brand, previous).await,
        _ => Ok(()),
    }
}

/// Logs in whoever the data is about: in the attempt that it names, else here. Uses the data up.
///
/// # Errors
/// 401 for data that this bot did not sign, that is stale or was used before; 409 for an attempt that cannot be approved.
pub async fn log_in(brand: &Brand, data: &SignedData, browser: &RequestCookies) -> Result<LoggedIn> {
    let lifetime = verify(brand, data)?;
    if !store::use_hash(&brand.redis, &data.name(), lifetime).await? {
        return Err(used());
    }
    let done = match data.attempt() {
        Some(token) => approve_attempt(brand, token, data).await,
        None => log_in_here(brand, data, browser).await,
    };
    if done.is_err() {
        store::spare_hash(&brand.redis, &data.name()).await?;
    }
    done
}

/// Looks at the data without using it up; returns for how long it could be presented.
///
/// # Errors
/// 401 for data that this bot did not sign or that is stale.
pub fn verify(brand: &Brand, data: &SignedData) -> Result<Duration> {
    let age = SignedDuration::try_from(brand.config.session.max_login_age).or_internal()?;
    data.verify(&telegram(brand)?.token, brand.clock.now(), age)?;
    Ok(data.lifetime(age).unsigned_abs())
}

/// The bot's part: presents what it signed for the person who pressed the right number. The same as a callback with an
/// `attempt`, whose browser is another one.
///
/// # Errors
/// As [`log_in`].
pub async fn approve(brand: &Brand, data: &SignedData) -> Result<LoggedIn> {
    verify(brand, data)?;
    let token = data.attempt().ok_or_else(|| Error::internal("the bot signed for no attempt"))?;
    approve_attempt(brand, token, data).await
}

async fn approve_attempt(brand: &Brand, token: &str, data: &SignedData) -> Result<LoggedIn> {
    let user = data.user();
    let (decision, session_id) = store::approve(&brand.redis, token, &user, &session::new_id()?).await?;
    match decision {
        Decision::Approved => Ok(LoggedIn::Elsewhere { session_id }),
        Decision::Gone => Err(Error::conflict("attempt_gone", "This login attempt has expired; please start again.")),
        Decision::Foreign => Err(Error::conflict("attempt_taken", "Another person has answered this login attempt.")),
        _ => Err(Error::conflict("attempt_denied", "This login attempt was refused; please start again.")),
    }
}

async fn log_in_here(brand: &Brand, data: &SignedData, browser: &RequestCookies) -> Result<LoggedIn> {
    let user = data.user();
    let secret = CookieSecret::new()?;
    join_visitor(brand, browser, user.id).await?;
    let session = session::begin(brand, &secret, &session::new_id()?, &user).await?;
    let session = session.ok_or_else(|| Error::internal("a session of a new secret was there before"))?;
    end_previous(brand, browser, &secret).await?;
    // An older attempt of this browser must not take its place.
    if let Some(attempt) = &browser.attempt {
        store::end(&brand.redis, &attempt.name(LINK)).await?;
    }
    Ok(LoggedIn::Here { session, secret })
}

/// Makes the one-time token of the page that asks a browser whether to log in; it is good for this visitor's cookie alone.
pub async fn begin_form(brand: &Brand, visitor: &CookieSecret, data: &SignedData) -> Result<String> {
    let lifetime = verify(brand, data)?;
    if store::is_used(&brand.redis, &data.name()).await? {
        return Err(used());
    }
    let token = hex::random_name()?;
    store::begin_form(&brand.redis, &token, &whose(visitor, data), lifetime).await?;
    Ok(token)
}

/// Logs in the browser that confirmed the page.
///
/// # Errors
/// 403 for a token that was not made for this browser and this data, or was used; the rest as [`log_in`].
pub async fn confirm(brand: &Brand, token: &str, data: &SignedData, browser: &RequestCookies) -> Result<LoggedIn> {
    let is_theirs = match &browser.visitor {
        Some(visitor) => store::use_form(&brand.redis, token, &whose(visitor, data)).await?,
        None => false,
    };
    if !is_theirs {
        return Err(Error::forbidden("bad_form_token", "This page is out of date; please open the link again."));
    }
    log_in(brand, data, browser).await
}

#[track_caller]
fn used() -> Error {
    Error::unauthorized("used_login", "This login was used already; please start again in Telegram.")
}

fn whose(visitor: &CookieSecret, data: &SignedData) -> String {
    format!("{} {}", visitor.hash(), data.name())
}

/// Ends whatever the browser holds: its session on every instance, and a login that has begun.
pub async fn log_out(brand: &Brand, browser: &RequestCookies) -> Result<()> {
    if let Some(secret) = &browser.session {
        session::end(brand, secret).await?;
    }
    if let Some(secret) = &browser.attempt {
        store::end(&brand.redis, &secret.name(LINK)).await?;
        // A poll at the same moment may just be claiming it.
        session::end(brand, &secret.derive(SESSION)).await?;
    }
    Ok(())
}

/// The bot's part: somebody pressed START on an attempt's link. `None`: there is no such attempt any more.
pub async fn ask(brand: &Brand, token: &str, user_id: i64) -> Result<Option<(Decision, Option<Attempt>)>> {
    store::ask(&brand.redis, token, user_id).await
}

/// The bot's part: somebody pressed a number, or No (`None`). A right number still has to be approved with [`log_in`].
pub async fn press(brand: &Brand, token: &str, user_id: i64, code: Option<&str>) -> Result<Decision> {
    store::press(&brand.redis, token, user_id, code).await
}
