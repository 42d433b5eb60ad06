//! SQL of the counts of searches.

use jiff::civil::Date;
use tokio_postgres::Row;

use super::pending::Batch;
use super::{QueryCount, SearchDay};
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;

/// Adds the counts, all or none. Returns how many searches were left out, because their days have `limit` queries already.
pub(super) async fn add(client: &impl Executor, batch: &Batch, limit: u32) -> Result<u64> {
    let statement = client.prepare_cached(include_str!("add.sql")).await?;
    let days: Vec<Date> = batch.keys().map(|(day, _)| *day).collect();
    let queries: Vec<&str> = batch.keys().map(|(_, query)| &**query).collect();
    let searches: Vec<i64> = batch.values().map(|searches| searches.all).collect();
    let found_nothing: Vec<i64> = batch.values().map(|searches| searches.found_nothing).collect();
    let limit = i64::from(limit);
    let row = client.query_one(&statement, &[&days, &queries, &searches, &found_nothing, &limit]).await?;
    Ok(u64::try_from(row.try_get::<_, i64>("uncounted")?).unwrap_or(0))
}

/// The days since this one, the latest first, with at most `count` popular and unsuccessful queries each.
pub(super) async fn report(client: &impl Executor, since: Date, count: i64) -> Result<Vec<SearchDay>> {
    let statement = client.prepare_cached(include_str!("report.sql")).await?;
    let mut days: Vec<SearchDay> = Vec::new();
    for row in &client.query(&statement, &[&since, &count]).await? {
        let day: Date = row.try_get("day")?;
        if days.last().is_none_or(|last| last.day != day) {
            days.push(read_day(row, day)?);
        }
        let Some(of_day) = days.last_mut() else { continue };
        let query = QueryCount {
            query: row.try_get("query")?,
            searches: row.try_get("searches")?,
            found_nothing: row.try_get("found_nothing")?,
        };
        if row.try_get::<_, i64>("place")? <= count {
            of_day.popular.push(query.clone());
        }
        if query.found_nothing > 0 && row.try_get::<_, i64>("unsuccessful_place")? <= count {
            of_day.unsuccessful.push(query);
        }
    }
    for day in &mut days {
        day.unsuccessful.sort_by(|a, b| b.found_nothing.cmp(&a.found_nothing).then_with(|| a.query.cmp(&b.query)));
    }
    Ok(days)
}

fn read_day(row: &Row, day: Date) -> Result<SearchDay> {
    Ok(SearchDay {
        day,
        searches: row.try_get("day_searches")?,
        found_nothing: row.try_get("day_found_nothing")?,
        queries: row.try_get("day_queries")?,
        popular: Vec::new(),
        unsuccessful: Vec::new(),
    })
}

/// Deletes a batch of the counts of this day and those before it; returns how many.
pub(super) async fn delete(client: &impl Executor, day: Date) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"delete from search_query_count where (day, query) in (
                  select day, query from search_query_count where day <= $1 limit 10000
              )",
        )
        .await?;
    Ok(client.execute(&statement, &[&day]).await?)
}
