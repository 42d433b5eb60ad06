//! From a path and a method to a handler.
//!
//! `routes` fills it once at start, `serve` asks it for every request. A path that exists with another method is a 405 with
//! `Allow`; HEAD is answered wherever GET is, unless the route says otherwise. How a handler may be left behind when its visitor or its
//! time is gone stands in its rules ([`TaskMode`]).

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use crate::foundation::error::{Error, Result};
use crate::http::rate_limit::Quota;
use crate::http::request::ApiRequest;
use crate::http::response::ApiResponse;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<ApiResponse>> + Send>>;
type Handler<C> = Box<dyn Fn(C, ApiRequest) -> HandlerFuture + Send + Sync>;

/// All routes; `C` is what a handler is given beside the request.
pub struct Router<C> {
    paths: matchit::Router<usize>,
    routes: Vec<RoutePath<C>>,
    /// Where the last route was added.
    newest: usize,
}

struct RoutePath<C> {
    /// The route as written, for logs: `/item/{id}`.
    pattern: &'static str,
    /// For `Allow`.
    methods: String,
    handlers: Vec<Entry<C>>,
}

/// One method of a path.
struct Entry<C> {
    method: Method,
    handler: Handler<C>,
    rules: RouteRules,
}

/// What becomes of a handler whose visitor hangs up, or whose deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskMode {
    /// It goes on until its deadline, because what it holds (a connection whose statement runs) is free only then.
    #[default]
    DetachedUntilDeadline,
    /// It holds nothing that outlives it, so it may be dropped anywhere.
    CancelOnDisconnect,
    /// It goes on to its end: nothing cuts it in half.
    Detached,
}

/// What the outer function must know of a route before it calls the handler.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteRules {
    pub task_mode: TaskMode,
    /// How often it may be asked.
    pub quota: Option<Quota>,
    /// Whether a page of our own may send it, beside those of the storefront.
    pub from_own_pages: bool,
    /// Whether it answers everybody alike who asks the same in the same region and language, so that its answer may be
    /// given again.
    pub remembered: bool,
    /// GET alone, without HEAD.
    no_head: bool,
}

/// What the router found for a request.
pub struct Route<'r, C> {
    pub pattern: &'static str,
    pub req: ApiRequest,
    pub rules: RouteRules,
    handler: &'r Handler<C>,
}

impl<C> Route<'_, C> {
    pub fn call(self, cx: C) -> HandlerFuture {
        (self.handler)(cx, self.req)
    }
}

/// What a path and method come to.
pub enum RouteMatch<'r, C> {
    Handler(Route<'r, C>),
    /// `OPTIONS` on a path that exists; the text is its methods.
    Options(&'r str),
}

impl<C: 'static> Default for Router<C> {
    fn default() -> Self {
        Router { paths: matchit::Router::new(), routes: Vec::new(), newest: 0 }
    }
}

impl<C> RoutePath<C> {
    fn list_methods(&mut self) {
        let methods = self.handlers.iter().flat_map(|entry| match entry.method {
            Method::GET if entry.rules.no_head => vec!["GET"],
            Method::GET => vec!["GET", "HEAD"],
            ref other => vec![other.as_str()],
        });
        self.methods = methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
    }
}

impl<C: Send + 'static> Router<C> {
    /// Adds a path that is read with GET (and HEAD).
    pub fn get<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.add(Method::GET, pattern, Box::new(move |cx, req| Box::pin(handler(cx, req))))
    }

    /// Adds a path that is written to with POST.
    pub fn post<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::POST, pattern, handler)
    }

    /// Adds a path that is written to with PATCH.
    pub fn patch<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::PATCH, pattern, handler)
    }

    /// Adds a path that is written to with DELETE.
    pub fn delete<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.write(Method::DELETE, pattern, handler)
    }

    /// The route just added reads, and holds nothing but shared connections.
    pub fn cancellable(self) -> Router<C> {
        self.rule(|rules| rules.task_mode = TaskMode::CancelOnDisconnect)
    }

    /// The route just added counts against this budget.
    pub fn rate_limit(self, budget: Quota) -> Router<C> {
        self.rule(|rules| rules.quota = Some(budget))
    }

    /// The route just added is what a form on a page of our own is sent to.
    pub fn allow_own_origin(self) -> Router<C> {
        self.rule(|rules| rules.from_own_pages = true)
    }

    /// The route just added reads the catalogue, and nothing of a request but its target, region and language.
    pub fn cached(self) -> Router<C> {
        self.rule(|rules| rules.remembered = true)
    }

    /// The route just added does something when it is read, so it is not for those who only want to look.
    pub fn no_head(self) -> Router<C> {
        self.rule(|rules| rules.no_head = true)
    }

    /// A client that disconnects does not interrupt the handler.
    fn write<H, F>(self, method: Method, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, ApiRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<ApiResponse>> + Send + 'static,
    {
        self.add(method, pattern, Box::new(move |cx, req| Box::pin(handler(cx, req))))
            .rule(|rules| rules.task_mode = TaskMode::Detached)
    }

    fn rule(mut self, set: impl FnOnce(&mut RouteRules)) -> Router<C> {
        let path = &mut self.routes[self.newest];
        set(&mut path.handlers.last_mut().expect("a path is added with its first handler").rules);
        path.list_methods();
        self
    }

    fn add(mut self, method: Method, pattern: &'static str, handler: Handler<C>) -> Router<C> {
        let index = self.routes.iter().position(|route| route.pattern == pattern).unwrap_or_else(|| {
            self.routes.push(RoutePath { pattern, methods: String::new(), handlers: Vec::new() });
            let index = self.routes.len() - 1;
            self.paths.insert(pattern, index).expect("routes.rs writes no two patterns that clash");
            index
        });
        self.newest = index;
        let path = &mut self.routes[index];
        path.handlers.push(Entry { method, handler, rules: RouteRules::default() });
        path.list_methods();
        self
    }

    /// Every method and path as they were added, for who describes them.
    pub fn entries(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.routes.iter().flat_map(|path| path.handlers.iter().map(|entry| (&entry.method, path.pattern)))
    }

    /// # Errors
    /// 404, 405, and 400 for a path or query that does not decode.
    pub fn find(&self, method: &Method, path: &str, query: Option<&str>) -> Result<RouteMatch<'_, C>> {
        let matched = self.paths.at(path).map_err(|_| Error::not_found("path"))?;
        let path = &self.routes[*matched.value];
        let is_head = *method == Method::HEAD;
        let wanted = if is_head { &Method::GET } else { method };
        match path.handlers.iter().find(|entry| entry.method == wanted && !(is_head && entry.rules.no_head)) {
            Some(Entry { handler, rules, .. }) => {
                let req = ApiRequest::new(matched.params, query)?;
                Ok(RouteMatch::Handler(Route { pattern: path.pattern, req, rules: *rules, handler }))
            }
            None if *method == Method::OPTIONS => Ok(RouteMatch::Options(&path.methods)),
            None => Err(Error::method_not_allowed(&path.methods)),
        }
    }
}
