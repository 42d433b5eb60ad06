//! The request context: the brand of the listener, the client's address, region and language, and extras of the response.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderMap, HeaderName};

use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::http::cookie::{self, CookieSecret, SetCookie};
use crate::http::cors::Origin;
use crate::http::fetch_metadata;
use crate::http::rate_limit::{Quota, QuotaUsage};
use crate::http::router::RouteRules;
use crate::tenant::brand::Brand;

const X_REGION: HeaderName = HeaderName::from_static("x-region");
const X_LANGUAGE: HeaderName = HeaderName::from_static("x-language");

/// Stands for a region that no shop can have, because ids of regions are ASCII.
const UNKNOWN_REGION: &str = "?";

/// The context of one request.
#[derive(Clone)]
pub struct RequestContext {
    /// The brand whose listener accepted the connection.
    pub brand: Arc<Brand>,
    /// `X-Region`; `None` selects the whole catalogue. The region may not exist.
    pub region: Option<String>,
    /// `X-Language`.
    pub language: Language,
    /// The client's address, from the socket or a trusted load balancer.
    pub address: IpAddr,
    extras: Arc<Mutex<ResponseExtras>>,
}

/// What is added to the response, also to an error.
#[derive(Default)]
pub struct ResponseExtras {
    /// For the `RateLimit` headers.
    pub quotas: Vec<QuotaUsage>,
    pub cookies: Vec<SetCookie>,
}

impl RequestContext {
    /// The time by the brand's clock.
    pub fn now(&self) -> jiff::Timestamp {
        self.brand.clock.now()
    }

    /// Sets a cookie on the response.
    pub fn set_cookie(&self, cookie: SetCookie) {
        self.extras().cookies.push(cookie);
    }

    /// Locks the extras; other tasks of the request wait while the guard is held.
    pub fn extras(&self) -> MutexGuard<'_, ResponseExtras> {
        self.extras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks where a request comes from, and then counts it: what another site causes uses up no visitor's quota.
    ///
    /// # Errors
    /// 403 for a request of another site that the route does not accept; 429 when a quota is exceeded.
    pub async fn check_rules(&self, rules: &RouteRules, headers: &HeaderMap) -> Result<()> {
        let config = &self.brand.config;
        let origin = Origin::from_headers(headers, &config.origins, config.own_origin());
        fetch_metadata::check(rules.cross_site, headers, &origin, |origin| {
            config.is_origin(origin) || origin == config.own_origin()
        })?;
        match rules.quota {
            Some(quota) => self.check_rate_limit(quota, headers).await,
            None => Ok(()),
        }
    }

    /// Counts this request against a quota of its address, and of the session or visitor in its cookies.
    ///
    /// # Errors
    /// 429 when a quota is exceeded.
    pub async fn check_rate_limit(&self, quota: Quota, headers: &HeaderMap) -> Result<()> {
        let secret = |cookie| CookieSecret::read(headers, &cookie::name(self.brand.name(), cookie));
        let visitor = secret(cookie::SESSION).or_else(|| secret(cookie::VISITOR)).map(|secret| secret.hash());
        self.count(quota, visitor.as_deref()).await
    }

    /// Counts this request against a quota of its address alone.
    ///
    /// # Errors
    /// 429 when the quota is exceeded.
    pub async fn check_address_limit(&self, quota: Quota) -> Result<()> {
        self.count(quota, None).await
    }

    async fn count(&self, quota: Quota, visitor: Option<&str>) -> Result<()> {
        let quotas = self.brand.rate_limiter.count(quota, self.address, visitor).await;
        let retry_after_s = quotas.iter().filter_map(QuotaUsage::retry_after_s).max();
        self.extras().quotas.extend(quotas);
        match retry_after_s {
            Some(seconds) => {
                self.brand.metrics.rate_limited(quota.name()).inc();
                Err(Error::too_many_requests(seconds, quota.advice(seconds)))
            }
            None => Ok(()),
        }
    }

    pub fn new(brand: Arc<Brand>, headers: &HeaderMap, address: IpAddr) -> RequestContext {
        let (region, language) = from_headers(headers);
        RequestContext { brand, region: region.map(str::to_owned), language, address, extras: Arc::default() }
    }
}

/// The region and the language in a request's headers.
pub(crate) fn from_headers(headers: &HeaderMap) -> (Option<&str>, Language) {
    let language = headers.get(X_LANGUAGE).map_or(Language::Ru, |value| Language::from_header(value.as_bytes()));
    let region = headers.get(X_REGION).map(|value| value.to_str().unwrap_or(UNKNOWN_REGION).trim());
    (region.filter(|region| !region.is_empty()), language)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::foundation::fuzz::fuzz;

    #[test]
    fn fuzz_region_and_language() {
        let seeds = ["moscow\nen-US", "spb\nhy_AM", " yerevan \nru,en;q=0.5", "\nde-DE,de;q=0.9,en;q=0.8"];
        let words = ["moscow", "en", "hy", "ru", "-", "_", ",", ";q=", " ", "\t", "\n", "'", "--"];
        let outcomes = fuzz(&seeds, &words, |input| {
            let mut lines = input.splitn(2, |byte| *byte == b'\n');
            let (region, language) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let values = (HeaderValue::from_bytes(region), HeaderValue::from_bytes(language));
            let (Ok(region), Ok(language)) = values else { return "not a header".to_owned() };
            if let Ok(text) = language.to_str() {
                let preferred = Language::preferred(text);
                let is_named = text.to_ascii_lowercase().contains(preferred.tag());
                assert!(preferred == Language::DEFAULT || is_named, "{text:?} selects {preferred:?}");
            }
            let mut headers = HeaderMap::new();
            headers.insert(X_REGION, region.clone());
            headers.insert(X_LANGUAGE, language.clone());
            let (found, selected) = from_headers(&headers);
            let starts_with_tag =
                language.as_bytes().get(..2).is_some_and(|tag| tag.eq_ignore_ascii_case(selected.tag().as_bytes()));
            assert!(selected == Language::DEFAULT || starts_with_tag, "{language:?} selects {selected:?}");
            match (found, region.to_str()) {
                (found, Ok(sent)) => assert_eq!(found.unwrap_or_default(), sent.trim()),
                (found, Err(_)) => assert_eq!(found, Some(UNKNOWN_REGION)),
            }
            match found {
                Some(UNKNOWN_REGION) => "unknown",
                Some(_) => selected.tag(),
                None => "everywhere",
            }
            .to_owned()
        });
        outcomes.assert_seen(&["ru", "en", "hy", "everywhere", "unknown", "not a header"]);
    }
}
