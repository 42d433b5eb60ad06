//! From a path to a handler.
//!
//! `routes` fills it once at start, `serve` asks it for every request. A path that exists with another method is a 405 with
//! `Allow`; HEAD is answered wherever GET is.

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
    paths: matchit::Router<Path<C>>,
}

struct Path<C> {
    /// The route as written, for logs: `/item/{id}`.
    pattern: &'static str,
    /// For `Allow`.
    methods: &'static str,
    get: Handler<C>,
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
    Options(&'static str),
}

impl<C: 'static> Default for Router<C> {
    fn default() -> Self {
        Router { paths: matchit::Router::new() }
    }
}

impl<C: 'static> Router<C> {
    /// Adds a path that is read with GET (and HEAD).
    pub fn get<H, F>(mut self, pattern: &'static str, handler: H) -> Router<C>
    where
        H: Fn(C, Req) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        let get: Handler<C> = Box::new(move |cx, req| Box::pin(handler(cx, req)));
        let path = Path { pattern, methods: "GET, HEAD, OPTIONS", get };
        self.paths.insert(pattern, path).expect("each path is written once in routes.rs");
        self
    }

    /// # Errors
    /// 404, 405, and 400 for a path or query that does not decode.
    pub fn find(&self, method: &Method, path: &str, query: Option<&str>) -> Result<Found<'_, C>> {
        let matched = self.paths.at(path).map_err(|_| Error::not_found("path"))?;
        let path = matched.value;
        match *method {
            Method::GET | Method::HEAD => {
                let req = Req::new(matched.params, query)?;
                Ok(Found::Handler(Route { pattern: path.pattern, req, handler: &path.get }))
            }
            Method::OPTIONS => Ok(Found::Options(path.methods)),
            _ => Err(Error::method_not_allowed(path.methods)),
        }
    }
}
