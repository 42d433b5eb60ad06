//! Responses of handlers and errors: the one place that sets status and headers.
//!
//! # Invariants
//!
//! - Every response has `Vary: Origin`, `nosniff` and a request id.
//! - The cause of an error is not part of its response.

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
use crate::http::cached_response::{CachedResponse, ResponseHook};
use crate::http::cookie::SetCookie;
use crate::http::response_headers::ResponseHeaders;

/// How clients and the server may cache a response.
#[derive(Debug)]
enum Caching {
    NoStore,
    /// Cached by the server; clients revalidate it with its entity tag.
    Catalogue {
        language: Language,
        item_ids: Vec<i64>,
        /// Whether it may change soon without a change of the catalogue.
        is_provisional: bool,
        hook: Option<ResponseHook>,
    },
}

/// The response of a handler.
#[derive(Debug)]
pub struct ApiResponse {
    status: StatusCode,
    body: Bytes,
    caching: Caching,
    headers: HeaderMap,
    /// Of an error.
    error_code: Option<&'static str>,
}

impl ApiResponse {
    /// 200 with JSON, `no-store`.
    pub fn json(value: &impl Serialize) -> Result<ApiResponse> {
        // Without spare capacity, because it may be cached.
        let body = serde_json::to_vec(value).or_internal()?.into_boxed_slice();
        Ok(ApiResponse::of_json(body.into()))
    }

    /// 200 with a JSON list of serialised values, `no-store`.
    pub fn json_list<'a>(values: impl Iterator<Item = &'a Bytes> + Clone) -> ApiResponse {
        // What clients leave unread is accounted for by its length, so its buffer has no spare capacity.
        let length = values.clone().map(|value| value.len() + 1).sum::<usize>().max(1) + 1;
        let mut body = Vec::with_capacity(length);
        body.push(b'[');
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
        ApiResponse { status: StatusCode::OK, body, caching: Caching::NoStore, headers, error_code: None }
    }

    /// 200 with JSON of the catalogue in this language that shows these items, the same for every client.
    pub fn catalogue(value: &impl Serialize, language: Language, item_ids: Vec<i64>) -> Result<ApiResponse> {
        Ok(ApiResponse {
            caching: Caching::Catalogue { language, item_ids, is_provisional: false, hook: None },
            ..ApiResponse::json(value)?
        })
    }

    /// Keeps a response of the catalogue out of the cache if it may change soon without a change of the catalogue.
    pub fn provisional_if(mut self, value: bool) -> ApiResponse {
        if let Caching::Catalogue { is_provisional, .. } = &mut self.caching {
            *is_provisional = value;
        }
        self
    }

    /// Runs the hook each time that the response of the catalogue is sent, also from the cache.
    pub fn with_hook(mut self, value: Option<ResponseHook>) -> ApiResponse {
        if let Caching::Catalogue { hook, .. } = &mut self.caching {
            *hook = value;
        }
        self
    }

    /// The response in the form in which it is cached.
    ///
    /// # Errors
    /// It was not made by [`ApiResponse::catalogue`], although its route is cached.
    pub fn into_cached(self, route: &'static str) -> Result<CachedResponse> {
        match self.caching {
            Caching::Catalogue { language, item_ids, is_provisional, hook } => {
                let mut response = CachedResponse::new(self.body, language, item_ids, route);
                (response.is_provisional, response.hook) = (is_provisional, hook);
                Ok(response)
            }
            Caching::NoStore => Err(Error::internal("a cached route returned a response that must not be cached")),
        }
    }

    /// Adds `Set-Cookie` headers.
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = SetCookie>) -> ApiResponse {
        for cookie in cookies {
            self.headers.append(SET_COOKIE, cookie);
        }
        self
    }

    /// 200 with an HTML page that loads nothing, runs no script, is shown in no frame, and whose form is sent to the
    /// API's own origin alone; the response may redirect to `redirect_origin`. `nonce` marks its one style sheet.
    pub fn page(html: String, nonce: &str, redirect_origin: &str) -> ApiResponse {
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self' {redirect_origin}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        let policy = HeaderValue::try_from(policy).expect("a nonce and a configured origin are ASCII");
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        ApiResponse { status: StatusCode::OK, body: html.into(), caching: Caching::NoStore, headers, error_code: None }
    }

    /// 303: redirects to this URL with GET.
    pub fn see_other(url: &str) -> ApiResponse {
        let mut response = ApiResponse::no_content();
        response.status = StatusCode::SEE_OTHER;
        response.headers.insert(LOCATION, HeaderValue::from_str(url).expect("a configured URL is ASCII"));
        response
    }

    /// Sets the status of an error and the headers that belong to it (`Allow`, `Retry-After`).
    pub fn with_status_of(mut self, error: &Error) -> ApiResponse {
        self.status = status_of(&error.kind);
        self.error_code = Some(error.code);
        match &error.kind {
            Kind::MethodNotAllowed(allow) => {
                let allow = HeaderValue::from_str(allow).expect("method names are ASCII");
                self.headers.insert(ALLOW, allow);
            }
            Kind::Unavailable { retry_after_s }
            | Kind::Overloaded { retry_after_s }
            | Kind::TooManyRequests { retry_after_s } => {
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

    /// Sets `Content-Language`.
    pub fn in_language(mut self, language: Language) -> ApiResponse {
        self.headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        self
    }

    /// 204 with `Allow`.
    pub fn options(allow: &str) -> ApiResponse {
        let mut response = ApiResponse::no_content();
        response.headers.insert(ALLOW, HeaderValue::from_str(allow).expect("method names are ASCII"));
        response
    }

    /// 204.
    pub fn no_content() -> ApiResponse {
        ApiResponse {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new(),
            caching: Caching::NoStore,
            headers: HeaderMap::new(),
            error_code: None,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The machine-readable code of the error that this response reports.
    pub(crate) fn error_code(&self) -> Option<&'static str> {
        self.error_code
    }

    /// Adds caching, content coding and the headers that every response has.
    pub fn finish(self, request: &ResponseHeaders<'_>) -> Response<Full<Bytes>> {
        let ApiResponse { status, mut body, caching, mut headers, .. } = self;
        if let Caching::Catalogue { language, item_ids, hook, .. } = caching {
            let mut response = CachedResponse::new(body, language, item_ids, "");
            response.hook = hook;
            return response.respond(request, false);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        request.apply(&mut headers);
        if status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if request.method == Method::HEAD {
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
        Kind::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
        Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UriTooLong => StatusCode::URI_TOO_LONG,
        Kind::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unavailable { .. } | Kind::Overloaded { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Kind::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
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
