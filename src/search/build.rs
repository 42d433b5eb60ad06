//! Builds the index from the database.

use std::sync::Arc;

use tokio_postgres::Client;

use super::index::builder::SegmentBuilder;
use super::index::categories::Categories;
use super::index::segment::Segment;
use super::index::snapshot::{IndexSnapshot, LiveSegment, RegionSets, Tags};
use super::store::{self, ItemRow};
use crate::foundation::error::{Result, ResultExt};

/// How many items a statement reads.
const BATCH_ITEMS: i64 = 1_000;

/// The index as it was built, before later changes.
pub(super) struct BaseIndex {
    pub(super) segment: Arc<Segment>,
    pub(super) categories: Arc<Categories>,
    pub(super) tags: Tags,
    pub(super) region_sets: RegionSets,
}

impl BaseIndex {
    pub(super) fn snapshot(&self) -> IndexSnapshot {
        IndexSnapshot {
            segments: vec![LiveSegment::new(self.segment.clone())],
            categories: self.categories.clone(),
            tags: Arc::new(self.tags.clone()),
            region_sets: Arc::new(self.region_sets.clone()),
        }
    }
}

/// Reads all listed items. `decimals`: of what is paid, in roubles.
///
/// # Errors
/// An unavailable database.
pub(super) async fn build(client: &Client, decimals: u32) -> Result<BaseIndex> {
    let categories = Arc::new(Categories::new(store::index_categories(client).await?));
    let mut tags = Tags::default();
    let mut region_sets = RegionSets::default();
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
    Ok(BaseIndex { segment: Arc::new(segment), categories, tags, region_sets })
}

/// The items of these numbers as they are now, in a segment of their own beside the rest of the index.
///
/// # Errors
/// An unavailable database.
pub(super) async fn rebuild_items(
    client: &Client,
    base: &BaseIndex,
    ids: &[i64],
    decimals: u32,
    snapshot: &mut IndexSnapshot,
) -> Result<()> {
    let rows = store::index_items(client, ids).await?;
    let mut tags = base.tags.clone();
    let mut region_sets = base.region_sets.clone();
    let mut builder = SegmentBuilder::new(base.categories.clone());
    add_rows(&mut builder, rows, &mut tags, &mut region_sets, decimals);
    let mut replaced = LiveSegment::new(base.segment.clone());
    replaced.replace(ids);
    snapshot.segments = vec![replaced, LiveSegment::new(Arc::new(builder.finish()))];
    snapshot.tags = Arc::new(tags);
    snapshot.region_sets = Arc::new(region_sets);
    Ok(())
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
