//! From a path and a method to a handler.
//!
//! `routes` fills it once at start, `serve` asks it for every request. A path that exists with another method is a 405 with
//! `Allow`; HEAD is answered wherever GET is. A handler that writes runs in a task of its own, so that not even its deadline
//! cuts it in half.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use super::reply::Reply;
use super::request::Req;
use crate::error::{Error, Result};

type Answer = Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;
type Handler<C> = Box<dyn Fn(C, Req) -> Answer + Send + Sync>;

/// All routes; `C` is what a handler is given beside the request.
pub struct Router<C> {
    paths: matchit::Router<usize>,
    routes: Vec<Path<C>>,
}

struct Path<C> {
    /// The route as written, for logs: `/item/{id}`.
    pattern: &'static str,
    /// For `Allow`.
    methods: String,
    handlers: Vec<(Method, Handler<C>)>,
}

/// What the router found for a request.
pub struct Route<'r, C> {
    pub pattern: &'static str,
    pub req: Req,
    handler: &'r Handler<C>,
}

impl<C> Route<'_, C> {
    pub fn call(self, cx: C) -> Answer {
        (self.handler)(cx, self.req)
    }
}

/// What a path and method come to.
pub enum Found<'r, C> {
    Handler(Route<'r, C>),
    /// `OPTIONS` on a path that exists; the text is its methods.
    Options(&'r str),
}

impl<C: 'static> Default for Router<C> {
    fn default() -> Self {
        Router { paths: matchit::Router::new(), routes: Vec::new() }
    }
}

impl<C: Send + 'static> Router<C> {
    /// Adds a path that is read with GET (and HEAD).
    pub fn get<H, F>(self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, Req) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        self.add(Method::GET, pattern, Box::new(move |cx, req| Box::pin(handler(cx, req))))
    }

    /// Adds a path that changes something with this method.
    pub fn write<H, F>(self, method: Method, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, Req) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        self.add(
            method,
            pattern,
            Box::new(move |cx, req| {
                let work = tokio::spawn(handler(cx, req));
                Box::pin(async move { work.await.unwrap_or_else(|ended| Err(Error::internal(ended))) })
            }),
        )
    }

    fn add(mut self, method: Method, pattern: &'static str, handler: Handler<C>) -> Router<C> {
        let index = self.routes.iter().position(|route| route.pattern == pattern).unwrap_or_else(|| {
            self.routes.push(Path { pattern, methods: String::new(), handlers: Vec::new() });
            let index = self.routes.len() - 1;
            self.paths.insert(pattern, index).expect("routes.rs writes no two patterns that clash");
            index
        });
        let route = &mut self.routes[index];
        route.handlers.push((method, handler));
        let methods = route.handlers.iter().flat_map(|(method, _)| match *method {
            Method::GET => vec!["GET", "HEAD"],
            ref other => vec![other.as_str()],
        });
        route.methods = methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
        self
    }

    /// # Errors
    /// 404, 405, and 400 for a path or query that does not decode.
    pub fn find(&self, method: &Method, path: &str, query: Option<&str>) -> Result<Found<'_, C>> {
        let matched = self.paths.at(path).map_err(|_| Error::not_found("path"))?;
        let path = &self.routes[*matched.value];
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        match path.handlers.iter().find(|(method, _)| method == wanted) {
            Some((_, handler)) => {
                let req = Req::new(matched.params, query)?;
                Ok(Found::Handler(Route { pattern: path.pattern, req, handler }))
            }
            None if *method == Method::OPTIONS => Ok(Found::Options(&path.methods)),
            None => Err(Error::method_not_allowed(&path.methods)),
        }
    }
}
