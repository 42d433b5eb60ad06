//! Notices and logs outages of PostgreSQL by the errors of requests.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Client;

use super::{QueryError, connect};
use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::outage::Outage;

/// Watches the database of one brand.
pub struct DatabaseMonitor {
    brand: String,
    config: DatabaseConfig,
    outage: Arc<Outage>,
}

impl DatabaseMonitor {
    pub fn new(brand: &str, config: &DatabaseConfig) -> Arc<DatabaseMonitor> {
        Arc::new(DatabaseMonitor { brand: brand.to_owned(), config: config.clone(), outage: Arc::default() })
    }

    /// Whether statements or connections fail at present because of the server.
    pub fn has_outage(&self) -> bool {
        self.outage.is_active()
    }

    /// Takes notice of an error of a statement.
    pub(crate) fn statement_failed(&self, error: &QueryError) {
        if error.is_outage() {
            self.outage_began(error.is_read_only(), error);
        }
    }

    /// Takes notice of a connection that could not be opened or was lost.
    pub(crate) fn connection_failed(&self, error: &(dyn std::error::Error + Send + Sync)) {
        self.outage_began(false, error);
    }

    fn outage_began(&self, is_read_only: bool, error: &(dyn std::error::Error + Send + Sync)) {
        let brand = &self.brand;
        let log_begin = || match is_read_only {
            true => {
                tracing::warn!(brand, %error, "PostgreSQL is read-only; what is written fails until it accepts writes")
            }
            false => {
                tracing::warn!(brand, %error, "PostgreSQL unavailable; cached catalogue responses are served until it recovers");
            }
        };
        let config = Arc::new(self.config.clone());
        let probe = move || {
            let config = config.clone();
            async move { is_writable(&config).await }
        };
        let brand = self.brand.clone();
        self.outage.begin(log_begin, probe, move || tracing::info!(brand, "PostgreSQL recovered"));
    }
}

/// Whether a new connection can be opened and may write. A connection keeps the role's and database's settings of its beginning,
/// so an open one does not show whether new ones may write.
async fn is_writable(config: &DatabaseConfig) -> bool {
    let probe = async {
        let client = connect(config).await?;
        Ok::<_, Error>(!is_read_only(&client).await?)
    };
    let timeout: Duration = config.connect_timeout;
    matches!(tokio::time::timeout(timeout, probe).await, Ok(Ok(true)))
}

async fn is_read_only(client: &Client) -> Result<bool> {
    Ok(client.query_one(READ_ONLY_SQL, &[]).await?.get(0))
}

/// Whether the server or the session refuses writes. Its value is a column `is_read_only`.
pub(crate) const READ_ONLY_SQL: &str =
    "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as is_read_only";
