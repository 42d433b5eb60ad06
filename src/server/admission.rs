//! The checks that every request passes before its handler is called.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::http::request::Parts;

use crate::config::Limits;
use crate::foundation::error::{Error, Result};
use crate::http::cors::{self, Origin};
use crate::http::request::RequestBody;
use crate::http::request_head;
use crate::http::router::{Route, RouteMatch, Router};
use crate::tenant::brand::Brand;
use crate::tenant::context::RequestContext;

/// The outcome of the checks.
pub(super) struct Admission<'r> {
    /// The pattern of the matched route; empty when there is none.
    pub route: &'static str,
    pub result: Result<Admitted<'r>>,
}

/// What answers an admitted request.
pub(super) enum Admitted<'r> {
    Preflight,
    /// `OPTIONS`, with the methods of the path.
    Options(&'r str),
    Handler(Route<'r, RequestContext>, RequestContext),
}

/// Checks the size of a request, its origin, its route, and the headers that all routes share, in this order.
pub(super) fn admit<'r>(
    brand: &Arc<Brand>,
    router: &'r Router<RequestContext>,
    parts: &Parts,
    body: &RequestBody,
    origin: &Origin,
    client: IpAddr,
) -> Admission<'r> {
    if let Err(error) = check_size(parts, body, &brand.config.limits) {
        return Admission { route: "", result: Err(error) };
    }
    if cors::is_preflight(parts) {
        return Admission { route: "", result: Ok(Admitted::Preflight) };
    }
    let matched = router.find(&parts.method, parts.uri.path(), parts.uri.query());
    let allow_own_origin = matches!(&matched, Ok(RouteMatch::Handler(route)) if route.rules.allow_own_origin);
    match origin.check(&parts.method, allow_own_origin).and(matched) {
        Ok(RouteMatch::Options(allow)) => Admission { route: "", result: Ok(Admitted::Options(allow)) },
        Ok(RouteMatch::Handler(route)) => {
            let context = RequestContext::new(brand.clone(), &parts.headers, client);
            Admission { route: route.pattern, result: Ok(Admitted::Handler(route, context)) }
        }
        Err(error) => Admission { route: "", result: Err(error) },
    }
}

fn check_size(parts: &Parts, body: &RequestBody, limits: &Limits) -> Result<()> {
    check_head(parts, limits)?;
    body.check_length()
}

/// Checks the size of a request head, and what HTTP demands of it.
///
/// # Errors
/// 431; those of [`request_head::check`].
pub(super) fn check_head(parts: &Parts, limits: &Limits) -> Result<()> {
    // hyper limits its buffer instead, and a head that arrives in one read may be larger.
    if head_bytes(parts) > limits.head_bytes as usize {
        return Err(Error::headers_too_large(limits.head_bytes));
    }
    if parts.headers.len() > limits.header_fields {
        return Err(Error::too_many_headers(limits.header_fields));
    }
    request_head::check(parts)
}

/// The approximate size of a request head as it was sent.
fn head_bytes(parts: &Parts) -> usize {
    let uri = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    parts.headers.iter().fold(uri, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}
