//! What a handler is given beside the request: the brand of the listener, and what the visitor's headers ask for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderMap, HeaderName};

use crate::foundation::error::{Error, Result};
use crate::foundation::language::Language;
use crate::http::cookie::{self, CookieSecret, SetCookie};
use crate::http::rate_limit::{Quota, QuotaUsage};
use crate::tenant::brand::Brand;

const X_REGION: HeaderName = HeaderName::from_static("x-region");
const X_LANGUAGE: HeaderName = HeaderName::from_static("x-language");

/// The context of one request.
#[derive(Clone)]
pub struct RequestContext {
    /// The brand whose listener accepted the connection.
    pub brand: Arc<Brand>,
    /// `X-Region`; `None` is the whole catalogue. It need not exist.
    pub region: Option<String>,
    /// `X-Language`.
    pub language: Language,
    /// The client's, from the socket or a trusted balancer.
    pub address: IpAddr,
    additions: Arc<Mutex<ResponseExtras>>,
}

/// What the answer of a request carries besides, whatever it is: also an error leaves with them.
#[derive(Default)]
pub struct ResponseExtras {
    /// What was counted against the request, for the `RateLimit` headers.
    pub counts: Vec<QuotaUsage>,
    pub cookies: Vec<SetCookie>,
}

impl RequestContext {
    /// The time, by the one clock.
    pub fn now(&self) -> jiff::Timestamp {
        self.brand.clock.now()
    }

    /// Hands out a cookie with whatever is answered.
    pub fn set_cookie(&self, cookie: SetCookie) {
        self.extras().cookies.push(cookie);
    }

    /// What was added until now; others wait while it is held.
    pub fn extras(&self) -> MutexGuard<'_, ResponseExtras> {
        self.additions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts this request against a budget: of its address, and of the session or visitor that its cookies name.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub async fn check_rate_limit(&self, budget: Quota, headers: &HeaderMap) -> Result<()> {
        let of = |what| CookieSecret::read(headers, &cookie::name(self.brand.name(), what));
        let visitor = of(cookie::SESSION).or_else(|| of(cookie::VISITOR)).map(|secret| secret.hash());
        let counts = self.brand.rates.count(budget, self.address, visitor.as_deref()).await;
        let over = counts.iter().filter_map(QuotaUsage::retry_after_s).max();
        self.extras().counts.extend(counts);
        match over {
            Some(seconds) => {
                self.brand.metrics.rate_limited(budget.name());
                Err(Error::too_many_requests(seconds, format!("Too many requests; please try again in {seconds} s.")))
            }
            None => Ok(()),
        }
    }

    /// # Errors
    /// As [`asked_for`].
    pub fn new(brand: Arc<Brand>, headers: &HeaderMap, address: IpAddr) -> Result<RequestContext> {
        let (region, language) = from_headers(headers)?;
        Ok(RequestContext { brand, region: region.map(str::to_owned), language, address, additions: Arc::default() })
    }
}

/// The region and the language that a request's headers ask for.
///
/// # Errors
/// 400 for an `X-Region` that no region can have: what is not ASCII.
pub fn from_headers(headers: &HeaderMap) -> Result<(Option<&str>, Language)> {
    let language = headers.get(X_LANGUAGE).map_or(Language::Ru, |value| Language::from_header(value.as_bytes()));
    let region = headers.get(X_REGION).map(|value| match value.to_str() {
        Ok(region) => Ok(region.trim()),
        Err(_) => Err(Error::malformed("bad_region", "X-Region: expected the id of a region, as /regions lists them")),
    });
    let region = region.transpose()?.filter(|region| !region.is_empty());
    Ok((region, language))
}
