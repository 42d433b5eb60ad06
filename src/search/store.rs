//! SQL of the search.

use tokio_postgres::Row;

use crate::catalog::Page;
use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::platform::postgres::Executor;

// A language needs its text search configuration in `find`, and in the column `item.search` by a migration.
const _: () = assert!(Language::ALL.len() == 3);

/// A page of matching rows of `item_card`, and the number of all matches.
pub(super) async fn find(
    client: &impl Executor,
    query: &str,
    region: Option<&str>,
    page: Page,
) -> Result<(Vec<Row>, i64)> {
    let statement = client.prepare_cached(include_str!("find.sql")).await?;
    let mut rows = client.query(&statement, &[&query, &region, &page.count, &page.skip]).await?;
    let total = rows.first().map_or(0, |row| row.get("total"));
    // Beyond the last match there is one row with the total alone.
    rows.retain(|row| row.get::<_, Option<i64>>("item_id").is_some());
    Ok((rows, total))
}
