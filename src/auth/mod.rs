//! Login with Telegram (contract section 7): three flows that end in the same kind of session.
//!
//! # Invariants
//!
//! - A browser gets a session only if it holds the cookie of an approved attempt, confirmed our page, or presented fresh data
//!   signed by this brand's bot.
//! - One signature creates at most one session.

mod attempt;
pub(crate) mod http;
mod login_page;
mod return_origin;
mod store;
mod telegram_signature;

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
pub(crate) use attempt::{Attempt, AttemptOutcome};
pub(crate) use telegram_signature::{LoginIdentity, LoginPurpose, SignedData, callback_url};

/// An attempt expires this much before its cookie, so that a browser can still claim one that was approved at the last moment.
const CLAIM_MARGIN: Duration = Duration::from_secs(5);

/// Purposes for which secrets are derived from an attempt's: the token of its link, and its session.
const LINK: &str = "link";
const SESSION: &str = "session";

/// What a browser's cookies stand for.
pub(crate) enum SessionState {
    /// A session, active or expired. `secret` is its cookie from now on.
    Found {
        session: Session,
        secret: CookieSecret,
        has_pending_attempt: bool,
    },
    /// No session, and an attempt that awaits its approval.
    AttemptPending,
    Anonymous,
}

/// The result of a login callback.
pub(crate) enum LoggedIn {
    /// The calling browser has a new session.
    ThisBrowser { session: Session, secret: CookieSecret },
    /// An attempt is approved: the browser that started it will get the session of this id.
    OtherBrowser { session_id: String },
}

impl LoggedIn {
    pub(crate) fn session_id(&self) -> &str {
        match self {
            LoggedIn::ThisBrowser { session, .. } => &session.id,
            LoggedIn::OtherBrowser { session_id } => session_id,
        }
    }
}

/// # Errors
/// 503 for a brand without a bot.
pub(crate) fn telegram_config(brand: &Brand) -> Result<&TelegramConfig> {
    brand.config.telegram.as_ref().ok_or_else(|| Error::unavailable("the brand's file has no [telegram]"))
}

/// Starts an attempt and ends the browser's previous one. The secret is for the browser's cookie only.
pub(crate) async fn start_attempt(
    brand: &Brand,
    cookies: &RequestCookies,
    user_agent: &str,
    address: String,
) -> Result<(Attempt, CookieSecret)> {
    telegram_config(brand)?;
    if let Some(previous) = &cookies.attempt {
        store::delete(&brand.redis, &previous.name(LINK)).await?;
    }
    let secret = CookieSecret::new()?;
    let browser = attempt::describe_user_agent(user_agent);
    let attempt = Attempt::new(secret.name(LINK), browser, address, brand.clock.now())?;
    let lifetime = brand.config.session.attempt_lifetime;
    store::create(&brand.redis, &attempt, lifetime - CLAIM_MARGIN.min(lifetime / 4)).await?;
    Ok((attempt, secret))
}

/// The attempt of a secret, while it is pending.
pub(crate) async fn pending_attempt(brand: &Brand, secret: &CookieSecret) -> Result<Option<Attempt>> {
    let found = store::find(&brand.redis, &secret.name(LINK)).await?;
    Ok(found.and_then(|(attempt, state)| (state == AttemptState::Pending).then_some(attempt)))
}

/// The session of an approved attempt if there is one, else the session of the session cookie.
///
/// # Errors
/// 503 when Redis is unavailable, or PostgreSQL when a cart is to be merged. A retry continues where this stopped.
pub(crate) async fn session_state(brand: &Brand, cookies: &RequestCookies) -> Result<SessionState> {
    let mut has_pending_attempt = false;
    if let Some(secret) = &cookies.attempt {
        match store::find(&brand.redis, &secret.name(LINK)).await? {
            Some((_, AttemptState::Approved { user, session_id, is_claimed })) => {
                if let Some(found) = claim_session(brand, cookies, secret, &user, &session_id, is_claimed).await? {
                    return Ok(found);
                }
            }
            Some((_, AttemptState::Pending)) => has_pending_attempt = true,
            Some((_, AttemptState::Denied)) | None => {}
        }
    }
    if let Some(secret) = &cookies.session
        && let Some(session) = session::check(brand, secret).await?
    {
        return Ok(SessionState::Found { session, secret: secret.clone(), has_pending_attempt });
    }
    Ok(if has_pending_attempt { SessionState::AttemptPending } else { SessionState::Anonymous })
}

/// Gives the browser the session of its approved attempt. The session's secret is derived from the attempt's and every step is
/// idempotent: concurrent polls get one session, and a poll after a crash completes the claim.
async fn claim_session(
    brand: &Brand,
    cookies: &RequestCookies,
    attempt: &CookieSecret,
    user: &session::User,
    session_id: &str,
    is_claimed: bool,
) -> Result<Option<SessionState>> {
    let secret = attempt.derive(SESSION);
    let session = if is_claimed {
        session::check(brand, &secret).await?
    } else {
        join_visitor(brand, cookies, user.id).await?;
        session::create(brand, &secret, session_id, user).await?
    };
    let Some(session) = session else { return Ok(None) };
    if !is_claimed {
        store::mark_claimed(&brand.redis, &attempt.name(LINK)).await?;
    }
    end_previous_session(brand, cookies, &secret).await?;
    Ok(Some(SessionState::Found { session, secret, has_pending_attempt: false }))
}

/// Moves the visitor's payments, reviews and cart to the user. One transaction, so that a payment that completes meanwhile finds
/// its cart; idempotent.
async fn join_visitor(brand: &Brand, cookies: &RequestCookies, user_id: i64) -> Result<()> {
    let Some(visitor) = &cookies.visitor else { return Ok(()) };
    let (visitor, user) = (Owner::visitor(visitor), Owner::User(user_id));
    let transaction = brand.transaction().await?;
    payments::reassign_owner(&transaction, brand, &visitor, &user).await?;
    let reviewed_items = reviews::merge(&transaction, &visitor, &user).await?;
    cart::merge(&transaction, &visitor, &user, brand.clock.now()).await?;
    transaction.commit().await?;
    brand.cache.items_changed(reviewed_items);
    Ok(())
}

/// A browser has one session: a new one ends the previous one.
async fn end_previous_session(brand: &Brand, cookies: &RequestCookies, new: &CookieSecret) -> Result<()> {
    match &cookies.session {
        Some(previous) if previous != new => session::end(brand, previous).await,
        _ => Ok(()),
    }
}

/// Uses up login data: approves the attempt that it names, or else logs the calling browser in.
///
/// # Errors
/// 401 for data that this bot did not sign, that is too old or was used before; 403 for data that needs a confirmation; 409 for
/// an attempt that cannot be approved.
pub(crate) async fn log_in(brand: &Brand, data: &SignedData, cookies: &RequestCookies) -> Result<LoggedIn> {
    let lifetime = verify(brand, data)?;
    if data.requires_confirmation() {
        let message = "This link logs a browser in only after its page was confirmed; open it in a browser.";
        return Err(Error::forbidden("confirmation_required", message));
    }
    use_up(brand, data, cookies, lifetime).await
}

async fn use_up(brand: &Brand, data: &SignedData, cookies: &RequestCookies, lifetime: Duration) -> Result<LoggedIn> {
    if !store::use_hash(&brand.redis, &data.hash_hex(), lifetime).await? {
        return Err(already_used());
    }
    let logged_in = match data.attempt() {
        Some(token) => approve_attempt(brand, token, data).await,
        None => log_in_browser(brand, data, cookies).await,
    };
    if logged_in.is_err() {
        store::release_hash(&brand.redis, &data.hash_hex()).await?;
    }
    logged_in
}

/// Verifies login data without using it up; returns how long its hash has to be stored.
///
/// # Errors
/// 401 for data that this bot did not sign or that is too old.
pub(crate) fn verify(brand: &Brand, data: &SignedData) -> Result<Duration> {
    let max_age = SignedDuration::try_from(brand.config.session.max_login_age).or_internal()?;
    data.verify(&telegram_config(brand)?.token, brand.clock.now(), max_age)?;
    Ok(SignedData::lifetime(max_age).unsigned_abs())
}

/// Approves the attempt that data signed by our own bot names.
///
/// # Errors
/// As [`log_in`].
pub(crate) async fn approve(brand: &Brand, data: &SignedData) -> Result<LoggedIn> {
    verify(brand, data)?;
    let token = data.attempt().ok_or_else(|| Error::internal("the signed data names no attempt"))?;
    approve_attempt(brand, token, data).await
}

async fn approve_attempt(brand: &Brand, token: &str, data: &SignedData) -> Result<LoggedIn> {
    let user = data.user();
    let (outcome, session_id) = store::approve(&brand.redis, token, &user, &session::new_id()?).await?;
    match outcome {
        AttemptOutcome::Approved => Ok(LoggedIn::OtherBrowser { session_id }),
        AttemptOutcome::Expired => {
            Err(Error::conflict("attempt_gone", "This login attempt has expired; please start again."))
        }
        AttemptOutcome::OtherUser => {
            Err(Error::conflict("attempt_taken", "Another person has answered this login attempt."))
        }
        _ => Err(Error::conflict("attempt_denied", "This login attempt was refused; please start again.")),
    }
}

async fn log_in_browser(brand: &Brand, data: &SignedData, cookies: &RequestCookies) -> Result<LoggedIn> {
    let user = data.user();
    let secret = CookieSecret::new()?;
    join_visitor(brand, cookies, user.id).await?;
    let session = session::create(brand, &secret, &session::new_id()?, &user).await?;
    let session = session.ok_or_else(|| Error::internal("a new secret has an ended session"))?;
    end_previous_session(brand, cookies, &secret).await?;
    // A pending attempt of this browser must not replace the new session later.
    if let Some(attempt) = &cookies.attempt {
        store::delete(&brand.redis, &attempt.name(LINK)).await?;
    }
    Ok(LoggedIn::ThisBrowser { session, secret })
}

/// Issues the one-time token of the confirmation page, bound to the visitor's cookie and the data.
pub(crate) async fn issue_form_token(brand: &Brand, visitor: &CookieSecret, data: &SignedData) -> Result<String> {
    let lifetime = verify(brand, data)?;
    if store::is_hash_used(&brand.redis, &data.hash_hex()).await? {
        return Err(already_used());
    }
    let token = hex::random_name()?;
    store::create_form_token(&brand.redis, &token, &form_binding(visitor, data), lifetime).await?;
    Ok(token)
}

/// Logs in the browser that confirmed the page.
///
/// # Errors
/// 403 for a token that was issued to another browser, for other data, or was used; otherwise as [`log_in`].
pub(crate) async fn confirm_form(
    brand: &Brand,
    token: &str,
    data: &SignedData,
    cookies: &RequestCookies,
) -> Result<LoggedIn> {
    let is_valid = match &cookies.visitor {
        Some(visitor) => store::use_form_token(&brand.redis, token, &form_binding(visitor, data)).await?,
        None => false,
    };
    if !is_valid {
        return Err(Error::forbidden("bad_form_token", "This page is out of date; please open the link again."));
    }
    let lifetime = verify(brand, data)?;
    use_up(brand, data, cookies, lifetime).await
}

#[track_caller]
fn already_used() -> Error {
    Error::unauthorized("used_login", "This login was used already; please start again in Telegram.")
}

fn form_binding(visitor: &CookieSecret, data: &SignedData) -> String {
    format!("{} {}", visitor.hash(), data.hash_hex())
}

/// Ends the browser's session on every instance, and its login attempt; with `everywhere` all sessions of the user. Cookies that
/// no session or attempt belongs to leave no trace in Redis.
///
/// # Errors
/// 503 when Redis is unavailable. A retry completes it.
pub(crate) async fn log_out(brand: &Brand, cookies: &RequestCookies, everywhere: bool) -> Result<()> {
    if let Some(secret) = &cookies.attempt {
        let (token, session) = (secret.name(LINK), secret.derive(SESSION));
        if store::exists(&brand.redis, &token).await? {
            // A concurrent poll may be claiming the attempt.
            session::end_or_prevent(brand, &session).await?;
            store::delete(&brand.redis, &token).await?;
        } else {
            session::end(brand, &session).await?;
        }
    }
    if let Some(secret) = &cookies.session {
        if everywhere
            && let Some(session) = session::check(brand, secret).await?
            && session.is_active
        {
            session::end_all(brand, session.user.id).await?;
        }
        session::end(brand, secret).await?;
    }
    Ok(())
}

/// Binds an attempt to the user who pressed START on its link. `None` when the attempt has expired.
pub(crate) async fn bind_attempt(
    brand: &Brand,
    token: &str,
    user_id: i64,
) -> Result<Option<(AttemptOutcome, Option<Attempt>)>> {
    store::bind(&brand.redis, token, user_id).await
}

/// Checks the number that a user pressed, `None` for No. A matching one must still be approved with [`approve`].
pub(crate) async fn submit_code(
    brand: &Brand,
    token: &str,
    user_id: i64,
    code: Option<&str>,
) -> Result<AttemptOutcome> {
    store::submit_code(&brand.redis, token, user_id, code).await
}
