//! One brand, alive: its configuration, its pool under its own database role, its corner of Redis.
//!
//! Built once at start from `brands/NAME.toml`; the accept loop of the brand's listener holds it, so that nothing in a request
//! can choose another. What must never happen: a value of one brand is reachable from another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};

use crate::clock::Clock;
use crate::config::BrandConfig;
use crate::db;
use crate::error::{Error, Result};
use crate::kv::Kv;
use crate::migrate;

/// How often a database that is away is tried again at start.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub struct Brand {
    pub config: BrandConfig,
    pub kv: Kv,
    pub clock: Clock,
    pool: Pool,
    /// Whether the database was found fit since the start.
    open: AtomicBool,
}

impl Brand {
    /// Builds a brand without connecting anywhere.
    pub fn new(config: BrandConfig) -> Result<Arc<Brand>> {
        let kv = Kv::new(&config.name, &config.redis)?;
        let pool = db::pool(&config.database);
        Ok(Arc::new(Brand { config, kv, clock: Clock::default(), pool, open: AtomicBool::new(false) }))
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A connection under the brand's role.
    ///
    /// # Errors
    /// 503 while PostgreSQL is away, all connections are taken for too long, or the database was not found fit yet.
    pub async fn db(&self) -> Result<Object> {
        if !self.open.load(Ordering::Relaxed) {
            return Err(Error::unavailable(format!("{}: the database is not ready yet", self.name())));
        }
        Ok(self.pool.get().await?)
    }

    /// Waits for the database, for as long as it is away, and opens the brand when it is fit.
    ///
    /// # Errors
    /// A database that answers but cannot serve a shop: that needs a person, so the process should say so and end.
    pub async fn open(&self) -> Result<(), String> {
        let mut told = false;
        loop {
            match self.unfitness().await {
                Ok(None) => {
                    self.open.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Some(sentence)) => return Err(format!("{}: {sentence}", self.name())),
                Err(error) if db::is_away(&error) => {
                    if !told {
                        tracing::warn!(brand = self.name(), %error, "waiting for PostgreSQL; answering 503 until it is there");
                        told = true;
                    }
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
                Err(error) => return Err(format!("{}: {error}", self.name())),
            }
        }
    }

    /// What keeps the brand's database from serving, or `None`.
    async fn unfitness(&self) -> Result<Option<String>> {
        let client = self.pool.get().await.map_err(refused_or_away)?;
        if let Some(sentence) = db::unfitness(&client, self.name()).await? {
            return Ok(Some(sentence));
        }
        let pending = migrate::pending(&client).await?;
        Ok((!pending.is_empty()).then(|| format!("the schema lacks {}: run brandgate migrate", pending.join(", "))))
    }

    /// What the brand lacks to serve everything; empty when it is ready.
    pub async fn lacks(&self) -> Vec<String> {
        let database = async {
            let client = self.db().await?;
            client.query_one("select 1", &[]).await?;
            Ok::<_, Error>(())
        };
        let (database, redis) = tokio::join!(database, self.kv.ping());
        let mut lacks = Vec::new();
        lacks.extend(database.is_err().then(|| "postgresql".to_owned()));
        lacks.extend(redis.is_err().then(|| "redis".to_owned()));
        lacks
    }
}

/// A server that answers with a refusal (a wrong password, no such database) will not change its mind by waiting.
fn refused_or_away(error: deadpool_postgres::PoolError) -> Error {
    match error {
        deadpool_postgres::PoolError::Backend(cause) if cause.code().is_some() => Error::from(cause),
        other => Error::from(other),
    }
}
