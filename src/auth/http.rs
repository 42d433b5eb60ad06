//! The endpoints of sessions and logins (contract section 7).

use hyper::header::{ACCEPT_LANGUAGE, USER_AGENT};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::foundation::clock::whole_seconds;
use crate::foundation::error::{Error, Kind, Result};
use crate::foundation::language::Language;
use crate::http::cookie::{CookieSecret, SetCookie};
use crate::http::cors::Origin;
use crate::http::fetch_metadata;
use crate::http::request::{self, ApiRequest};
use crate::http::response::ApiResponse;
use crate::session::{RequestCookies, Session};
use crate::tenant::context::RequestContext;

use super::login_page::{self, AttemptLinks, LoginPage};
use super::{Attempt, LoggedIn, SessionState, SignedData, return_origin};

/// `GET /auth/session`: the caller's session. Extends an active one and its cookie; claims the session of an approved attempt.
pub(crate) async fn session(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let cookies = RequestCookies::from_request(&cx.brand, &req);
    match super::session_state(&cx.brand, &cookies).await? {
        SessionState::Found { session, secret, has_pending_attempt } => {
            let caller = match session.is_active {
                true => cookies.set_session(&secret),
                false => cookies.issue_visitor()?,
            };
            let attempt = if has_pending_attempt { None } else { cookies.clear_attempt() };
            let body = SessionResponse::from(&session);
            Ok(ApiResponse::json(&body)?.with_cookies([caller].into_iter().chain(attempt)))
        }
        SessionState::AttemptPending => no_session(&cx, &req, &cookies, None),
        SessionState::Anonymous => no_session(&cx, &req, &cookies, cookies.clear_attempt()),
    }
}

/// 401 with the visitor's cookie; the body is the documented one, without a code.
fn no_session(
    cx: &RequestContext,
    req: &ApiRequest,
    cookies: &RequestCookies,
    attempt: Option<SetCookie>,
) -> Result<ApiResponse> {
    let error = Error::unauthorized("no_session", "No active session");
    let origin = return_origin::store(&cx.brand.config, req);
    let set_cookies = [Some(cookies.issue_visitor()?), cookies.clear_session(), attempt, origin];
    let response = ApiResponse::json(&json!({ "error": error.public }))?;
    Ok(response.with_status_of(&error).with_cookies(set_cookies.into_iter().flatten()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionResponse<'s> {
    session_id: &'s str,
    telegram_user_id: i64,
    username: Option<&'s str>,
    display_name: &'s str,
    active: bool,
    expires_at: String,
}

impl<'s> From<&'s Session> for SessionResponse<'s> {
    fn from(session: &'s Session) -> SessionResponse<'s> {
        SessionResponse {
            session_id: &session.id,
            telegram_user_id: session.user.id,
            username: session.user.username.as_deref(),
            display_name: &session.user.display_name,
            active: session.is_active,
            expires_at: whole_seconds(session.expires_at),
        }
    }
}

/// `POST /auth/logout`: ends the session on every instance, with `{"everywhere": true}` all sessions of the user; the browser
/// continues as a new visitor.
pub(crate) async fn log_out(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let everywhere = wants_logout_everywhere(&req)?;
    let cookies = RequestCookies::from_request(&cx.brand, &req);
    super::log_out(&cx.brand, &cookies, everywhere).await?;
    let visitor = cookies.set_visitor(&CookieSecret::new()?);
    let set_cookies = [Some(visitor), cookies.clear_session(), cookies.clear_attempt()];
    Ok(ApiResponse::message("Logged out")?.with_cookies(set_cookies.into_iter().flatten()))
}

/// The body is optional; one that is not JSON is ignored.
fn wants_logout_everywhere(req: &ApiRequest) -> Result<bool> {
    if req.media_type() != "application/json" {
        return Ok(false);
    }
    let body = req.body();
    if body.is_empty() {
        return Ok(false);
    }
    match request::json(body)?.get("everywhere") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(everywhere)) => Ok(*everywhere),
        Some(_) => Err(Error::malformed("bad_logout", "everywhere: expected true or false")),
    }
}

/// `POST /auth/telegram/start`: starts an attempt, for a front end that shows the number itself.
pub(crate) async fn start(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let (attempt, secret) = start_attempt(&cx, &req).await?;
    let links = attempt_links(&cx, &attempt)?;
    let body = json!({
        "url": links.url,
        "tgUrl": links.tg_url,
        "command": links.command,
        "code": attempt.code,
        "expiresAt": whole_seconds(expires_at(&cx, &attempt)),
    });
    let origin = return_origin::store(&cx.brand.config, &req);
    Ok(ApiResponse::json(&body)?.with_cookies([attempt_cookie(&cx, &req, &secret)].into_iter().chain(origin)))
}

/// `GET /auth/telegram/start`: the same as a page, for a front end that can only link. A browser with a pending attempt gets
/// that one again.
pub(crate) async fn start_page(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    let response = attempt_page(&cx, &req).await;
    or_error_page(&cx, &req, response)
}

async fn attempt_page(cx: &RequestContext, req: &ApiRequest) -> Result<ApiResponse> {
    let cookies = RequestCookies::from_request(&cx.brand, req);
    if let Some(redirect) = claimed_redirect(cx, req, &cookies).await? {
        return Ok(redirect);
    }
    let pending = match &cookies.attempt {
        Some(secret) => super::pending_attempt(&cx.brand, secret).await?,
        None => None,
    };
    let (attempt, new_secret) = match pending {
        Some(attempt) => (attempt, None),
        None => start_attempt(cx, req).await.map(|(attempt, secret)| (attempt, Some(secret)))?,
    };
    let links = attempt_links(cx, &attempt)?;
    let page =
        login_page::attempt_page(&cx.brand.config, language(cx, req), &attempt, &links, expires_at(cx, &attempt))?;
    let origin = return_origin::store(&cx.brand.config, req);
    let attempt = new_secret.map(|secret| attempt_cookie(cx, req, &secret));
    Ok(page_response(cx, req, page).with_cookies(attempt.into_iter().chain(origin)))
}

/// When the attempt was approved while its page was open, reloading the page leads back to the shop.
async fn claimed_redirect(
    cx: &RequestContext,
    req: &ApiRequest,
    cookies: &RequestCookies,
) -> Result<Option<ApiResponse>> {
    if cookies.attempt.is_some()
        && let SessionState::Found { session, secret, has_pending_attempt: false } =
            super::session_state(&cx.brand, cookies).await?
        && session.is_active
        && cookies.session.as_ref() != Some(&secret)
    {
        let set_cookies = [Some(cookies.set_session(&secret)), cookies.clear_attempt()];
        let redirect = ApiResponse::see_other(return_origin::return_origin(&cx.brand.config, req));
        return Ok(Some(redirect.with_cookies(set_cookies.into_iter().flatten())));
    }
    Ok(None)
}

async fn start_attempt(cx: &RequestContext, req: &ApiRequest) -> Result<(Attempt, CookieSecret)> {
    let cookies = RequestCookies::from_request(&cx.brand, req);
    let user_agent = req.header(USER_AGENT).unwrap_or_default();
    super::start_attempt(&cx.brand, &cookies, user_agent, cx.address.to_string()).await
}

fn expires_at(cx: &RequestContext, attempt: &Attempt) -> Timestamp {
    attempt.created_at + cx.brand.config.session.attempt_lifetime
}

fn attempt_cookie(cx: &RequestContext, req: &ApiRequest, secret: &CookieSecret) -> SetCookie {
    let max_age_s = u32::try_from(cx.brand.config.session.attempt_lifetime.as_secs()).unwrap_or(u32::MAX);
    RequestCookies::from_request(&cx.brand, req).set_attempt(secret, max_age_s)
}

fn attempt_links(cx: &RequestContext, attempt: &Attempt) -> Result<AttemptLinks> {
    let telegram = super::telegram_config(&cx.brand)?;
    let (bot, start) = (&telegram.bot, format!("auth_{}", attempt.token));
    Ok(AttemptLinks {
        bot: format!("@{bot}"),
        url: format!("{}/{bot}?start={start}", telegram.link_url),
        tg_url: format!("tg://resolve?domain={bot}&start={start}"),
        command: format!("/start {start}"),
    })
}

/// `GET /auth/telegram/callback`: signed data in the query or as JSON. A navigation gets the confirmation page.
pub(crate) async fn callback(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    if fetch_metadata::opens_page(req.headers()) {
        let data = SignedData::from_pairs(req.query_pairs().to_vec());
        let response = confirmation_page(&cx, &req, data).await;
        return or_error_page(&cx, &req, response);
    }
    match req.query_pairs() {
        [] if req.media_type().is_empty() => Err(Error::malformed("bad_login", "Expected Telegram's login data.")),
        [] => log_in_with_json(&cx, &req).await,
        pairs => {
            let data = SignedData::from_pairs(pairs.to_vec())?;
            match data.requires_confirmation() {
                // A link preview, or a browser that does not say that it wants a page.
                true => {
                    let response = confirmation_page(&cx, &req, Ok(data)).await;
                    or_error_page(&cx, &req, response)
                }
                false => log_in(&cx, &req, &data).await,
            }
        }
    }
}

/// `POST /auth/telegram/callback`: signed data as JSON, or the form of the confirmation page.
pub(crate) async fn callback_post(cx: RequestContext, req: ApiRequest) -> Result<ApiResponse> {
    if req.media_type() == "application/x-www-form-urlencoded" {
        let response = confirm_form(&cx, &req).await;
        return or_error_page(&cx, &req, response);
    }
    log_in_with_json(&cx, &req).await
}

async fn log_in_with_json(cx: &RequestContext, req: &ApiRequest) -> Result<ApiResponse> {
    let data = SignedData::from_json(&req.json()?)?;
    log_in(cx, req, &data).await
}

async fn log_in(cx: &RequestContext, req: &ApiRequest, data: &SignedData) -> Result<ApiResponse> {
    check_fetch_metadata(cx, req)?;
    let cookies = RequestCookies::from_request(&cx.brand, req);
    let logged_in = super::log_in(&cx.brand, data, &cookies).await?;
    let body = json!({ "sessionId": logged_in.session_id(), "message": "Authenticated successfully" });
    Ok(ApiResponse::json(&body)?.with_cookies(login_cookies(&logged_in, &cookies)))
}

async fn confirmation_page(cx: &RequestContext, req: &ApiRequest, data: Result<SignedData>) -> Result<ApiResponse> {
    let data = data?;
    if data.attempt().is_some() {
        return Err(Error::forbidden("not_for_browsers", "An attempt is approved in the chat, not by a link."));
    }
    let cookies = RequestCookies::from_request(&cx.brand, req);
    let visitor = cookies.visitor.clone().map_or_else(CookieSecret::new, Ok)?;
    let token = super::issue_form_token(&cx.brand, &visitor, &data).await?;
    let page = login_page::confirmation_page(&cx.brand.config, language(cx, req), &data, &token)?;
    Ok(page_response(cx, req, page).with_cookies([cookies.set_visitor(&visitor)]))
}

async fn confirm_form(cx: &RequestContext, req: &ApiRequest) -> Result<ApiResponse> {
    if origin(cx, req).is_allowed() {
        return Err(Error::forbidden("origin_not_allowed", "Only our own page can send this form."));
    }
    let mut pairs = req.form()?;
    let position = pairs.iter().position(|(name, _)| name == "form_token");
    let token = position.map(|position| pairs.remove(position).1).unwrap_or_default();
    let data = SignedData::from_pairs(pairs)?;
    let cookies = RequestCookies::from_request(&cx.brand, req);
    let logged_in = super::confirm_form(&cx.brand, &token, &data, &cookies).await?;
    let redirect = ApiResponse::see_other(return_origin::return_origin(&cx.brand.config, req));
    Ok(redirect.with_cookies(login_cookies(&logged_in, &cookies)))
}

/// The new session, which replaces a pending attempt; none when another browser's attempt was approved.
fn login_cookies(logged_in: &LoggedIn, cookies: &RequestCookies) -> Vec<SetCookie> {
    match logged_in {
        LoggedIn::ThisBrowser { secret, .. } => {
            cookies.clear_attempt().into_iter().chain([cookies.set_session(secret)]).collect()
        }
        LoggedIn::OtherBrowser { .. } => Vec::new(),
    }
}

/// Accepts scripts of the storefront and programs. Scripts cannot forge `Sec-Fetch-*` (Fetch Metadata Request Headers).
///
/// # Errors
/// 403 for a request that another site's page makes: it would log its visitor in.
fn check_fetch_metadata(cx: &RequestContext, req: &ApiRequest) -> Result<()> {
    let from_browser = fetch_metadata::is_from_browser(req.headers());
    match origin(cx, req) {
        Origin::Allowed(_) => Ok(()),
        Origin::Absent if !from_browser => Ok(()),
        _ => Err(Error::forbidden("not_for_browsers", "Only a page of the storefront can log a visitor in like this.")),
    }
}

fn origin(cx: &RequestContext, req: &ApiRequest) -> Origin {
    Origin::from_headers(req.headers(), &cx.brand.config.origins, cx.brand.config.own_origin())
}

fn page_response(cx: &RequestContext, req: &ApiRequest, page: LoginPage) -> ApiResponse {
    ApiResponse::page(page.html, &page.nonce, return_origin::return_origin(&cx.brand.config, req))
}

/// Turns an error into a page for the visitor. Internal errors stay errors, so that they are logged as such.
fn or_error_page(cx: &RequestContext, req: &ApiRequest, response: Result<ApiResponse>) -> Result<ApiResponse> {
    let Err(error) = response else { return response };
    let brand = cx.brand.name();
    match error.kind {
        Kind::Internal => return Err(error),
        Kind::Unavailable { .. } | Kind::Timeout => {
            tracing::warn!(brand, %error, "login failed; showing an error page")
        }
        _ => tracing::debug!(brand, %error, "login rejected; showing an error page"),
    }
    let page = login_page::error_page(&cx.brand.config, language(cx, req), &error)?;
    Ok(page_response(cx, req, page).with_status_of(&error))
}

/// Navigations cannot send `X-Language`: for them the browser's own languages count.
fn language(cx: &RequestContext, req: &ApiRequest) -> Language {
    match req.headers().contains_key("x-language") {
        true => cx.language,
        false => Language::preferred(req.header(ACCEPT_LANGUAGE).unwrap_or_default()),
    }
}
