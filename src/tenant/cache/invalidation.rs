//! What changed in the database since the last look, again and again.
//!
//! One task a brand, started by `brand` when the database was found fit. It has a connection of its own, which listens. What must
//! never happen: a change is passed over because its transaction committed late, or a broken connection ends the following.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_postgres::{Client, Statement};

use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::platform::postgres;
use crate::tenant::cache::Cache;
use crate::tenant::cache::change_log::CatalogChange;

/// How often is looked without a notification.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Between two looks, also when there is news: a sale tells of every payment.
const REST: Duration = Duration::from_millis(20);

/// A look that takes longer has failed.
const LONGEST_LOOK: Duration = Duration::from_millis(900);

/// After a failed look.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Rows of `catalog_change` are kept for an hour (`catalog::delete_old_changes`); who was away for half of it cannot be sure.
const TOO_LONG_AWAY: Duration = Duration::from_secs(1_800);

/// Where the following stands.
struct Position {
    /// Every transaction before it has ended and was seen.
    oldest_running: i64,
    /// Changes of later ones that were seen already, with their transactions.
    seen: HashMap<i64, i64>,
    /// When the last look that succeeded began.
    looked: Option<Instant>,
}

/// Follows until nobody has the cache any more.
pub async fn run(cache: Weak<Cache>, config: DatabaseConfig, brand: String) {
    let mut is_away = false;
    while cache.strong_count() > 0 {
        let ended = follow(&cache, &config, &brand, &mut is_away).await;
        let Some(cache) = cache.upgrade() else { return };
        if let Err(error) = ended {
            if !is_away {
                tracing::warn!(brand, %error, "PostgreSQL is away; what is remembered of the catalogue is given meanwhile");
            }
            is_away = true;
            cache.poll_failed();
        }
        drop(cache);
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
    }
}

/// Over one connection, until it fails.
async fn follow(cache: &Weak<Cache>, config: &DatabaseConfig, brand: &str, is_away: &mut bool) -> Result<()> {
    let news = Arc::new(Notify::new());
    let begin = async {
        let client = postgres::connect_listening(config, news.clone()).await?;
        // LISTEN takes no parameters; a brand's name is letters, digits and _ (`config`).
        client.batch_execute(&format!("listen \"catalog_change_{brand}\"")).await?;
        let statement = client.prepare(LOOK).await?;
        Ok::<_, Error>((client, statement))
    };
    let (client, statement) = in_time(config.connect_timeout, begin).await?;
    // It may lead to a database that was restored meanwhile, whose history is another.
    let mut position = Position::unknown();
    loop {
        let began = Instant::now();
        let found = in_time(LONGEST_LOOK, position.look(&client, &statement, began)).await?;
        let Some(cache) = cache.upgrade() else { return Ok(()) };
        cache.polled(began, found);
        drop(cache);
        if std::mem::take(is_away) {
            tracing::info!(brand, "PostgreSQL is back");
        }
        tokio::time::sleep(REST).await;
        let _ = tokio::time::timeout(LOOK_EVERY, news.notified()).await;
    }
}

async fn in_time<T>(longest: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(longest, work).await.or_timeout()?
}

/// One snapshot tells both: the oldest transaction that still runs, and what is visible of the later ones.
const LOOK: &str = "
    select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest_running, c.change_id, c.xact, c.item_id
    from (select) one left join catalog_change c on c.xact >= $1";

impl Position {
    /// Whatever was before the first look, everything may be another; so that asks for no changes.
    fn unknown() -> Position {
        Position { oldest_running: i64::MAX, seen: HashMap::new(), looked: None }
    }

    async fn look(&mut self, client: &Client, statement: &Statement, began: Instant) -> Result<Vec<CatalogChange>> {
        let rows = client.query(statement, &[&self.oldest_running]).await?;
        let mut found = Vec::new();
        for row in &rows {
            let Some(change_id) = row.try_get::<_, Option<i64>>("change_id")? else { continue };
            if self.seen.insert(change_id, row.try_get("xact")?).is_none() {
                found.push(
                    row.try_get::<_, Option<i64>>("item_id")?.map_or(CatalogChange::Everything, CatalogChange::Item),
                );
            }
        }
        if let Some(row) = rows.first() {
            self.oldest_running = row.try_get("oldest_running")?;
        }
        let oldest_running = self.oldest_running;
        self.seen.retain(|_, xact| *xact >= oldest_running);
        let looked = self.looked.replace(began);
        if looked.is_none_or(|looked| began.duration_since(looked) > TOO_LONG_AWAY) {
            return Ok(vec![CatalogChange::Everything]);
        }
        Ok(found)
    }
}
