//! Checks of PostgreSQL: fitness, migrations, and that this role has no rights on the other brands' schemas.

use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Finding, Findings, Verdict, with_timeout};
use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::platform::migrations;
use crate::platform::postgres;

/// Difference between the clocks of this machine and of PostgreSQL.
const MAX_CLOCK_SKEW_S: f64 = 2.0;

/// Each check has its own timeout, so that a slow one discards no other's findings.
pub(super) async fn check(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let client = match with_timeout(postgres::connect(&config.database)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return vec![Finding::new("postgresql", Verdict::Failed(error.to_string()))],
        Err(timeout) => {
            let address = postgres::address(&config.database.postgres);
            return vec![Finding::new("postgresql", Verdict::Failed(format!("PostgreSQL at {address}: {timeout}")))];
        }
    };
    let mut findings = or_timeout(with_timeout(server(&client, config, all, clock)).await, "postgresql");
    if findings.iter().any(|found| matches!(found.verdict, Verdict::Failed(_))) {
        return findings;
    }
    findings.extend(or_timeout(with_timeout(migrations(&client)).await, "migrations"));
    for other in all.iter().filter(|other| other.name != config.name) {
        let shares_database = other.database.postgres.get_dbname() == config.database.postgres.get_dbname();
        findings.extend(or_timeout(with_timeout(isolation(&client, &other.name, shares_database)).await, "isolation"));
    }
    findings
}

fn or_timeout(found: Result<Vec<Finding>, String>, subject: &'static str) -> Vec<Finding> {
    found.unwrap_or_else(|timeout| vec![Finding::new(subject, Verdict::Failed(timeout))])
}

async fn migrations(client: &Client) -> Vec<Finding> {
    let mut findings = Findings::about("migrations");
    match migrations::pending(client).await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => findings.error(format!("not applied: {}; run brandgate migrate", pending.join(", "))),
        Err(error) => findings.error(error.to_string()),
    }
    findings.or_passed("all applied")
}

/// Fitness of the server: version, locale, writability, clock and the number of connections.
async fn server(client: &Client, config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = Findings::about("postgresql");
    match postgres::find_problem(client, &config.database, &config.name).await {
        Ok(None) => {}
        Ok(Some(problem)) => findings.error(problem),
        Err(error) => findings.error(error.to_string()),
    }
    let statement = r"
        select current_setting('server_version') as version, pg_is_in_recovery() as is_replica,
               current_setting('default_transaction_read_only') = 'on' as is_read_only,
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                   as max_connections,
               clock_timestamp() as now";
    let row = match client.query_one(statement, &[]).await {
        Ok(row) => row,
        Err(error) => {
            findings.error(error.to_string());
            return findings.found;
        }
    };
    if row.get::<_, bool>("is_replica") || row.get::<_, bool>("is_read_only") {
        findings.error("is read-only: set [database] url to the primary");
    }
    let skew_s = row.get::<_, Timestamp>("now").duration_since(clock.now()).as_secs_f64();
    if skew_s.abs() > MAX_CLOCK_SKEW_S {
        findings.warning(format!("its clock differs from this machine's by {skew_s:.0} s: synchronise both by NTP"));
    }
    let (max, needed) = (row.get::<_, i32>("max_connections"), connections_needed(config, all));
    if usize::try_from(max).is_ok_and(|max| max < needed) {
        findings.warning(format!(
            "accepts {max} connections, but gateway and workers of its brands may open {needed}: raise max_connections, or \
             lower pool_size"
        ));
    }
    let version: String = row.get("version");
    let version = version.split(' ').next().unwrap_or_default();
    findings.or_passed(format!("version {version}, reachable; locale and schema are right"))
}

/// Connections of all brands on this brand's server. Gateway and workers have a pool each; the gateway has shared connections (twice as
/// many while all of them are stuck) and one that listens for changes of the catalogue.
fn connections_needed(config: &BrandConfig, all: &[BrandConfig]) -> usize {
    let server = |brand: &BrandConfig| {
        let postgres = &brand.database.postgres;
        (postgres.get_hosts().to_vec(), postgres.get_hostaddrs().to_vec(), postgres.get_ports().to_vec())
    };
    let on_this_server = all.iter().filter(|other| server(other) == server(config));
    on_this_server
        .map(|brand| &brand.database)
        .map(|database| database.pool_size + database.worker_pool_size + 2 * database.shared_connections + 1)
        .sum()
}

/// Attempts a forbidden read, and queries every right of this role on the other brand's schema.
///
/// `shares_database`: the other brand's database has the same name. `config` guarantees that a brand's name is a plain identifier.
async fn isolation(client: &Client, other: &str, shares_database: bool) -> Vec<Finding> {
    let mut findings = Findings::about("isolation");
    let refused = client.simple_query(&format!("select from \"{other}\".item limit 1")).await.err();
    match refused.as_ref().map(tokio_postgres::Error::code) {
        None => findings.error(format!("this role can read the items of {other}: revoke its rights")),
        Some(Some(&SqlState::INSUFFICIENT_PRIVILEGE)) => {}
        Some(Some(&SqlState::UNDEFINED_TABLE)) if shares_database => findings.warning(format!(
            "isolation from {other} was not checked, because it has no tables yet: run brandgate migrate, then check again"
        )),
        Some(Some(&SqlState::UNDEFINED_TABLE)) => {
            return findings.or_passed(format!("{other} has no tables in this database"));
        }
        Some(_) => {
            let error = refused.map(|error| error.to_string()).unwrap_or_default();
            findings.error(format!("failed to attempt a read of {other}'s items: {error}"));
        }
    }
    match granted(client, other).await {
        Ok(granted) if granted.is_empty() => {}
        Ok(granted) => findings.error(format!("this role has rights on {}: revoke them", granted.join(", "))),
        Err(error) => findings.error(format!("failed to query its rights on {other}: {error}")),
    }
    findings.or_passed(format!("reading {other}'s items was tried and refused; no other rights on its schema"))
}

/// The objects of another brand on which this role has a right: schema, tables, views, and the brand's role.
async fn granted(client: &Client, other: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let statement = r"
        select format('the schema %I', nspname) as what from pg_namespace
        where nspname = $1 and has_schema_privilege(oid, 'usage, create')
        union all
        select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm')
          and has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger')
        union all
        select format('the role %I', rolname) from pg_roles where rolname = $1 and pg_has_role(oid, 'member')
        order by 1";
    let rows = client.query(statement, &[&other]).await?;
    rows.iter().map(|row| row.try_get("what")).collect()
}
