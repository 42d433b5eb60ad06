//! PostgreSQL: how a brand's role gets a connection, and whether the database is fit for a shop.
//!
//! Used by `brand` (the pool), `readers`, `migrate`, `check` and the import (a connection of their own). What must never happen: a
//! connection under another role than the brand's, or a `SET search_path`: the path belongs to the role.

use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::config::DatabaseConfig;
use crate::error::{Error, Result};

/// A pool of so many connections under the brand's role. Connects when it is first asked, so it can be built while the server is down.
pub fn pool(config: &DatabaseConfig, size: usize) -> Pool {
    let mut postgres = as_brand(config);
    let (statement, lock) = (config.statement_timeout.as_millis(), config.lock_timeout.as_millis());
    postgres.options(format!("-c statement_timeout={statement} -c lock_timeout={lock}"));
    postgres.keepalives_idle(std::time::Duration::from_secs(20));
    let manager = Manager::from_config(postgres, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(config.pool_wait))
        .create_timeout(Some(config.connect_timeout))
        .recycle_timeout(Some(config.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("timeouts have the runtime that they need")
}

/// One connection under the brand's role, without a statement timeout: for work that takes its time.
pub async fn connect(config: &DatabaseConfig) -> Result<Client> {
    connect_with(&as_brand(config)).await
}

/// The same; `news` is told of every notification that the client listens for.
pub async fn connect_listening(config: &DatabaseConfig, news: Arc<Notify>) -> Result<Client> {
    let (client, mut connection) = as_brand(config).connect(NoTls).await?;
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(_)) => news.notify_one(),
                Ok(_) => {}
                Err(error) => return tracing::debug!(%error, "a listening connection ended"),
            }
        }
    });
    Ok(client)
}

fn as_brand(config: &DatabaseConfig) -> tokio_postgres::Config {
    let mut postgres = config.postgres.clone();
    if let Some(password) = &config.password {
        postgres.password(password.reveal());
    }
    postgres.connect_timeout(config.connect_timeout);
    postgres
}

/// One connection as configured; its task ends with the client.
pub async fn connect_with(postgres: &tokio_postgres::Config) -> Result<Client> {
    let (client, connection) = postgres.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a database connection ended");
        }
    });
    Ok(client)
}

/// What keeps a database from serving a shop, as a sentence that says what to do; `None` when it is fit.
///
/// # Errors
/// Only when the question itself could not be asked.
pub async fn unfitness(client: &Client, brand: &str) -> Result<Option<String>> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::int as version, \
                    lower('ЩЁԱ') = 'щёա' as folds, \
                    current_schema()::text as schema, \
                    current_database()::text as database",
            &[],
        )
        .await?;
    let version: i32 = row.get("version");
    if version < 150_000 {
        return Ok(Some(format!("PostgreSQL {} is too old: 15 or newer is needed", version / 10_000)));
    }
    if !row.get::<_, bool>("folds") {
        return Ok(Some(format!(
            "the database {} does not know that Щ and щ are one letter, so search would not find Russian words: \
             create it anew with locale C.UTF-8 or ICU (create database … template template0 locale 'C.UTF-8')",
            row.get::<_, &str>("database")
        )));
    }
    match row.get::<_, Option<&str>>("schema") {
        Some(schema) if schema == brand => Ok(None),
        Some(schema) => Ok(Some(format!(
            "the role {brand} lands in the schema {schema}: alter role {brand} set search_path = {brand}, extensions"
        ))),
        None => Ok(Some(format!("the schema {brand} does not exist: run brandgate migrate with --admin-url"))),
    }
}

/// Whether PostgreSQL could be asked at all, as opposed to what it answered.
pub fn is_away(error: &Error) -> bool {
    matches!(error.kind, crate::error::Kind::Unavailable { .. } | crate::error::Kind::Timeout)
}
