//! Notices and logs outages of PostgreSQL by the errors of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::Client;

use super::{Purpose, QueryError, connect};
use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::outage::{Outage, Sign};

/// Watches the database of one brand.
pub struct DatabaseMonitor {
    brand: String,
    config: DatabaseConfig,
    /// Of the process's connections.
    purpose: Purpose,
    outage: Arc<Outage>,
    /// Whether the last failure concerned only what is written.
    refuses_writes: AtomicBool,
}

/// What an outage concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseOutage {
    Connections,
    Writes,
}

impl DatabaseMonitor {
    pub fn new(brand: &str, config: &DatabaseConfig, purpose: Purpose) -> Arc<DatabaseMonitor> {
        let (brand, config) = (brand.to_owned(), config.clone());
        let refuses_writes = AtomicBool::new(false);
        Arc::new(DatabaseMonitor { brand, config, purpose, outage: Arc::default(), refuses_writes })
    }

    /// The present outage, during which statements or connections fail because of the server.
    pub fn outage(&self) -> Option<DatabaseOutage> {
        let kind = match self.refuses_writes.load(Ordering::Relaxed) {
            true => DatabaseOutage::Writes,
            false => DatabaseOutage::Connections,
        };
        self.outage.is_active().then_some(kind)
    }

    /// Takes notice of an error of a statement.
    pub(crate) fn statement_failed(&self, error: &QueryError) {
        let brand = self.brand.clone();
        let text = error.to_string();
        if error.is_read_only() {
            let log = move || {
                tracing::warn!(
                    brand,
                    error = text,
                    "PostgreSQL is read-only; what is written fails until it accepts writes"
                );
            };
            self.notice(Sign::Reported, true, log);
        } else if error.lacks_resources() {
            let log = move || {
                tracing::warn!(
                    brand,
                    error = text,
                    "PostgreSQL lacks disk space or memory; what is written fails until it has enough"
                );
            };
            self.notice(Sign::Reported, true, log);
        } else if error.is_outage() {
            self.connection_failed(error);
        }
    }

    /// Takes notice of a connection that could not be opened or was lost, or of a slow response.
    pub(crate) fn connection_failed(&self, error: &(dyn std::error::Error + Send + Sync)) {
        let (brand, text) = (self.brand.clone(), error.to_string());
        let effect = match self.purpose {
            Purpose::Visitors => "cached catalogue responses are served",
            Purpose::Work => "background jobs are retried",
        };
        self.notice(Sign::Suspicion, false, move || {
            tracing::warn!(brand, error = text, "PostgreSQL unavailable; {effect} until it recovers");
        });
    }

    fn notice(&self, sign: Sign, refuses_writes: bool, log_begin: impl FnOnce() + Send + 'static) {
        self.refuses_writes.store(refuses_writes, Ordering::Relaxed);
        let config = Arc::new(self.config.clone());
        let probe = move || {
            let config = config.clone();
            async move { is_writable(&config).await }
        };
        let brand = self.brand.clone();
        self.outage.notice(sign, log_begin, probe, move || tracing::info!(brand, "PostgreSQL recovered"));
    }
}

/// Whether a new connection can be opened and may write. A connection keeps the role's and database's settings of its beginning,
/// so an open one does not show whether new ones may write.
async fn is_writable(config: &DatabaseConfig) -> bool {
    let probe = async {
        let client = connect(config).await?;
        Ok::<_, Error>(!is_read_only(&client).await? && has_space(&client).await)
    };
    let timeout: Duration = config.connect_timeout;
    matches!(tokio::time::timeout(timeout, probe).await, Ok(Ok(true)))
}

async fn is_read_only(client: &Client) -> Result<bool> {
    Ok(client.query_one(READ_ONLY_SQL, &[]).await?.get(0))
}

/// Whether files can grow: a single row would fit into a page that exists already.
async fn has_space(client: &Client) -> bool {
    let written = client.batch_execute(WRITE_SQL).await.map_err(QueryError::from);
    // A role without the right to create temporary tables learns nothing from it.
    !written.is_err_and(|error| error.lacks_resources() || error.is_outage())
}

/// Adds about half a megabyte to the database, and removes it.
const WRITE_SQL: &str = "create temporary table brandgate_probe on commit drop as
    select md5(number::text) as filler from generate_series(1, 8000) number";

/// Whether the server or the session refuses writes. Its value is a column `is_read_only`.
pub(crate) const READ_ONLY_SQL: &str =
    "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as is_read_only";
