//! Rate limits per client address and visitor, counted in Redis so that all instances agree.
//!
//! # Invariants
//!
//! - While Redis is unavailable no request is rejected, and none waits for it longer than [`COUNT_TIMEOUT`].
//! - A visitor is counted only while the address is within its limit, so that a client that invents a visitor for every request
//!   creates a bounded number of keys.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::RateLimits;
use crate::foundation::error::{Error, Result};
use crate::platform::redis::Redis;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const MINUTE_MS: u64 = 60_000;

const HOUR_MS: u64 = 3_600_000;

/// The longest time that a request waits to be counted.
const COUNT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long nothing is counted after Redis has failed, so that not every request waits for it.
const BACKOFF: Duration = Duration::from_secs(2);

/// Below this fraction of its limit, an address and its visitor are counted in one round trip; above it one after the other.
const QUIET_FRACTION: u32 = 4;

/// How many addresses are known to be quiet at most; any other is taken to be busy.
const MAX_QUIET_ADDRESSES: usize = 20_000;

/// A rate limit of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Login attempts and callbacks.
    Logins,
    Logouts,
    CartWrites,
    /// Payments and purchase emails.
    Payments,
    /// Reviews, questions and votes.
    Reviews,
    /// Reviews without a session.
    AnonymousReviews,
    /// Questions without a session.
    AnonymousQuestions,
}

impl Quota {
    /// Every quota.
    pub const ALL: [Quota; 7] = [
        Quota::Logins,
        Quota::Logouts,
        Quota::CartWrites,
        Quota::Payments,
        Quota::Reviews,
        Quota::AnonymousReviews,
        Quota::AnonymousQuestions,
    ];

    /// The name in Redis keys, response headers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Quota::Logins => "logins",
            Quota::Logouts => "logouts",
            Quota::CartWrites => "cart",
            Quota::Payments => "payments",
            Quota::Reviews => "reviews",
            Quota::AnonymousReviews => "anonymous-reviews",
            Quota::AnonymousQuestions => "anonymous-questions",
        }
    }

    /// What the client of a rejected request can do.
    pub fn advice(self, retry_after_s: u32) -> String {
        match self {
            Quota::AnonymousReviews => {
                format!(
                    "Too many reviews without a session from this address; log in, or try again in {retry_after_s} s."
                )
            }
            Quota::AnonymousQuestions => {
                format!(
                    "Too many questions without a session from this address; log in, or try again in {retry_after_s} s."
                )
            }
            _ => format!("Too many requests; please try again in {retry_after_s} s."),
        }
    }

    /// Over how long requests are counted.
    fn window_ms(self) -> u64 {
        match self {
            Quota::AnonymousReviews | Quota::AnonymousQuestions => HOUR_MS,
            _ => MINUTE_MS,
        }
    }
}

/// The usage of one limit after a request was counted, as the `RateLimit` headers report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUsage {
    name: String,
    limit: u32,
    window_s: u64,
    used: u64,
    reset_s: u32,
}

impl QuotaUsage {
    /// The seconds to wait, if this request exceeded the limit.
    pub fn retry_after_s(&self) -> Option<u32> {
        (self.used > u64::from(self.limit)).then_some(self.reset_s)
    }

    /// Sets `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn write_headers(counts: &[QuotaUsage], headers: &mut HeaderMap) {
        if counts.is_empty() {
            return;
        }
        let policy = |c: &QuotaUsage| format!("\"{}\";q={};w={}", c.name, c.limit, c.window_s);
        let remaining =
            |c: &QuotaUsage| format!("\"{}\";r={};t={}", c.name, u64::from(c.limit).saturating_sub(c.used), c.reset_s);
        let list = |item: &dyn Fn(&QuotaUsage) -> String| {
            let text = counts.iter().map(item).collect::<Vec<_>>().join(", ");
            HeaderValue::try_from(text).expect("words and numbers are ASCII")
        };
        headers.insert(RATE_LIMIT_POLICY, list(&policy));
        headers.insert(RATE_LIMIT, list(&remaining));
    }
}

/// The rate limiter of a brand.
pub struct RateLimiter {
    redis: Redis,
    limits: RateLimits,
    created_at: Instant,
    /// Until when nothing is counted, in milliseconds from `created_at`.
    backoff_until_ms: AtomicU64,
    /// The requests of each address that this instance has begun to count with a visitor.
    recent: Mutex<RecentRequests>,
}

/// Requests per address within a window of this instance.
struct RecentRequests {
    since: Instant,
    by_address: HashMap<IpAddr, u32>,
}

impl RecentRequests {
    /// Counts a request; whether its address has sent at most `limit` of them in this window.
    fn is_quiet(&mut self, address: IpAddr, limit: u32) -> bool {
        if self.since.elapsed() >= Duration::from_millis(MINUTE_MS) {
            *self = RecentRequests { since: Instant::now(), by_address: HashMap::new() };
        }
        if self.by_address.len() >= MAX_QUIET_ADDRESSES && !self.by_address.contains_key(&address) {
            return false;
        }
        let count = self.by_address.entry(address).or_default();
        *count = count.saturating_add(1);
        *count <= limit
    }
}

impl RateLimiter {
    pub fn new(redis: Redis, limits: RateLimits) -> RateLimiter {
        let now = Instant::now();
        let recent = Mutex::new(RecentRequests { since: now, by_address: HashMap::new() });
        RateLimiter { redis, limits, created_at: now, backoff_until_ms: AtomicU64::new(0), recent }
    }

    /// Counts a request against the limits of its address and, where the quota has one, of its visitor (the hash of a
    /// cookie). Empty while Redis is unavailable.
    pub async fn count(&self, quota: Quota, address: IpAddr, visitor: Option<&str>) -> Vec<QuotaUsage> {
        if self.now_ms() < self.backoff_until_ms.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let (address_limit, visitor_limit) = self.limits(quota);
        let network = network_of(address);
        let address = network.to_string();
        let address = ("address", address.as_str(), address_limit);
        let counting = async {
            let Some(visitor) = visitor.zip(visitor_limit).map(|(hash, limit)| ("visitor", hash, limit)) else {
                return self.count_all(quota, &[address]).await;
            };
            let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent().is_quiet(network, address_limit / QUIET_FRACTION) {
                return self.count_all(quota, &[address, visitor]).await;
            }
            let mut counts = self.count_all(quota, &[address]).await?;
            if counts.iter().all(|usage| usage.retry_after_s().is_none()) {
                counts.extend(self.count_all(quota, &[visitor]).await?);
            }
            Ok(counts)
        };
        let counted = tokio::time::timeout(COUNT_TIMEOUT, counting).await;
        counted.unwrap_or_else(|elapsed| Err(Error::unavailable(elapsed))).unwrap_or_else(|error| {
            tracing::debug!(%error, "Redis unavailable: rate limits are not enforced");
            self.backoff_until_ms.store(self.now_ms() + BACKOFF.as_millis() as u64, Ordering::Relaxed);
            Vec::new()
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Each subject is its kind (`address`, `visitor`), its identity and its limit.
    async fn count_all(&self, quota: Quota, subjects: &[(&str, &str, u32)]) -> Result<Vec<QuotaUsage>> {
        let suffix = format!("rate:{}", quota.name());
        let keys: Vec<_> = subjects.iter().map(|(_, subject, _)| self.redis.key(subject, &suffix)).collect();
        let window_ms = quota.window_ms();
        let window_s = window_ms / 1_000;
        let counted = self.redis.increment(&keys, window_ms).await?;
        let counts = subjects.iter().zip(counted).map(|((kind, _, limit), (used, remaining_ms))| {
            let reset_s = u32::try_from(remaining_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            QuotaUsage { name: format!("{}-{kind}", quota.name()), limit: *limit, window_s, used, reset_s }
        });
        Ok(counts.collect())
    }

    /// The limit of an address, and of a visitor if there is one, in the quota's window.
    fn limits(&self, quota: Quota) -> (u32, Option<u32>) {
        let limits = &self.limits;
        match quota {
            Quota::Logins => (limits.logins_per_address, None),
            Quota::Logouts => (limits.logouts_per_address, None),
            Quota::CartWrites => (limits.cart_writes_per_address, Some(limits.cart_writes_per_visitor)),
            Quota::Payments => (limits.payments_per_address, None),
            Quota::Reviews => (limits.reviews_per_address, None),
            Quota::AnonymousReviews => (limits.anonymous_reviews_per_hour, None),
            Quota::AnonymousQuestions => (limits.anonymous_questions_per_hour, None),
        }
    }
}

/// The subject of limits per address: an IPv4 address, or an IPv6 /64, which is what one household has.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_share_a_limit() {
        let of = |text: &str| network_of(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::9"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn an_address_is_quiet_below_its_limit_and_unknown_ones_are_not_when_there_are_too_many() {
        let mut recent = RecentRequests { since: Instant::now(), by_address: HashMap::new() };
        let address = |number: u32| IpAddr::V4(number.into());
        assert_eq!([1, 2, 3].map(|_| recent.is_quiet(address(0), 2)), [true, true, false]);
        assert!(!recent.is_quiet(address(1), 0));
        for number in 2..30_000 {
            recent.is_quiet(address(number), 2);
        }
        assert_eq!(recent.by_address.len(), MAX_QUIET_ADDRESSES);
        assert!(!recent.is_quiet(address(30_000), 2) && recent.is_quiet(address(2), 2));
    }

    #[test]
    fn headers_report_every_limit() {
        let count =
            |name: &str, limit, used| QuotaUsage { name: name.to_owned(), limit, window_s: 60, used, reset_s: 42 };
        let counts = [count("cart-address", 1_200, 7), count("cart-visitor", 120, 121)];
        let mut headers = HeaderMap::new();
        QuotaUsage::write_headers(&counts, &mut headers);
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"cart-address\";q=1200;w=60, \"cart-visitor\";q=120;w=60");
        assert_eq!(headers[RATE_LIMIT], "\"cart-address\";r=1193;t=42, \"cart-visitor\";r=0;t=42");
        assert_eq!((counts[0].retry_after_s(), counts[1].retry_after_s()), (None, Some(42)));
    }
}
