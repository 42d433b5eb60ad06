//! The task that builds a brand's index and applies the catalogue's changes to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::index::builder::SegmentBuilder;
use super::index::categories::Categories;
use super::index::segment::Segment;
use super::index::snapshot::{IndexSnapshot, LiveSegment, RegionSets, Tags};
use super::live::{LiveIndex, PublishedIndex};
use super::query::synonyms::Synonyms;
use super::store::{self, ItemRow};
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

/// How many items a statement reads.
const BATCH_ITEMS: i64 = 1_000;

/// The list of synonyms for Russian shops.
const SYNONYMS: &str = include_str!("query/synonyms_ru.tsv");

/// Starts the task; it ends with the brand. To be called once.
pub fn follow(brand: &Brand) {
    let follower = Follower {
        cache: Arc::downgrade(&brand.cache),
        live: brand.components.get(),
        config: brand.config.database.clone(),
        brand: brand.name().to_owned(),
        synonyms: Arc::new(Synonyms::parse(SYNONYMS).0),
        decimals: brand.config.payments.rounding.decimals(),
    };
    tokio::spawn(follower.run());
}

struct Follower {
    cache: Weak<Cache>,
    live: Arc<LiveIndex>,
    config: DatabaseConfig,
    brand: String,
    synonyms: Arc<Synonyms>,
    /// Of discounted prices.
    decimals: u32,
}

/// The index as it was built, before later changes.
struct Base {
    segment: Arc<Segment>,
    categories: Arc<Categories>,
    tags: Tags,
    region_sets: RegionSets,
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
        loop {
            let Some(built_at) = self.version() else { return Ok(()) };
            let started_at = Instant::now();
            let base = self.build(&client).await?;
            tracing::info!(
                brand = self.brand,
                items = base.segment.len(),
                bytes = base.segment.bytes(),
                duration_ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
                "search index built"
            );
            let mut snapshot = IndexSnapshot {
                segments: vec![LiveSegment::new(base.segment.clone())],
                categories: base.categories.clone(),
                tags: Arc::new(base.tags.clone()),
                region_sets: Arc::new(base.region_sets.clone()),
            };
            self.publish(snapshot.clone(), built_at);
            *is_failing = false;
            let mut version = built_at;
            let mut changed_ids = BTreeSet::new();
            loop {
                let Some(cache) = self.cache.upgrade() else { return Ok(()) };
                let changes = cache.changes().since(version);
                if changes.as_ref().is_some_and(|(changes, _)| changes.is_empty()) {
                    // Bounded, because the task keeps the cache alive while it waits.
                    let _ = tokio::time::timeout(MAX_WAIT, cache.changes().changed()).await;
                    continue;
                }
                drop(cache);
                let Some((changes, current)) = changes else { break };
                for change in &changes {
                    if let CatalogChange::Item(id) = change {
                        changed_ids.insert(*id);
                    }
                }
                if changes.contains(&CatalogChange::Everything) || changed_ids.len() > MAX_CHANGED_ITEMS {
                    break;
                }
                self.apply(&client, &base, &changed_ids, &mut snapshot).await?;
                version = current;
                self.publish(snapshot.clone(), version);
                *is_failing = false;
            }
        }
    }

    fn version(&self) -> Option<Version> {
        Some(self.cache.upgrade()?.version())
    }

    fn publish(&self, snapshot: IndexSnapshot, version: Version) {
        self.live.publish(PublishedIndex { snapshot, synonyms: self.synonyms.clone(), version });
    }

    async fn build(&self, client: &Client) -> Result<Base> {
        let categories = Arc::new(Categories::new(store::index_categories(client).await?));
        let mut tags = Tags::default();
        let mut region_sets = RegionSets::default();
        let decimals = self.decimals;
        let mut builder = SegmentBuilder::new(categories.clone());
        let mut after = 0;
        loop {
            let rows = store::index_items_after(client, after, BATCH_ITEMS).await?;
            let Some(last) = rows.last().map(|row| row.item_id) else { break };
            after = last;
            // Analysing thousands of texts would delay the requests that share the thread.
            let analyse = tokio::task::spawn_blocking(move || {
                add_rows(&mut builder, rows, &mut tags, &mut region_sets, decimals);
                (builder, tags, region_sets)
            });
            (builder, tags, region_sets) = analyse.await.or_internal()?;
        }
        let segment = tokio::task::spawn_blocking(move || builder.finish()).await.or_internal()?;
        Ok(Base { segment: Arc::new(segment), categories, tags, region_sets })
    }

    /// Replaces the items that changed since the index was built.
    async fn apply(
        &self,
        client: &Client,
        base: &Base,
        changed_ids: &BTreeSet<i64>,
        snapshot: &mut IndexSnapshot,
    ) -> Result<()> {
        let ids: Vec<i64> = changed_ids.iter().copied().collect();
        let rows = store::index_items(client, &ids).await?;
        let mut tags = base.tags.clone();
        let mut region_sets = base.region_sets.clone();
        let decimals = self.decimals;
        let mut builder = SegmentBuilder::new(base.categories.clone());
        add_rows(&mut builder, rows, &mut tags, &mut region_sets, decimals);
        let mut replaced = LiveSegment::new(base.segment.clone());
        replaced.replace(&ids);
        snapshot.segments = vec![replaced, LiveSegment::new(Arc::new(builder.finish()))];
        snapshot.tags = Arc::new(tags);
        snapshot.region_sets = Arc::new(region_sets);
        Ok(())
    }
}

fn add_rows(
    builder: &mut SegmentBuilder,
    rows: Vec<ItemRow>,
    tags: &mut Tags,
    region_sets: &mut RegionSets,
    decimals: u32,
) {
    for row in rows {
        if let Some(item) = row.into_indexed(builder.categories(), tags, region_sets, decimals) {
            builder.add(item);
        }
    }
}
