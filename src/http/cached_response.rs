//! A finished answer of the catalogue: its bytes, compressed once for each coding that was asked for, and their entity tags.
//!
//! Made of a handler's [`ApiResponse`](crate::http::response::Reply), kept by `cache`, sent by `serve` as often as it is asked for. What must never
//! happen: something of one request (its origin, its id, its cookies) stays in an answer that others get.

use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, VARY, WARNING,
};
use hyper::{Method, Response, StatusCode};

use crate::foundation::language::Language;
use crate::http::content_encoding::{self, Coding};
use crate::http::response_headers::ResponseHeaders;

/// Scripts of the shops may see that an answer may be old.
const EXPOSED_WHEN_STALE: HeaderName = hyper::header::ACCESS_CONTROL_EXPOSE_HEADERS;

pub struct CachedResponse {
    /// The items that it shows, in ascending order.
    pub shows: Box<[i64]>,
    /// The pattern of the route that made it, for metrics and the log.
    pub route: &'static str,
    plain: Bytes,
    language: Language,
    codings: [Coded; 4],
}

/// The answer in one coding.
struct Coded {
    coding: Coding,
    etag: HeaderValue,
    bytes: OnceLock<(Bytes, HeaderValue)>,
}

impl CachedResponse {
    /// JSON in this language that shows these items, made by this route.
    pub fn new(plain: Bytes, language: Language, mut shows: Vec<i64>, route: &'static str) -> CachedResponse {
        shows.sort_unstable();
        shows.dedup();
        let hash = content_encoding::hash(&plain);
        let codings = Coding::ALL.map(|coding| Coded { coding, etag: coding.etag(&hash), bytes: OnceLock::new() });
        CachedResponse { shows: shows.into(), route, plain, language, codings }
    }

    /// As it was made, in no coding.
    pub fn json(&self) -> &Bytes {
        &self.plain
    }

    pub fn language(&self) -> Language {
        self.language
    }

    /// About what it takes in memory when it was asked for in every coding.
    pub fn bytes(&self) -> usize {
        let compressed = if Coding::is_worth_it(self.plain.len()) { self.plain.len() / 2 } else { 0 };
        self.plain.len() + compressed + self.shows.len() * size_of::<i64>()
    }

    /// The response to one request; `is_stale` marks it (RFC 9111 has no other word for it than RFC 7234's `Warning`).
    pub fn respond(&self, asked: &ResponseHeaders<'_>, is_stale: bool) -> Response<Full<Bytes>> {
        let coded = &self.codings[Coding::negotiate(asked.headers, self.plain.len()) as usize];
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("X-Region, X-Language, Origin, Accept-Encoding"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(self.language.tag()));
        headers.insert(ETAG, coded.etag.clone());
        let mut status = StatusCode::OK;
        let mut body = Bytes::new();
        if content_encoding::has_already(asked.headers, &coded.etag) {
            status = StatusCode::NOT_MODIFIED;
        } else {
            let (bytes, length) = coded.bytes.get_or_init(|| {
                let bytes = coded.coding.apply(self.plain.clone());
                let length = HeaderValue::from(bytes.len());
                (bytes, length)
            });
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
            headers.insert(CONTENT_LENGTH, length.clone());
            if let Some(coding) = coded.coding.header() {
                headers.insert(CONTENT_ENCODING, coding);
            }
            if asked.method != Method::HEAD {
                body = bytes.clone();
            }
        }
        asked.apply(&mut headers);
        if is_stale {
            headers.insert(WARNING, HeaderValue::from_static("110 brandgate \"Response is Stale\""));
            if headers.contains_key(EXPOSED_WHEN_STALE) {
                headers.append(EXPOSED_WHEN_STALE, HeaderValue::from_static("Warning"));
            }
        }
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
