//! The index that a brand's requests read, and how far it has followed the catalogue's changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::index::snapshot::IndexSnapshot;
use super::query::synonyms::Synonyms;
use crate::foundation::error::{Error, Result};
use crate::tenant::brand::Brand;
use crate::tenant::cache::change_log::Version;

/// How long a search waits for the index to catch up before the database is searched instead.
const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(300);

/// After a start, a search waits that long for the first index, so that small shops give the same responses from the beginning.
const FIRST_BUILD_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request waits that only the index can answer.
const BUILD_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the index at a version of the change log.
pub(crate) struct PublishedIndex {
    pub(crate) snapshot: IndexSnapshot,
    pub(crate) synonyms: Arc<Synonyms>,
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
    fn search_timeout(&self) -> Duration {
        match self.published.load().is_some() {
            true => CATCH_UP_TIMEOUT,
            false => FIRST_BUILD_TIMEOUT.saturating_sub(self.created_at.elapsed()).max(CATCH_UP_TIMEOUT),
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
                if let Some(index) = published.filter(|index| index.version >= wanted) {
                    return Some(index);
                }
                publications.changed().await.ok()?;
            }
        };
        let index = tokio::time::timeout(timeout, caught_up).await.ok().flatten()?;
        brand.cache.is_current(Instant::now()).then_some(index)
    }
}

/// The brand's index, or `None` while it is being built or cannot follow the database.
pub(crate) async fn current_index(brand: &Brand) -> Option<Arc<PublishedIndex>> {
    let live = brand.components.get::<LiveIndex>();
    live.current(brand, live.search_timeout()).await
}

/// The brand's index, after waiting until it is built.
///
/// # Errors
/// 503 when it is not built in time.
pub(crate) async fn ready_index(brand: &Brand) -> Result<Arc<PublishedIndex>> {
    let index = brand.components.get::<LiveIndex>().current(brand, BUILD_TIMEOUT).await;
    index.ok_or_else(|| Error::unavailable("the search index is being built"))
}
