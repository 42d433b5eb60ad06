//! What visitors search for, counted by day without anything of who searched: in memory, and in batches in the database.

mod countable;
mod pending;
mod store;

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::foundation::error::{Result, ResultExt};
use crate::platform::failure_streak::FailureStreak;
use crate::platform::postgres::is_unavailable;
use crate::tenant::brand::Brand;
use pending::PendingCounts;

/// A query and how often it was searched for on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryCount {
    pub query: String,
    pub searches: i64,
    /// Those of them that found no item.
    pub found_nothing: i64,
}

/// The searches of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDay {
    pub day: Date,
    pub searches: i64,
    pub found_nothing: i64,
    /// The number of different queries.
    pub queries: i64,
    /// The most frequent queries first.
    pub popular: Vec<QueryCount>,
    /// Those that most often found nothing first.
    pub unsuccessful: Vec<QueryCount>,
}

/// What counts a search of this text each time that it is called; `None` for a text that is not counted.
pub(super) fn counter(
    brand: &Brand,
    query: &str,
    found_nothing: bool,
) -> Option<impl Fn() + Send + Sync + use<> + 'static> {
    let text: Arc<str> = countable::text(query)?.into();
    let pending = brand.components.get::<PendingCounts>();
    let (clock, timezone) = (brand.clock.clone(), brand.config.timezone.clone());
    let (limit, metrics) = (brand.config.search.counted_queries, brand.metrics.clone());
    Some(move || {
        let day = clock.now().to_zoned(timezone.clone()).date();
        if !pending.add(day, &text, found_nothing, limit) {
            metrics.search_queries_uncounted().inc();
        }
    })
}

/// Writes what was counted, at the interval of the configuration, which `current` gives together with the brand.
pub async fn keep_writing(current: impl Fn() -> Arc<Brand>) {
    let mut failures = FailureStreak::default();
    loop {
        let interval = current().config.search.count_interval;
        tokio::time::sleep(interval).await;
        let brand = current();
        match write(&brand).await {
            Ok(()) => {
                if let Some(failed_writes) = failures.succeeded() {
                    tracing::info!(brand = brand.name(), failed_writes, "counts of searches are written again");
                }
            }
            Err(error) if failures.failed(is_unavailable(&error)) => {
                let brand = brand.name();
                tracing::warn!(brand, %error, "failed to write the counts of searches; they are written with the next ones");
            }
            Err(_) => {}
        }
    }
}

/// Writes what was counted since the last time, at shutdown.
pub async fn write_rest(brand: Arc<Brand>) {
    if let Err(error) = write(&brand).await {
        tracing::warn!(brand = brand.name(), %error, "failed to write the last counts of searches; the report lacks them");
    }
}

async fn write(brand: &Brand) -> Result<()> {
    let pending = brand.components.get::<PendingCounts>();
    // At shutdown, a batch that is being written may come back.
    let _writing = pending.writing.lock().await;
    let batch = pending.take();
    if batch.is_empty() {
        return Ok(());
    }
    let limit = brand.config.search.counted_queries;
    let written = async { store::add(&brand.postgres().await?, &batch, limit).await };
    let (uncounted, result) = match written.await {
        Ok(uncounted) => (uncounted, Ok(())),
        Err(error) => (pending.put_back(batch, limit), Err(error)),
    };
    brand.metrics.search_queries_uncounted().inc_by(uncounted);
    result
}

/// The last `days` days that have searches, today's included, the latest first; of each at most `count` popular and unsuccessful queries.
///
/// # Errors
/// An unavailable database.
pub async fn report(brand: &Brand, days: u16, count: u16) -> Result<Vec<SearchDay>> {
    let since = today(brand).checked_sub(i32::from(days.saturating_sub(1)).days()).or_internal()?;
    store::report(&brand.postgres().await?, since, i64::from(count)).await
}

/// Deletes a batch of the counts that are older than `[search] report_days`; returns how many.
///
/// # Errors
/// An unavailable database.
pub async fn delete_old(brand: &Brand) -> Result<u64> {
    let before = today(brand).checked_sub(i64::from(brand.config.search.report_days).days()).or_internal()?;
    store::delete(&brand.postgres().await?, before).await
}

fn today(brand: &Brand) -> Date {
    brand.clock.now().to_zoned(brand.config.timezone.clone()).date()
}
