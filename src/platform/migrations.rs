//! The schema's history: what a brand's database still lacks, and its application.
//!
//! Called by `bin/brandgate migrate` (apply) and by `brand` and `check` (look). Forward only: an applied file never changes,
//! its hash is compared at every run. What must never happen: two runs at once, or a migration under another role than
//! the brand's own.

use std::time::Duration;

use refinery::{Migration, Runner};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::BrandConfig;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres;

/// Every migration in order. The name in the history is `V1__catalog`; the file says the same as `0001_catalog.sql`.
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
];

/// No migration has this number, and none may get it: databases are past it.
const NEVER_GIVEN: i32 = 7;

/// Every migration with its number.
fn numbered() -> impl Iterator<Item = (i32, &'static str)> {
    (1..).filter(|number| *number != NEVER_GIVEN).zip(MIGRATIONS.iter().map(|(name, _)| *name))
}

/// The administrator's part; its two settings are explained in the file.
pub const ADMIN_SQL: &str = include_str!("../../migrations/admin.sql");

fn migrations() -> Vec<Migration> {
    MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql).expect("names are V<number>__<word>")).collect()
}

/// Makes a brand's role, schema and walls, as an administrator. Harmless when all is there.
///
/// Roles belong to the whole server, and no lock reaches across its databases: whoever loses a race over a role tries again.
pub async fn prepare(admin: &mut Client, brand: &BrandConfig) -> Result<()> {
    const TRIES: u32 = 10;
    for tried in 1..TRIES {
        match prepare_once(admin, brand).await {
            Err(error) if is_lost_race(&error) => tokio::time::sleep(Duration::from_millis(20) * tried).await,
            done => return done,
        }
    }
    prepare_once(admin, brand).await
}

/// PostgreSQL's word for "somebody else changed this row of the catalogue at the same moment".
fn is_lost_race(error: &Error) -> bool {
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
            Error::internal(format!(
                "the administrator may not do all of it ({cause}): a superuser may, such as postgres"
            ))
        }
        _ => Error::from(error),
    })?;
    Ok(transaction.commit().await?)
}

/// The same as text, for an administrator's own psql; the password is left for them to fill in.
pub fn admin_script(brand: &BrandConfig) -> String {
    format!(
        "begin;\nset local brandgate.role = '{}';\nset local brandgate.password = '';  -- put {}.database-password here: without one, nobody logs in\n{ADMIN_SQL}commit;\n",
        brand.name, brand.name
    )
}

/// What came of a brand's run.
pub struct MigrationReport {
    /// What this run applied.
    pub applied: Vec<String>,
    /// What a newer version made, which this one leaves as it is: the version before can read it.
    pub unknown: Vec<String>,
}

/// Applies what is missing, as the brand's role.
///
/// # Errors
/// A database that is away or unfit; a file that changed after it was applied; SQL that fails (nothing of that file stays).
pub async fn apply(brand: &BrandConfig) -> Result<MigrationReport> {
    let mut client = postgres::connect(&brand.database).await?;
    if let Some(sentence) = postgres::find_problem(&client, &brand.name).await? {
        return Err(Error::internal(sentence));
    }
    // The lock's key is the whole database's, so it derives from the brand; it ends with this connection.
    let lock = format!("brandgate:migrate:{}", brand.name);
    client.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&lock]).await?;
    let report = run(&mut client).await?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    let known = numbered().map(|(number, _)| number).max();
    let unknown = "select format('V%s__%s', version, name) as name from refinery_schema_history where version > $1 order by version";
    let unknown = client.query(unknown, &[&known]).await?.iter().map(|row| row.get("name")).collect();
    Ok(MigrationReport { applied, unknown })
}

/// How long a statement waits for a lock: those who read the same table queue behind it, and have more patience than this.
const LOCK_TIMEOUT: &str = "set lock_timeout = '400ms'";

/// How often a file is tried that waited in vain, and how long the others are let through in between.
const TRIES: u32 = 120;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

async fn run(client: &mut Client) -> Result<refinery::Report> {
    client.batch_execute(LOCK_TIMEOUT).await?;
    for _ in 1..TRIES {
        match run_once(client).await {
            Err(error) if waited_in_vain(&error) => tokio::time::sleep(BETWEEN_TRIES).await,
            done => return done.map_err(failed),
        }
    }
    run_once(client).await.map_err(failed)
}

/// Why a file could not be applied, and what to do where it is another than the one that was.
fn failed(error: refinery::Error) -> Error {
    let sentence = match error.kind() {
        refinery::error::Kind::DivergentVersion(applied, _) => format!(
            "the migration {applied} that this database has is different from this program's: install the version that made the schema"
        ),
        _ => Error::internal(error).to_string(),
    };
    Error::internal(Failed(sentence))
}

/// Roles and schemas are there; a file could not be applied. The cause of such an error of [`apply`].
#[derive(Debug)]
pub struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

async fn run_once(client: &mut Client) -> Result<refinery::Report, refinery::Error> {
    // What a newer version made is left as it is.
    Runner::new(&migrations()).set_abort_divergent(true).set_abort_missing(false).run_async(client).await
}

fn waited_in_vain(error: &refinery::Error) -> bool {
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

/// The names of migrations that this program has and the brand's schema has not.
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

    #[test]
    fn every_file_is_listed_once_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .expect("the migrations are here")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        files.sort();
        let listed: Vec<String> = numbered()
            .map(|(number, name)| {
                let word = name.strip_prefix(&format!("V{number}__")).expect("numbered from 1 without a gap");
                format!("{number:04}_{word}.sql")
            })
            .collect();
        assert_eq!(files, listed);
    }
}
