//! A brand at run time: its configuration, PostgreSQL pool, Redis client, cache and metrics.
//!
//! # Invariants
//!
//! Nothing of one brand is reachable from another. A connection belongs to the brand of its listener, which no request can
//! change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio::sync::Semaphore;

use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::foundation::error::{Error, Result, ResultExt};
use crate::http::rate_limit::RateLimiter;
use crate::platform::http_client::HttpClient;
use crate::platform::migrations;
use crate::platform::postgres::{
    self, Connection, DatabaseMonitor, DatabaseOutage, Executor, Purpose, READ_ONLY_SQL, Transaction,
};
use crate::platform::postgres_shared::{SharedConnection, SharedConnections};
use crate::platform::redis::Redis;
use crate::telemetry::metrics::Metrics;
use crate::tenant::account::{Account, Bounds, Level};
use crate::tenant::cache::{self, Cache};
use crate::tenant::components::Components;

/// The time limit of a readiness check of one dependency.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The retry interval while the database is unavailable at start.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Counts a request that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub struct Brand {
    pub config: BrandConfig,
    pub redis: Redis,
    pub clock: Clock,
    pub rate_limiter: RateLimiter,
    pub metrics: Metrics,
    /// Encoded responses of the catalogue.
    pub cache: Arc<Cache>,
    /// State of the domains.
    pub(crate) components: Arc<Components>,
    /// What clients hold of the brand's limits.
    pub(crate) account: Arc<Account>,
    /// Limits concurrent checkouts to half of the pool, so that other requests get a connection.
    pub checkout_permits: Arc<Semaphore>,
    /// The client for the payment provider; `None` for a brand without one.
    pub provider_http: Option<HttpClient>,
    pool: Pool,
    /// How long a client waits for the result of a statement on a pooled connection.
    response_timeout: Duration,
    database_monitor: Arc<DatabaseMonitor>,
    /// The connections of the pool that requests take which are not essential.
    general_connections: Arc<Semaphore>,
    /// Requests that wait for one of them.
    waiting_for_general: Arc<AtomicUsize>,
    shared_connections: Arc<SharedConnections>,
    /// Whether the database passed its checks since the start.
    is_ready: Arc<AtomicBool>,
}

impl Brand {
    /// Builds a brand without opening connections.
    ///
    /// # Errors
    /// The URL of Redis, a certificate for PostgreSQL, or the bank's certificate authority cannot be used.
    pub fn new(config: BrandConfig, purpose: Purpose) -> Result<Arc<Brand>> {
        let account = Account::new(Level::Brand, &Bounds::of_brand(&config.limits), None);
        Brand::with_account(config, purpose, account)
    }

    /// Builds a brand in place of this one, sharing nothing with it but the account of what its clients hold.
    ///
    /// # Errors
    /// As [`Brand::new`].
    pub fn rebuilt(&self, config: BrandConfig, purpose: Purpose) -> Result<Arc<Brand>> {
        Brand::with_account(config, purpose, self.account.clone())
    }

    fn with_account(config: BrandConfig, purpose: Purpose, account: Arc<Account>) -> Result<Arc<Brand>> {
        let redis = Redis::new(&config.name, &config.redis)?;
        let pool = postgres::pool(&config.database, purpose.pool_size(&config.database), purpose)?;
        let database_monitor = DatabaseMonitor::new(&config.name, &config.database, purpose);
        let shared_connections = Arc::new(SharedConnections::new(&config.database, purpose, database_monitor.clone())?);
        let pool_size = purpose.pool_size(&config.database);
        let reserved = match purpose {
            Purpose::Visitors => config.database.reserved_connections.min(pool_size / 2),
            Purpose::Work => 0,
        };
        let checkout_permits = Arc::new(Semaphore::new((config.database.pool_size / 2).max(1)));
        Ok(Arc::new(Brand {
            rate_limiter: RateLimiter::new(redis.clone(), config.rates),
            provider_http: provider_http_client(&config)?,
            clock: Clock::default(),
            metrics: Metrics::of(&config.name),
            cache: Arc::new(Cache::new(config.cache_bytes)),
            components: Arc::default(),
            is_ready: Arc::default(),
            response_timeout: purpose.response_timeout(&config.database),
            database_monitor,
            config,
            redis,
            account,
            checkout_permits,
            pool,
            general_connections: Arc::new(Semaphore::new(pool_size - reserved)),
            waiting_for_general: Arc::default(),
            shared_connections,
        }))
    }

    /// The brand with a new configuration; its connections, cache and metrics are shared with this one. Settings that need a
    /// restart keep their values and are returned by the names of their keys.
    ///
    /// # Errors
    /// When the bank's certificate authority cannot be read.
    pub fn reconfigured(&self, mut config: BrandConfig) -> Result<(Arc<Brand>, Vec<&'static str>)> {
        let current = &self.config;
        let mut needs_restart = Vec::new();
        if config.listen != current.listen {
            needs_restart.push("listen");
            config.listen.clone_from(&current.listen);
        }
        if config.database != current.database {
            needs_restart.push("[database]");
            config.database.clone_from(&current.database);
        }
        if config.redis != current.redis {
            needs_restart.push("[redis]");
            config.redis.clone_from(&current.redis);
        }
        if config.tls.ticket_secret != current.tls.ticket_secret {
            needs_restart.push("[tls] ticket_secret");
            config.tls.ticket_secret.clone_from(&current.tls.ticket_secret);
        }
        let reconfigured = Brand {
            rate_limiter: RateLimiter::new(self.redis.clone(), config.rates),
            provider_http: provider_http_client(&config)?,
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            components: self.components.clone(),
            is_ready: self.is_ready.clone(),
            redis: self.redis.clone(),
            account: self.account.clone(),
            checkout_permits: self.checkout_permits.clone(),
            general_connections: self.general_connections.clone(),
            waiting_for_general: self.waiting_for_general.clone(),
            cache: self.cache.clone(),
            pool: self.pool.clone(),
            response_timeout: self.response_timeout,
            database_monitor: self.database_monitor.clone(),
            shared_connections: self.shared_connections.clone(),
            config,
        };
        Ok((Arc::new(reconfigured), needs_restart))
    }

    /// Whether the database passed its checks since the start.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A connection of the pool, under the brand's role.
    ///
    /// # Errors
    /// 503 when PostgreSQL is unavailable, no connection becomes free in time, or the brand is not ready yet.
    pub async fn postgres(&self) -> Result<Connection> {
        self.ensure_ready()?;
        let waiting = Waiting::new(&self.waiting_for_general);
        let permit = self.general_connections.clone().acquire_owned();
        let database = &self.config.database;
        let permit = tokio::time::timeout(database.pool_wait, permit).await;
        let permit = permit.map_err(|_| postgres::no_free_connection(database))?;
        drop(waiting);
        Ok(self.pooled_connection().await?.holding(permit.expect("the semaphore is never closed")))
    }

    /// A connection for what must work when everything else is overloaded: notifications and the status of payments, and
    /// readiness. A few connections of the pool are left to them.
    ///
    /// # Errors
    /// As [`Brand::postgres`].
    pub async fn essential_postgres(&self) -> Result<Connection> {
        self.ensure_ready()?;
        self.pooled_connection().await
    }

    async fn pooled_connection(&self) -> Result<Connection> {
        let database = &self.config.database;
        // Waiting for a place in the pool and opening a connection have a time limit each; a request waits once.
        let time_limit = database.pool_wait.max(database.connect_timeout);
        let opened = match tokio::time::timeout(time_limit, self.pool.get()).await {
            Ok(opened) => opened.map_err(|error| postgres::unavailable(database, error)),
            Err(_) => Err(postgres::no_response(database, time_limit)),
        };
        let object = opened.inspect_err(|error| {
            let pool = self.pool.status();
            // Without a free place, the requests are too many; that is no failure of PostgreSQL.
            if pool.size < pool.max_size {
                self.database_monitor.connection_failed(error);
            }
        })?;
        Ok(Connection::new(object, self.response_timeout, Some(self.database_monitor.clone())))
    }

    /// A transaction under the brand's role; it begins with its first statement.
    ///
    /// # Errors
    /// As [`Brand::postgres`].
    pub async fn transaction(&self) -> Result<Transaction> {
        Ok(self.postgres().await?.begin())
    }

    fn ensure_ready(&self) -> Result<()> {
        match self.is_ready() {
            true => Ok(()),
            false => Err(Error::unavailable(format!("{}: the database is not ready yet", self.name()))),
        }
    }

    /// A connection that is shared with other requests, for a single fast read.
    ///
    /// # Errors
    /// As [`Brand::postgres`].
    pub async fn shared_connection(&self) -> Result<SharedConnection<'_>> {
        self.ensure_ready()?;
        self.shared_connections.get().await
    }

    /// PostgreSQL connections by state: open and idle ones of the pool, requests that wait for one, and shared ones.
    pub fn connection_counts(&self) -> [(&'static str, usize); 4] {
        let pool = self.pool.status();
        let shared = self.shared_connections.open();
        let waiting = pool.waiting + self.waiting_for_general.load(Ordering::Relaxed);
        [("open", pool.size), ("idle", pool.available), ("waited_for", waiting), ("shared", shared)]
    }

    /// Waits until the database is available, checks it, and marks the brand as ready.
    ///
    /// # Errors
    /// A message when the database responds but cannot serve a shop, which needs manual action.
    pub async fn wait_until_ready(&self) -> Result<(), String> {
        let mut is_logged = false;
        loop {
            match self.check_ready().await {
                Ok(()) => return Ok(()),
                Err(error) if postgres::is_unavailable(&error) => {
                    if !is_logged {
                        tracing::warn!(brand = self.name(), %error, "waiting for PostgreSQL; the brand is unavailable until it responds");
                        is_logged = true;
                    }
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Checks the database once and marks the brand as ready.
    ///
    /// # Errors
    /// 503 when the database is unavailable; otherwise a message that says what is wrong with it and what to do.
    pub async fn check_ready(&self) -> Result<()> {
        if let Some(problem) = self.find_problem().await? {
            return Err(Error::internal(problem));
        }
        self.is_ready.store(true, Ordering::Relaxed);
        self.set_clock().await
    }

    /// Sets the brand's clock to the database's time.
    ///
    /// # Errors
    /// 503 while the database is unavailable.
    pub(crate) async fn set_clock(&self) -> Result<()> {
        let connection = self.postgres().await?;
        let sent_at = Instant::now();
        let row = connection.query_one("select clock_timestamp()", &[]).await?;
        self.clock.set(row.try_get(0)?, sent_at, Instant::now());
        Ok(())
    }

    /// Starts cache invalidation, without which no cached response is served. To be called once.
    pub fn follow_catalog_changes(&self) {
        let (cache, name) = (Arc::downgrade(&self.cache), self.name().to_owned());
        let (database, monitor) = (self.config.database.clone(), self.database_monitor.clone());
        tokio::spawn(cache::invalidation::run(cache, database, name, monitor, self.clock.clone()));
    }

    /// Why the database cannot serve the brand, or `None`.
    async fn find_problem(&self) -> Result<Option<String>> {
        let client = self.pool.get().await.map_err(|error| postgres::pool_error(&self.config.database, error))?;
        if let Some(problem) = postgres::find_problem(&client, &self.config.database, self.name()).await? {
            return Ok(Some(problem));
        }
        let pending = migrations::pending(&client).await?;
        Ok((!pending.is_empty()).then(|| format!("the schema lacks {}: run brandgate migrate", pending.join(", "))))
    }

    /// What is wrong with the dependencies, one name each: `postgresql` and `redis` do not work; with `postgresql_writes` PostgreSQL
    /// is read-only or lacks disk space, and with `postgresql_connections` it accepts no new connections, while those that are open work.
    pub async fn unavailable_dependencies(&self) -> Vec<&'static str> {
        let database = async {
            let client = self.essential_postgres().await?;
            client.query_one("select exists (select from listed_item)", &[]).await?;
            Ok::<bool, Error>(client.query_one(READ_ONLY_SQL, &[]).await?.get(0))
        };
        let (database, redis) = tokio::join!(
            tokio::time::timeout(PROBE_TIMEOUT, database),
            tokio::time::timeout(PROBE_TIMEOUT, self.redis.probe())
        );
        let database = match database {
            Ok(Ok(true)) => Some("postgresql_writes"),
            Ok(Ok(false)) => match self.database_monitor.outage() {
                Some(DatabaseOutage::Connections) => Some("postgresql_connections"),
                Some(DatabaseOutage::Writes) => Some("postgresql_writes"),
                None => None,
            },
            _ => Some("postgresql"),
        };
        let redis = (!redis.is_ok_and(|result| result.is_ok())).then_some("redis");
        database.into_iter().chain(redis).collect()
    }
}

/// The names that [`Brand::unavailable_dependencies`] returns.
pub const DEPENDENCIES: [&str; 4] = ["postgresql", "postgresql_writes", "postgresql_connections", "redis"];

fn provider_http_client(config: &BrandConfig) -> Result<Option<HttpClient>> {
    let bank = config.bank.as_ref();
    let client = bank.map(|bank| HttpClient::new(None, bank.ca_file.as_deref(), bank.connect_timeout));
    client.transpose().or_internal()
}
