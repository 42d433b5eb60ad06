//! The task that builds a brand's index and applies the catalogue's changes to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::build;
use super::index::snapshot::IndexSnapshot;
use super::live::{LiveIndex, PublishedIndex};
use super::rules::SearchRules;
use crate::config::DatabaseConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres;
use crate::tenant::brand::Brand;
use crate::tenant::cache::Cache;
use crate::tenant::cache::change_log::{CatalogChange, Version};

/// The pause after a failed read of the database.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How long a change is waited for before the task checks that the brand still exists.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// With more items changed since the index was built it is built again.
const MAX_CHANGED_ITEMS: usize = 2_000;

/// Starts the task; it ends with the brand. To be called once.
pub fn follow(brand: &Brand) {
    let follower = Follower {
        cache: Arc::downgrade(&brand.cache),
        live: brand.components.get(),
        config: brand.config.database.clone(),
        brand: brand.name().to_owned(),
        decimals: brand.config.payments.rounding.decimals(),
    };
    tokio::spawn(follower.run());
}

struct Follower {
    cache: Weak<Cache>,
    live: Arc<LiveIndex>,
    config: DatabaseConfig,
    brand: String,
    /// Of discounted prices.
    decimals: u32,
}

impl Follower {
    async fn run(self) {
        let mut is_failing = false;
        while self.cache.strong_count() > 0 {
            match self.follow_over_one_connection(&mut is_failing).await {
                Ok(()) => return,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(brand = self.brand, %error, "failed to read the catalogue into the search index; retrying");
                    }
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Clears `is_failing` whenever an index is published.
    async fn follow_over_one_connection(&self, is_failing: &mut bool) -> Result<()> {
        let connect = postgres::connect_reading(&self.config);
        let client = tokio::time::timeout(self.config.connect_timeout, connect).await.or_timeout()??;
        self.await_first_poll().await;
        loop {
            let Some(built_at) = self.version() else { return Ok(()) };
            let started_at = Instant::now();
            let mut rules = Arc::new(SearchRules::load(&client).await?);
            let base = build::build(&client, self.decimals).await?;
            tracing::info!(
                brand = self.brand,
                items = base.segment.len(),
                bytes = base.segment.bytes(),
                duration_ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
                "search index built"
            );
            let mut snapshot = base.snapshot();
            self.publish(&snapshot, &rules, built_at);
            *is_failing = false;
            let mut version = built_at;
            let mut changed_ids = BTreeSet::new();
            while let Some((changes, current)) = self.changes_since(version).await {
                changed_ids.extend(changes.iter().filter_map(|change| match change {
                    CatalogChange::Item(id) => Some(*id),
                    CatalogChange::SearchRules | CatalogChange::Everything => None,
                }));
                if changes.contains(&CatalogChange::Everything) || changed_ids.len() > MAX_CHANGED_ITEMS {
                    break;
                }
                if changes.contains(&CatalogChange::SearchRules) {
                    rules = Arc::new(SearchRules::load(&client).await?);
                }
                // An item that changed before may have changed again.
                if changes.iter().any(|change| matches!(change, CatalogChange::Item(_))) {
                    let ids: Vec<i64> = changed_ids.iter().copied().collect();
                    build::rebuild_items(&client, &base, &ids, self.decimals, &mut snapshot).await?;
                }
                version = current;
                self.publish(&snapshot, &rules, version);
                *is_failing = false;
            }
        }
    }

    /// The changes since this version, at least one, and the current version. `None`: they are no longer known, or the brand is gone.
    async fn changes_since(&self, version: Version) -> Option<(Vec<CatalogChange>, Version)> {
        loop {
            let cache = self.cache.upgrade()?;
            let (changes, current) = cache.changes().since(version)?;
            if !changes.is_empty() {
                return Some((changes, current));
            }
            // Bounded, because the task keeps the cache alive while it waits.
            let _ = tokio::time::timeout(MAX_WAIT, cache.changes().changed()).await;
        }
    }

    /// Waits a while for the first poll of the catalogue's changes: it records that everything may have changed, so that an index
    /// that was built before would be built again.
    async fn await_first_poll(&self) {
        let Some(cache) = self.cache.upgrade() else { return };
        if !cache.is_current(Instant::now()) {
            // Without a poll the index is of use all the same.
            let _ = tokio::time::timeout(MAX_WAIT, cache.changes().changed()).await;
        }
    }

    fn version(&self) -> Option<Version> {
        Some(self.cache.upgrade()?.version())
    }

    fn publish(&self, snapshot: &IndexSnapshot, rules: &Arc<SearchRules>, version: Version) {
        self.live.publish(PublishedIndex { snapshot: snapshot.clone(), rules: rules.clone(), version });
    }
}
