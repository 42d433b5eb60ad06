//! HTTP, independent of shops: requests, responses, routing, caching headers, CORS and rate limits.

pub(crate) mod cached_response;
pub(crate) mod content_encoding;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod fetch_metadata;
pub(crate) mod rate_limit;
pub(crate) mod request;
pub(crate) mod request_head;
pub(crate) mod request_id;
pub(crate) mod response;
pub(crate) mod response_headers;
pub(crate) mod router;
