//! The index that a brand's requests read, and how far it has followed the catalogue's changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::index::snapshot::IndexSnapshot;
use super::rules::SearchRules;
use crate::config::SearchConfig;
use crate::foundation::error::{Error, Result};
use crate::tenant::brand::Brand;
use crate::tenant::cache::change_log::Version;

/// How often it is checked whether the catalogue's changes have been polled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The state of the index at a version of the change log.
pub(crate) struct PublishedIndex {
    pub(crate) snapshot: IndexSnapshot,
    pub(crate) rules: Arc<SearchRules>,
    pub(crate) version: Version,
}

/// A brand's index.
pub(crate) struct LiveIndex {
    published: ArcSwapOption<PublishedIndex>,
    created_at: Instant,
    /// The number of publications, to wait for the next one.
    publications: watch::Sender<u64>,
}

impl Default for LiveIndex {
    fn default() -> LiveIndex {
        LiveIndex { published: ArcSwapOption::empty(), created_at: Instant::now(), publications: watch::Sender::new(0) }
    }
}

impl LiveIndex {
    pub(super) fn publish(&self, index: PublishedIndex) {
        self.published.store(Some(Arc::new(index)));
        self.publications.send_modify(|count| *count += 1);
    }

    /// How long a search waits that the database can answer instead.
    fn search_timeout(&self, config: &SearchConfig) -> Duration {
        match self.published.load().is_some() {
            true => config.catch_up,
            false => config.first_build.saturating_sub(self.created_at.elapsed()).max(config.catch_up),
        }
    }

    /// The index if it has every change recorded so far, after waiting for it up to `timeout`.
    async fn current(&self, brand: &Brand, timeout: Duration) -> Option<Arc<PublishedIndex>> {
        let wanted = brand.cache.version();
        let mut publications = self.publications.subscribe();
        let caught_up = async {
            loop {
                publications.mark_unchanged();
                let published = self.published.load_full();
                let index = published.filter(|index| index.version >= wanted);
                if let Some(index) = index.filter(|_| brand.cache.is_current(Instant::now())) {
                    return Some(index);
                }
                // The first poll of the catalogue's changes may come after the index.
                let _ = tokio::time::timeout(POLL_INTERVAL, publications.changed()).await;
            }
        };
        tokio::time::timeout(timeout, caught_up).await.ok().flatten()
    }
}

/// The brand's index, or `None` while it is being built or cannot follow the database.
pub(crate) async fn current_index(brand: &Brand) -> Option<Arc<PublishedIndex>> {
    let live = brand.components.get::<LiveIndex>();
    live.current(brand, live.search_timeout(&brand.config.search)).await
}

/// The brand's index, after waiting until it is built; without its latest changes while it cannot follow the database.
///
/// # Errors
/// 503 when it is not built in time.
pub(crate) async fn ready_index(brand: &Brand) -> Result<Arc<PublishedIndex>> {
    let (live, config) = (brand.components.get::<LiveIndex>(), &brand.config.search);
    let index = match live.published.load_full() {
        Some(published) => Some(live.current(brand, config.catch_up).await.unwrap_or(published)),
        None => live.current(brand, config.ready).await,
    };
    index.ok_or_else(|| Error::unavailable("the search index is being built"))
}
