//! Cache invalidation: a task per brand that polls the catalogue's change log in the database.
//!
//! It has a connection of its own, which listens for notifications.
//!
//! # Invariants
//!
//! No change is missed because its transaction committed late, and the task continues after a lost connection.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::{Client, Statement};

use crate::config::DatabaseConfig;
use crate::foundation::clock::Clock;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres::{self, DatabaseMonitor};
use crate::tenant::cache::Cache;
use crate::tenant::cache::change_log::{CatalogChange, SEARCH_RULES_ID};

/// The polling interval without a notification.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The minimum pause between two polls: during a sale every payment sends a notification.
const MIN_PAUSE: Duration = Duration::from_millis(20);

const POLL_TIMEOUT: Duration = Duration::from_millis(900);

/// The pause after a failed poll.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Rows of `catalog_change` are kept for an hour (`catalog::delete_old_changes`). After a gap of half of it, rows may be missing.
const MAX_GAP: Duration = Duration::from_secs(1_800);

/// How far the change log has been read.
struct Position {
    /// All transactions before it have ended, and their changes were read.
    oldest_running: i64,
    /// The changes of later transactions that were read already: `change_id` to transaction id.
    seen: HashMap<i64, i64>,
    /// When the last successful poll started.
    polled_at: Option<Instant>,
}

/// Polls until the cache is dropped. Each poll sets `clock` to the database's time.
pub(crate) async fn run(
    cache: Weak<Cache>,
    config: DatabaseConfig,
    brand: String,
    monitor: Arc<DatabaseMonitor>,
    clock: Clock,
) {
    while cache.strong_count() > 0 {
        let result = poll_over_one_connection(&cache, &config, &brand, &clock).await;
        let Some(cache) = cache.upgrade() else { return };
        if let Err(error) = result {
            monitor.connection_failed(&error);
            cache.poll_failed();
        }
        drop(cache);
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Polls until the connection fails.
async fn poll_over_one_connection(
    cache: &Weak<Cache>,
    config: &DatabaseConfig,
    brand: &str,
    clock: &Clock,
) -> Result<()> {
    let notifications = Arc::new(Notify::new());
    let connect = async {
        let client = postgres::connect_listening(config, notifications.clone()).await?;
        // LISTEN takes no parameters. `config` allows only letters, digits and _ in a brand's name.
        client.batch_execute(&format!("listen \"catalog_change_{brand}\"")).await?;
        let statement = client.prepare(POLL_SQL).await?;
        Ok::<_, Error>((client, statement))
    };
    let (client, statement) = with_timeout(config.connect_timeout, connect).await?;
    // The database may have been restored from a backup since, so the position of the last connection is not reused.
    let mut position = Position::unknown();
    loop {
        let started_at = Instant::now();
        let changes = with_timeout(POLL_TIMEOUT, position.poll(&client, &statement, started_at, clock)).await?;
        let Some(cache) = cache.upgrade() else { return Ok(()) };
        cache.polled(started_at, changes);
        drop(cache);
        tokio::time::sleep(MIN_PAUSE).await;
        let _ = tokio::time::timeout(POLL_INTERVAL, notifications.notified()).await;
    }
}

async fn with_timeout<T>(timeout: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(timeout, work).await.or_timeout()?
}

/// One snapshot returns both the oldest running transaction and the visible changes of later ones.
const POLL_SQL: &str = r"
    select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest_running, clock_timestamp() as now, c.change_id, c.xact, c.item_id
    from (select) one left join catalog_change c on c.xact >= $1";

impl Position {
    /// The first poll invalidates everything, whatever changes it reads.
    fn unknown() -> Position {
        Position { oldest_running: i64::MAX, seen: HashMap::new(), polled_at: None }
    }

    /// The changes since the last poll.
    async fn poll(
        &mut self,
        client: &Client,
        statement: &Statement,
        started_at: Instant,
        clock: &Clock,
    ) -> Result<Vec<CatalogChange>> {
        if self.polled_at.is_none() {
            // A transaction may be running since before changes that are visible already: reading them now marks them as
            // seen, so that the next poll does not take them for new.
            let row = client.query_one(statement, &[&self.oldest_running]).await?;
            self.oldest_running = row.try_get("oldest_running")?;
        }
        let rows = client.query(statement, &[&self.oldest_running]).await?;
        if let Some(row) = rows.first() {
            clock.set(row.try_get("now")?, started_at, Instant::now());
        }
        let mut changes = Vec::new();
        for row in &rows {
            let Some(change_id) = row.try_get::<_, Option<i64>>("change_id")? else { continue };
            if self.seen.insert(change_id, row.try_get("xact")?).is_none() {
                changes.push(match row.try_get::<_, Option<i64>>("item_id")? {
                    None => CatalogChange::Everything,
                    Some(SEARCH_RULES_ID) => CatalogChange::SearchRules,
                    Some(item_id) => CatalogChange::Item(item_id),
                });
            }
        }
        if let Some(row) = rows.first() {
            self.oldest_running = row.try_get("oldest_running")?;
        }
        let oldest_running = self.oldest_running;
        self.seen.retain(|_, xact| *xact >= oldest_running);
        let last_polled_at = self.polled_at.replace(started_at);
        if last_polled_at.is_none_or(|at| started_at.duration_since(at) > MAX_GAP) {
            return Ok(vec![CatalogChange::Everything]);
        }
        Ok(changes)
    }
}
