//! Settings and readers of the sections `[database]` and `[redis]`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::database_url::{DatabaseTls, DatabaseUrl, DatabaseUrlError};
use super::redis_url::RedisUrl;
use super::toml_reader::{SecretSource, Section};
use crate::foundation::secret::Secret;

/// Where Debian's PostgreSQL listens.
const DATABASE_BY_SOCKET: &str = "postgresql://%2Frun%2Fpostgresql/brandgate";

/// Where Debian's Redis listens.
const REDIS_BY_SOCKET: &str = "unix:///run/redis/redis-server.sock";

#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseConfig {
    /// Without a password; its user is the brand.
    pub postgres: tokio_postgres::Config,
    pub tls: DatabaseTls,
    pub password: Option<Secret>,
    /// Size of the gateway's pool.
    pub pool_size: usize,
    /// Connections of the gateway's pool that only essential requests may use.
    pub reserved_connections: usize,
    /// Size of the pool of workers and commands.
    pub worker_pool_size: usize,
    /// Connections that short reads share, in addition to the pool.
    pub shared_connections: usize,
    /// How long a request waits for a pooled connection.
    pub pool_wait: Duration,
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
    /// How long a request's statement waits for a locked row.
    pub lock_timeout: Duration,
    /// How long a request waits for the result of a statement.
    pub response_timeout: Duration,
    /// How long the server keeps a transaction, and its locks, while its client sends nothing.
    pub idle_in_transaction: Duration,
    /// How often the server checks during a statement whether its client is still connected.
    pub connection_check: Duration,
    pub keepalive: Keepalive,
}

/// TCP keep-alive of both ends of the connections to PostgreSQL. Unix sockets do not use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// From the last received byte to the first probe.
    pub idle: Duration,
    /// Between two probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is closed.
    pub probes: u32,
    /// How long sent data may stay unacknowledged before the connection is closed.
    pub user_timeout: Duration,
}

pub(super) fn read_database(root: &Section<'_, '_>, source: SecretSource<'_>) -> DatabaseConfig {
    let help = "PostgreSQL 15 or later, with locale C.UTF-8 or ICU. The user is always the brand's own role.";
    let section = root.section("database", help).needs_restart();
    let DatabaseUrl { postgres, tls } = read_postgres_url(&section, source.brand);
    let database = DatabaseConfig {
        password: section.key("password", "Password of the brand's role.").secret(source),
        pool_size: section
            .key("pool_size", "Size of the gateway's connection pool. More connections commit more cart writes at once.")
            .number(1..=1_000, 24) as usize,
        reserved_connections: section
            .key(
                "reserved_connections",
                "Connections of the pool that only the bank's notifications, the status of payments and readiness use; at most half of it.",
            )
            .number(0..=100, 2) as usize,
        worker_pool_size: section
            .key("worker_pool_size", "Size of the connection pool of the workers and of each command.")
            .number(1..=1_000, 8) as usize,
        shared_connections: section
            .key("shared_connections", "Pipelined connections that short reads share, in addition to the pool.")
            .number(1..=100, 2) as usize,
        pool_wait: section
            .key("pool_wait_ms", "How long a request waits for a pooled connection before it fails with 503.")
            .milliseconds(10..=60_000, 2_000),
        connect_timeout: section
            .key("connect_timeout_ms", "Timeout of opening a connection.")
            .milliseconds(10..=60_000, 2_000),
        statement_timeout: section
            .key("statement_timeout_ms", "Timeout of a request's SQL statement; imports and migrations have none.")
            .milliseconds(10..=600_000, 5_000),
        lock_timeout: section
            .key(
                "lock_timeout_ms",
                "How long a request's statement waits for a locked row before it fails with 503. Keep it below PostgreSQL's \
                 `deadlock_timeout` (1 s), so that a request gives way to an import.",
            )
            .milliseconds(10..=600_000, 800),
        response_timeout: section
            .key(
                "response_timeout_ms",
                "How long a request waits for the result of a statement before it fails with 503 and its connection is closed: a \
                 server that hangs does not enforce its own timeouts. Workers wait `statement_timeout_ms` longer.",
            )
            .milliseconds(10..=600_000, 2_000),
        idle_in_transaction: section
            .key(
                "idle_in_transaction_ms",
                "How long PostgreSQL keeps a transaction, and its locks, while a stopped or unreachable process sends nothing.",
            )
            .milliseconds(100..=600_000, 5_000),
        connection_check: section
            .key(
                "connection_check_ms",
                "How often PostgreSQL checks during a statement whether its client still exists; the statements of a killed \
                 process end then.",
            )
            .milliseconds(100..=600_000, 1_000),
        keepalive: read_keepalive(&section),
        postgres,
        tls,
    };
    section.finish();
    database
}

fn read_keepalive(section: &Section<'_, '_>) -> Keepalive {
    Keepalive {
        idle: section
            .key("keepalive_idle_s", "Both ends of a silent TCP connection send a first probe after this time.")
            .seconds(1..=7_200, 10),
        interval: section.key("keepalive_interval_s", "Time between two TCP keep-alive probes.").seconds(1..=7_200, 5),
        probes: section
            .key("keepalive_probes", "Unanswered TCP keep-alive probes after which a connection is closed.")
            .number(1..=100, 3),
        user_timeout: section
            .key("tcp_user_timeout_ms", "How long sent data may stay unacknowledged before a TCP connection is closed.")
            .milliseconds(100..=3_600_000, 20_000),
    }
}

fn read_postgres_url(section: &Section<'_, '_>, brand: &str) -> DatabaseUrl {
    let help = "`postgresql://host:port/database`, without user and password; a socket directory is written with `%2F`. TLS has libpq's \
                parameters: `?sslmode=verify-full&sslrootcert=/etc/brandgate/database-ca.pem&sslcert=…&sslkey=…`. `sslmode` is `disable`, \
                `prefer`, `require`, `verify-ca` or `verify-full`; by default `disable` within this machine, else `prefer`. \
                `sslrootcert` replaces the system's authorities.";
    let url = section.key("url", help).string(&format!("\"{DATABASE_BY_SOCKET}\""));
    let parsed = DatabaseUrl::from_str(&url);
    match &parsed {
        Err(DatabaseUrlError::Tls(problem)) => section.problem("url", problem),
        Err(DatabaseUrlError::Form) if !url.is_empty() => {
            section.problem("url", format!("expected postgresql://host:port/database, or {DATABASE_BY_SOCKET}"));
        }
        _ => {}
    }
    let names_database = parsed.as_ref().map_or(true, |url| url.postgres.get_dbname().is_some());
    let mut parsed = parsed.unwrap_or_default();
    let postgres = &mut parsed.postgres;
    if postgres.get_password().is_some() {
        section.problem("url", "contains a password; move it to a credential and name that with password = \"…\"");
    }
    if postgres.get_user().is_some_and(|user| user != brand) {
        section.problem("url", format!("the user is always the brand's own role; omit it, or write {brand}"));
    }
    if !url.is_empty() && !names_database {
        section.problem("url", format!("names no database; for example {DATABASE_BY_SOCKET}"));
    }
    postgres.user(brand).application_name("brandgate");
    parsed
}

#[derive(Debug, Clone, PartialEq)]
pub struct RedisConfig {
    /// In a form that [`RedisUrl::parse`] knows.
    pub url: String,
    pub password: Option<Secret>,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a client certificate and its key.
    pub client_files: Option<(PathBuf, PathBuf)>,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
}

pub(super) fn read_redis(root: &Section<'_, '_>, source: SecretSource<'_>) -> RedisConfig {
    let help = "Sessions and rate limits; every key begins with the brand's name. Without Redis the catalogue is still served.";
    let section = root.section("redis", help).needs_restart();
    let help = "`redis://host:port`, or `unix://` and the path of a socket; `redis+sentinel://host:port,host:port/master?db=0` for the \
                master that Sentinels name; `redis+cluster://host:port,host:port` for a Cluster. With `rediss` instead of `redis` all \
                connections have TLS. An ACL user is written before the host: `redis://user@host`.";
    let url = section.key("url", help).string(&format!("\"{REDIS_BY_SOCKET}\""));
    if !url.is_empty() && RedisUrl::parse(&url).is_none() {
        section.problem(
            "url",
            format!(
                "expected redis://host:port, or {REDIS_BY_SOCKET}, or redis+sentinel://host:port,…/master, or \
                 redis+cluster://host:port,…; with TLS rediss"
            ),
        );
    }
    let certificate = section.key("certificate", "PEM file of a client certificate, for TLS.").optional_path();
    let key = section.key("key", "PEM file of the private key of `certificate`.").optional_path();
    if certificate.is_some() != key.is_some() {
        section
            .problem(if certificate.is_some() { "certificate" } else { "key" }, "certificate and key belong together");
    }
    let redis = RedisConfig {
        url,
        password: section.key("password", "Password of the Redis user.").secret(source),
        ca_file: section
            .key("authority", "PEM file of the certificate authorities that TLS trusts instead of the system's.")
            .optional_path(),
        client_files: certificate.zip(key),
        connect_timeout: section
            .key("connect_timeout_ms", "Timeout of opening a connection.")
            .milliseconds(10..=60_000, 1_000),
        response_timeout: section.key("response_timeout_ms", "Timeout of a command.").milliseconds(10..=60_000, 500),
    };
    section.finish();
    redis
}
