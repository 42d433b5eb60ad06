//! The service of a brand: what happens to every request, whatever its route.
//!
//! 1. [`BrandService::try_cached`] answers from the cache without waiting.
//! 2. [`BrandService::handle`] admits the request, reads its body, takes a permit, lets its handler respond and finishes
//!    the response: rate limit, deadline, response headers, metrics, trace and access log.
//!
//! # Invariants
//!
//! - Every request gets a response: an error or panic in a handler is answered and ends no other request.
//! - A handler that writes is not interrupted when its client disconnects (see [`TaskMode`](crate::http::router::TaskMode)).
//! - A permit is taken when the whole request is here, and held until the handler has ended and the response was written.
//! - A rejected request keeps nothing but its response while the rest of its body is discarded.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::foundation::error::{Error, Kind, Result};
use crate::http::cached_response::CachedResponse;
use crate::http::cors::{self, Origin};
use crate::http::rate_limit::{Quota, QuotaUsage};
use crate::http::request::RequestBody;
use crate::http::request_head;
use crate::http::request_id;
use crate::http::response::ApiResponse;
use crate::http::response_headers::ResponseHeaders;
use crate::http::router::{Lane, Router};
use crate::server::admission::{self, Admission};
use crate::server::clients::ConnectionClient;
use crate::server::handler_call::{self, BodyState, Call, Content, Outcome};
use crate::server::response_body::{HeldForResponse, ResponseBody};
use crate::telemetry::{metrics, traces};
use crate::tenant::account::Resource;
use crate::tenant::brand::Brand;
use crate::tenant::cache::{self, Lookup};
use crate::tenant::context::{self, RequestContext};

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

impl BrandService {
    pub(crate) fn new(brand: Arc<Brand>, router: Arc<Router<RequestContext>>) -> BrandService {
        brand.metrics.register(router.entries(), Quota::ALL.into_iter().map(Quota::name));
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
            self.record(cached.route, &headers, response.status(), None, started_at);
            return Ok(response);
        }
        Err(Box::new(PendingRequest { started_at, parts, body, request_id, origin, cache_key }))
    }

    /// The response to a request that the cache could not answer.
    pub(crate) async fn handle(
        &self,
        request: Box<PendingRequest>,
        client: Arc<ConnectionClient>,
    ) -> Response<ResponseBody> {
        let PendingRequest { started_at, parts, body, request_id, origin, cache_key } = *request;
        let body = RequestBody::new(body, self.brand.config.limits.body_bytes, request_head::awaits_continue(&parts));
        let Admission { route, result: admitted } =
            admission::admit(&self.brand, &self.router, &parts, &body, &origin, client.address);
        let is_preflight = cors::is_preflight(&parts);
        let Parts { method, version, headers, .. } = parts;
        let headers = Arc::new(headers);
        let head = RequestHead { started_at, method, headers, request_id, origin, is_preflight };
        let call = Call { brand: &self.brand, client: &client, started_at, headers: &head.headers };
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

    /// The key of the response in the cache; `None` for a request that has none, or that is to be rejected.
    fn cache_key(&self, parts: &Parts) -> Option<Vec<u8>> {
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        if !is_read || admission::check_head(parts, &self.brand.config.limits).is_err() {
            return None;
        }
        let (region, language) = context::from_headers(&parts.headers);
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
                Content::Response(response) => {
                    let code = response.error_code();
                    (response.finish(&headers), code, false)
                }
                Content::Cached { response, is_stale, is_shared } => {
                    (response.respond(&headers, is_stale), None, is_shared)
                }
            }
        };
        let (mut response, mut code, is_shared) = make(outcome.result);
        let mut held = None;
        if !is_shared {
            let bytes = response.body().size_hint().lower() + RESPONSE_OVERHEAD_BYTES;
            let percent = handler_call::percent(&self.brand, outcome.lane);
            let bytes = match client.reserve(Resource::Bytes, bytes, percent) {
                Ok(bytes) => {
                    client.bytes_granted();
                    bytes
                }
                Err(level) => {
                    // What a write has done cannot be undone, so its response is sent.
                    if outcome.lane == Lane::Read {
                        (response, code, _) = make(Err(client.overloaded(Resource::Bytes, level)));
                        client.bytes_refused(level, tokio::time::Instant::now());
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
        self.record(route, &headers, response.status(), code, head.started_at);
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

    /// Records a finished request in metrics, trace and access log; `code` is that of an error.
    fn record(
        &self,
        route: &'static str,
        request: &ResponseHeaders<'_>,
        status: StatusCode,
        code: Option<&'static str>,
        started_at: Instant,
    ) {
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
            code,
            us = duration.as_micros() as u64,
            "request completed"
        );
    }

    /// Logs what needs action as an error, what passes by itself as a warning, and for debugging alone the mistakes of
    /// clients and refusals, which [`refusals`](crate::server::refusals) logs together.
    fn log_error(&self, error: &Error, request_id: &HeaderValue) {
        let (brand, request, at) = (self.brand.name(), request_id.to_str().unwrap_or_default(), error.at);
        match error.kind {
            Kind::Internal => tracing::error!(brand, request, %at, %error, "request failed"),
            Kind::Unavailable { .. } | Kind::Timeout => {
                tracing::warn!(brand, request, %at, %error, "request failed: a dependency is unavailable or too slow");
            }
            Kind::Overloaded { .. } => tracing::debug!(brand, request, "request refused: a limit is reached"),
            _ => tracing::debug!(brand, request, %at, %error, "request rejected"),
        }
    }
}
