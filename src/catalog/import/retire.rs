//! `--replace`: hides the items that their source no longer has, and takes items out of the regions whose feeds no
//! longer have them.
//!
//! # Invariants
//! - Only items of the import's own source are hidden; with feeds of regions only, an item only leaves these regions, and
//!   is hidden when it is in no other one.
//! - Nothing is deleted that a cart, a payment or a review refers to: a hidden item returns with its next record.

use tokio_postgres::Transaction;

use super::ImportSource;
use super::report::ImportSummary;
use crate::foundation::count::counted;
use crate::foundation::error::{Error, Result};

/// What an import with `--replace` is complete for.
pub(super) struct Scope {
    source: String,
    /// The regions of the feeds.
    regions: Vec<String>,
    /// Whether a file is for all regions.
    is_whole: bool,
    /// The items that the source offered in this scope before the import.
    offered: u64,
}

impl Scope {
    /// The scope of these files; called before anything is merged.
    pub(super) async fn of(transaction: &Transaction<'_>, source: &str, files: &[ImportSource]) -> Result<Scope> {
        let regions: Vec<String> = files.iter().filter_map(|file| file.region.clone()).collect();
        let is_whole = files.iter().any(|file| file.region.is_none());
        let offered = transaction.query_one(COUNT_OFFERED, &[&source, &is_whole, &regions]).await?;
        Ok(Scope { source: source.to_owned(), regions, is_whole, offered: offered.get::<_, i64>(0) as u64 })
    }

    /// Hides what the files no longer have; the records of these numbers and ids were rejected, and their items stay.
    /// The merged items are in `import_touched`.
    ///
    /// # Errors
    /// `too_many_removed` if more than this share of the items would be hidden or leave a region.
    pub(super) async fn retire(
        &self,
        transaction: &Transaction<'_>,
        (rejected_numbers, rejected_ids): (&[i64], &[String]),
        max_percent: u32,
        summary: &mut ImportSummary,
    ) -> Result<()> {
        transaction
            .batch_execute("create temporary table import_left (item_id bigint not null) on commit drop")
            .await?;
        transaction.execute(LEAVE_REGIONS, &[&self.source, &self.regions, &rejected_numbers, &rejected_ids]).await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.source, &self.is_whole, &rejected_numbers, &rejected_ids];
        let retired = transaction.execute(RETIRE_ITEMS, &parameters).await?;
        let left = transaction.execute(NOTE_LEFT, &[]).await?;
        let gone = retired + left;
        if gone * 100 > self.offered * u64::from(max_percent) {
            let message = format!(
                "--replace would hide {gone} of the {} that the files stand for, more than {max_percent} %: nothing was changed. If \
                 that is right, repeat it with --max-removed 100.",
                counted(self.offered, "item")
            );
            return Err(Error::malformed("too_many_removed", message));
        }
        summary.items.removed = retired;
        Ok(())
    }
}

/// Removes the categories of the source that are in no file, unless they contain an item or a category that stays; returns how many.
pub(super) async fn remove_categories(transaction: &Transaction<'_>, source: &str, imported: &[i64]) -> Result<u64> {
    Ok(transaction.execute(REMOVE_CATEGORIES, &[&imported, &source]).await?)
}

const COUNT_OFFERED: &str = r"
    select count(*) from item i
    where i.source = $1 and i.visible
      and ($2 or exists (select from item_region r where r.item_id = i.item_id and r.region_id = any ($3)))";

const LEAVE_REGIONS: &str = r"
    with removed as (
        delete from item_region r using item i
        where i.item_id = r.item_id and i.source = $1 and r.region_id = any ($2)
          and not exists (select from import_touched t
                          where t.item_id = r.item_id and (r.region_id = any (t.regions) or not t.by_feed))
          and i.item_id <> all ($3) and i.id <> all ($4)
        returning r.item_id
    )
    insert into import_left select distinct item_id from removed";

/// An item with a rejected record counts as being in its file. Locks in ascending order, as the merge of a file does.
const RETIRE_ITEMS: &str = r"
    with gone as materialized (
        select i.item_id from item i
        where i.source = $1 and i.visible
          and not exists (select from import_touched t where t.item_id = i.item_id)
          and i.item_id <> all ($3) and i.id <> all ($4)
          and ($2 or exists (select from import_left l where l.item_id = i.item_id)
                     and not exists (select from item_region r where r.item_id = i.item_id))
        order by i.item_id for no key update
    )
    update item i set visible = false, retired_at = now() from gone g where i.item_id = g.item_id";

/// The items that left a region and are still offered.
const NOTE_LEFT: &str = r"
    insert into import_changed select l.item_id from import_left l join item i using (item_id) where i.visible";

/// Two index lookups a category, whatever the number of items.
const REMOVE_CATEGORIES: &str = r"
    with kept as (
        select distinct unnest(d.path) as category_id from category d
        where d.source <> $2 or d.category_id = any ($1)
           or exists (select from item i where i.category_id = d.category_id)
           or exists (select from item i where i.subcategory_id = d.category_id)
    )
    delete from category c where not exists (select from kept k where k.category_id = c.category_id)";
