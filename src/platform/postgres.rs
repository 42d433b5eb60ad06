//! PostgreSQL connections: the pool of a brand, single connections, and checks of the database.
//!
//! # Invariants
//!
//! Connections use the brand's own role. The `search_path` belongs to the role and is never set on a connection.

mod connection;
mod monitor;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use tokio::sync::Notify;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use crate::config::{DatabaseConfig, DatabaseTls, DatabaseUrl};
use crate::foundation::error::{Error, Kind, Result};

pub use connection::{Connection, Executor, Parameters, QueryError, Transaction};
pub(crate) use monitor::READ_ONLY_SQL;
pub use monitor::{DatabaseMonitor, DatabaseOutage};
use tls::EncryptedConnector;

/// What the connections of a pool are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Requests of the gateway.
    Visitors,
    /// Background jobs and commands.
    Work,
}

impl Purpose {
    /// The value of `plan_cache_mode`.
    ///
    /// Planning a category page or a search takes longer than executing it, so statements of requests are planned once, with
    /// generic plans. A statement must therefore not combine two queries that need different plans (`$1 is null or …`).
    fn plan_cache_mode(self) -> &'static str {
        match self {
            Purpose::Visitors => "force_generic_plan",
            Purpose::Work => "auto",
        }
    }

    /// The name of its connections in `pg_stat_activity`; those that follow or export the catalogue are called `brandgate`.
    fn application_name(self) -> &'static str {
        match self {
            Purpose::Visitors => "brandgate requests",
            Purpose::Work => "brandgate jobs",
        }
    }

    /// How long a client waits for the result of a statement.
    pub(crate) fn response_timeout(self, config: &DatabaseConfig) -> Duration {
        match self {
            Purpose::Visitors => config.response_timeout,
            Purpose::Work => config.statement_timeout + config.response_timeout,
        }
    }

    /// The maximum size of the pool.
    pub fn pool_size(self, config: &DatabaseConfig) -> usize {
        match self {
            Purpose::Visitors => config.pool_size,
            Purpose::Work => config.worker_pool_size,
        }
    }
}

/// A pool of at most `size` connections under the brand's role. Connections are opened on demand.
///
/// # Errors
/// The certificates that the URL names cannot be used.
pub fn pool(config: &DatabaseConfig, size: usize, purpose: Purpose) -> Result<Pool> {
    let mut postgres = brand_config(config);
    postgres.application_name(purpose.application_name());
    limit_locks(&mut postgres, config);
    add_options(
        &mut postgres,
        &format!(
            "-c statement_timeout={} -c lock_timeout={} -c plan_cache_mode={}",
            config.statement_timeout.as_millis(),
            config.lock_timeout.as_millis(),
            purpose.plan_cache_mode()
        ),
    );
    let connector = connector(&config.tls, Role::Brand)?;
    let manager = Manager::from_config(postgres, connector, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(config.pool_wait))
        .create_timeout(Some(config.connect_timeout))
        .recycle_timeout(Some(config.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build();
    Ok(pool.expect("a runtime is set, which timeouts need"))
}

/// A single connection under the brand's role, without a statement timeout. The server ends it soon after its process is killed,
/// and its transactions soon after its process is stopped.
///
/// # Errors
/// A message with the address of PostgreSQL that says what to do.
pub async fn connect(config: &DatabaseConfig) -> Result<Client> {
    let mut postgres = brand_config(config);
    postgres.application_name(Purpose::Work.application_name());
    limit_locks(&mut postgres, config);
    connect_as(&postgres, &config.tls, Role::Brand).await
}

/// As [`connect`], for a transaction that only reads and whose reader may pause: a pipe may block an export for any time.
///
/// # Errors
/// As [`connect`].
pub async fn connect_reading(config: &DatabaseConfig) -> Result<Client> {
    connect_as(&brand_config(config), &config.tls, Role::Brand).await
}

/// As [`connect`]; each received notification also notifies `notifications`.
pub async fn connect_listening(config: &DatabaseConfig, notifications: Arc<Notify>) -> Result<Client> {
    let postgres = brand_config(config);
    let connected = postgres.connect(connector(&config.tls, Role::Brand)?).await;
    let (client, mut connection) =
        connected.map_err(|cause| connect_error(&postgres, &config.tls, Role::Brand, cause))?;
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(_)) => notifications.notify_one(),
                Ok(_) => {}
                Err(error) => return tracing::debug!(%error, "connection to PostgreSQL lost (listening)"),
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
    let keepalive = &config.keepalive;
    postgres
        .connect_timeout(config.connect_timeout)
        .keepalives_idle(keepalive.idle)
        .keepalives_interval(keepalive.interval)
        .keepalives_retries(keepalive.probes)
        .tcp_user_timeout(keepalive.user_timeout);
    add_options(
        &mut postgres,
        &format!(
            "-c client_connection_check_interval={} -c tcp_keepalives_idle={} -c tcp_keepalives_interval={} \
             -c tcp_keepalives_count={}",
            config.connection_check.as_millis(),
            keepalive.idle.as_secs(),
            keepalive.interval.as_secs(),
            keepalive.probes
        ),
    );
    postgres
}

/// Makes the server give up a transaction whose client neither sends nor receives, so that its locks do not outlive the client.
fn limit_locks(postgres: &mut tokio_postgres::Config, config: &DatabaseConfig) {
    let options = format!(
        "-c idle_in_transaction_session_timeout={} -c tcp_user_timeout={}",
        config.idle_in_transaction.as_millis(),
        config.keepalive.user_timeout.as_millis()
    );
    add_options(postgres, &options);
}

/// Adds options to those of the URL.
fn add_options(postgres: &mut tokio_postgres::Config, options: &str) {
    let options = postgres.get_options().map_or_else(|| options.to_owned(), |present| format!("{present} {options}"));
    postgres.options(options);
}

/// The role of a connection, for error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Brand,
    Administrator,
}

/// A single connection as an administrator. Dropping the client closes it.
///
/// # Errors
/// As [`connect`].
pub async fn connect_as_administrator(url: &DatabaseUrl) -> Result<Client> {
    connect_as(&url.postgres, &url.tls, Role::Administrator).await
}

async fn connect_as(postgres: &tokio_postgres::Config, tls: &DatabaseTls, role: Role) -> Result<Client> {
    let connected = postgres.connect(connector(tls, role)?).await;
    let (client, connection) = connected.map_err(|cause| connect_error(postgres, tls, role, cause))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to PostgreSQL lost");
        }
    });
    Ok(client)
}

fn connector(tls: &DatabaseTls, role: Role) -> Result<EncryptedConnector> {
    EncryptedConnector::new(tls).map_err(|problem| Error::internal(format!("{}: {problem}", role.url())))
}

/// Why the database cannot serve a shop, as a message that says what to do; `None` when it can.
///
/// # Errors
/// When the database could not be queried.
pub async fn find_problem(client: &Client, config: &DatabaseConfig, brand: &str) -> Result<Option<String>> {
    if !has_settings(client, config).await? {
        return Ok(Some(
            "a pooler in between drops lock_timeout and the other settings that a connection begins with, without which \
             requests wait for locks: set [database] url to PostgreSQL itself (PgBouncer is not supported)"
                .to_owned(),
        ));
    }
    let row = client
        .query_one(
            r"select current_setting('server_version_num')::int as version,
                    lower('ЩЁԱ') = 'щёա' as folds,
                    current_schema()::text as schema,
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
             create it again with locale C.UTF-8 or ICU (create database … template template0 locale 'C.UTF-8')",
            row.get::<_, &str>("database")
        )));
    }
    match row.get::<_, Option<&str>>("schema") {
        Some(schema) if schema == brand => Ok(None),
        Some(schema) => Ok(Some(format!(
            "the role {brand} uses the schema {schema}: alter role {brand} set search_path = {brand}, extensions"
        ))),
        None => Ok(Some(format!("the schema {brand} does not exist: run brandgate migrate with --admin-url"))),
    }
}

/// Whether the server has the settings that the connection began with. They arrive together, so that one of them shows it.
async fn has_settings(client: &Client, config: &DatabaseConfig) -> Result<bool> {
    // Not prepared: a pooler may have other clients' statements on the connection.
    let rows = client
        .simple_query("select 1000 * extract(epoch from current_setting('client_connection_check_interval')::interval)")
        .await?;
    let milliseconds = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<f64>().ok(),
        _ => None,
    });
    Ok(milliseconds == Some(config.connection_check.as_millis() as f64))
}

/// The address of PostgreSQL: `127.0.0.1:5432`, `/run/postgresql/.s.PGSQL.5432`.
pub fn address(postgres: &tokio_postgres::Config) -> String {
    let port = |at: usize| postgres.get_ports().get(at).or(postgres.get_ports().first()).copied().unwrap_or(5432);
    let hosts = postgres.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(at)),
        Host::Unix(directory) => format!("{}/.s.PGSQL.{}", directory.display(), port(at)),
    });
    let addresses = postgres.get_hostaddrs().iter().enumerate().map(|(at, address)| format!("{address}:{}", port(at)));
    let hosts = hosts.collect::<Vec<_>>();
    if hosts.is_empty() { addresses.collect::<Vec<_>>().join(" or ") } else { hosts.join(" or ") }
}

/// Describes why a connection could not be opened, and what to do.
#[track_caller]
fn connect_error(
    postgres: &tokio_postgres::Config,
    tls: &DatabaseTls,
    role: Role,
    cause: tokio_postgres::Error,
) -> Error {
    let (address, code) = (address(postgres), cause.code().cloned());
    let (url, user) = (role.url(), postgres.get_user().unwrap_or_default());
    if let Some(problem) = tls::problem(tls, &cause) {
        return Error::unavailable(format!("PostgreSQL at {address} {problem} ({url})"));
    }
    let error = Error::from(cause);
    let message = match code {
        None => {
            format!("PostgreSQL at {address} cannot be reached ({error}): see that it runs, and that {url} is right")
        }
        Some(SqlState::INVALID_CATALOG_NAME) => {
            let name = postgres.get_dbname().unwrap_or_default();
            format!(
                "PostgreSQL at {address} has no database {name}: create it \
                     (create database {name} template template0 locale 'C.UTF-8'), or correct {url}"
            )
        }
        Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            format!("PostgreSQL at {address} rejects the login of {user} ({error}): {}", role.login_hint())
        }
        Some(SqlState::PROTOCOL_VIOLATION) if error.to_string().contains("startup parameter") => {
            format!("{address} is a pooler ({error}): set {url} to PostgreSQL itself (PgBouncer is not supported)")
        }
        Some(_) => format!("PostgreSQL at {address} refuses the connection ({error})"),
    };
    error.with_cause(message)
}

impl Role {
    /// The setting with the address.
    fn url(self) -> &'static str {
        match self {
            Role::Brand => "[database] url",
            Role::Administrator => "--admin-url",
        }
    }

    fn login_hint(self) -> &'static str {
        match self {
            Role::Brand => {
                "brandgate migrate --admin-url creates the role and sets its password; pg_hba.conf must allow a login with password"
            }
            Role::Administrator => "check the user and password of --admin-url, and pg_hba.conf",
        }
    }
}

/// Describes why the pool returned no connection. A server that rejects it (wrong password, no such database) needs manual action;
/// an unavailable one may recover.
#[track_caller]
pub fn pool_error(config: &DatabaseConfig, error: PoolError) -> Error {
    match error {
        PoolError::Backend(cause) => connect_error(&config.postgres, &config.tls, Role::Brand, cause),
        PoolError::Timeout(TimeoutType::Wait) => no_free_connection(config),
        PoolError::Timeout(_) => no_response(config, config.connect_timeout),
        other => Error::unavailable(other),
    }
}

/// As [`pool_error`], for a database that was fit before: for a request it is unavailable, whatever the server's reason.
#[track_caller]
pub(crate) fn unavailable(config: &DatabaseConfig, error: PoolError) -> Error {
    Error::unavailable(pool_error(config, error))
}

/// Every connection of the pool was in use for as long as a request waits for one.
#[track_caller]
pub(crate) fn no_free_connection(config: &DatabaseConfig) -> Error {
    Error::unavailable(format!(
        "no connection to PostgreSQL at {} became free within {} ms",
        address(&config.postgres),
        config.pool_wait.as_millis()
    ))
}

/// No connection could be opened within `time_limit`.
#[track_caller]
pub(crate) fn no_response(config: &DatabaseConfig, time_limit: Duration) -> Error {
    Error::unavailable(format!(
        "PostgreSQL at {} did not respond within {} ms",
        address(&config.postgres),
        time_limit.as_millis()
    ))
}

/// Whether the error means that PostgreSQL is unavailable, as opposed to an error that it returned.
pub fn is_unavailable(error: &Error) -> bool {
    matches!(error.kind, Kind::Unavailable { .. } | Kind::Timeout)
}
