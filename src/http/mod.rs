//! HTTP, independent of shops: requests, responses, routing, caching headers, CORS and rate limits.

pub mod cached_response;
pub mod content_encoding;
pub mod cookie;
pub mod cors;
pub mod rate_limit;
pub mod request;
pub mod request_id;
pub mod response;
pub mod response_headers;
pub mod router;
