//! Headers that every response has, and what of a request they depend on.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};

use crate::http::cors::Origin;
use crate::http::request_id::X_REQUEST_ID;

/// The parts of a request that a response depends on, whatever its handler.
pub struct ResponseHeaders<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub origin: &'a Origin,
    pub request_id: &'a HeaderValue,
    /// Whether to send `Strict-Transport-Security`; not in development on localhost.
    pub hsts: bool,
}

impl ResponseHeaders<'_> {
    /// Sets `nosniff`, the request id, HSTS and CORS headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_REQUEST_ID, self.request_id.clone());
        if self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        self.origin.allow_access(headers);
    }
}
