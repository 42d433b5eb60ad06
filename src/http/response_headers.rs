//! The headers that every response has.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};

use crate::http::cors::Origin;
use crate::http::request_id::X_REQUEST_ID;

/// What of the request decides how its answer leaves.
pub struct ResponseHeaders<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub origin: &'a Origin,
    pub request_id: &'a HeaderValue,
    /// Whether to send `Strict-Transport-Security`: not on a developer's localhost.
    pub hsts: bool,
}

impl ResponseHeaders<'_> {
    /// The headers that every answer has, whatever it is.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_REQUEST_ID, self.request_id.clone());
        if self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        self.origin.allow_reading(headers);
    }
}
