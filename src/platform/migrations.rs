//! Schema migrations of a brand's database.
//!
//! Migrations go forward only. An applied file never changes: its checksum is verified at every run.
//!
//! # Invariants
//!
//! Migrations run under the brand's own role, and only one process at a time applies them.

use std::time::Duration;

use refinery::{Migration, Runner};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::BrandConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres;

/// All migrations in order. `V1__catalog` is the name of `0001_catalog.sql` in the table `refinery_schema_history`.
const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__catalog", include_str!("../../migrations/0001_catalog.sql")),
    ("V2__cart", include_str!("../../migrations/0002_cart.sql")),
    ("V3__telegram", include_str!("../../migrations/0003_telegram.sql")),
    ("V4__payments", include_str!("../../migrations/0004_payments.sql")),
    ("V5__mail", include_str!("../../migrations/0005_mail.sql")),
    ("V6__reviews", include_str!("../../migrations/0006_reviews.sql")),
    ("V8__catalog_changes", include_str!("../../migrations/0008_catalog_changes.sql")),
    ("V9__category_pages", include_str!("../../migrations/0009_category_pages.sql")),
    ("V10__payment_figures", include_str!("../../migrations/0010_payment_figures.sql")),
    ("V11__payment_questions", include_str!("../../migrations/0011_payment_questions.sql")),
    ("V12__bot_updates", include_str!("../../migrations/0012_bot_updates.sql")),
    ("V13__item_stock", include_str!("../../migrations/0013_item_stock.sql")),
    ("V14__checkout", include_str!("../../migrations/0014_checkout.sql")),
    ("V15__payment_books", include_str!("../../migrations/0015_payment_books.sql")),
    ("V16__item_sources", include_str!("../../migrations/0016_item_sources.sql")),
    ("V17__reviews_and_questions", include_str!("../../migrations/0017_reviews_and_questions.sql")),
    ("V18__orders", include_str!("../../migrations/0018_orders.sql")),
    ("V19__personal_data_and_books", include_str!("../../migrations/0019_personal_data_and_books.sql")),
    ("V20__stock_movement_causes", include_str!("../../migrations/0020_stock_movement_causes.sql")),
    ("V21__feed_fields", include_str!("../../migrations/0021_feed_fields.sql")),
    ("V22__search_rules", include_str!("../../migrations/0022_search_rules.sql")),
    ("V23__category_sources", include_str!("../../migrations/0023_category_sources.sql")),
];

/// The number and name of every migration.
fn numbered() -> impl Iterator<Item = (i32, &'static str)> {
    MIGRATIONS.iter().map(|(name, _)| (number_of(name), *name))
}

/// The number in a name such as `V1__catalog`.
fn number_of(name: &str) -> i32 {
    let number = name.strip_prefix('V').and_then(|rest| rest.split_once("__")?.0.parse().ok());
    number.expect("names are V<number>__<word>")
}

/// The part that needs an administrator. The file documents its two settings.
pub const ADMIN_SQL: &str = include_str!("../../migrations/admin.sql");

fn migrations() -> Vec<Migration> {
    MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql).expect("names are V<number>__<word>")).collect()
}

/// Creates a brand's role and schema and sets their privileges, as an administrator. Idempotent.
///
/// Roles are shared by all databases of a server and cannot be locked across them, so a conflict with a concurrent run is retried.
pub async fn prepare(admin: &mut Client, brand: &BrandConfig) -> Result<()> {
    const MAX_ATTEMPTS: u32 = 10;
    for attempt in 1..MAX_ATTEMPTS {
        match prepare_once(admin, brand).await {
            Err(error) if is_conflict(&error) => tokio::time::sleep(Duration::from_millis(20) * attempt).await,
            result => return result,
        }
    }
    prepare_once(admin, brand).await
}

/// Whether a concurrent transaction changed the same row of PostgreSQL's system catalogue.
fn is_conflict(error: &Error) -> bool {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    cause.and_then(tokio_postgres::Error::as_db_error).is_some_and(|db| {
        matches!(*db.code(), SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_OBJECT | SqlState::DUPLICATE_SCHEMA)
            || db.message().contains("concurrently")
    })
}

async fn prepare_once(admin: &mut Client, brand: &BrandConfig) -> Result<()> {
    let password = brand.database.password.as_ref().map_or("", |secret| secret.reveal());
    let transaction = admin.transaction().await?;
    transaction
        .execute(
            "select set_config('brandgate.role', $1, true), set_config('brandgate.password', $2, true)",
            &[&brand.name, &password],
        )
        .await?;
    transaction.batch_execute(ADMIN_SQL).await.map_err(|error| match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let cause = Error::from(error);
            Error::internal(format!("the administrator lacks a privilege ({cause}): use a superuser, such as postgres"))
        }
        _ => Error::from(error),
    })?;
    Ok(transaction.commit().await?)
}

/// The statements of [`prepare`] for an administrator's psql, with a placeholder for the password.
pub fn admin_script(brand: &BrandConfig) -> String {
    format!(
        "begin;\nset local brandgate.role = '{}';\nset local brandgate.password = '';  -- put {}.database-password here: without it, the role cannot log in\n{ADMIN_SQL}commit;\n",
        brand.name, brand.name
    )
}

/// The result of a run.
pub struct MigrationReport {
    /// The migrations that this run applied.
    pub applied: Vec<String>,
    /// Migrations of a newer program, which are kept: schemas are compatible with the previous version of the program.
    pub unknown: Vec<String>,
}

/// Applies the pending migrations under the brand's role, each in a transaction.
///
/// # Errors
/// When the database is unavailable or unsuitable, an applied file has changed, or a statement fails.
pub async fn apply(brand: &BrandConfig) -> Result<MigrationReport> {
    let mut client = postgres::connect(&brand.database).await?;
    if let Some(problem) = postgres::find_problem(&client, &brand.database, &brand.name).await? {
        return Err(Error::internal(problem));
    }
    // Advisory locks are shared by all schemas of a database, so the key contains the brand. Closing the connection releases it.
    let lock = format!("brandgate:migrate:{}", brand.name);
    client.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&lock]).await?;
    let report = run(&mut client).await?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    let known = numbered().map(|(number, _)| number).max();
    let unknown = "select format('V%s__%s', version, name) as name from refinery_schema_history where version > $1 order by version";
    let unknown = client.query(unknown, &[&known]).await?.iter().map(|row| row.get("name")).collect();
    Ok(MigrationReport { applied, unknown })
}

/// Requests that read the table queue behind a statement that waits for its lock; this is shorter than their timeouts.
const LOCK_TIMEOUT: &str = "set lock_timeout = '400ms'";

/// How often a migration is retried after a lock timeout, and the pause in which other statements proceed.
const MAX_ATTEMPTS: u32 = 120;
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

async fn run(client: &mut Client) -> Result<refinery::Report> {
    client.batch_execute(LOCK_TIMEOUT).await?;
    for _ in 1..MAX_ATTEMPTS {
        match run_once(client).await {
            Err(error) if is_lock_timeout(&error) => tokio::time::sleep(RETRY_INTERVAL).await,
            result => return result.map_err(migration_error),
        }
    }
    run_once(client).await.map_err(migration_error)
}

/// An error whose cause is a [`MigrationError`].
fn migration_error(error: refinery::Error) -> Error {
    let message = match error.kind() {
        refinery::error::Kind::DivergentVersion(applied, _) => format!(
            "the migration {applied} of this database is different from this program's: install the version that made the schema"
        ),
        _ => Error::internal(error).to_string(),
    };
    Error::internal(MigrationError(message))
}

/// A migration could not be applied, although role and schema exist. The cause of such an error of [`apply`].
#[derive(Debug)]
pub struct MigrationError(String);

impl std::fmt::Display for MigrationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MigrationError {}

async fn run_once(client: &mut Client) -> Result<refinery::Report, refinery::Error> {
    // Migrations of a newer program are kept.
    Runner::new(&migrations()).set_abort_divergent(true).set_abort_missing(false).run_async(client).await
}

fn is_lock_timeout(error: &refinery::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner
            .downcast_ref::<tokio_postgres::Error>()
            .is_some_and(|e| e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The names of the migrations that have not been applied.
pub async fn pending(client: &Client) -> Result<Vec<&'static str>> {
    let exists: bool = client.query_one("select to_regclass('refinery_schema_history') is not null", &[]).await?.get(0);
    let newest: i32 = match exists {
        true => client.query_one("select coalesce(max(version), 0) from refinery_schema_history", &[]).await?.get(0),
        false => 0,
    };
    Ok(numbered().filter(|(version, _)| *version > newest).map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This number must not be used: existing databases are past it and would never apply it.
    const SKIPPED_NUMBER: i32 = 7;

    #[test]
    fn every_migration_file_is_listed_once_and_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .expect("the directory exists")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        files.sort();
        let listed: Vec<String> = numbered()
            .map(|(number, name)| {
                let (_, word) = name.split_once("__").expect("names are V<number>__<word>");
                format!("{number:04}_{word}.sql")
            })
            .collect();
        assert_eq!(files, listed);
        let numbers: Vec<i32> = numbered().map(|(number, _)| number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(!numbers.contains(&SKIPPED_NUMBER));
    }
}
