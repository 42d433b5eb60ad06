//! One brand, alive: its configuration, its pool under its own database role, its corner of Redis.
//!
//! Built at start from `brands/NAME.toml`, and from the former one on a reload; the brand's listener leads to it, so that nothing
//! in a request can choose another. What must never happen: a value of one brand is reachable from another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;

use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::http::rate_limit::RateLimiter;
use crate::platform::http_client::HttpClient;
use crate::platform::migrations;
use crate::platform::postgres::{self, Connection, Executor, Purpose, Transaction};
use crate::platform::postgres_shared::{SharedConnection, SharedConnections};
use crate::platform::redis::Redis;
use crate::telemetry::metrics::Metrics;
use crate::tenant::cache::{self, Cache};

/// How long readiness waits for a dependency to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a database that is away is tried again at start.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub struct Brand {
    pub config: BrandConfig,
    pub redis: Redis,
    pub clock: Clock,
    pub rates: RateLimiter,
    pub metrics: Metrics,
    /// Answers of the catalogue that were given before.
    pub cache: Arc<Cache>,
    /// Payments are opened by so many requests at the same time that others find a connection too.
    pub checkouts: Arc<Semaphore>,
    /// The HTTP client for the payment provider.
    pub provider_http: Option<HttpClient>,
    pool: Pool,
    readers: Arc<SharedConnections>,
    /// Whether the database was found fit since the start.
    open: Arc<AtomicBool>,
}

impl Brand {
    /// Builds a brand without connecting anywhere.
    pub fn new(config: BrandConfig, purpose: Purpose) -> Result<Arc<Brand>> {
        let kv = Redis::new(&config.name, &config.redis)?;
        let pool = postgres::pool(&config.database, purpose.pool_size(&config.database), purpose);
        let readers = Arc::new(SharedConnections::new(&config.database, purpose));
        let checkouts = Arc::new(Semaphore::new((config.database.pool_size / 2).max(1)));
        Ok(Arc::new(Brand {
            rates: RateLimiter::new(kv.clone(), config.rates),
            provider_http: provider_http_client(&config)?,
            clock: Clock::default(),
            metrics: Metrics::of(&config.name),
            cache: Arc::new(Cache::new(config.cache_bytes)),
            open: Arc::default(),
            config,
            redis: kv,
            checkouts,
            pool,
            readers,
        }))
    }

    /// The same brand under a configuration that was read anew: its connections to PostgreSQL and Redis go on. Also what of
    /// the new configuration needs a restart, by the names of the file's keys; that is left as it is.
    ///
    /// # Errors
    /// A certificate authority of the bank's that cannot be read.
    pub fn reconfigured(&self, mut config: BrandConfig) -> Result<(Arc<Brand>, Vec<&'static str>)> {
        let former = &self.config;
        let mut needs_restart = Vec::new();
        if config.listen != former.listen {
            needs_restart.push("listen");
            config.listen.clone_from(&former.listen);
        }
        if config.database != former.database {
            needs_restart.push("[database]");
            config.database.clone_from(&former.database);
        }
        if config.redis != former.redis {
            needs_restart.push("[redis]");
            config.redis.clone_from(&former.redis);
        }
        if config.tls.ticket_secret != former.tls.ticket_secret {
            needs_restart.push("[tls] ticket_secret");
            config.tls.ticket_secret.clone_from(&former.tls.ticket_secret);
        }
        let renewed = Brand {
            rates: RateLimiter::new(self.redis.clone(), config.rates),
            provider_http: provider_http_client(&config)?,
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            open: self.open.clone(),
            redis: self.redis.clone(),
            checkouts: self.checkouts.clone(),
            cache: self.cache.clone(),
            pool: self.pool.clone(),
            readers: self.readers.clone(),
            config,
        };
        Ok((Arc::new(renewed), needs_restart))
    }

    /// Whether the database was found fit since the start.
    pub fn is_ready(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A connection of the pool, under the brand's role.
    ///
    /// # Errors
    /// 503 while PostgreSQL is away, all connections are taken for too long, or the database was not found fit yet.
    pub async fn postgres(&self) -> Result<Connection> {
        self.must_be_open()?;
        Ok(Connection::new(self.pool.get().await?))
    }

    /// A transaction under the brand's role; it begins with its first statement.
    ///
    /// # Errors
    /// As [`Brand::postgres`].
    pub async fn transaction(&self) -> Result<Transaction> {
        Ok(self.postgres().await?.begin())
    }

    fn must_be_open(&self) -> Result<()> {
        match self.is_ready() {
            true => Ok(()),
            false => Err(Error::unavailable(format!("{}: the database is not ready yet", self.name()))),
        }
    }

    /// A share of a connection under the brand's role, for one statement that reads and is quick.
    ///
    /// # Errors
    /// As [`Brand::db`].
    pub async fn shared_connection(&self) -> Result<SharedConnection<'_>> {
        self.must_be_open()?;
        self.readers.get().await
    }

    /// Connections to PostgreSQL: how many of the pool there are, how many of them nobody uses, how many requests wait for one, and
    /// how many there are beside the pool, for short reads.
    pub fn connections(&self) -> [(&'static str, usize); 4] {
        let pool = self.pool.status();
        [("open", pool.size), ("idle", pool.available), ("waited_for", pool.waiting), ("shared", self.readers.open())]
    }

    /// Waits for the database, for as long as it is away, and opens the brand when it is fit.
    ///
    /// # Errors
    /// A database that answers but cannot serve a shop: that needs a person, so the process should say so and end.
    pub async fn wait_until_ready(&self) -> Result<(), String> {
        let mut told = false;
        loop {
            match self.check_ready().await {
                Ok(()) => return Ok(()),
                Err(error) if postgres::is_unavailable(&error) => {
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

    /// The same once, for a person who waits: a database that is away is an error too.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn check_ready(&self) -> Result<()> {
        if let Some(sentence) = self.unfitness().await? {
            return Err(Error::internal(sentence));
        }
        self.open.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Follows what changes in the catalogue, so that remembered answers may be given again. For whoever serves, once.
    pub fn follow_catalog_changes(&self) {
        let (cache, name) = (Arc::downgrade(&self.cache), self.name().to_owned());
        tokio::spawn(cache::invalidation::run(cache, self.config.database.clone(), name));
    }

    /// What keeps the brand's database from serving, or `None`.
    async fn unfitness(&self) -> Result<Option<String>> {
        let client = self.pool.get().await.map_err(|error| postgres::pool_error(&self.config.database, error))?;
        if let Some(sentence) = postgres::find_problem(&client, self.name()).await? {
            return Ok(Some(sentence));
        }
        let pending = migrations::pending(&client).await?;
        Ok((!pending.is_empty()).then(|| format!("the schema lacks {}: run brandgate migrate", pending.join(", "))))
    }

    /// What the brand lacks to serve everything; empty when it is ready.
    pub async fn unavailable_dependencies(&self) -> Vec<String> {
        let database = async {
            let client = self.postgres().await?;
            client.query_one("select exists (select from listed_item)", &[]).await?;
            Ok::<_, Error>(())
        };
        let (database, redis) = tokio::join!(
            tokio::time::timeout(PROBE_TIMEOUT, database),
            tokio::time::timeout(PROBE_TIMEOUT, self.redis.ping())
        );
        let is_fine = |probed: Result<Result<()>, Elapsed>| probed.is_ok_and(|answer| answer.is_ok());
        let (database, redis) = (is_fine(database), is_fine(redis));
        let mut lacks = Vec::new();
        lacks.extend((!database).then(|| "postgresql".to_owned()));
        lacks.extend((!redis).then(|| "redis".to_owned()));
        lacks
    }
}

fn provider_http_client(config: &BrandConfig) -> Result<Option<HttpClient>> {
    let bank = config.bank.as_ref();
    let made = bank.map(|bank| HttpClient::new(None, bank.ca_file.as_deref(), bank.connect_timeout));
    made.transpose().or_internal()
}
