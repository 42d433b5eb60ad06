//! How often one address and one visitor may ask for what costs something (contract section 8).
//!
//! Counted in Redis, so that all instances agree; called by `app::RequestContext::spend`. What must never happen: a shop that stands still
//! because Redis does: while it is away, everybody may.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::RateLimits;
use crate::foundation::error::Result;
use crate::platform::redis::Redis;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const WINDOW_MS: u64 = 60_000;

/// No request waits longer to be counted.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long nothing is counted after Redis failed, so that not every request waits for it.
const REST: Duration = Duration::from_secs(2);

/// What is rationed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Login attempts and callbacks.
    Logins,
    CartWrites,
    /// Payments and the mails after them.
    Payments,
    Reviews,
}

impl Quota {
    /// Its name in keys, headers and figures.
    pub fn name(self) -> &'static str {
        match self {
            Quota::Logins => "logins",
            Quota::CartWrites => "cart",
            Quota::Payments => "payments",
            Quota::Reviews => "reviews",
        }
    }
}

/// One count of one request, as the `RateLimit` headers tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUsage {
    name: String,
    limit: u32,
    used: u64,
    reset_s: u32,
}

impl QuotaUsage {
    /// After how many seconds to come back, when this request was one too many.
    pub fn retry_after_s(&self) -> Option<u32> {
        (self.used > u64::from(self.limit)).then_some(self.reset_s)
    }

    /// The headers of draft-ietf-httpapi-ratelimit-headers-10: what the rule is, and what is left of it.
    pub fn write(counts: &[QuotaUsage], headers: &mut HeaderMap) {
        if counts.is_empty() {
            return;
        }
        let policy = |c: &QuotaUsage| format!("\"{}\";q={};w={}", c.name, c.limit, WINDOW_MS / 1_000);
        let left =
            |c: &QuotaUsage| format!("\"{}\";r={};t={}", c.name, u64::from(c.limit).saturating_sub(c.used), c.reset_s);
        let list = |one: &dyn Fn(&QuotaUsage) -> String| {
            let text = counts.iter().map(one).collect::<Vec<_>>().join(", ");
            HeaderValue::try_from(text).expect("words and numbers are ASCII")
        };
        headers.insert(RATE_LIMIT_POLICY, list(&policy));
        headers.insert(RATE_LIMIT, list(&left));
    }
}

/// One brand's counting.
pub struct RateLimiter {
    kv: Redis,
    rates: RateLimits,
    born: Instant,
    /// Milliseconds from `born` until which nothing is counted.
    resting_until_ms: AtomicU64,
}

impl RateLimiter {
    pub fn new(kv: Redis, rates: RateLimits) -> RateLimiter {
        RateLimiter { kv, rates, born: Instant::now(), resting_until_ms: AtomicU64::new(0) }
    }

    /// Counts one request of an address and, where that is rationed too, of a visitor (the hash of a cookie). Empty while
    /// Redis is away.
    pub async fn count(&self, budget: Quota, address: IpAddr, visitor: Option<&str>) -> Vec<QuotaUsage> {
        if self.now_ms() < self.resting_until_ms.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let (of_address, of_visitor) = self.limits(budget);
        let address = network_of(address).to_string();
        let of_visitor = visitor.zip(of_visitor).map(|(hash, limit)| ("visitor", hash, limit));
        let whose: Vec<_> =
            [Some(("address", address.as_str(), of_address)), of_visitor].into_iter().flatten().collect();
        let counting = self.count_all(budget, &whose);
        let counted = tokio::time::timeout(PATIENCE, counting).await;
        counted.unwrap_or_else(|late| Err(crate::foundation::error::Error::unavailable(late))).unwrap_or_else(|error| {
            tracing::debug!(%error, "nothing is counted while Redis is away");
            self.resting_until_ms.store(self.now_ms() + REST.as_millis() as u64, Ordering::Relaxed);
            Vec::new()
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Each is whose count it is, of whom, and the limit.
    async fn count_all(&self, budget: Quota, whose: &[(&str, &str, u32)]) -> Result<Vec<QuotaUsage>> {
        let rest = format!("rate:{}", budget.name());
        let keys: Vec<_> = whose.iter().map(|(_, subject, _)| self.kv.key(subject, &rest)).collect();
        let counted = self.kv.increment(&keys, WINDOW_MS).await?;
        let counts = whose.iter().zip(counted).map(|((whose, _, limit), (used, left_ms))| {
            let reset_s = u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            QuotaUsage { name: format!("{}-{whose}", budget.name()), limit: *limit, used, reset_s }
        });
        Ok(counts.collect())
    }

    /// For an address, and for a visitor where visitors are rationed.
    fn limits(&self, budget: Quota) -> (u32, Option<u32>) {
        let rates = &self.rates;
        match budget {
            Quota::Logins => (rates.logins_per_address, None),
            Quota::CartWrites => (rates.cart_writes_per_address, Some(rates.cart_writes_per_visitor)),
            Quota::Payments => (rates.payments_per_address, None),
            Quota::Reviews => (rates.reviews_per_address, None),
        }
    }
}

/// Whom an address stands for where addresses are counted: in IPv6 a household has a /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_subject() {
        let of = |text: &str| network_of(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::9"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn the_headers_tell_every_count() {
        let count = |name: &str, limit, used| QuotaUsage { name: name.to_owned(), limit, used, reset_s: 42 };
        let counts = [count("cart-address", 1_200, 7), count("cart-visitor", 120, 121)];
        let mut headers = HeaderMap::new();
        QuotaUsage::write(&counts, &mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"cart-address\";q=1200;w=60, \"cart-visitor\";q=120;w=60");
        assert_eq!(headers[RATE_LIMIT], "\"cart-address\";r=1193;t=42, \"cart-visitor\";r=0;t=42");
        assert_eq!((counts[0].retry_after_s(), counts[1].retry_after_s()), (None, Some(42)));
    }
}
