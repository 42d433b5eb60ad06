//! PostgreSQL: how a brand's role gets a connection, and whether the database is fit for a shop.
//!
//! Used by `brand` (the pool), `readers`, `migrate`, `check` and the import (a connection of their own). What must never happen: a
//! connection under another role than the brand's, or a `SET search_path`: the path belongs to the role.

mod connection;

use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::Notify;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::config::DatabaseConfig;
use crate::foundation::error::{Error, Result};

pub use connection::{Connection, Executor, Parameters, Transaction};

/// Whom a brand's connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The gateway's visitors.
    Visitors,
    /// What is done behind their requests, and an administrator's commands.
    Work,
}

impl Purpose {
    /// How PostgreSQL plans, in the words of `plan_cache_mode`.
    ///
    /// Visitors ask the same few statements all day, and planning a page of a category or a search takes longer than answering it:
    /// each is planned once, for whatever it is asked with. So none of theirs may hide two behind one parameter
    /// (`$1 is null or …`) where they want different plans.
    fn plans(self) -> &'static str {
        match self {
            Purpose::Visitors => "force_generic_plan",
            Purpose::Work => "auto",
        }
    }

    /// How many connections its pool has at most.
    pub fn pool_size(self, config: &DatabaseConfig) -> usize {
        match self {
            Purpose::Visitors => config.pool_size,
            Purpose::Work => config.worker_pool_size,
        }
    }
}

/// A pool of so many connections under the brand's role. Connects when it is first asked, so it can be built while the server is down.
pub fn pool(config: &DatabaseConfig, size: usize, purpose: Purpose) -> Pool {
    let mut postgres = brand_config(config);
    let (statement, lock) = (config.statement_timeout.as_millis(), config.lock_timeout.as_millis());
    let plans = purpose.plans();
    postgres.options(format!("-c statement_timeout={statement} -c lock_timeout={lock} -c plan_cache_mode={plans}"));
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
///
/// # Errors
/// A sentence that says where PostgreSQL was looked for, and what to do.
pub async fn connect(config: &DatabaseConfig) -> Result<Client> {
    connect_with(&brand_config(config), Role::Brand).await
}

/// The same; `news` is told of every notification that the client listens for.
pub async fn connect_listening(config: &DatabaseConfig, news: Arc<Notify>) -> Result<Client> {
    let postgres = brand_config(config);
    let connected = postgres.connect(NoTls).await;
    let (client, mut connection) = connected.map_err(|cause| refused(&postgres, Role::Brand, cause))?;
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

fn brand_config(config: &DatabaseConfig) -> tokio_postgres::Config {
    let mut postgres = config.postgres.clone();
    if let Some(password) = &config.password {
        postgres.password(password.reveal());
    }
    postgres.connect_timeout(config.connect_timeout);
    postgres
}

/// Whose connection it is, for the sentence that says what to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Brand,
    Administrator,
}

/// One connection as configured; its task ends with the client.
pub async fn connect_with(postgres: &tokio_postgres::Config, role: Role) -> Result<Client> {
    let (client, connection) = postgres.connect(NoTls).await.map_err(|cause| refused(postgres, role, cause))?;
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
pub async fn find_problem(client: &Client, brand: &str) -> Result<Option<String>> {
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

/// Where PostgreSQL is looked for: `127.0.0.1:5432`, `/run/postgresql/.s.PGSQL.5432`.
pub fn address(postgres: &tokio_postgres::Config) -> String {
    let port = |at: usize| postgres.get_ports().get(at).or(postgres.get_ports().first()).copied().unwrap_or(5432);
    let hosts = postgres.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(directory) => format!("{}/.s.PGSQL.{}", directory.display(), port(at)),
    });
    let addresses = postgres.get_hostaddrs().iter().enumerate().map(|(at, address)| format!("{address}:{}", port(at)));
    let named = hosts.collect::<Vec<_>>();
    if named.is_empty() { addresses.collect::<Vec<_>>().join(" or ") } else { named.join(" or ") }
}

/// No connection came about.
#[track_caller]
fn refused(postgres: &tokio_postgres::Config, role: Role, cause: tokio_postgres::Error) -> Error {
    let (place, code) = (address(postgres), cause.code().cloned());
    let (url, user) = (role.url(), postgres.get_user().unwrap_or_default());
    let error = Error::from(cause);
    let sentence = match code {
        None => format!("PostgreSQL at {place} cannot be reached ({error}): see that it runs, and that {url} is right"),
        Some(SqlState::INVALID_CATALOG_NAME) => {
            let name = postgres.get_dbname().unwrap_or_default();
            format!(
                "PostgreSQL at {place} has no database {name}: create it \
                     (create database {name} template template0 locale 'C.UTF-8'), or mend {url}"
            )
        }
        Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            format!("PostgreSQL at {place} does not let {user} in ({error}): {}", role.way_in())
        }
        Some(_) => format!("PostgreSQL at {place} takes no connection ({error})"),
    };
    error.with_cause(sentence)
}

impl Role {
    /// What says where PostgreSQL is.
    fn url(self) -> &'static str {
        match self {
            Role::Brand => "[database] url",
            Role::Administrator => "--admin-url",
        }
    }

    fn way_in(self) -> &'static str {
        match self {
            Role::Brand => {
                "brandgate migrate --admin-url makes the role and sets its password; pg_hba.conf must let it in by password"
            }
            Role::Administrator => "see the user and password of --admin-url, and pg_hba.conf",
        }
    }
}

/// No connection of the pool could be had. A server that answers with a refusal (a wrong password, no such database) will not
/// change its mind by waiting; one that is away may come back.
#[track_caller]
pub fn pool_error(config: &DatabaseConfig, error: PoolError) -> Error {
    match error {
        PoolError::Backend(cause) => refused(&config.postgres, Role::Brand, cause),
        PoolError::Timeout(_) => Error::unavailable(format!(
            "PostgreSQL at {} has not answered within {} ms",
            address(&config.postgres),
            config.connect_timeout.as_millis()
        )),
        other => Error::from(other),
    }
}

/// Whether PostgreSQL could be asked at all, as opposed to what it answered.
pub fn is_unavailable(error: &Error) -> bool {
    matches!(error.kind, crate::foundation::error::Kind::Unavailable { .. } | crate::foundation::error::Kind::Timeout)
}
