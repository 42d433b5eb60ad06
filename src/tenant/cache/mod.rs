//! Answers of the catalogue that were given before, as finished bytes, and why they are still right.
//!
//! `serve` looks here before it calls a handler whose route is `remembered`, and puts here what the handler answered. An answer is
//! kept under its target as it was asked (path and query), the region and the language; nothing else of a request may decide it.
//!
//! # Why nothing old is served
//!
//! 1. Whatever changes what the catalogue shows writes a row of `catalog_change` in its own transaction (triggers, migration 8):
//!    the item that is shown differently, or everything where lists may be others.
//! 2. Every instance reads these rows, at a notification and otherwise four times a second ([`follow`]), and notes them in a log
//!    ([`changes`]). It goes on from the oldest transaction that was running at its last look, so that none is passed over.
//! 3. Before the database is read for an answer, the log's present moment is taken. The answer keeps that moment and the items
//!    that it shows.
//! 4. Before an answer is given again, everything noted since its moment is held against its items. One touch, and it is not
//!    given. So an edit that is noted while an answer is being made is found when the answer is asked for.
//! 5. An edit of this instance's own is noted after its commit and before its answer: who reads after that answer gets the new
//!    value here at once. Others have it within [`CURRENT_FOR`]: an answer is given only while the last look that succeeded
//!    began at most so long ago, however many notifications were lost. Otherwise the database is asked.
//! 6. Whoever asks what is being asked already waits for that answer, if nothing was noted since its question began.
//! 7. Only when looks fail and the database cannot be asked either, an answer is given that may be old, for [`STALE_FOR`] at
//!    most, and is marked so. One that is known to be old is never given.
//!
//! What must never happen: an answer of one brand in another's cache (there is one a brand), or one that depends on who asks.

pub mod change_log;
pub mod invalidation;
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

/// How long after a look began its word is taken (contract section 3: one second on other instances).
const CURRENT_FOR: Duration = Duration::from_secs(1);

/// How long answers are given that could not be held against the database.
const STALE_FOR: Duration = Duration::from_secs(3_600);

/// After a question failed another one is asked only so often, so that a database that stands still makes few wait.
const NOT_ASKED_FOR: Duration = Duration::from_secs(1);

/// What an entry takes beside its bytes: the key, the header values, the place in the table.
const ENTRY_BYTES: u64 = 1_024;

/// The table is divided, so that cores seldom wait for each other; a part must hold the largest answer many times, or it would not be
/// kept.
const LEAST_PART_BYTES: u64 = 8 << 20;
const PARTS_PER_CORE: u64 = 4;

/// What an answer is kept under: language, region and target, each as it was asked.
pub type CacheKey = Box<[u8]>;

/// No two questions have the same.
pub fn key(language: Language, region: Option<&str>, target: &str) -> Vec<u8> {
    let region = region.unwrap_or_default();
    let mut key = Vec::with_capacity(3 + region.len() + target.len());
    key.extend_from_slice(language.tag().as_bytes());
    // A header's text has no control characters, so the region ends here.
    key.extend_from_slice(region.as_bytes());
    key.push(0);
    key.extend_from_slice(target.as_bytes());
    key
}

/// An answer and what is known of it.
struct Entry {
    answer: Arc<CachedResponse>,
    /// Until when nothing that it shows has changed.
    untouched_until: AtomicU64,
}

#[derive(Clone)]
struct Weighter;

impl quick_cache::Weighter<CacheKey, Arc<Entry>> for Weighter {
    fn weight(&self, key: &CacheKey, entry: &Arc<Entry>) -> u64 {
        key.len() as u64 + entry.answer.bytes() as u64 + ENTRY_BYTES
    }
}

/// What was found for a key.
pub enum Lookup {
    /// Nothing that it shows has changed.
    Current(Arc<CachedResponse>),
    /// The database cannot be asked whether it is still right.
    Stale(Arc<CachedResponse>),
    Nothing,
}

/// One brand's answers.
pub struct Cache {
    entries: quick_cache::sync::Cache<CacheKey, Arc<Entry>, Weighter>,
    flights: SingleFlight,
    changes: ChangeLog,
    born: Instant,
    /// When the last look that succeeded began, in milliseconds since `born`; 0: none yet.
    looked_at_ms: AtomicU64,
    /// Whether the looks since then failed.
    is_cut_off: AtomicBool,
    /// When the database could not be asked, or when somebody tried again since, in milliseconds since `born`; 0: it could.
    failed_at_ms: AtomicU64,
}

impl Cache {
    /// `bytes`: how much the answers may take, about.
    pub fn new(bytes: u64) -> Cache {
        // An answer of middling size; the table grows and shrinks with what comes.
        let expected = usize::try_from(bytes / 8_192).unwrap_or(usize::MAX).max(16);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let parts = (bytes / LEAST_PART_BYTES).clamp(1, cores * PARTS_PER_CORE);
        let options = quick_cache::OptionsBuilder::new()
            .shards(usize::try_from(parts).unwrap_or(1))
            .estimated_items_capacity(expected)
            .weight_capacity(bytes)
            .build()
            .expect("sizes are all that is needed");
        Cache {
            entries: quick_cache::sync::Cache::with_options(options, Weighter, Default::default(), Default::default()),
            flights: SingleFlight::default(),
            changes: ChangeLog::default(),
            born: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
            is_cut_off: AtomicBool::new(false),
            failed_at_ms: AtomicU64::new(0),
        }
    }

    /// Another configuration is in force: another limit, and what was answered under the former is not given again.
    pub fn renew(&self, bytes: u64) {
        self.entries.set_capacity(bytes);
        self.changes.note([CatalogChange::Everything]);
    }

    /// How many bytes the answers may take; 0: none is kept.
    pub fn capacity(&self) -> u64 {
        self.entries.capacity()
    }

    /// Answers kept, and the bytes they take.
    pub fn size(&self) -> (usize, u64) {
        (self.entries.len(), self.entries.weight())
    }

    /// Looks for an answer that may leave at `now`.
    pub fn find(&self, key: &[u8], now: Instant) -> Lookup {
        let Some(entry) = self.entries.get(key) else { return Lookup::Nothing };
        // Before the log is read: a look that ends in between vouches only for what it noted.
        let looked_at_ms = self.looked_at_ms.load(Ordering::Acquire);
        let is_cut_off = self.is_cut_off.load(Ordering::Acquire);
        let since = entry.untouched_until.load(Ordering::Acquire);
        let Some(until) = self.changes.unchanged_until(&entry.answer.item_ids, since) else {
            self.entries.remove_if(key, |kept| Arc::ptr_eq(kept, &entry));
            return Lookup::Nothing;
        };
        if until != since {
            entry.untouched_until.fetch_max(until, Ordering::AcqRel);
        }
        let ago = Duration::from_millis(self.milliseconds(now).saturating_sub(looked_at_ms));
        match looked_at_ms > 0 {
            true if ago <= CURRENT_FOR => Lookup::Current(entry.answer.clone()),
            true if ago <= STALE_FOR && is_cut_off && !self.may_query(now) => Lookup::Stale(entry.answer.clone()),
            _ => Lookup::Nothing,
        }
    }

    /// Whether the database is asked before it is taken to be away: by everybody, and since a question failed by one at a time.
    fn may_query(&self, now: Instant) -> bool {
        let (failed_at_ms, now_ms) = (self.failed_at_ms.load(Ordering::Acquire), self.milliseconds(now));
        if failed_at_ms == 0 {
            return true;
        }
        let ago = Duration::from_millis(now_ms.saturating_sub(failed_at_ms));
        let exchange = |to| self.failed_at_ms.compare_exchange(failed_at_ms, to, Ordering::AcqRel, Ordering::Acquire);
        ago > NOT_ASKED_FOR && exchange(now_ms).is_ok()
    }

    /// The answer that `make` gives within its `longest` time, also to who waits for another's question; or the last good one when
    /// the database cannot be asked. Whether it may be old is told beside it.
    ///
    /// # Errors
    /// Those of `make`; 504 when it takes too long.
    pub async fn make_or_stale(
        &self,
        key: &[u8],
        longest: Duration,
        make: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<(Arc<CachedResponse>, bool)> {
        match tokio::time::timeout(longest, self.make(key, make)).await.or_timeout().flatten() {
            Ok(answer) => {
                self.failed_at_ms.store(0, Ordering::Release);
                Ok((answer, false))
            }
            Err(error) if is_unavailable(&error) => {
                let now = Instant::now();
                self.failed_at_ms.store(self.milliseconds(now).max(1), Ordering::Release);
                match self.find(key, now) {
                    Lookup::Current(answer) => Ok((answer, false)),
                    Lookup::Stale(answer) => Ok((answer, true)),
                    Lookup::Nothing => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The answer that `make` gives, kept under `key`; of many who ask the same at the same time one makes it for all.
    ///
    /// # Errors
    /// Those of `make`, for all who waited.
    pub async fn make(
        &self,
        key: &[u8],
        make: impl Future<Output = Result<CachedResponse>>,
    ) -> Result<Arc<CachedResponse>> {
        let made = self.flights.join(key, &self.changes, make).await?;
        if let Some(began_at) = made.began_at {
            self.insert(key, &made.answer, began_at);
        }
        Ok(made.answer)
    }

    /// The present moment: to be asked before the database is, by whoever will [`Cache::keep`] what it says.
    pub fn now(&self) -> Version {
        self.changes.now()
    }

    /// Keeps an answer whose question began at that moment.
    pub fn insert(&self, key: &[u8], answer: &Arc<CachedResponse>, began_at: Version) {
        let entry = Entry { answer: answer.clone(), untouched_until: AtomicU64::new(began_at) };
        self.entries.insert(key.into(), Arc::new(entry));
    }

    /// Notes that these items are shown differently, after the commit and before anybody is told of it.
    pub fn items_changed(&self, item_ids: impl IntoIterator<Item = i64>) {
        self.changes.note(item_ids.into_iter().map(CatalogChange::Item));
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// A look that began then found these changes.
    fn polled(&self, began: Instant, found: impl IntoIterator<Item = CatalogChange>) {
        self.changes.note(found);
        self.looked_at_ms.store(self.milliseconds(began).max(1), Ordering::Release);
        self.is_cut_off.store(false, Ordering::Release);
    }

    /// A look failed.
    fn poll_failed(&self) {
        self.is_cut_off.store(true, Ordering::Release);
    }
}

/// What came of a question to the database.
struct Made {
    answer: Arc<CachedResponse>,
    /// For the one who asked; those who waited with them need not keep it again.
    began_at: Option<Version>,
}
