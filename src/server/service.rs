//! The service of a brand: what happens to every request, whatever its route.
//!
//! 1. [`BrandService::try_cached`] answers from the cache without waiting.
//! 2. [`BrandService::handle`] admits the request, lets its handler respond and finishes the response: rate limit,
//!    deadline, body limit, response headers, metrics, trace and access log.
//!
//! # Invariants
//!
//! - Every request gets a response: an error or panic in a handler is answered and ends no other request.
//! - A handler that writes is not interrupted when its client disconnects (see [`TaskMode`]).

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShed;
use tower::load_shed::error::Overloaded;
use tower::util::{ServiceExt, ServiceFn};

use crate::foundation::error::{Error, Kind, Result, ResultExt};
use crate::http::cached_response::CachedResponse;
use crate::http::cors::{self, Origin};
use crate::http::rate_limit::QuotaUsage;
use crate::http::request::RequestBody;
use crate::http::request_head;
use crate::http::request_id;
use crate::http::response::ApiResponse;
use crate::http::response_headers::ResponseHeaders;
use crate::http::router::{Route, Router, TaskMode};
use crate::server::admission::{self, Admission, Admitted};
use crate::telemetry::{metrics, traces};
use crate::tenant::brand::Brand;
use crate::tenant::cache::{self, Lookup};
use crate::tenant::context::{self, RequestContext};

/// A call of a handler, for the middleware around it.
struct HandlerCall(HandlerFuture);
type HandlerFuture = Pin<Box<dyn Future<Output = Result<ApiResponse>> + Send>>;
type HandlerService = LoadShed<ConcurrencyLimit<ServiceFn<fn(HandlerCall) -> HandlerFuture>>>;

/// The middleware around the handlers of a brand: a concurrency limit that rejects at once instead of queueing.
fn handler_service(brand: &Brand) -> HandlerService {
    ServiceBuilder::new()
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(brand.config.limits.requests))
        .service(tower::service_fn((|call| call.0) as fn(HandlerCall) -> HandlerFuture))
}

/// The service of a brand under one configuration.
pub(crate) struct BrandService {
    brand: Arc<Brand>,
    router: Arc<Router<RequestContext>>,
    handlers: HandlerService,
}

/// A request that the cache could not answer.
pub(crate) struct PendingRequest {
    started_at: Instant,
    parts: Parts,
    body: Incoming,
    request_id: HeaderValue,
    origin: Origin,
    /// The key of its response, if its route turns out to be cached.
    cache_key: Option<Vec<u8>>,
}

/// What of a request is needed to finish its response.
struct RequestHead {
    started_at: Instant,
    method: Method,
    version: Version,
    headers: Arc<HeaderMap>,
    request_id: HeaderValue,
    origin: Origin,
    is_preflight: bool,
}

/// What a request came to, before the headers that all responses share are added.
struct Outcome {
    result: Result<Content>,
    /// The context of a handler that has run: its cookies and rate limits go out with errors too.
    context: Option<RequestContext>,
}

enum Content {
    Response(ApiResponse),
    Cached { response: Arc<CachedResponse>, is_stale: bool },
}

impl Outcome {
    /// Of a request that no handler was called for.
    fn without_handler(result: Result<ApiResponse>) -> Outcome {
        Outcome { result: result.map(Content::Response), context: None }
    }
}

impl BrandService {
    pub(crate) fn new(brand: Arc<Brand>, router: Arc<Router<RequestContext>>) -> BrandService {
        BrandService { handlers: handler_service(&brand), router, brand }
    }

    pub(crate) fn brand(&self) -> &Arc<Brand> {
        &self.brand
    }

    /// The cached response to a request; otherwise what [`BrandService::handle`] takes.
    pub(crate) fn try_cached(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Box<PendingRequest>> {
        let started_at = Instant::now();
        let (parts, body) = request.into_parts();
        let request_id = request_id::from_headers(&parts.headers);
        let origin = Origin::from_headers(&parts.headers, &self.brand.config.origins, self.brand.config.own_origin());
        let cache_key = if body.is_end_stream() { self.cache_key(&parts) } else { None };
        if let Some((cached, is_stale)) = cache_key.as_deref().and_then(|key| self.find_cached(key, started_at)) {
            let headers = self.response_headers(&parts.method, &parts.headers, &origin, &request_id);
            let response = cached.respond(&headers, is_stale);
            self.record(cached.route, &headers, response.status(), started_at);
            return Ok(response);
        }
        Err(Box::new(PendingRequest { started_at, parts, body, request_id, origin, cache_key }))
    }

    /// The response to a request that the cache could not answer.
    pub(crate) async fn handle(&self, request: Box<PendingRequest>, client: IpAddr) -> Response<Full<Bytes>> {
        let PendingRequest { started_at, parts, body, request_id, origin, cache_key } = *request;
        let body = RequestBody::new(body, self.brand.config.limits.body_bytes, request_head::awaits_continue(&parts));
        let body_consumed = body.consumed();
        let Admission { route, result: admitted } =
            admission::admit(&self.brand, &self.router, &parts, &body, &origin, client);
        let is_preflight = cors::is_preflight(&parts);
        let Parts { method, version, headers, .. } = parts;
        let headers = Arc::new(headers);
        let head = RequestHead { started_at, method, version, headers, request_id, origin, is_preflight };
        let outcome = self.respond(admitted, cache_key, &head.headers, body).await;
        self.finish(&head, route, outcome, body_consumed.get())
    }

    /// The key of the response in the cache; `None` for a request that has none, or that is to be rejected.
    fn cache_key(&self, parts: &Parts) -> Option<Vec<u8>> {
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_read || admission::check_head(parts, &self.brand.config.limits).is_err() {
            return None;
        }
        let (region, language) = context::from_headers(&parts.headers).ok()?;
        Some(cache::key(language, region, parts.uri.path_and_query()?.as_str()))
    }

    /// A cached response, and whether it may be stale.
    fn find_cached(&self, key: &[u8], now: Instant) -> Option<(Arc<CachedResponse>, bool)> {
        match self.brand.cache.find(key, now) {
            Lookup::Current(response) => {
                self.brand.metrics.cache_hit();
                Some((response, false))
            }
            Lookup::Stale(response) => {
                self.brand.metrics.cache_stale_hit();
                Some((response, true))
            }
            Lookup::Miss => None,
        }
    }

    /// Calls the handler of an admitted request, or answers it without one.
    async fn respond(
        &self,
        admitted: Result<Admitted<'_>>,
        cache_key: Option<Vec<u8>>,
        headers: &Arc<HeaderMap>,
        body: RequestBody,
    ) -> Outcome {
        match admitted {
            Ok(Admitted::Preflight) => Outcome::without_handler(Ok(ApiResponse::no_content())),
            Ok(Admitted::Options(allow)) => Outcome::without_handler(Ok(ApiResponse::options(allow))),
            Ok(Admitted::Handler(route, context)) => match cache_key.filter(|_| route.rules.is_cached) {
                Some(key) => Outcome { result: self.respond_cached(&key, route, context).await, context: None },
                None => {
                    let result = self.call_with_body(route, context.clone(), headers, body).await;
                    Outcome { result: result.map(Content::Response), context: Some(context) }
                }
            },
            Err(error) => {
                body.drain(self.brand.config.timeouts.head).await;
                Outcome::without_handler(Err(error))
            }
        }
    }

    /// Fills the cache with the handler's response. Concurrent requests for the same key share one call.
    async fn respond_cached(
        &self,
        key: &[u8],
        route: Route<'_, RequestContext>,
        context: RequestContext,
    ) -> Result<Content> {
        self.brand.metrics.cache_miss();
        let pattern = route.pattern;
        let make = async { self.call(route, context).await?.into_cached(pattern) };
        let made = self.brand.cache.fetch_or_stale(key, self.brand.config.timeouts.request, make).await;
        made.map(|(response, is_stale)| Content::Cached { response, is_stale })
    }

    /// Calls a handler that may read the whole request, if the rules of its route allow it.
    async fn call_with_body(
        &self,
        mut route: Route<'_, RequestContext>,
        context: RequestContext,
        headers: &Arc<HeaderMap>,
        body: RequestBody,
    ) -> Result<ApiResponse> {
        if let Err(error) = context.check_rules(&route.rules, headers).await {
            body.drain(self.brand.config.timeouts.head).await;
            return Err(error);
        }
        // Also for a handler that ignores it: over HTTP/2, curl loses a response that precedes the end of its request.
        let read = tokio::time::timeout(self.brand.config.timeouts.request, body.read()).await;
        route.req = route.req.with_body(headers.clone(), read.or_timeout().and_then(|body| body));
        self.call(route, context).await
    }

    /// Calls a handler within the request timeout.
    async fn call(&self, route: Route<'_, RequestContext>, context: RequestContext) -> Result<ApiResponse> {
        let (mode, timeout) = (route.rules.task_mode, self.brand.config.timeouts.request);
        let handler = self.handlers.clone().oneshot(HandlerCall(route.call(context)));
        let result = match mode {
            TaskMode::CancelOnDisconnect => {
                let caught = AssertUnwindSafe(handler).catch_unwind();
                let caught = tokio::time::timeout(timeout, caught).await.or_timeout()?;
                caught.map_err(|panic| Error::internal(format!("a handler panicked: {}", panic_text(&*panic))))?
            }
            TaskMode::DetachedUntilDeadline => {
                let task = tokio::spawn(tokio::time::timeout(timeout, handler));
                task.await.or_internal()?.or_timeout()?
            }
            TaskMode::Detached => {
                let task = tokio::spawn(handler);
                tokio::time::timeout(timeout, task).await.or_timeout()?.or_internal()?
            }
        };
        result.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) if error.is::<Overloaded>() => Error::overloaded(),
            Err(error) => Error::internal(error),
        })
    }

    /// Adds what all responses have, and records the request.
    fn finish(
        &self,
        head: &RequestHead,
        route: &'static str,
        outcome: Outcome,
        body_consumed: bool,
    ) -> Response<Full<Bytes>> {
        let headers = self.response_headers(&head.method, &head.headers, &head.origin, &head.request_id);
        let content = outcome.result.unwrap_or_else(|error| {
            self.log_error(&error, &head.request_id);
            Content::Response(ApiResponse::from(error))
        });
        let mut response = match content {
            Content::Response(response) => response.finish(&headers),
            Content::Cached { response, is_stale } => response.respond(&headers, is_stale),
        };
        if head.is_preflight {
            head.origin.allow_preflight(response.headers_mut());
        }
        if let Some(context) = outcome.context {
            let mut extras = context.extras();
            QuotaUsage::write_headers(&extras.quotas, response.headers_mut());
            for cookie in extras.cookies.drain(..) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        if head.version < Version::HTTP_2 && !body_consumed {
            // hyper closes a connection with an unread body; without this header the client would reuse it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.record(route, &headers, response.status(), head.started_at);
        response
    }

    fn response_headers<'a>(
        &self,
        method: &'a Method,
        headers: &'a HeaderMap,
        origin: &'a Origin,
        request_id: &'a HeaderValue,
    ) -> ResponseHeaders<'a> {
        ResponseHeaders { method, headers, origin, request_id, hsts: !self.brand.config.is_local() }
    }

    /// Records a finished request in metrics, trace and access log.
    fn record(&self, route: &'static str, request: &ResponseHeaders<'_>, status: StatusCode, started_at: Instant) {
        let (method, status, duration) = (request.method, status.as_u16(), started_at.elapsed());
        self.brand.metrics.request_finished(method, route, status, duration);
        let record = traces::RequestRecord {
            brand: self.brand.name(),
            method: metrics::method_label(method),
            route,
            status,
            request_id: request.request_id,
            duration,
        };
        traces::record(request.headers, &record);
        tracing::info!(
            brand = self.brand.name(),
            request = request.request_id.to_str().unwrap_or_default(),
            %method,
            route,
            status,
            us = duration.as_micros() as u64,
            "request completed"
        );
    }

    /// Logs what needs action as an error, what passes by itself as a warning, and mistakes of clients for debugging
    /// alone.
    fn log_error(&self, error: &Error, request_id: &HeaderValue) {
        let (brand, request, at) = (self.brand.name(), request_id.to_str().unwrap_or_default(), error.at);
        match error.kind {
            Kind::Internal => tracing::error!(brand, request, %at, %error, "request failed"),
            Kind::Unavailable { .. } | Kind::Timeout => {
                tracing::warn!(brand, request, %at, %error, "request failed: a dependency is unavailable or too slow");
            }
            _ => tracing::debug!(brand, request, %at, %error, "request rejected"),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
