//! A response of the catalogue as it is cached: its body in each content coding in use, with entity tags.
//!
//! # Invariants
//!
//! - It contains nothing of the request that it was made for: no origin, request id or cookie.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, VARY, WARNING,
};
use hyper::{Method, Response, StatusCode};

use crate::foundation::language::Language;
use crate::http::content_encoding::{self, ContentCoding};
use crate::http::response_headers::ResponseHeaders;

/// What is to be done each time that a response is sent, for as long as it is cached.
#[derive(Clone)]
pub struct ResponseHook(Arc<dyn Fn() + Send + Sync>);

impl ResponseHook {
    /// `run` must not block: it runs while a client waits.
    pub fn new(run: impl Fn() + Send + Sync + 'static) -> ResponseHook {
        ResponseHook(Arc::new(run))
    }
}

impl fmt::Debug for ResponseHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseHook")
    }
}

pub struct CachedResponse {
    /// The ids of the items that it shows, ascending.
    pub item_ids: Box<[i64]>,
    /// The pattern of its route, for metrics and logs.
    pub route: &'static str,
    /// Whether it must not be cached: it may change soon without a change of the catalogue.
    pub is_provisional: bool,
    /// Runs for each GET that it answers, also with 304.
    pub hook: Option<ResponseHook>,
    json: Bytes,
    language: Language,
    representations: [Representation; 4],
}

/// The response in one content coding (RFC 9110, 3.2).
struct Representation {
    coding: ContentCoding,
    etag: HeaderValue,
    /// Body and `Content-Length`, set when they are first requested.
    encoded: OnceLock<(Bytes, HeaderValue)>,
}

impl CachedResponse {
    /// JSON in this language that shows these items, from this route.
    pub fn new(json: Bytes, language: Language, mut item_ids: Vec<i64>, route: &'static str) -> CachedResponse {
        item_ids.sort_unstable();
        item_ids.dedup();
        let hash = content_encoding::hash(&json);
        let representations = ContentCoding::ALL.map(|coding| Representation {
            coding,
            etag: coding.etag(&hash),
            encoded: OnceLock::new(),
        });
        CachedResponse {
            item_ids: item_ids.into(),
            route,
            is_provisional: false,
            hook: None,
            json,
            language,
            representations,
        }
    }

    /// The uncompressed body.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    pub fn language(&self) -> Language {
        self.language
    }

    /// Its approximate size in memory once every coding has been requested.
    pub fn bytes(&self) -> usize {
        let compressed = if ContentCoding::is_compressible(self.json.len()) { self.json.len() / 2 } else { 0 };
        self.json.len() + compressed + self.item_ids.len() * size_of::<i64>()
    }

    /// The response to one request. A stale one has `Warning: 110` (RFC 7234, 5.5.1; RFC 9111 has no replacement).
    pub fn respond(&self, request: &ResponseHeaders<'_>, is_stale: bool) -> Response<Full<Bytes>> {
        if let Some(ResponseHook(run)) = self.hook.as_ref().filter(|_| request.method == Method::GET) {
            run();
        }
        let coding = ContentCoding::negotiate(request.headers, self.json.len());
        let representation = &self.representations[coding as usize];
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("X-Region, X-Language, Origin, Accept-Encoding"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(self.language.tag()));
        headers.insert(ETAG, representation.etag.clone());
        let mut status = StatusCode::OK;
        let mut body = Bytes::new();
        if content_encoding::if_none_match(request.headers, &representation.etag) {
            status = StatusCode::NOT_MODIFIED;
        } else {
            let (bytes, length) = representation.encoded.get_or_init(|| {
                let bytes = representation.coding.encode(self.json.clone());
                let length = HeaderValue::from(bytes.len());
                (bytes, length)
            });
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
            headers.insert(CONTENT_LENGTH, length.clone());
            if let Some(coding) = coding.header() {
                headers.insert(CONTENT_ENCODING, coding);
            }
            if request.method != Method::HEAD {
                body = bytes.clone();
            }
        }
        request.apply(&mut headers);
        if is_stale {
            headers.insert(WARNING, HeaderValue::from_static("110 brandgate \"Response is Stale\""));
            if headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
                headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Warning"));
            }
        }
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
