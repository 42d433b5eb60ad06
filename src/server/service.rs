//! The service of a brand: what happens to every request, whatever its route.
//!
//! 1. [`BrandService::try_cached`] answers from the cache without waiting.
//! 2. [`BrandService::handle`] admits the request, reads its body, takes a permit, lets its handler respond and finishes
//!    the response: rate limit, deadline, response headers, metrics, trace and access log.
//!
//! # Invariants
//!
//! - Every request gets a response: an error or panic in a handler is answered and ends no other request.
//! - A handler that writes is not interrupted when its client disconnects (see [`TaskMode`]).
//! - A permit is taken when the whole request is here, and held until the handler has ended and the response was written.
//! - A rejected request keeps nothing but its response while the rest of its body is discarded.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::foundation::error::{Error, Kind, Result, ResultExt};
use crate::http::cached_response::CachedResponse;
use crate::http::cors::{self, Origin};
use crate::http::rate_limit::QuotaUsage;
use crate::http::request::RequestBody;
use crate::http::request_id;
use crate::http::response::ApiResponse;
use crate::http::response_headers::ResponseHeaders;
use crate::http::router::{Lane, Route, Router, TaskMode};
use crate::server::admission::{self, Admission, Admitted};
use crate::server::clients::ConnectionClient;
use crate::server::response_body::{HeldForResponse, ResponseBody};
use crate::telemetry::{metrics, traces};
use crate::tenant::account::{Level, Reservation, Resource};
use crate::tenant::brand::Brand;
use crate::tenant::cache::{self, Lookup};
use crate::tenant::context::{self, RequestContext};

/// How often a body is polled before the request counts as an upload: a body that arrived with its head is complete by
/// then, and needs no place among those that are waited for.
const POLLS_BEFORE_UPLOAD: u32 = 4;

/// What a response takes in memory besides its body.
const RESPONSE_OVERHEAD_BYTES: u64 = 1_024;

/// The service of a brand under one configuration.
pub(crate) struct BrandService {
    brand: Arc<Brand>,
    router: Arc<Router<RequestContext>>,
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
    /// Of a handler that has run.
    permit: Option<Reservation>,
    body: BodyState,
    lane: Lane,
}

enum Content {
    Response(ApiResponse),
    /// `is_shared`: other requests, or the cache, hold the same bytes.
    Cached {
        response: Arc<CachedResponse>,
        is_stale: bool,
        is_shared: bool,
    },
}

/// What is left of the body of a request when its response is made.
enum BodyState {
    Read,
    /// It is discarded, so that the client gets to read the response.
    Unread(RequestBody),
    /// It is too large or too slow to be read.
    Abandoned,
}

impl BodyState {
    fn of(body: RequestBody) -> BodyState {
        if body.is_end() { BodyState::Read } else { BodyState::Unread(body) }
    }
}

impl Outcome {
    /// Of a request that no handler was called for.
    fn without_handler(result: Result<ApiResponse>, body: BodyState) -> Outcome {
        Outcome { result: result.map(Content::Response), context: None, permit: None, body, lane: Lane::Write }
    }
}

impl BrandService {
    pub(crate) fn new(brand: Arc<Brand>, router: Arc<Router<RequestContext>>) -> BrandService {
        BrandService { brand, router }
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
    pub(crate) async fn handle(
        &self,
        request: Box<PendingRequest>,
        client: ConnectionClient,
    ) -> Response<ResponseBody> {
        let PendingRequest { started_at, parts, body, request_id, origin, cache_key } = *request;
        let body = RequestBody::new(body, self.brand.config.limits.body_bytes);
        let Admission { route, result: admitted } =
            admission::admit(&self.brand, &self.router, &parts, &body, &origin, client.address);
        let is_preflight = cors::is_preflight(&parts);
        let Parts { method, version, headers, .. } = parts;
        let headers = Arc::new(headers);
        let head = RequestHead { started_at, method, headers, request_id, origin, is_preflight };
        let call = Call { service: self, client: &client, head: &head };
        let mut outcome = call.respond(admitted, cache_key, body).await;
        let body = std::mem::replace(&mut outcome.body, BodyState::Read);
        let mut response = self.finish(&head, route, outcome, &client);
        drop(head);
        let is_read = match body {
            BodyState::Read => true,
            BodyState::Unread(body) => self.discard(body, &client).await,
            BodyState::Abandoned => false,
        };
        if version < Version::HTTP_2 && !is_read {
            // hyper closes a connection with an unread body; without this header the client would reuse it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Discards the rest of a body. Returns whether it was read to its end.
    async fn discard(&self, body: RequestBody, client: &ConnectionClient) -> bool {
        let percent = self.brand.config.limits.reads_percent;
        let Ok(_upload) = client.account.reserve(Resource::Uploads, 1, percent) else { return false };
        body.discard(self.brand.config.timeouts.head).await
    }

    /// The share of the brand's requests and uploads that a lane may take.
    fn percent(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Essential => 100,
            Lane::Write => self.brand.config.limits.writes_percent,
            Lane::Read => self.brand.config.limits.reads_percent,
        }
    }

    /// 503 for a request that would exceed a limit, which is counted.
    fn overloaded(&self, resource: Resource, level: Level) -> Error {
        self.brand.metrics.limit_refusals(resource.name(), level.name()).inc();
        Error::overloaded()
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

    /// Adds what all responses have, reserves what it takes until it was written, and records the request.
    fn finish(
        &self,
        head: &RequestHead,
        route: &'static str,
        outcome: Outcome,
        client: &ConnectionClient,
    ) -> Response<ResponseBody> {
        let headers = self.response_headers(&head.method, &head.headers, &head.origin, &head.request_id);
        let make = |result: Result<Content>| {
            let content = result.unwrap_or_else(|error| {
                self.log_error(&error, &head.request_id);
                Content::Response(ApiResponse::from(error))
            });
            match content {
                Content::Response(response) => (response.finish(&headers), false),
                Content::Cached { response, is_stale, is_shared } => (response.respond(&headers, is_stale), is_shared),
            }
        };
        let (mut response, is_shared) = make(outcome.result);
        let mut held = None;
        if !is_shared {
            let bytes = response.body().size_hint().lower() + RESPONSE_OVERHEAD_BYTES;
            let bytes = match client.account.reserve(Resource::Bytes, bytes, 100) {
                Ok(bytes) => bytes,
                Err(level) => {
                    let error = self.overloaded(Resource::Bytes, level);
                    // What a write has done cannot be undone, so its client is told.
                    if outcome.lane == Lane::Read {
                        (response, _) = make(Err(error));
                    }
                    // Refusals take memory too: a client that leaves them unread as well is disconnected.
                    if client.account.is_over(Resource::Bytes) {
                        client.handle.evict();
                    }
                    let bytes = response.body().size_hint().lower() + RESPONSE_OVERHEAD_BYTES;
                    client.account.hold(Resource::Bytes, bytes)
                }
            };
            held = Some(HeldForResponse { permit: outcome.permit, bytes });
        }
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
        self.record(route, &headers, response.status(), head.started_at);
        response.map(|body| match held {
            Some(held) => ResponseBody::holding(body, held),
            None => ResponseBody::shared(body),
        })
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

/// A request whose handler is to be called, and whose client is accounted for it.
struct Call<'a> {
    service: &'a BrandService,
    client: &'a ConnectionClient,
    head: &'a RequestHead,
}

impl Call<'_> {
    /// Calls the handler of an admitted request, or answers it without one.
    async fn respond(&self, admitted: Result<Admitted<'_>>, cache_key: Option<Vec<u8>>, body: RequestBody) -> Outcome {
        let (route, context) = match admitted {
            Ok(Admitted::Handler(route, context)) => (route, context),
            Ok(Admitted::Preflight) => {
                return Outcome::without_handler(Ok(ApiResponse::no_content()), BodyState::of(body));
            }
            Ok(Admitted::Options(allow)) => {
                return Outcome::without_handler(Ok(ApiResponse::options(allow)), BodyState::of(body));
            }
            Err(error) => return Outcome::without_handler(Err(error), BodyState::of(body)),
        };
        match cache_key.filter(|_| route.rules.is_cached) {
            Some(key) => self.respond_cached(&key, route, context).await,
            None => self.respond_with_body(route, context, body).await,
        }
    }

    /// Fills the cache with the handler's response. Concurrent requests for the same key share one call.
    async fn respond_cached(&self, key: &[u8], route: Route<'_, RequestContext>, context: RequestContext) -> Outcome {
        let brand = &self.service.brand;
        brand.metrics.cache_miss();
        let mut is_shared = true;
        let result = async {
            let permit = self.permit(route.rules.lane)?;
            let pattern = route.pattern;
            let make = async {
                is_shared = false;
                let (response, _permit) = self.call(route, context, permit).await?;
                response.into_cached(pattern)
            };
            brand.cache.fetch_or_stale(key, brand.config.timeouts.request, make).await
        };
        let made = result.await;
        let result = made.map(|(response, is_stale)| Content::Cached { response, is_stale, is_shared });
        Outcome { result, context: None, permit: None, body: BodyState::Read, lane: Lane::Read }
    }

    /// Reads the body and calls a handler, if the rate limit of its route allows it.
    async fn respond_with_body(
        &self,
        mut route: Route<'_, RequestContext>,
        context: RequestContext,
        mut body: RequestBody,
    ) -> Outcome {
        let lane = route.rules.lane;
        let (bytes, received) = match self.read_body(&mut body, lane).await {
            Ok(read) => read,
            Err(error) => {
                // A client that was too slow, or sent too much, is not waited for again.
                let is_refused = matches!(error.kind, Kind::Unavailable { .. });
                let body = if is_refused { BodyState::of(body) } else { BodyState::Abandoned };
                return Outcome::without_handler(Err(error), body);
            }
        };
        drop(body);
        let called = async {
            if let Some(quota) = route.rules.quota {
                context.check_rate_limit(quota, &self.head.headers).await?;
            }
            let permit = self.permit(lane)?;
            route.req = route.req.with_body(self.head.headers.clone(), bytes);
            self.call(route, context.clone(), permit).await
        };
        let called = called.await;
        drop(received);
        let (result, permit) = match called {
            Ok((response, permit)) => (Ok(Content::Response(response)), Some(permit)),
            Err(error) => (Err(error), None),
        };
        Outcome { result, context: Some(context), permit, body: BodyState::Read, lane }
    }

    /// The whole body, and what is reserved for it. A request whose body is still on its way is an upload, of which each
    /// client may have a few.
    async fn read_body(&self, body: &mut RequestBody, lane: Lane) -> Result<(Bytes, Option<Reservation>)> {
        if body.is_end() {
            return Ok((Bytes::new(), None));
        }
        let refused = |resource| move |level| self.service.overloaded(resource, level);
        let account = &self.client.account;
        let mut held = account.hold(Resource::Bytes, 0);
        let deadline = tokio::time::Instant::from_std(self.head.started_at) + self.timeout();
        let bytes = {
            let mut read = pin!(body.read(|bytes| held.grow(bytes).map_err(refused(Resource::Bytes))));
            let mut polls = 0;
            let first = std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending if polls < POLLS_BEFORE_UPLOAD => {
                    polls += 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Ready(None),
            });
            match first.await {
                Some(read) => read?,
                None => {
                    let reserved = account.reserve(Resource::Uploads, 1, self.service.percent(lane));
                    let _upload = reserved.map_err(refused(Resource::Uploads))?;
                    tokio::time::timeout_at(deadline, read).await.or_timeout().flatten()?
                }
            }
        };
        Ok((bytes, Some(held)))
    }

    fn timeout(&self) -> Duration {
        self.service.brand.config.timeouts.request
    }

    /// The permit of a request that is here as a whole.
    fn permit(&self, lane: Lane) -> Result<Reservation> {
        let reserved = self.client.account.reserve(Resource::Requests, 1, self.service.percent(lane));
        reserved.map_err(|level| self.service.overloaded(Resource::Requests, level))
    }

    /// Calls a handler within what is left of the request timeout. Its permit is held as long as it runs, also when nobody
    /// waits for it any more.
    async fn call(
        &self,
        route: Route<'_, RequestContext>,
        context: RequestContext,
        permit: Reservation,
    ) -> Result<(ApiResponse, Reservation)> {
        let mode = route.rules.task_mode;
        let timeout = self.timeout().saturating_sub(self.head.started_at.elapsed());
        let handler = route.call(context);
        let handler = async move { Ok((handler.await?, permit)) };
        match mode {
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
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
