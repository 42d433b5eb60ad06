//! SQL of catalogue reads. Without a region everything counts as available; an item without a list of regions is
//! available everywhere.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::category::CategoryRow;
use super::{CatalogId, Page};
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// All shown categories in display order, each with the counts of the items directly in it.
pub(super) async fn categories(client: &impl Executor, region: Option<&str>) -> Result<Vec<CategoryRow>> {
    let rows = match region {
        None => {
            let statement = client
                .prepare_cached(
                    r"select c.category_id, c.id, c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.path,
                             c.translations, coalesce(i.all_items, (select count(*) from item r
                                                     where r.node_id = c.category_id and r.retired_at is not null)) as all_items,
                             coalesce(i.all_items, 0) as available_items, true as available
                      from category c
                      left join (select node_id, count(*) as all_items from item where visible group by node_id) i
                           on i.node_id = c.category_id
                      where c.shown order by c.priority desc, c.category_id",
                )
                .await?;
            client.query(&statement, &[]).await?
        }
        Some(region) => {
            let statement = client.prepare_cached(include_str!("categories_in_region.sql")).await?;
            client.query(&statement, &[&region]).await?
        }
    };
    rows.iter().map(CategoryRow::read).collect()
}

/// What [`category_items`] found.
pub(super) enum CategoryPage {
    NotFound,
    Complete(Vec<Row>),
    /// Too few items were read of some category: the read has to be repeated with a larger share.
    Truncated,
}

/// A page of the items in a category and its descendants, as rows of `item_card`.
///
/// Of each category `share` times the even share of the page is read; `None` reads all that the page may need, and is
/// never [`CategoryPage::Truncated`].
pub(super) async fn category_items(
    client: &impl Executor,
    key: &CatalogId,
    region: Option<&str>,
    page: Page,
    share: Option<i64>,
) -> Result<CategoryPage> {
    let statement = client.prepare_cached(include_str!("category_items.sql")).await?;
    let (number, id) = key.number_and_id();
    let mut rows = client.query(&statement, &[&number, &id, &region, &page.count, &page.skip, &share]).await?;
    let Some(first) = rows.first() else { return Ok(CategoryPage::NotFound) };
    let is_truncated: bool = first.try_get("is_truncated")?;
    // An empty page is one row of nulls.
    rows.retain(|row| row.get::<_, Option<i64>>("item_id").is_some());
    if is_truncated && (rows.len() as i64) < page.count {
        return Ok(CategoryPage::Truncated);
    }
    Ok(CategoryPage::Complete(rows))
}

/// One item with its newest 100 reviews and questions.
pub(super) async fn item(client: &impl Executor, key: &CatalogId, region: Option<&str>) -> Result<Option<Row>> {
    let statement = client.prepare_cached(include_str!("item.sql")).await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id, &region]).await?)
}

/// The numbers of listed items in a category, or in all; a random sample where there are more than `limit`.
pub(super) async fn candidates(
    client: &impl Executor,
    category: Option<&CatalogId>,
    region: Option<&str>,
    limit: i64,
) -> Result<Vec<i64>> {
    let rows = match category {
        None => {
            let statement = client
                .prepare_cached(
                    r"select i.item_id from listed_item i
                      where $1::text is null or coalesce($1 = any(nullif(i.regions, '{}')), true)
                      order by random() limit $2",
                )
                .await?;
            client.query(&statement, &[&region, &limit]).await?
        }
        Some(key) => {
            let statement = client
                .prepare_cached(
                    r"with root as materialized (select category_id from category where (category_id = $1 or id = $2) and shown)
                      select i.item_id
                      from category n
                      join root on n.path @> array[root.category_id]
                      join listed_item i on i.node_id = n.category_id
                      where $3::text is null or coalesce($3 = any(nullif(i.regions, '{}')), true)
                      order by random() limit $4",
                )
                .await?;
            let (number, id) = key.number_and_id();
            client.query(&statement, &[&number, &id, &region, &limit]).await?
        }
    };
    rows.iter().map(|row| Ok(row.try_get("item_id")?)).collect()
}

/// The rows of `item_card` of those items that are listed, in any order.
pub(super) async fn cards(client: &impl Executor, ids: &[i64]) -> Result<Vec<Row>> {
    let statement = client
        .prepare_cached("select v.* from listed_item l join item_card v using (item_id) where l.item_id = any ($1)")
        .await?;
    Ok(client.query(&statement, &[&ids]).await?)
}

/// Whether an import has stored counts that are not in the stock yet.
pub(super) async fn has_stored_counts(client: &impl Executor) -> Result<bool> {
    let statement = client.prepare_cached("select exists (select from stock_count)").await?;
    Ok(client.query_one(&statement, &[]).await?.get(0))
}

/// Deletes a batch of changes; returns how many.
pub(super) async fn delete_changes(client: &impl Executor, before: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"delete from catalog_change where change_id in (
                  select change_id from catalog_change where changed_at < $1 limit 10000
              )",
        )
        .await?;
    Ok(client.execute(&statement, &[&before]).await?)
}
