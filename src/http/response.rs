//! An answer on its way out: the one place that knows statuses and response headers.
//!
//! Handlers make a [`ApiResponse`], anything may make an `Error`; `serve` calls [`ApiResponse::finish`], but for answers that are remembered. What
//! must never happen: an answer without `Vary: Origin`, `nosniff` and its request id, or an error that shows its cause.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use crate::foundation::error::{Error, Kind, Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::cached_response::CachedResponse;
use crate::http::cookie::SetCookie;
use crate::http::response_headers::ResponseHeaders;

/// Who may keep an answer.
#[derive(Debug)]
enum Caching {
    /// Nobody.
    NoStore,
    /// Anybody who asks again each time: compressed, with an entity tag (contract section 2).
    Catalogue { language: Language, shows: Vec<i64> },
}

/// What a handler answers.
#[derive(Debug)]
pub struct ApiResponse {
    status: StatusCode,
    body: Bytes,
    caching: Caching,
    headers: HeaderMap,
}

impl ApiResponse {
    /// 200 with JSON that nobody keeps.
    pub fn json(value: &impl Serialize) -> Result<ApiResponse> {
        // No longer than its text: it may be kept.
        let body = serde_json::to_vec(value).or_internal()?.into_boxed_slice();
        Ok(ApiResponse::of_json(body.into()))
    }

    /// 200 with a list of what is JSON already, which nobody keeps.
    pub fn json_list<'a>(values: impl Iterator<Item = &'a Bytes>) -> ApiResponse {
        let mut body = vec![b'['];
        for (index, value) in values.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(value);
        }
        body.push(b']');
        ApiResponse::of_json(body.into())
    }

    fn of_json(body: Bytes) -> ApiResponse {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        ApiResponse { status: StatusCode::OK, body, caching: Caching::NoStore, headers }
    }

    /// 200 with JSON of the catalogue in this language that shows these items; it says the same to whoever asks the same.
    pub fn catalogue(value: &impl Serialize, language: Language, shows: Vec<i64>) -> Result<ApiResponse> {
        Ok(ApiResponse { caching: Caching::Catalogue { language, shows }, ..ApiResponse::json(value)? })
    }

    /// What a route that is remembered answered, for all who ask the same.
    ///
    /// # Errors
    /// A reply that is not of the catalogue: a fault in `routes`.
    pub fn into_answer(self, route: &'static str) -> Result<CachedResponse> {
        match self.caching {
            Caching::Catalogue { language, shows } => Ok(CachedResponse::new(self.body, language, shows, route)),
            Caching::NoStore => Err(Error::internal("a remembered route made a reply that is not for everybody")),
        }
    }

    /// Hands out or takes away cookies.
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = SetCookie>) -> ApiResponse {
        for cookie in cookies {
            self.headers.append(SET_COOKIE, cookie);
        }
        self
    }

    /// A page of our own for people: it loads nothing, runs nothing, is shown in no frame, and its forms lead nowhere but
    /// to us and (`on_to`, an origin) where our answer sends them on. `nonce` marks its one style sheet.
    pub fn page(html: String, nonce: &str, on_to: &str) -> ApiResponse {
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self' {on_to}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        let policy = HeaderValue::try_from(policy).expect("a nonce and a configured origin are ASCII");
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        ApiResponse { status: StatusCode::OK, body: html.into(), caching: Caching::NoStore, headers }
    }

    /// 303: the browser goes on to this URL with a GET.
    pub fn see_other(url: &str) -> ApiResponse {
        let mut reply = ApiResponse::no_content();
        reply.status = StatusCode::SEE_OTHER;
        reply.headers.insert(LOCATION, HeaderValue::from_str(url).expect("a configured URL is ASCII"));
        reply
    }

    /// The same with the status that `error` has, and what goes with it.
    pub fn with_status_of(mut self, error: &Error) -> ApiResponse {
        self.status = status_of(&error.kind);
        match &error.kind {
            Kind::MethodNotAllowed(allow) => {
                let allow = HeaderValue::from_str(allow).expect("method names are ASCII");
                self.headers.insert(ALLOW, allow);
            }
            Kind::Unavailable { retry_after_s } | Kind::TooManyRequests { retry_after_s } => {
                self.headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            _ => {}
        }
        self
    }

    /// 200 with `{"message": …}`.
    pub fn message(text: &str) -> Result<ApiResponse> {
        ApiResponse::json(&serde_json::json!({ "message": text }))
    }

    /// Names the language that the answer is in.
    pub fn in_language(mut self, language: Language) -> ApiResponse {
        self.headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        self
    }

    /// 204 to `OPTIONS`; `allow` lists the methods of the path.
    pub fn options(allow: &str) -> ApiResponse {
        let mut reply = ApiResponse::no_content();
        reply.headers.insert(ALLOW, HeaderValue::from_str(allow).expect("method names are ASCII"));
        reply
    }

    /// 204.
    pub fn no_content() -> ApiResponse {
        ApiResponse {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new(),
            caching: Caching::NoStore,
            headers: HeaderMap::new(),
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response as it leaves: caching, coding and the headers that every answer has.
    pub fn finish(self, asked: &ResponseHeaders<'_>) -> Response<Full<Bytes>> {
        let ApiResponse { status, mut body, caching, mut headers } = self;
        if let Caching::Catalogue { language, shows } = caching {
            return CachedResponse::new(body, language, shows, "").respond(asked, false);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        asked.apply(&mut headers);
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if asked.method == Method::HEAD {
            body = Bytes::new();
        }
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

fn status_of(kind: &Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        Kind::BadGateway => StatusCode::BAD_GATEWAY,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UriTooLong => StatusCode::URI_TOO_LONG,
        Kind::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl From<Error> for ApiResponse {
    fn from(error: Error) -> ApiResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            code: &'a str,
            #[serde(flatten)]
            data: &'a serde_json::Map<String, serde_json::Value>,
        }
        let body = Body { error: &error.public, code: error.code, data: &error.data };
        ApiResponse::json(&body).expect("texts and JSON values serialise").with_status_of(&error)
    }
}
