//! SQL of the search.

use crate::platform::postgres::Executor;
use tokio_postgres::Row;

use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::http::request::Page;

// A language needs its text search configuration in `find`, and in the column `item.search` by a migration.
const _: () = assert!(Language::ALL.len() == 3);

/// A page of the rows of `item_card` that match, and the number of all matches.
///
/// The exact name comes first, then names before descriptions, then the shop's priority; the id makes the order total.
pub(super) async fn find(
    client: &impl Executor,
    query: &str,
    region: Option<&str>,
    page: Page,
) -> Result<(Vec<Row>, i64)> {
    let statement = client
        .prepare_cached(
            "with hits as materialized ( \
                 select i.item_id, lower(i.name) = lower($1) as exact, \
                        ts_rank_cd('{0.05, 0.1, 0.4, 1.0}', i.search, q.query, 1) as rank, i.priority \
                 from listed_item i, \
                      (select plainto_tsquery('russian', $1) || plainto_tsquery('english', $1) \
                              || plainto_tsquery('armenian', $1) as query) q \
                 where i.search @@ q.query \
                   and ($2::text is null or coalesce($2 = any(nullif(i.regions, '{}')), true)) \
             ) \
             select t.total, v.* \
             from (select count(*) as total from hits) t \
             left join (select * from hits order by exact desc, rank desc, priority desc, item_id limit $3 offset $4) p on true \
             left join item_card v on v.item_id = p.item_id \
             order by p.exact desc, p.rank desc, p.priority desc, p.item_id",
        )
        .await?;
    let mut rows = client.query(&statement, &[&query, &region, &page.count, &page.skip]).await?;
    let total = rows.first().map_or(0, |row| row.get("total"));
    // Beyond the last hit there is one row that carries the total alone.
    rows.retain(|row| row.get::<_, Option<i64>>("item_id").is_some());
    Ok((rows, total))
}
