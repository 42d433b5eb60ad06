//! From a request to its reply: the outer function that every request of a brand passes.
//!
//! Called by `door` for each request of a connection. The outer function owns the request id, the Origin check, the deadline, the body limit
//! and the log line; whatever goes wrong inside comes back to it as an `Error`. What must never happen: a request leaves
//! without an answer of ours, or a panic ends more than its request.

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShed;
use tower::load_shed::error::Overloaded;
use tower::util::{ServiceExt, ServiceFn};

use crate::config::Limits;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::http::cached_response::CachedResponse;
use crate::http::cors::{self, Origin};
use crate::http::rate_limit::QuotaUsage;
use crate::http::response::ApiResponse;
use crate::http::response_headers::ResponseHeaders;
use crate::http::router::{Route, RouteMatch, Router, TaskMode};
use crate::http::{request, request_id};
use crate::telemetry::{metrics, traces};
use crate::tenant::brand::Brand;
use crate::tenant::cache::{self, Lookup};
use crate::tenant::context::{self, RequestContext};

/// A handler's call on its way through the limits.
struct Call(Handling);
type Handling = Pin<Box<dyn Future<Output = Result<ApiResponse>> + Send>>;
type Inner = LoadShed<ConcurrencyLimit<ServiceFn<fn(Call) -> Handling>>>;

/// Around every handler of a brand: so many at once. What is over the limit is refused at once, because a queue only makes
/// everybody late.
fn inner_service(brand: &Brand) -> Inner {
    ServiceBuilder::new()
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(brand.config.limits.requests))
        .service(tower::service_fn((|call| call.0) as fn(Call) -> Handling))
}

/// A brand under one configuration, and the way to its handlers.
pub struct BrandService {
    brand: Arc<Brand>,
    router: Arc<Router<RequestContext>>,
    inner: Inner,
}

impl BrandService {
    pub fn new(brand: Arc<Brand>, router: Arc<Router<RequestContext>>) -> BrandService {
        BrandService { inner: inner_service(&brand), router, brand }
    }

    pub fn brand(&self) -> &Arc<Brand> {
        &self.brand
    }

    /// The answer to a request that was asked before, without waiting for anything; otherwise what is needed to [`BrandService::answer`] it.
    pub fn try_cached(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Box<PendingRequest>> {
        let begun = Instant::now();
        let (parts, body) = request.into_parts();
        let request_id = request_id::of(&parts.headers);
        let origin = Origin::of(&parts.headers, &self.brand.config.origins, self.brand.config.own_origin());
        let question = if body.is_end_stream() { self.question(&parts) } else { None };
        if let Some(question) = &question {
            let found = self.brand.cache.find(question, begun);
            match found {
                Lookup::Current(_) => self.brand.metrics.cache_hit(),
                Lookup::Stale(_) => self.brand.metrics.cache_stale_hit(),
                Lookup::Miss => {}
            }
            if let Lookup::Current(answer) | Lookup::Stale(answer) = &found {
                let asked = self.asked(&parts.method, &parts.headers, &origin, &request_id);
                let response = answer.respond(&asked, matches!(found, Lookup::Stale(_)));
                self.record(&parts.method, answer.route, &asked, response.status(), begun);
                return Ok(response);
            }
        }
        Err(Box::new(PendingRequest { begun, parts, body, request_id, origin, question }))
    }

    /// The outer function of everything else.
    pub async fn answer(&self, asking: Box<PendingRequest>, client: IpAddr) -> Response<Full<Bytes>> {
        let PendingRequest { begun, mut parts, body, request_id, origin, question } = *asking;
        let mut asked_in = None;
        let mut pattern = "";
        let was_read = Arc::new(AtomicBool::new(body.is_end_stream()));
        let is_preflight = cors::is_preflight(&parts);
        let admitted = self.admit(&parts, &body, &origin, client, &mut pattern);
        let headers = Arc::new(std::mem::take(&mut parts.headers));
        let result = match admitted {
            Ok(Admitted::Preflight) => Ok(ApiResponse::no_content().into()),
            Ok(Admitted::Options(allow)) => Ok(ApiResponse::options(allow).into()),
            Ok(Admitted::Call(route, cx)) => match question.filter(|_| route.rules.remembered) {
                Some(question) => {
                    self.brand.metrics.cache_miss();
                    let make = async { self.call(route, cx).await?.into_answer(pattern) };
                    let longest = self.brand.config.timeouts.request;
                    let made = self.brand.cache.fetch_or_stale(&question, longest, make).await;
                    made.map(|(answer, is_stale)| Outcome::Remembered(answer, is_stale))
                }
                None => {
                    asked_in = Some(cx.clone());
                    self.call_within(route, cx, &headers, body, &was_read).await.map(Outcome::from)
                }
            },
            Err(error) => {
                was_read.store(self.drain(body).await, Ordering::Relaxed);
                Err(error)
            }
        };
        let asked = self.asked(&parts.method, &headers, &origin, &request_id);
        let made = result.unwrap_or_else(|error| {
            self.log_error(&error, &request_id);
            ApiResponse::from(error).into()
        });
        let mut response = match made {
            Outcome::ApiResponse(reply) => reply.finish(&asked),
            Outcome::Remembered(answer, is_stale) => answer.respond(&asked, is_stale),
        };
        if is_preflight {
            origin.allow_asking(response.headers_mut());
        }
        if let Some(cx) = asked_in {
            let mut additions = cx.extras();
            QuotaUsage::write(&additions.quotas, response.headers_mut());
            for cookie in additions.cookies.drain(..) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        if parts.version < Version::HTTP_2 && !was_read.load(Ordering::Relaxed) {
            // hyper closes a connection whose body nobody read; a client that reuses connections must be told.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.record(&parts.method, pattern, &asked, response.status(), begun);
        response
    }

    /// What the cache knows a request under; `None` for one that it cannot answer, or that must be refused.
    fn question(&self, parts: &Parts) -> Option<Vec<u8>> {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if !reads || check_head(parts, &self.brand.config.limits).is_err() {
            return None;
        }
        let (region, language) = context::from_headers(&parts.headers).ok()?;
        Some(cache::key(language, region, parts.uri.path_and_query()?.as_str()))
    }

    fn asked<'a>(
        &self,
        method: &'a Method,
        headers: &'a HeaderMap,
        origin: &'a Origin,
        request_id: &'a HeaderValue,
    ) -> ResponseHeaders<'a> {
        ResponseHeaders { method, headers, origin, request_id, hsts: !self.brand.config.is_local() }
    }

    /// For metrics, traces and the log.
    fn record(
        &self,
        method: &Method,
        route: &'static str,
        asked: &ResponseHeaders<'_>,
        status: StatusCode,
        begun: Instant,
    ) {
        let (status, took) = (status.as_u16(), begun.elapsed());
        self.brand.metrics.request_finished(method, route, status, took);
        let answered = traces::RequestRecord {
            brand: self.brand.name(),
            method: metrics::method_label(method),
            route,
            status,
            request_id: asked.request_id,
            duration: took,
        };
        traces::record(asked.headers, &answered);
        tracing::info!(
            brand = self.brand.name(),
            request = asked.request_id.to_str().unwrap_or_default(),
            %method,
            route,
            status,
            us = took.as_micros() as u64,
            "answered"
        );
    }

    /// Calls a handler that may read the whole request, when its budget allows it.
    async fn call_within(
        &self,
        mut route: Route<'_, RequestContext>,
        cx: RequestContext,
        headers: &Arc<HeaderMap>,
        body: Incoming,
        was_read: &Arc<AtomicBool>,
    ) -> Result<ApiResponse> {
        let spent = match route.rules.quota {
            Some(budget) => cx.check_rate_limit(budget, headers).await,
            None => Ok(()),
        };
        if let Err(error) = spent {
            was_read.store(self.drain(body).await, Ordering::Relaxed);
            return Err(error);
        }
        let limit_bytes = self.brand.config.limits.body_bytes;
        let incoming = request::Incoming { body, limit_bytes, was_read: was_read.clone() };
        route.req = route.req.with_incoming(headers.clone(), incoming);
        self.call(route, cx).await
    }

    /// Everything that is decided before a handler runs.
    fn admit(
        &self,
        parts: &Parts,
        body: &Incoming,
        origin: &Origin,
        client: IpAddr,
        pattern: &mut &'static str,
    ) -> Result<Admitted<'_>> {
        let limits = &self.brand.config.limits;
        check_head(parts, limits)?;
        if body.size_hint().lower() > limits.body_bytes as u64 {
            return Err(Error::body_too_large(limits.body_bytes));
        }
        if cors::is_preflight(parts) {
            return Ok(Admitted::Preflight);
        }
        let found = self.router.find(&parts.method, parts.uri.path(), parts.uri.query());
        let from_own_pages = matches!(&found, Ok(RouteMatch::Handler(route)) if route.rules.from_own_pages);
        origin.check(&parts.method, from_own_pages)?;
        match found? {
            RouteMatch::Options(allow) => Ok(Admitted::Options(allow)),
            RouteMatch::Handler(route) => {
                *pattern = route.pattern;
                Ok(Admitted::Call(route, RequestContext::new(self.brand.clone(), &parts.headers, client)?))
            }
        }
    }

    /// Reads away the body of a request that was refused, so that its client gets to read the answer; `false` when there is
    /// more of it than is worth reading.
    async fn drain(&self, body: Incoming) -> bool {
        let limits = &self.brand.config.limits;
        // Four times the limit: a client that sends a little too much, and looks for the answer only afterwards, gets to see it.
        let most_bytes = limits.body_bytes * 4;
        if body.size_hint().lower() > most_bytes as u64 {
            return false;
        }
        let reading = Limited::new(body, most_bytes).collect();
        tokio::time::timeout(self.brand.config.timeouts.head, reading).await.is_ok_and(|read| read.is_ok())
    }

    /// Calls a handler, and waits for it no longer than a request may take.
    async fn call(&self, route: Route<'_, RequestContext>, cx: RequestContext) -> Result<ApiResponse> {
        let (kind, longest) = (route.rules.task_mode, self.brand.config.timeouts.request);
        let limited = self.inner.clone().oneshot(Call(route.call(cx)));
        let ended = match kind {
            TaskMode::CancelOnDisconnect => {
                let caught = AssertUnwindSafe(limited).catch_unwind();
                let caught = tokio::time::timeout(longest, caught).await.or_timeout()?;
                caught.map_err(|panic| Error::internal(format!("a handler panicked: {}", panic_text(&*panic))))?
            }
            TaskMode::DetachedUntilDeadline => {
                let task = tokio::spawn(tokio::time::timeout(longest, limited));
                task.await.or_internal()?.or_timeout()?
            }
            TaskMode::Detached => {
                let task = tokio::spawn(limited);
                tokio::time::timeout(longest, task).await.or_timeout()?.or_internal()?
            }
        };
        ended.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) if error.is::<Overloaded>() => Error::overloaded(),
            Err(error) => Error::internal(error),
        })
    }

    /// What a person should look into is an error; what passes by itself is a warning; a visitor's mistake is neither.
    fn log_error(&self, error: &Error, request_id: &HeaderValue) {
        let (brand, request, at) = (self.brand.name(), request_id.to_str().unwrap_or_default(), error.at);
        match error.kind {
            crate::foundation::error::Kind::Internal => tracing::error!(brand, request, %at, %error, "failed"),
            crate::foundation::error::Kind::Unavailable { .. } | crate::foundation::error::Kind::Timeout => {
                tracing::warn!(brand, request, %at, %error, "could not be answered");
            }
            _ => tracing::debug!(brand, request, %at, %error, "refused"),
        }
    }
}

/// A request that has to be thought about.
pub struct PendingRequest {
    begun: Instant,
    parts: Parts,
    body: Incoming,
    request_id: HeaderValue,
    origin: Origin,
    /// What the cache will know its answer under.
    question: Option<Vec<u8>>,
}

enum Admitted<'r> {
    Preflight,
    Options(&'r str),
    Call(Route<'r, RequestContext>, RequestContext),
}

/// What a request came to.
enum Outcome {
    ApiResponse(ApiResponse),
    /// And whether it may be old.
    Remembered(Arc<CachedResponse>, bool),
}

impl From<ApiResponse> for Outcome {
    fn from(reply: ApiResponse) -> Outcome {
        Outcome::ApiResponse(reply)
    }
}

/// What is wrong with a request whatever it asks for.
fn check_head(parts: &Parts, limits: &Limits) -> Result<()> {
    // hyper's own limit is on its buffer, which a head that arrives in one piece can pass.
    if head_bytes(parts) > limits.head_bytes as usize {
        return Err(Error::headers_too_large(limits.head_bytes));
    }
    if parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().count() != 1 {
        return Err(Error::malformed("bad_host", "An HTTP/1.1 request has one Host header."));
    }
    Ok(())
}

/// The size of a request's head, about as it was sent.
fn head_bytes(parts: &Parts) -> usize {
    let uri = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    parts.headers.iter().fold(uri, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
