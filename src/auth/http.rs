//! The endpoints of sessions and of logging in (contract section 7).

use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, USER_AGENT};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::foundation::clock::whole_seconds;
use crate::foundation::error::{Error, Kind, Result};
use crate::foundation::language::Language;
use crate::http::cookie::{CookieSecret, SetCookie};
use crate::http::cors::Origin;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;
use crate::session::{RequestCookies, Session};
use crate::tenant::context::RequestContext;

use super::page::{self, Links, LoginPage};
use super::{Attempt, LoggedIn, SessionState, SignedData};

/// `GET /auth/session`: who is logged in here. Prolongs a living session and its cookie; claims the session of an attempt.
pub async fn session(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let browser = RequestCookies::of(&cx.brand, &req);
    match super::recognise(&cx.brand, &browser).await? {
        SessionState::Session { session, secret, is_pending } => {
            // Whose session has ended is a visitor from now on.
            let cookie = match session.is_active {
                true => browser.set_session(&secret),
                false => browser.issue_visitor()?,
            };
            let forgotten = if is_pending { None } else { browser.clear_attempt() };
            Ok(ApiResponse::json(&Told::of(&session))?.with_cookies([cookie].into_iter().chain(forgotten)))
        }
        nobody => {
            let attempt = if matches!(nobody, SessionState::Pending) { None } else { browser.clear_attempt() };
            let cookies = [Some(browser.issue_visitor()?), browser.clear_session(), attempt];
            let error = Error::unauthorized("no_session", "No active session");
            // The document prints this body, so there is nothing else in it.
            let body = json!({ "error": error.public });
            Ok(ApiResponse::json(&body)?.with_status_of(&error).with_cookies(cookies.into_iter().flatten()))
        }
    }
}

/// A session as the document has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'s> {
    session_id: &'s str,
    telegram_user_id: i64,
    username: Option<&'s str>,
    display_name: &'s str,
    active: bool,
    expires_at: String,
}

impl Told<'_> {
    fn of(session: &Session) -> Told<'_> {
        Told {
            session_id: &session.id,
            telegram_user_id: session.user.id,
            username: session.user.username.as_deref(),
            display_name: &session.user.display_name,
            active: session.is_active,
            expires_at: whole_seconds(session.expires_at),
        }
    }
}

/// `POST /auth/logout`: ends this session everywhere; the browser begins anew as another visitor.
pub async fn log_out(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let browser = RequestCookies::of(&cx.brand, &req);
    super::log_out(&cx.brand, &browser).await?;
    let visitor = browser.set_visitor(&CookieSecret::new()?);
    let cookies = [Some(visitor), browser.clear_session(), browser.clear_attempt()];
    Ok(ApiResponse::message("Logged out")?.with_cookies(cookies.into_iter().flatten()))
}

/// `POST /auth/telegram/start`: begins an attempt, for a front end that shows the number itself.
pub async fn start(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (attempt, secret) = begin(&cx, &req).await?;
    let links = links(&cx, &attempt)?;
    let body = json!({
        "url": links.url,
        "tgUrl": links.tg_url,
        "command": links.command,
        "code": attempt.code,
        "expiresAt": whole_seconds(expiry(&cx, &attempt)),
    });
    Ok(ApiResponse::json(&body)?.with_cookies([attempt_cookie(&cx, &req, &secret)]))
}

/// `GET /auth/telegram/start`: the same as a page, for a front end that can only link. A browser that holds a waiting attempt
/// is shown that one again.
pub async fn start_page(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    or_sorry(&cx, &req, waiting_page(&cx, &req).await)
}

async fn waiting_page(cx: &RequestContext, req: &ApiRequest) -> Result<ApiResponse> {
    let browser = RequestCookies::of(&cx.brand, req);
    if req.header("sec-fetch-dest").is_some_and(|what| what != "document") {
        return Err(Error::forbidden("not_for_browsers", "This page is to be opened, not loaded by another page."));
    }
    // Approved while the page stood open: the reload is the way back to the shop.
    if browser.attempt.is_some()
        && let SessionState::Session { session, secret, is_pending: false } =
            super::recognise(&cx.brand, &browser).await?
        && session.is_active
        && browser.session.as_ref() != Some(&secret)
    {
        let cookies = [Some(browser.set_session(&secret)), browser.clear_attempt()];
        return Ok(ApiResponse::see_other(&cx.brand.config.storefront_url).with_cookies(cookies.into_iter().flatten()));
    }
    let held = match &browser.attempt {
        Some(secret) => super::pending(&cx.brand, secret).await?,
        None => None,
    };
    let (attempt, fresh) = match held {
        Some(attempt) => (attempt, None),
        None => begin(cx, req).await.map(|(attempt, secret)| (attempt, Some(secret)))?,
    };
    let (links, bot) = (links(cx, &attempt)?, &super::telegram(&cx.brand)?.bot);
    let page = page::waiting(&cx.brand.config, language(cx, req), &attempt, &links, bot, expiry(cx, &attempt))?;
    Ok(reply(cx, page).with_cookies(fresh.map(|secret| attempt_cookie(cx, req, &secret))))
}

async fn begin(cx: &RequestContext, req: &ApiRequest) -> Result<(Attempt, CookieSecret)> {
    super::start(
        &cx.brand,
        &RequestCookies::of(&cx.brand, req),
        req.header(USER_AGENT).unwrap_or_default(),
        cx.address.to_string(),
    )
    .await
}

fn expiry(cx: &RequestContext, attempt: &Attempt) -> Timestamp {
    attempt.created_at + cx.brand.config.session.attempt_lifetime
}

fn attempt_cookie(cx: &RequestContext, req: &ApiRequest, secret: &CookieSecret) -> SetCookie {
    let max_age_s = u32::try_from(cx.brand.config.session.attempt_lifetime.as_secs()).unwrap_or(u32::MAX);
    RequestCookies::of(&cx.brand, req).set_attempt(secret, max_age_s)
}

fn links(cx: &RequestContext, attempt: &Attempt) -> Result<Links> {
    let telegram = super::telegram(&cx.brand)?;
    let (bot, start) = (&telegram.bot, format!("auth_{}", attempt.token));
    Ok(Links {
        url: format!("{}/{bot}?start={start}", telegram.link_url),
        tg_url: format!("tg://resolve?domain={bot}&start={start}"),
        command: format!("/start {start}"),
    })
}

/// Whether a person's browser opens a link, as opposed to a program that calls an API.
fn is_navigation(req: &ApiRequest) -> bool {
    req.header(ACCEPT).is_some_and(|accept| accept.contains("text/html"))
}

/// What browsers say of themselves in `Sec-Fetch-*`, no script of theirs can change (Fetch Metadata Request Headers).
///
/// # Errors
/// 403 for a browser that runs no script of the storefront: a page of another site would log its visitor in.
fn check_program(cx: &RequestContext, req: &ApiRequest) -> Result<()> {
    let from_browser = req.headers().keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    match origin(cx, req) {
        Origin::Allowed(_) => Ok(()),
        Origin::Absent if !from_browser => Ok(()),
        _ => Err(Error::forbidden("not_for_browsers", "Only a page of the storefront can log anybody in like this.")),
    }
}

fn origin(cx: &RequestContext, req: &ApiRequest) -> Origin {
    Origin::from_headers(req.headers(), &cx.brand.config.origins, cx.brand.config.own_origin())
}

/// `GET /auth/telegram/callback`: signed data in the query or as JSON. A person's browser is asked first.
pub async fn callback(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    if is_navigation(&req) {
        let page = question_page(&cx, &req).await;
        return or_sorry(&cx, &req, page);
    }
    match req.query_pairs() {
        [] if req.media_type().is_empty() => Err(Error::malformed("bad_login", "Expected Telegram's login data.")),
        [] => accept(&cx, &mut req).await,
        pairs => {
            let data = SignedData::from_pairs(pairs.to_vec())?;
            log_in(&cx, &req, &data).await
        }
    }
}

/// `POST /auth/telegram/callback`: signed data as JSON, or the form of our own page.
pub async fn callback_post(cx: RequestContext, mut req: ApiRequest) -> Result<ApiResponse> {
    if req.media_type() == "application/x-www-form-urlencoded" {
        let confirmed = confirm(&cx, &mut req).await;
        return or_sorry(&cx, &req, confirmed);
    }
    accept(&cx, &mut req).await
}

async fn accept(cx: &RequestContext, req: &mut ApiRequest) -> Result<ApiResponse> {
    let data = SignedData::from_json(&req.json().await?)?;
    log_in(cx, req, &data).await
}

/// Direct: logs in whoever presents the data.
async fn log_in(cx: &RequestContext, req: &ApiRequest, data: &SignedData) -> Result<ApiResponse> {
    check_program(cx, req)?;
    let browser = RequestCookies::of(&cx.brand, req);
    let done = super::log_in(&cx.brand, data, &browser).await?;
    let body = json!({ "sessionId": done.session_id(), "message": "Authenticated successfully" });
    Ok(ApiResponse::json(&body)?.with_cookies(cookies_of(&done, &browser)))
}

async fn question_page(cx: &RequestContext, req: &ApiRequest) -> Result<ApiResponse> {
    let data = SignedData::from_pairs(req.query_pairs().to_vec())?;
    if data.attempt().is_some() {
        return Err(Error::forbidden("not_for_browsers", "An attempt is approved in the chat, not by a link."));
    }
    let browser = RequestCookies::of(&cx.brand, req);
    let visitor = browser.visitor.clone().map_or_else(CookieSecret::new, Ok)?;
    let token = super::begin_form(&cx.brand, &visitor, &data).await?;
    let page = page::question(&cx.brand.config, language(cx, req), &data, &token)?;
    Ok(reply(cx, page).with_cookies([browser.set_visitor(&visitor)]))
}

async fn confirm(cx: &RequestContext, req: &mut ApiRequest) -> Result<ApiResponse> {
    if origin(cx, req).is_allowed() {
        return Err(Error::forbidden("origin_not_allowed", "This form is for our own page alone."));
    }
    let mut pairs = req.form().await?;
    let place = pairs.iter().position(|(name, _)| name == "form_token");
    let token = place.map(|place| pairs.remove(place).1).unwrap_or_default();
    let data = SignedData::from_pairs(pairs)?;
    let browser = RequestCookies::of(&cx.brand, req);
    let done = super::confirm(&cx.brand, &token, &data, &browser).await?;
    Ok(ApiResponse::see_other(&cx.brand.config.storefront_url).with_cookies(cookies_of(&done, &browser)))
}

/// The session for who logged in here, in the place of an attempt; nothing for who approved another browser's.
fn cookies_of(done: &LoggedIn, browser: &RequestCookies) -> Vec<SetCookie> {
    match done {
        LoggedIn::Here { secret, .. } => {
            browser.clear_attempt().into_iter().chain([browser.set_session(secret)]).collect()
        }
        LoggedIn::Elsewhere { .. } => Vec::new(),
    }
}

fn reply(cx: &RequestContext, page: LoginPage) -> ApiResponse {
    ApiResponse::page(page.html, &page.nonce, &cx.brand.config.storefront_url)
}

/// A person reads why it did not work; what is our own fault goes on to the log as well.
fn or_sorry(cx: &RequestContext, req: &ApiRequest, done: Result<ApiResponse>) -> Result<ApiResponse> {
    done.or_else(|error| {
        if error.kind == Kind::Internal {
            return Err(error);
        }
        match error.kind {
            Kind::Unavailable { .. } | Kind::Timeout => {
                tracing::warn!(brand = cx.brand.name(), %error, "a page says why not")
            }
            _ => tracing::debug!(brand = cx.brand.name(), %error, "a page says why not"),
        }
        let page = page::sorry(&cx.brand.config, language(cx, req), &error)?;
        Ok(reply(cx, page).with_status_of(&error))
    })
}

/// Navigations cannot send `X-Language`; their browser's own languages speak for them.
fn language(cx: &RequestContext, req: &ApiRequest) -> Language {
    match req.headers().contains_key("x-language") {
        true => cx.language,
        false => Language::preferred(req.header(ACCEPT_LANGUAGE).unwrap_or_default()),
    }
}
