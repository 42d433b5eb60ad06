//! A request as a handler sees it: path parameters, query, paging, cookies and body, validated as they are read.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::foundation::error::{Error, Result};
use crate::http::cookie::CookieSecret;

/// 2^53 − 1, the largest integer that JavaScript represents exactly (`Number.MAX_SAFE_INTEGER`); the largest id.
pub(crate) const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// The longest query string that is parsed.
const MAX_QUERY_BYTES: usize = 16_384;

/// A rejected body is drained up to so many times its limit: a client that sends slightly too much can read the response.
const DRAIN_LIMIT_FACTOR: usize = 4;

/// The unread body of a request.
pub(crate) struct RequestBody {
    body: Incoming,
    max_bytes: usize,
    /// The client sends the body only after `100 Continue`.
    awaits_continue: bool,
}

impl RequestBody {
    /// `max_bytes` is the largest body that [`RequestBody::read`] returns. `awaits_continue`: reading it invites the
    /// client with `100 Continue` to send it.
    pub(crate) fn new(body: Incoming, max_bytes: usize, awaits_continue: bool) -> RequestBody {
        RequestBody { body, max_bytes, awaits_continue }
    }

    /// Whether nothing is left to read.
    pub(crate) fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }

    /// # Errors
    /// 413 for a `Content-Length` above the limit.
    pub(crate) fn check_length(&self) -> Result<()> {
        match self.body.size_hint().lower() > self.max_bytes as u64 {
            true => Err(Error::body_too_large(self.max_bytes)),
            false => Ok(()),
        }
    }

    /// Reads the whole body. `reserve` is asked before each part is kept, with its size in bytes.
    ///
    /// # Errors
    /// 413 above the limit, 400 when the client stops sending, and those of `reserve`.
    pub(crate) async fn read(&mut self, mut reserve: impl FnMut(u64) -> Result<()>) -> Result<Bytes> {
        // The first poll invites the client to send.
        self.awaits_continue = false;
        let mut received = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| Error::malformed("bad_body", "The body broke off.").with_cause(error))?;
            let Ok(data) = frame.into_data() else { continue };
            if received.len() + data.len() > self.max_bytes {
                return Err(Error::body_too_large(self.max_bytes));
            }
            reserve(data.len() as u64)?;
            // Copied, because the part may be a slice of a much larger buffer.
            received.extend_from_slice(&data);
        }
        Ok(received.freeze())
    }

    /// Reads and discards the body of a rejected request, so that its client gets to read the response; a body that is
    /// much too large or slow is left unread, and so is one that the client has not been invited to send. Returns whether it was read to its end.
    pub(crate) async fn discard(mut self, timeout: Duration) -> bool {
        let mut left = self.max_bytes * DRAIN_LIMIT_FACTOR;
        if self.awaits_continue || self.body.size_hint().lower() > left as u64 {
            return false;
        }
        let read = async {
            while let Some(frame) = self.body.frame().await {
                let bytes = frame.ok()?.into_data().map_or(0, |data| data.len());
                left = left.checked_sub(bytes)?;
            }
            Some(())
        };
        tokio::time::timeout(timeout, read).await.is_ok_and(|read| read.is_some())
    }
}

/// A request as a handler sees it.
#[derive(Default)]
pub struct ApiRequest {
    /// The decoded parameters of the path, such as `{id}`.
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: Arc<HeaderMap>,
    body: Bytes,
}

impl ApiRequest {
    /// # Errors
    /// 400 for a path or query that is not UTF-8, 414 for a query that is too long.
    pub fn new(params: matchit::Params<'_, '_>, query: Option<&str>) -> Result<ApiRequest> {
        let params = params.iter().map(|(name, value)| Ok((name.to_owned(), decode(value, "path")?)));
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY_BYTES {
            return Err(Error::uri_too_long());
        }
        Ok(ApiRequest {
            params: params.collect::<Result<_>>()?,
            query: pairs(query, "query")?,
            ..ApiRequest::default()
        })
    }

    /// Adds the parts that routing does not need.
    pub fn with_body(self, headers: Arc<HeaderMap>, body: Bytes) -> ApiRequest {
        ApiRequest { headers, body, ..self }
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's value; `None` also for one that is not ASCII.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All query parameters, in their order.
    pub fn query_pairs(&self) -> &[(String, String)] {
        &self.query
    }

    /// The media type of the body, in lower case and without parameters; empty without `Content-Type`.
    pub fn media_type(&self) -> String {
        let value = self.header(CONTENT_TYPE).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The cookie with this name, if its value has the format of a [`CookieSecret`].
    pub fn cookie(&self, name: &str) -> Option<CookieSecret> {
        CookieSecret::read(&self.headers, name)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 415 for another media type, 400 for invalid JSON.
    pub fn json(&self) -> Result<Value> {
        json(self.json_bytes()?)
    }

    /// The unparsed text of a JSON body, for callers that need its numbers digit by digit.
    ///
    /// # Errors
    /// 415 for another media type.
    pub fn json_bytes(&self) -> Result<&Bytes> {
        match self.media_type() == "application/json" {
            true => Ok(&self.body),
            false => Err(Error::unsupported_media_type()),
        }
    }

    /// The body as the pairs of an `application/x-www-form-urlencoded` form. The caller checks the media type.
    ///
    /// # Errors
    /// 400 for a body that is not UTF-8.
    pub fn form(&self) -> Result<Vec<(String, String)>> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|e| Error::malformed("bad_form", "form: not UTF-8").with_cause(e))?;
        pairs(text, "form")
    }

    /// The body as it was received.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The path parameter `{name}` of the route.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(key, _)| key == name);
        &found.expect("the route has this parameter").1
    }

    /// A query parameter.
    ///
    /// # Errors
    /// 400 when it is given more than once.
    pub fn query(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::malformed("bad_query", format!("{name}: given more than once"))),
            (first, None) => Ok(first),
        }
    }

    /// `count`, from 1; values above 200 are taken as 200.
    ///
    /// # Errors
    /// 400 for 0 and anything else that is not a whole number.
    pub fn count(&self, default: i64) -> Result<i64> {
        match self.digits("count")? {
            None => Ok(default),
            Some(0) => Err(Error::malformed("bad_count", "count: expected a whole number from 1 to 200")),
            Some(count) => Ok(count.min(200)),
        }
    }

    /// How many to skip; 0 unless given.
    pub fn skip(&self) -> Result<i64> {
        Ok(self.digits("skip")?.unwrap_or(0))
    }

    /// A whole number without a sign, capped at [`MAX_SAFE_INTEGER`].
    fn digits(&self, name: &'static str) -> Result<Option<i64>> {
        let Some(value) = self.query(name)? else { return Ok(None) };
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(match name {
                "count" => Error::malformed("bad_count", "count: expected a whole number from 1 to 200"),
                _ => Error::malformed("bad_skip", "skip: expected a whole number, 0 or more"),
            });
        }
        Ok(Some(value.parse().unwrap_or(MAX_SAFE_INTEGER).min(MAX_SAFE_INTEGER)))
    }
}

/// Parses JSON.
///
/// # Errors
/// 400 for invalid JSON.
pub(crate) fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::malformed("bad_json", format!("The body is no JSON: {error}.")).with_cause(error))
}

/// Decodes `a=1&b=2`: percent-encoding, and `+` for a space.
fn pairs(text: &str, place: &str) -> Result<Vec<(String, String)>> {
    let decode_form = |text: &str| decode(&text.replace('+', " "), place);
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode_form(name)?, decode_form(value)?))
    });
    pairs.collect()
}

fn decode(text: &str, place: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|e| Error::malformed("bad_encoding", format!("{place}: not UTF-8")).with_cause(e))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use percent_encoding::NON_ALPHANUMERIC;

    use super::*;
    use crate::foundation::fuzz::{fuzz, refused};

    /// `count` and `skip`.
    fn page(query: &str) -> Result<(i64, i64)> {
        let request = ApiRequest::new(no_params(), Some(query))?;
        Ok((request.count(50)?, request.skip()?))
    }

    fn no_params() -> matchit::Params<'static, 'static> {
        let router = Box::leak(Box::new(matchit::Router::new()));
        router.insert("/", ()).expect("the only route");
        router.at("/").expect("just inserted").params
    }

    #[test]
    fn page_parameters_are_whole_numbers_within_limits() {
        assert_eq!(page("").expect("defaults"), (50, 0));
        assert_eq!(page("count=1&skip=7").expect("plain"), (1, 7));
        assert_eq!(page("count=100000000000000000000").expect("huge").0, 200);
        assert_eq!(page("skip=100000000000000000000").expect("huge").1, 9_007_199_254_740_991);
        for bad in [
            "count=0",
            "count=-1",
            "count=",
            "count=1.5",
            "count=+5",
            "count=abc",
            "skip=-1",
            "skip=1e3",
            "count=1&count=2",
        ] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn query_is_utf8_with_plus_as_space() {
        let req = ApiRequest::new(no_params(), Some("search=%D1%87%D0%B0%D0%B9+%2B1&x")).expect("good");
        assert_eq!(req.query("search").expect("once"), Some("чай +1"));
        assert_eq!(req.query("x").expect("once"), Some(""));
        assert!(ApiRequest::new(no_params(), Some("search=%ff")).is_err());
    }

    #[test]
    fn fuzz_query() {
        let seeds = [
            "search=%D1%87%D0%B0%D0%B9+%2B1&count=50&skip=0",
            "category=cat_tea&count=1&count=2",
            "id=42&first_name=Anna&auth_date=1709100000&hash=ab&x&=y&&",
        ];
        let words = ["count=", "skip=", "search=", "&", "=", "+", "%", "%2B", "%00", "%ff", "%D1%87"];
        let codes = ["bad_encoding", "bad_query", "bad_count", "bad_skip", "uri_too_long"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return "not a URI".to_owned() };
            let request = match ApiRequest::new(no_params(), Some(text)) {
                Ok(request) => request,
                Err(error) => return refused(&error),
            };
            let encode = |text: &str| percent_encoding::utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let encoded =
                request.query_pairs().iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
            let encoded = encoded.collect::<Vec<_>>().join("&");
            let again = pairs(&encoded, "query").expect("encoded by us");
            assert_eq!(again, request.query_pairs(), "pairs survive encoding");
            match (request.count(50), request.skip()) {
                (Ok(count), Ok(skip)) => {
                    assert!((1..=200).contains(&count) && (0..=MAX_SAFE_INTEGER).contains(&skip), "{text}");
                    "accepted".to_owned()
                }
                (Err(error), _) | (_, Err(error)) => {
                    assert!(codes.contains(&error.code), "{}", error.code);
                    refused(&error)
                }
            }
        });
        outcomes.assert_seen(&["accepted", "bad_encoding", "bad_query", "bad_count", "bad_skip"]);
    }

    #[test]
    fn fuzz_request_id() {
        let seeds = ["front-42_a.b", "0123456789abcdef-1f"];
        let outcomes = fuzz(&seeds, &["-", "_", ".", " "], |input| {
            let Ok(sent) = hyper::header::HeaderValue::from_bytes(input) else { return "not a header".to_owned() };
            let mut headers = HeaderMap::new();
            headers.insert(crate::http::request_id::X_REQUEST_ID, sent.clone());
            let id = crate::http::request_id::from_headers(&headers);
            let text = id.to_str().expect("ASCII");
            assert!((1..=128).contains(&text.len()), "{text}");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
            if id == sent { "kept" } else { "replaced" }.to_owned()
        });
        outcomes.assert_seen(&["kept", "replaced"]);
    }
}
