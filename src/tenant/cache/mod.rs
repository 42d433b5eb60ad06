//! The cache of encoded catalogue responses, one per brand.
//!
//! A response is cached under the target of its request (path and query), its region and its language. Nothing else of a
//! request may influence it.
//!
//! # Why no stale response is served
//!
//! 1. Every transaction that changes what the catalogue shows also inserts rows into `catalog_change` (triggers of migration
//!    8): the item whose content changed, or a marker for everything when lists may have changed.
//! 2. Every instance polls these rows at each notification, and four times a second without one ([`invalidation`]), and records
//!    them in its change log ([`change_log`]). Each poll starts from the oldest transaction that was running at the poll
//!    before, so that a transaction that commits late is not missed.
//! 3. Before the database is queried for a response, the current version of the change log is taken. The response is cached
//!    with this version and the ids of the items that it contains.
//! 4. Before a cached response is served, all changes recorded since its version are compared with its items. If one of them
//!    affects it, the response is dropped. An edit that is recorded while a response is being made is therefore found at the
//!    next lookup.
//! 5. An instance records its own edits after the commit and before it responds, so a client that reads after that response
//!    gets the new value from this instance at once. Other instances serve it within [`MAX_AGE`]: a cached response is served
//!    only if the last successful poll started at most that long ago, however many notifications were lost. Otherwise the
//!    database is queried.
//! 6. Concurrent requests for the same response share one query, provided that no change was recorded since it started
//!    ([`single_flight`]).
//! 7. Only when the database cannot be queried, because it is unavailable or because the limit of requests leaves no room for a
//!    query, a response that may be out of date is served, for at most [`MAX_STALE`], and is marked as stale. A response that is
//!    known to be out of date is never served.

pub(crate) mod change_log;
pub(crate) mod fragments;
pub(crate) mod invalidation;
mod single_flight;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::foundation::error::{Result, ResultExt};
use crate::foundation::language::Language;
use crate::http::cached_response::CachedResponse;
use crate::platform::postgres::is_unavailable;
use change_log::{CatalogChange, ChangeLog, Version};
use single_flight::SingleFlight;

/// How long after the start of a poll its result counts as current. The API guarantees one second.
const MAX_AGE: Duration = Duration::from_secs(1);

/// How long responses are served as stale while the database is unavailable.
const MAX_STALE: Duration = Duration::from_secs(3_600);

/// After a query failed, one request per interval tries the database again, so that few requests wait for one that hangs.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The estimated overhead of an entry: key, headers, slot in the table.
const ENTRY_OVERHEAD_BYTES: u64 = 1_024;

/// The table is sharded to reduce lock contention. A shard must hold the largest response many times over, because larger ones
/// are not admitted.
const MIN_SHARD_BYTES: u64 = 8 << 20;
const SHARDS_PER_CORE: u64 = 4;

/// The average size of a response, for the initial capacity of the table.
const AVERAGE_RESPONSE_BYTES: u64 = 8_192;

/// Language, region and target of a request; see [`key`].
pub(crate) type CacheKey = Box<[u8]>;

/// The unique key of a language, region and target.
pub(crate) fn key(language: Language, region: Option<&str>, target: &str) -> Vec<u8> {
    let region = region.unwrap_or_default();
    let mut key = Vec::with_capacity(3 + region.len() + target.len());
    key.extend_from_slice(language.tag().as_bytes());
    // A header value contains no control characters, so a zero byte terminates the region.
    key.extend_from_slice(region.as_bytes());
    key.push(0);
    key.extend_from_slice(target.as_bytes());
    key
}

struct Entry {
    response: Arc<CachedResponse>,
    /// The version of the change log up to which no change affects the response.
    unchanged_until: AtomicU64,
}

#[derive(Clone)]
struct Weighter;

impl quick_cache::Weighter<CacheKey, Arc<Entry>> for Weighter {
    fn weight(&self, key: &CacheKey, entry: &Arc<Entry>) -> u64 {
        key.len() as u64 + entry.response.bytes() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

/// The result of a cache lookup.
pub enum Lookup {
    Current(Arc<CachedResponse>),
    /// The response may be out of date, and the database cannot be queried.
    Stale(Arc<CachedResponse>),
    Miss,
}

pub struct Cache {
    entries: quick_cache::sync::Cache<CacheKey, Arc<Entry>, Weighter>,
    flights: SingleFlight,
    changes: ChangeLog,
    /// The origin of the times below.
    created_at: Instant,
    /// When the last successful poll started; 0: there was none.
    polled_at_ms: AtomicU64,
    /// Whether the polls since then failed.
    are_polls_failing: AtomicBool,
    /// When a query last failed, or was last retried after that; 0: the last query succeeded.
    query_failed_at_ms: AtomicU64,
}

impl Cache {
    /// `capacity_bytes` limits the estimated size of all entries.
    pub fn new(capacity_bytes: u64) -> Cache {
        let expected_entries = usize::try_from(capacity_bytes / AVERAGE_RESPONSE_BYTES).unwrap_or(usize::MAX).max(16);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let shards = (capacity_bytes / MIN_SHARD_BYTES).clamp(1, cores * SHARDS_PER_CORE);
        let options = quick_cache::OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1))
            .estimated_items_capacity(expected_entries)
            .weight_capacity(capacity_bytes)
            .build()
            .expect("capacities are set");
        Cache {
            entries: quick_cache::sync::Cache::with_options(options, Weighter, Default::default(), Default::default()),
            flights: SingleFlight::default(),
            changes: ChangeLog::default(),
            created_at: Instant::now(),
            polled_at_ms: AtomicU64::new(0),
            are_polls_failing: AtomicBool::new(false),
            query_failed_at_ms: AtomicU64::new(0),
        }
    }

    /// Sets the capacity of a new configuration and invalidates all responses of the old one.
    pub fn reconfigure(&self, capacity_bytes: u64) {
        self.entries.set_capacity(capacity_bytes);
        self.changes.record([CatalogChange::Everything]);
    }

    /// In bytes; 0: caching is disabled.
    pub fn capacity(&self) -> u64 {
        self.entries.capacity()
    }

    /// The number of entries and their estimated size in bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.weight())
    }

    /// Looks up a response that may be served at `now`.
    pub fn find(&self, key: &[u8], now: Instant) -> Lookup {
        let Some(entry) = self.entries.get(key) else { return Lookup::Miss };
        // Loaded before the log is read: a poll that ends in between confirms only the changes that it recorded.
        let polled_at_ms = self.polled_at_ms.load(Ordering::Acquire);
        let are_polls_failing = self.are_polls_failing.load(Ordering::Acquire);
        let since = entry.unchanged_until.load(Ordering::Acquire);
        let Some(until) = self.changes.unchanged_until(&entry.response.item_ids, since) else {
            self.entries.remove_if(key, |cached| Arc::ptr_eq(cached, &entry));
            return Lookup::Miss;
        };
        if until != since {
            entry.unchanged_until.fetch_max(until, Ordering::AcqRel);
        }
        let age = Duration::from_millis(self.milliseconds(now).saturating_sub(polled_at_ms));
        match polled_at_ms > 0 {
            true if age <= MAX_AGE => Lookup::Current(entry.response.clone()),
            true if age <= MAX_STALE && are_polls_failing && !self.may_query(now) => {
                Lookup::Stale(entry.response.clone())
            }
            _ => Lookup::Miss,
        }
    }

    /// A response that no recorded change affects, however long ago the last successful poll was, up to [`MAX_STALE`].
    pub fn find_unconfirmed(&self, key: &[u8]) -> Option<Arc<CachedResponse>> {
        let entry = self.entries.get(key)?;
        let polled_at_ms = self.polled_at_ms.load(Ordering::Acquire);
        let since = entry.unchanged_until.load(Ordering::Acquire);
        self.changes.unchanged_until(&entry.response.item_ids, since)?;
        let age = Duration::from_millis(self.milliseconds(Instant::now()).saturating_sub(polled_at_ms));
        (polled_at_ms > 0 && age <= MAX_STALE).then(|| entry.response.clone())
    }

    /// Whether this request may query the database: always, unless the last query failed; then one request per
    /// [`RETRY_INTERVAL`].
    fn may_query(&self, now: Instant) -> bool {
        let (failed_at_ms, now_ms) = (self.query_failed_at_ms.load(Ordering::Acquire), self.milliseconds(now));
        if failed_at_ms == 0 {
            return true;
        }
        let elapsed = Duration::from_millis(now_ms.saturating_sub(failed_at_ms));
        let failed_at = &self.query_failed_at_ms;
        let claim = || failed_at.compare_exchange(failed_at_ms, now_ms, Ordering::AcqRel, Ordering::Acquire);
        elapsed > RETRY_INTERVAL && claim().is_ok()
    }

    /// The response of `fetch`, as [`Cache::fetch`]; if the database is unavailable, the cached response. The flag says whether
    /// the response is stale.
    ///
    /// # Errors
    /// Those of `fetch`; 504 when it exceeds the timeout.
    pub async fn fetch_or_stale(
        &self,
        key: &[u8],
        timeout: Duration,
        fetch: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<(Arc<CachedResponse>, bool)> {
        match tokio::time::timeout(timeout, self.fetch(key, fetch)).await.or_timeout().flatten() {
            Ok(response) => {
                self.query_failed_at_ms.store(0, Ordering::Release);
                Ok((response, false))
            }
            Err(error) if is_unavailable(&error) => {
                let now = Instant::now();
                self.query_failed_at_ms.store(self.milliseconds(now).max(1), Ordering::Release);
                match self.find(key, now) {
                    Lookup::Current(response) => Ok((response, false)),
                    Lookup::Stale(response) => Ok((response, true)),
                    Lookup::Miss => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The response of `fetch`, which is cached under `key` unless it is provisional. Concurrent calls for one key share one `fetch`.
    ///
    /// # Errors
    /// Those of `fetch`, for all calls that shared it.
    pub async fn fetch(
        &self,
        key: &[u8],
        fetch: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<Arc<CachedResponse>> {
        let fetched = self.flights.join(key, &self.changes, fetch).await?;
        if let Some(version) = fetched.version.filter(|_| !fetched.response.is_provisional) {
            self.insert(key, &fetched.response, version);
        }
        Ok(fetched.response)
    }

    /// The current version, to be taken before the database is queried for a response that will be inserted.
    pub fn version(&self) -> Version {
        self.changes.version()
    }

    /// Caches a response whose query started at `version`.
    pub fn insert(&self, key: &[u8], response: &Arc<CachedResponse>, version: Version) {
        let entry = Entry { response: response.clone(), unchanged_until: AtomicU64::new(version) };
        self.entries.insert(key.into(), Arc::new(entry));
    }

    /// Whether a poll of the database's changes started less than the guaranteed second ago.
    pub(crate) fn is_current(&self, now: Instant) -> bool {
        let polled_at_ms = self.polled_at_ms.load(Ordering::Acquire);
        let age = Duration::from_millis(self.milliseconds(now).saturating_sub(polled_at_ms));
        polled_at_ms > 0 && age <= MAX_AGE
    }

    /// The log of recorded changes.
    pub(crate) fn changes(&self) -> &ChangeLog {
        &self.changes
    }

    /// Invalidates the responses that contain these items. To be called after the commit and before the response to the edit.
    pub fn items_changed(&self, item_ids: impl IntoIterator<Item = i64>) {
        self.changes.record(item_ids.into_iter().map(CatalogChange::Item));
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.created_at).as_millis()).unwrap_or(u64::MAX)
    }

    /// A poll succeeded that started at that time.
    fn polled(&self, started_at: Instant, changes: impl IntoIterator<Item = CatalogChange>) {
        self.changes.record(changes);
        self.polled_at_ms.store(self.milliseconds(started_at).max(1), Ordering::Release);
        self.are_polls_failing.store(false, Ordering::Release);
    }

    fn poll_failed(&self) {
        self.are_polls_failing.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::error::{Error, Kind};

    #[tokio::test]
    async fn entry_that_no_poll_confirms_is_a_miss_and_found_only_while_nothing_is_known_to_have_changed() {
        let cache = Cache::new(1 << 20);
        let response = || async { Ok(CachedResponse::new("{}".into(), Language::Ru, vec![17], "/item/{id}")) };
        let find = |age: Duration| {
            cache.polled_at_ms.store(cache.milliseconds(Instant::now()).max(1), Ordering::Release);
            (
                matches!(cache.find(b"key", Instant::now() + age), Lookup::Current(_)),
                cache.find_unconfirmed(b"key").is_some(),
            )
        };
        cache.fetch(b"key", response()).await.expect("it is made");
        assert!(cache.find_unconfirmed(b"key").is_none(), "there was no poll yet");
        assert_eq!(find(Duration::ZERO), (true, true));
        assert_eq!(find(2 * MAX_AGE), (false, true));
        cache.items_changed([18]);
        assert_eq!(find(2 * MAX_AGE), (false, true), "another item");
        cache.items_changed([17]);
        assert_eq!(find(Duration::ZERO), (false, false));
    }

    #[tokio::test]
    async fn followers_of_a_refused_request_are_not_refused() {
        let cache = Cache::new(1 << 20);
        let refused = async {
            tokio::task::yield_now().await;
            Err(Error::new(Kind::Overloaded { retry_after_s: 1 }, "overloaded", ""))
        };
        let made = async { Ok(CachedResponse::new("{}".into(), Language::Ru, Vec::new(), "/regions")) };
        let (leader, follower) = tokio::join!(cache.fetch(b"key", refused), cache.fetch(b"key", made));
        assert!(leader.is_err() && follower.is_ok());
    }
}
