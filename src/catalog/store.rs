//! SQL of the catalogue's reads, and of what changed in it. Availability in a region reads the same in each: without a region
//! everything counts, and an item without a list is available everywhere.

use crate::platform::postgres::Executor;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::CatalogId;
use super::category::Node;
use crate::foundation::error::Result;
use crate::http::request::Page;

/// Every category that is shown, ordered, with the counts of its own items.
pub(super) async fn categories(client: &impl Executor, region: Option<&str>) -> Result<Vec<Node>> {
    let rows = match region {
        None => {
            let statement = client
                .prepare_cached(
                    "select c.category_id, c.id, c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.path, \
                            c.translations, coalesce(i.all_items, 0) as all_items, coalesce(i.all_items, 0) as available_items, \
                            true as available \
                     from category c \
                     left join (select node_id, count(*) as all_items from item where visible group by node_id) i \
                          on i.node_id = c.category_id \
                     where c.shown order by c.priority desc, c.category_id",
                )
                .await?;
            client.query(&statement, &[]).await?
        }
        Some(region) => {
            let statement = client
                .prepare_cached(
                    "select c.category_id, c.id, c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.path, \
                            c.translations, coalesce(i.all_items, 0) as all_items, coalesce(i.available_items, 0) as available_items, \
                            (not exists (select from category_region r where r.category_id = c.category_id) \
                             or exists (select from category_region r where r.category_id = c.category_id and r.region_id = $1) \
                            ) as available \
                     from category c \
                     left join (select i.node_id, count(*) as all_items, \
                                       count(*) filter (where r.item_id is null or r.here) as available_items \
                                from item i \
                                left join (select item_id, bool_or(region_id = $1) as here from item_region \
                                           group by item_id) r using (item_id) \
                                where i.visible group by i.node_id) i on i.node_id = c.category_id \
                     where c.shown order by c.priority desc, c.category_id",
                )
                .await?;
            client.query(&statement, &[&region]).await?
        }
    };
    rows.iter().map(Node::read).collect()
}

/// What a look at the nodes below a category came to.
pub(super) enum Found {
    NoCategory,
    Page(Vec<Row>),
    /// One node has more of the first items than were taken of each: to be asked again with a larger share.
    Uneven,
}

/// A page of a category, descendants included. To pass over `skip` items, so many would have to be read of every node below it;
/// instead `share` times what each node has when all have alike (`None`: all that may be needed). Up to the first of the nodes' last
/// items taken nothing is missing, so the page is right when it is full of what comes before.
///
/// What is listed is said as `listed_item` says it, but of a node once and not with each of its items.
pub(super) async fn category_items(
    client: &impl Executor,
    key: &CatalogId,
    region: Option<&str>,
    page: Page,
    share: Option<i64>,
) -> Result<Found> {
    let statement = client
        .prepare_cached(
            "with c as materialized (select category_id from category where (category_id = $1 or id = $2) and shown), \
                  node as materialized ( \
                      select n.category_id from category n join c on n.path @> array[c.category_id] where n.shown \
                  ), \
                  taken as materialized ( \
                      select least($4::bigint + $5::bigint, $6::bigint * ($4 + $5) / greatest(count(*), 1) + 8) as most from node \
                  ), \
                  known_to as materialized ( \
                      select e.priority, e.item_id \
                      from node n cross join taken t cross join lateral ( \
                          select i.priority, i.item_id from item i \
                          where i.visible and i.node_id = n.category_id \
                            and ($3::text is null or coalesce( \
                                (select bool_or(r.region_id = $3) from item_region r where r.item_id = i.item_id), true)) \
                          order by i.priority desc, i.item_id limit 1 offset t.most - 1 \
                      ) e \
                      where t.most < $4 + $5 order by e.priority desc, e.item_id limit 1 \
                  ) \
             select v.*, exists (select from known_to) as is_part \
             from c \
             left join known_to k on true \
             left join lateral ( \
                 select i.item_id, i.priority \
                 from node n cross join lateral ( \
                     select i.item_id, i.priority from item i \
                     where i.visible and i.node_id = n.category_id \
                       and ($3::text is null or coalesce( \
                           (select bool_or(r.region_id = $3) from item_region r where r.item_id = i.item_id), true)) \
                     order by i.priority desc, i.item_id limit (select most from taken) \
                 ) i \
                 where k.priority is null or i.priority > k.priority or (i.priority = k.priority and i.item_id <= k.item_id) \
                 order by i.priority desc, i.item_id limit $4 offset $5 \
             ) p on true \
             left join item_card v on v.item_id = p.item_id \
             order by p.priority desc, p.item_id",
        )
        .await?;
    let (number, id) = key.number_and_id();
    let mut rows = client.query(&statement, &[&number, &id, &region, &page.count, &page.skip, &share]).await?;
    let Some(first) = rows.first() else { return Ok(Found::NoCategory) };
    let is_part: bool = first.try_get("is_part")?;
    // A category without a match is one row of nulls.
    rows.retain(|row| row.get::<_, Option<i64>>("item_id").is_some());
    if is_part && (rows.len() as i64) < page.count {
        return Ok(Found::Uneven);
    }
    Ok(Found::Page(rows))
}

/// One item with its newest hundred reviews.
pub(super) async fn item(client: &impl Executor, key: &CatalogId, region: Option<&str>) -> Result<Option<Row>> {
    let statement = client
        .prepare_cached(
            "select i.*, (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]') \
                          from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at, \
                                       row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position \
                                from review r where r.item_id = i.item_id and not r.hidden \
                                order by r.created_at desc nulls last, r.review_id desc limit 100) newest) as all_reviews \
             from listed_item l join item_card i using (item_id) \
             where (l.item_id = $1 or l.id = $2) \
               and ($3::text is null or coalesce($3 = any(nullif(l.regions, '{}')), true))",
        )
        .await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id, &region]).await?)
}

/// The ids of listed items, evenly drawn where there are more than `most`; no category means all.
pub(super) async fn candidates(
    client: &impl Executor,
    category: Option<&CatalogId>,
    region: Option<&str>,
    most: i64,
) -> Result<Vec<i64>> {
    let rows = match category {
        None => {
            let statement = client
                .prepare_cached(
                    "select i.item_id from listed_item i \
                     where $1::text is null or coalesce($1 = any(nullif(i.regions, '{}')), true) \
                     order by random() limit $2",
                )
                .await?;
            client.query(&statement, &[&region, &most]).await?
        }
        Some(key) => {
            let statement = client
                .prepare_cached(
                    "with c as materialized (select category_id from category where (category_id = $1 or id = $2) and shown) \
                     select i.item_id \
                     from category n join c on n.path @> array[c.category_id] join listed_item i on i.node_id = n.category_id \
                     where $3::text is null or coalesce($3 = any(nullif(i.regions, '{}')), true) \
                     order by random() limit $4",
                )
                .await?;
            let (number, id) = key.number_and_id();
            client.query(&statement, &[&number, &id, &region, &most]).await?
        }
    };
    rows.iter().map(|row| Ok(row.try_get("item_id")?)).collect()
}

/// What lists show of these items, as far as they are listed; in any order.
pub(super) async fn cards(client: &impl Executor, ids: &[i64]) -> Result<Vec<Row>> {
    let statement = client
        .prepare_cached("select v.* from listed_item l join item_card v using (item_id) where l.item_id = any ($1)")
        .await?;
    Ok(client.query(&statement, &[&ids]).await?)
}

/// Some thousands at a time.
pub(super) async fn forget_changes(client: &impl Executor, before: Timestamp) -> Result<u64> {
    let statement = client
        .prepare_cached(
            "delete from catalog_change where change_id in ( \
                 select change_id from catalog_change where changed_at < $1 limit 10000 \
             )",
        )
        .await?;
    Ok(client.execute(&statement, &[&before]).await?)
}
