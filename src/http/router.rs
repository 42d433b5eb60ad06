//! Routing: from a path and a method to a handler and the rules of its route.
//!
//! A path without the requested method is a 405 with `Allow`. HEAD is routed wherever GET is, unless the route says
//! otherwise.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use crate::foundation::error::{Error, Result};
use crate::http::fetch_metadata::CrossSite;
use crate::http::rate_limit::Quota;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<ApiResponse>> + Send>>;
type Handler<C> = Box<dyn Fn(C, ApiRequest) -> HandlerFuture + Send + Sync>;
type MemoryHandler<C> = fn(&C, &ApiRequest) -> Result<Option<ApiResponse>>;

/// All routes. `C` is the context that a handler receives with the request.
pub struct Router<C> {
    paths: matchit::Router<usize>,
    routes: Vec<RoutePath<C>>,
    /// The value of `Allow` for `OPTIONS *`: every method of any path.
    allow: String,
    /// The index of the path that was added last.
    last_added: usize,
}

struct RoutePath<C> {
    /// As in `routes.rs`, such as `/item/{id}`; used in logs and metrics.
    pattern: &'static str,
    /// The value of `Allow`.
    allow: String,
    handlers: Vec<Entry<C>>,
}

/// One method of a path.
struct Entry<C> {
    method: Method,
    handler: Handler<C>,
    memory_handler: Option<MemoryHandler<C>>,
    rules: RouteRules,
}

/// What happens to a handler when its client disconnects or the request timeout passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskMode {
    /// It runs until the timeout. Cancelling it earlier would close the database connection whose statement it awaits.
    #[default]
    DetachedUntilDeadline,
    /// It is dropped: it uses shared connections alone.
    CancelOnDisconnect,
    /// It runs to completion, even past the timeout.
    Detached,
}

/// How important requests are when a brand runs out of requests in progress: each lane leaves a share to those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// They may take everything: liveness, and what tells that money arrived.
    Essential,
    Write,
    #[default]
    Read,
}

/// How the service treats the requests of a route.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteRules {
    pub task_mode: TaskMode,
    pub lane: Lane,
    /// The rate limit.
    pub quota: Option<Quota>,
    /// Which requests of other sites it accepts; others are rejected before they count against the rate limit.
    pub cross_site: CrossSite,
    /// Whether pages of the API's own origin may write to it.
    pub allow_own_origin: bool,
    /// Whether its responses are cached. They must depend on nothing but target, region and language.
    pub is_cached: bool,
    /// HEAD is not routed to GET.
    no_head: bool,
}

/// A handler for a request.
pub struct Route<'r, C> {
    pub pattern: &'static str,
    pub req: ApiRequest,
    pub rules: RouteRules,
    handler: &'r Handler<C>,
    memory_handler: Option<MemoryHandler<C>>,
}

impl<C> Route<'_, C> {
    pub fn call(self, context: C) -> HandlerFuture {
        (self.handler)(context, self.req)
    }

    /// The response from memory, which needs no permit; `None` when the handler has to be called.
    pub fn respond_from_memory(&self, context: &C) -> Option<Result<ApiResponse>> {
        self.memory_handler.and_then(|handler| handler(context, &self.req).transpose())
    }
}

/// What a path and method match.
pub enum RouteMatch<'r, C> {
    Handler(Route<'r, C>),
    /// `OPTIONS` on an existing path, with the methods of the path.
    Options(&'r str),
}

impl<C: 'static> Default for Router<C> {
    fn default() -> Self {
        Router { paths: matchit::Router::new(), routes: Vec::new(), allow: String::new(), last_added: 0 }
    }
}

impl<C> RoutePath<C> {
    fn list_methods(&mut self) {
        let methods = self.handlers.iter().flat_map(|entry| match entry.method {
            Method::GET if entry.rules.no_head => vec!["GET"],
            Method::GET => vec!["GET", "HEAD"],
            ref other => vec![other.as_str()],
        });
        self.allow = methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
    }
}

impl<C: Send + 'static> Router<C> {
    /// Adds GET, and with it HEAD, to a path.
    pub fn get<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.add(Method::GET, pattern, Box::new(move |context, req| Box::pin(handler(context, req))))
    }

    /// Adds POST to a path. The handler runs detached.
    pub fn post<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::POST, pattern, handler)
    }

    /// Adds PATCH to a path. The handler runs detached.
    pub fn patch<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::PATCH, pattern, handler)
    }

    /// Adds DELETE to a path. The handler runs detached.
    pub fn delete<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::DELETE, pattern, handler)
    }

    /// The last added route reads over shared connections alone, so it is cancelled when the client disconnects.
    pub fn cancellable(self) -> Router<C> {
        self.set_rule(|rules| rules.task_mode = TaskMode::CancelOnDisconnect)
    }

    /// The importance of the last added route; without this, GET is a read and everything else a write.
    pub fn lane(self, lane: Lane) -> Router<C> {
        self.set_rule(|rules| rules.lane = lane)
    }

    /// The last added route is rate-limited.
    pub fn rate_limit(self, quota: Quota) -> Router<C> {
        self.set_rule(|rules| rules.quota = Some(quota))
    }

    /// The last added route accepts only these requests of other sites.
    pub fn cross_site(self, accepted: CrossSite) -> Router<C> {
        self.set_rule(|rules| rules.cross_site = accepted)
    }

    /// The last added route accepts writes from pages of the API's own origin.
    pub fn allow_own_origin(self) -> Router<C> {
        self.set_rule(|rules| rules.allow_own_origin = true)
    }

    /// Responses of the last added route are cached: they depend on nothing but target, region and language, and the route has no
    /// rules about who may call it how often.
    pub fn cached(self) -> Router<C> {
        self.set_rule(|rules| rules.is_cached = true)
    }

    /// The last added route answers from memory without a permit whenever `handler` returns a response; it has no rules about who may
    /// call it how often.
    pub fn memory_first(mut self, handler: MemoryHandler<C>) -> Router<C> {
        let path = &mut self.routes[self.last_added];
        path.handlers.last_mut().expect("every path has a handler").memory_handler = Some(handler);
        self.set_rule(|_| {})
    }

    /// The last added route has side effects, so HEAD, which link previews send, is not routed to it.
    pub fn no_head(self) -> Router<C> {
        self.set_rule(|rules| rules.no_head = true)
    }

    /// Adds a method whose handler a disconnecting client does not interrupt.
    fn write<H, F>(self, method: Method, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.add(method, pattern, Box::new(move |context, req| Box::pin(handler(context, req))))
            .set_rule(|rules| (rules.task_mode, rules.lane) = (TaskMode::Detached, Lane::Write))
    }

    fn set_rule(mut self, set: impl FnOnce(&mut RouteRules)) -> Router<C> {
        let path = &mut self.routes[self.last_added];
        let Entry { rules, memory_handler, .. } = path.handlers.last_mut().expect("every path has a handler");
        set(rules);
        let is_checked = rules.quota.is_some() || rules.cross_site != CrossSite::default();
        assert!(
            !((rules.is_cached || memory_handler.is_some()) && is_checked),
            "{}: a response from memory is sent without checking any rule",
            path.pattern
        );
        path.list_methods();
        self.list_methods();
        self
    }

    fn add(mut self, method: Method, pattern: &'static str, handler: Handler<C>) -> Router<C> {
        let index = self.routes.iter().position(|route| route.pattern == pattern).unwrap_or_else(|| {
            self.routes.push(RoutePath { pattern, allow: String::new(), handlers: Vec::new() });
            let index = self.routes.len() - 1;
            self.paths.insert(pattern, index).expect("the patterns of routes.rs do not conflict");
            index
        });
        self.last_added = index;
        let path = &mut self.routes[index];
        path.handlers.push(Entry { method, handler, memory_handler: None, rules: RouteRules::default() });
        path.list_methods();
        self.list_methods();
        self
    }

    fn list_methods(&mut self) {
        let mut methods = Vec::new();
        for method in self.routes.iter().flat_map(|path| path.allow.split(", ")) {
            if method != "OPTIONS" && !methods.contains(&method) {
                methods.push(method);
            }
        }
        methods.push("OPTIONS");
        self.allow = methods.join(", ");
    }

    /// Every method and path, in the order in which they were added.
    pub fn entries(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.routes.iter().flat_map(|path| path.handlers.iter().map(|entry| (&entry.method, path.pattern)))
    }

    /// The match of a request. `OPTIONS *` is about the server as a whole (RFC 9110, 9.3.7), and `OPTIONS /` is answered for
    /// the health checks of load balancers.
    ///
    /// # Errors
    /// 404, 405, and 400 for a path or query that is not UTF-8.
    pub fn find(&self, method: &Method, path: &str, query: Option<&str>) -> Result<RouteMatch<'_, C>> {
        match path {
            "*" if *method == Method::OPTIONS => return Ok(RouteMatch::Options(&self.allow)),
            "/" if *method == Method::OPTIONS => return Ok(RouteMatch::Options("OPTIONS")),
            _ => {}
        }
        let matched = self.paths.at(path).map_err(|_| Error::not_found("path"))?;
        let path = &self.routes[*matched.value];
        let is_head = *method == Method::HEAD;
        let routed = if is_head { &Method::GET } else { method };
        match path.handlers.iter().find(|entry| entry.method == routed && !(is_head && entry.rules.no_head)) {
            Some(Entry { handler, memory_handler, rules, .. }) => {
                let req = ApiRequest::new(matched.params, query)?;
                let (rules, memory_handler) = (*rules, *memory_handler);
                Ok(RouteMatch::Handler(Route { pattern: path.pattern, req, rules, handler, memory_handler }))
            }
            None if *method == Method::OPTIONS => Ok(RouteMatch::Options(&path.allow)),
            None => Err(Error::method_not_allowed(&path.allow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<()> {
        Router::default().get("/item", |(), _| async { Ok(ApiResponse::no_content()) })
    }

    #[test]
    fn cached_route_with_a_rule_that_is_checked_for_each_request_does_not_start() {
        let start = |build: fn(Router<()>) -> Router<()>| std::panic::catch_unwind(|| drop(build(router()))).is_ok();
        assert!(start(|router| router.cached().cancellable().lane(Lane::Essential)));
        assert!(start(|router| router.rate_limit(Quota::Reviews).cross_site(CrossSite::Navigation)));
        assert!(!start(|router| router.cached().rate_limit(Quota::Reviews)));
        assert!(!start(|router| router.rate_limit(Quota::Reviews).cached()));
        assert!(!start(|router| router.cached().cross_site(CrossSite::ClickedLink)));
        assert!(!start(|router| router.rate_limit(Quota::Reviews).memory_first(|(), _| Ok(None))));
    }
}
