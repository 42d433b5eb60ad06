//! What a handler reads of a request: path parameters, query, paging, cookies, a JSON body.
//!
//! Every value here came from outside and is checked before it is handed on; a wrong one is a 400 that names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::foundation::error::{Error, Result};
use crate::http::cookie::CookieSecret;

/// 2^53 − 1: the largest whole number that JavaScript holds exactly, and so the largest id.
pub const LARGEST_INTEGER: i64 = (1 << 53) - 1;

/// The longest query string that is looked at.
const LONGEST_QUERY_BYTES: usize = 16_384;

/// The body of a request, not read yet.
pub struct Incoming {
    pub body: hyper::body::Incoming,
    /// The largest body that is read.
    pub limit_bytes: usize,
    /// Set when the body was read to its end.
    pub was_read: Arc<AtomicBool>,
}

/// A request as a handler sees it.
#[derive(Default)]
pub struct ApiRequest {
    /// Decoded values of `{…}` in the route.
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: Arc<HeaderMap>,
    incoming: Option<Box<Incoming>>,
}

impl ApiRequest {
    /// # Errors
    /// 400 for what does not decode to UTF-8, 414 for a query that is too long.
    pub fn new(params: matchit::Params<'_, '_>, query: Option<&str>) -> Result<ApiRequest> {
        let params = params.iter().map(|(name, value)| Ok((name.to_owned(), decode(value, "path")?)));
        let query = query.unwrap_or_default();
        if query.len() > LONGEST_QUERY_BYTES {
            return Err(Error::uri_too_long());
        }
        Ok(ApiRequest {
            params: params.collect::<Result<_>>()?,
            query: pairs(query, "query")?,
            ..ApiRequest::default()
        })
    }

    /// Adds what was not needed to find the route.
    pub fn with_incoming(self, headers: Arc<HeaderMap>, incoming: Incoming) -> ApiRequest {
        ApiRequest { headers, incoming: Some(Box::new(incoming)), ..self }
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header as text; `None` also for one that is no ASCII.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All query parameters in their order.
    pub fn query_pairs(&self) -> &[(String, String)] {
        &self.query
    }

    /// The media type of the body without its parameters, in lower case; empty when none is named.
    pub fn media_type(&self) -> String {
        let named = self.header(CONTENT_TYPE).unwrap_or_default();
        named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The cookie of that name, when it has the shape of ours.
    pub fn cookie(&self, name: &str) -> Option<CookieSecret> {
        CookieSecret::read(&self.headers, name)
    }

    /// The whole body as JSON. To be asked once; a second time it is empty.
    ///
    /// # Errors
    /// 415 for another media type, 413 above the limit, 400 for what is no JSON.
    pub async fn json(&mut self) -> Result<Value> {
        json(&self.json_bytes().await?)
    }

    /// The same as it was sent, for who must see its numbers digit by digit.
    ///
    /// # Errors
    /// 415 for another media type, 413 above the limit.
    pub async fn json_bytes(&mut self) -> Result<Bytes> {
        match self.media_type() == "application/json" {
            true => self.bytes().await,
            false => Err(Error::unsupported_media_type()),
        }
    }

    /// The whole body as the pairs of a form (`application/x-www-form-urlencoded`), which the caller has looked for.
    ///
    /// # Errors
    /// 413 above the limit, 400 for what does not decode.
    pub async fn form(&mut self) -> Result<Vec<(String, String)>> {
        let bytes = self.bytes().await?;
        let text =
            std::str::from_utf8(&bytes).map_err(|e| Error::malformed("bad_form", "form: not UTF-8").with_cause(e))?;
        pairs(text, "form")
    }

    /// The whole body. To be asked once; a second time it is empty.
    ///
    /// # Errors
    /// 413 above the limit, 400 when it breaks off.
    pub async fn bytes(&mut self) -> Result<Bytes> {
        let Some(incoming) = self.incoming.take() else { return Ok(Bytes::new()) };
        match Limited::new(incoming.body, incoming.limit_bytes).collect().await {
            Ok(body) => {
                incoming.was_read.store(true, Ordering::Relaxed);
                Ok(body.to_bytes())
            }
            Err(error) if error.is::<LengthLimitError>() => Err(Error::body_too_large(incoming.limit_bytes)),
            Err(error) => Err(Error::malformed("bad_body", "The body broke off.").with_cause(error)),
        }
    }

    /// The part of the path that the route calls `name`.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(key, _)| key == name);
        &found.expect("a handler asks for a parameter of its own route").1
    }

    /// A query parameter; 400 when it was given more than once.
    pub fn query(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::malformed("bad_query", format!("{name}: given more than once"))),
            (first, None) => Ok(first),
        }
    }

    /// How many to list: 1-200, larger is taken as 200 (contract section 3).
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

    /// A whole number without a sign. What is larger than any catalogue is taken as that large.
    fn digits(&self, name: &'static str) -> Result<Option<i64>> {
        let Some(value) = self.query(name)? else { return Ok(None) };
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(match name {
                "count" => Error::malformed("bad_count", "count: expected a whole number from 1 to 200"),
                _ => Error::malformed("bad_skip", "skip: expected a whole number, 0 or more"),
            });
        }
        Ok(Some(value.parse().unwrap_or(LARGEST_INTEGER).min(LARGEST_INTEGER)))
    }
}

/// # Errors
/// 400 for what is no JSON.
pub fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::malformed("bad_json", format!("The body is no JSON: {error}.")).with_cause(error))
}

/// `a=1&b=2` with percent signs and plus signs.
fn pairs(text: &str, place: &str) -> Result<Vec<(String, String)>> {
    let plain = |text: &str| decode(&text.replace('+', " "), place);
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((plain(name)?, plain(value)?))
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
    use super::*;

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
    fn paging_is_whole_numbers_within_limits() {
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
    fn a_query_is_utf8_with_plus_as_space() {
        let req = ApiRequest::new(no_params(), Some("search=%D1%87%D0%B0%D0%B9+%2B1&x")).expect("good");
        assert_eq!(req.query("search").expect("once"), Some("чай +1"));
        assert_eq!(req.query("x").expect("once"), Some(""));
        assert!(ApiRequest::new(no_params(), Some("search=%ff")).is_err());
    }
}
