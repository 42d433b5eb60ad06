//! One call of a handler: body, rate limit, permit and deadline.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::header::HeaderMap;

use crate::foundation::error::{Error, Kind, Result, ResultExt};
use crate::http::cached_response::CachedResponse;
use crate::http::request::RequestBody;
use crate::http::response::ApiResponse;
use crate::http::router::{Lane, Route, TaskMode};
use crate::server::admission::Admitted;
use crate::server::clients::ConnectionClient;
use crate::tenant::account::{Reservation, Resource};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// What a request that waits for a response of the cache takes in memory besides its head.
const WAITING_REQUEST_BYTES: u64 = 8_192;

/// How often a body is polled before the request counts as an upload: a body that arrived with its head is complete by
/// then, and needs no place among those that are waited for.
const POLLS_BEFORE_UPLOAD: u32 = 4;

/// What a request came to, before the headers that all responses share are added.
pub(super) struct Outcome {
    pub result: Result<Content>,
    /// The context of a handler that has run: its cookies and rate limits go out with errors too.
    pub context: Option<RequestContext>,
    /// Of a handler that has run.
    pub permit: Option<Reservation>,
    pub body: BodyState,
    pub lane: Lane,
}

pub(super) enum Content {
    Response(ApiResponse),
    /// `is_shared`: other requests, or the cache, hold the same bytes.
    Cached {
        response: Arc<CachedResponse>,
        is_stale: bool,
        is_shared: bool,
    },
}

/// What is left of the body of a request when its response is made.
pub(super) enum BodyState {
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

/// A request whose handler is to be called, and whose client is accounted for it.
pub(super) struct Call<'a> {
    pub brand: &'a Arc<Brand>,
    pub client: &'a ConnectionClient,
    pub started_at: Instant,
    pub headers: &'a Arc<HeaderMap>,
}

impl Call<'_> {
    /// Calls the handler of an admitted request, or answers it without one.
    pub(super) async fn respond(
        &self,
        admitted: Result<Admitted<'_>>,
        cache_key: Option<Vec<u8>>,
        body: RequestBody,
    ) -> Outcome {
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

    /// Fills the cache with the handler's response. Concurrent requests for the same key share one call and its permit; what they
    /// take while they wait is accounted for in bytes.
    async fn respond_cached(&self, key: &[u8], route: Route<'_, RequestContext>, context: RequestContext) -> Outcome {
        let brand = self.brand;
        brand.metrics.cache_miss();
        let lane = route.rules.lane;
        let head_bytes: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = WAITING_REQUEST_BYTES + head_bytes as u64;
        let mut is_shared = true;
        let made = match self.client.reserve(Resource::Bytes, bytes, self.percent(lane)) {
            Ok(_waiting) => {
                let make = async {
                    let permit = self.permit(lane)?;
                    is_shared = false;
                    let pattern = route.pattern;
                    let (response, _permit) = self.call(route, context, permit, None).await?;
                    response.into_cached(pattern)
                };
                brand.cache.fetch_or_stale(key, self.timeout(), make).await
            }
            Err(level) => Err(self.client.overloaded(Resource::Bytes, level)),
        };
        // Without room for a query, an entry in memory is all there is.
        let made = made.or_else(|error| match error.kind {
            Kind::Overloaded { .. } => brand.cache.find_unconfirmed(key).map(|it| (it, true)).ok_or(error),
            _ => Err(error),
        });
        let result = made.map(|(response, is_stale)| Content::Cached { response, is_stale, is_shared });
        Outcome { result, context: None, permit: None, body: BodyState::Read, lane: Lane::Read }
    }

    /// Reads the body and calls a handler, if the rules of its route allow it.
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
                let is_refused = matches!(error.kind, Kind::Overloaded { .. });
                let body = if is_refused { BodyState::of(body) } else { BodyState::Abandoned };
                return Outcome::without_handler(Err(error), body);
            }
        };
        drop(body);
        let from_memory = catch_unwind(AssertUnwindSafe(|| route.respond_from_memory(&context)));
        if let Some(result) = from_memory.unwrap_or_else(|panic| Some(Err(panicked(&*panic)))) {
            let (result, context) = (result.map(Content::Response), Some(context));
            return Outcome { result, context, permit: None, body: BodyState::Read, lane };
        }
        let called = async {
            // The rules may wait for Redis.
            let permit = self.permit(lane)?;
            context.check_rules(&route.rules, self.headers).await?;
            route.req = route.req.with_body(self.headers.clone(), bytes);
            self.call(route, context.clone(), permit, received).await
        };
        let (result, permit) = match called.await {
            Ok((response, permit)) => (Ok(Content::Response(response)), Some(permit)),
            Err(error) => (Err(error), None),
        };
        Outcome { result, context: Some(context), permit, body: BodyState::Read, lane }
    }

    /// The whole body, and what is reserved for it until the handler has ended. A request whose body is still on its way is an upload, of which each
    /// client may have a few.
    async fn read_body(&self, body: &mut RequestBody, lane: Lane) -> Result<(Bytes, Option<Reservation>)> {
        if body.is_end() {
            return Ok((Bytes::new(), None));
        }
        let refused = |resource| move |level| self.client.overloaded(resource, level);
        let account = &self.client.account;
        let mut held = account.hold(Resource::Bytes, 0);
        let deadline = tokio::time::Instant::from_std(self.started_at) + self.timeout();
        let bytes = {
            let mut read = pin!(body.read(|bytes| {
                self.client.grow(&mut held, bytes, self.percent(lane)).map_err(refused(Resource::Bytes))
            }));
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
                    let reserved = account.reserve(Resource::Uploads, 1, self.percent(lane));
                    let _upload = reserved.map_err(refused(Resource::Uploads))?;
                    tokio::time::timeout_at(deadline, read).await.unwrap_or_else(|_| Err(body_timeout()))?
                }
            }
        };
        Ok((bytes, Some(held)))
    }

    fn percent(&self, lane: Lane) -> u64 {
        percent(self.brand, lane)
    }

    fn timeout(&self) -> Duration {
        self.brand.config.timeouts.request
    }

    /// The permit of a request that is here as a whole.
    fn permit(&self, lane: Lane) -> Result<Reservation> {
        let reserved = self.client.reserve(Resource::Requests, 1, self.percent(lane));
        reserved.map_err(|level| self.client.overloaded(Resource::Requests, level))
    }

    /// Calls a handler within what is left of the request timeout. Its permit and what is reserved for its body are held as long
    /// as it runs, also after its client has disconnected.
    async fn call(
        &self,
        route: Route<'_, RequestContext>,
        context: RequestContext,
        permit: Reservation,
        received: Option<Reservation>,
    ) -> Result<(ApiResponse, Reservation)> {
        let mode = route.rules.task_mode;
        let timeout = self.timeout().saturating_sub(self.started_at.elapsed());
        let handler = route.call(context);
        let handler = async move {
            let response = handler.await;
            drop(received);
            Ok((response?, permit))
        };
        match mode {
            TaskMode::CancelOnDisconnect => {
                let caught = AssertUnwindSafe(handler).catch_unwind();
                let caught = tokio::time::timeout(timeout, caught).await.or_timeout()?;
                caught.map_err(|panic| panicked(&*panic))?
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

/// 408 for a client that takes too long to send its body.
fn body_timeout() -> Error {
    Error::new(Kind::BodyTimeout, "body_timeout", "The body did not arrive in time; please send it again.")
}

/// 500 for a handler that panicked.
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("a handler panicked: {}", text.unwrap_or("?")))
}

/// The share of the brand's requests, uploads and bytes that a lane may take.
pub(super) fn percent(brand: &Brand, lane: Lane) -> u64 {
    match lane {
        Lane::Essential => 100,
        Lane::Write => brand.config.limits.writes_percent,
        Lane::Read => brand.config.limits.reads_percent,
    }
}
