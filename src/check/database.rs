//! What PostgreSQL shows: whether it is fit for a shop, its migrations, and that the other brands are closed to this role.

use jiff::Timestamp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Finding, Findings, Verdict, patiently};
use crate::config::BrandConfig;
use crate::foundation::clock::Clock;
use crate::platform::migrations;
use crate::platform::postgres;

/// How far the clocks of this machine and of PostgreSQL may be apart, in seconds.
const LARGEST_SKEW_S: f64 = 2.0;

/// Each question has its own patience, so that a late one takes nothing from what is known.
pub(super) async fn look(config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let client = match patiently(postgres::connect(&config.database)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return vec![Finding::new("postgresql", Verdict::ConfigProblem(error.to_string()))],
        Err(late) => {
            let place = postgres::address(&config.database.postgres);
            return vec![Finding::new("postgresql", Verdict::ConfigProblem(format!("PostgreSQL at {place}: {late}")))];
        }
    };
    let mut findings = late_is(patiently(server(&client, config, all, clock)).await, "postgresql");
    if findings.iter().any(|found| matches!(found.verdict, Verdict::ConfigProblem(_))) {
        return findings;
    }
    findings.extend(late_is(patiently(migrations(&client)).await, "migrations"));
    for other in all.iter().filter(|other| other.name != config.name) {
        let is_beside = other.database.postgres.get_dbname() == config.database.postgres.get_dbname();
        findings.extend(late_is(patiently(isolation(&client, &other.name, is_beside)).await, "isolation"));
    }
    findings
}

fn late_is(found: Result<Vec<Finding>, String>, subject: &'static str) -> Vec<Finding> {
    found.unwrap_or_else(|late| vec![Finding::new(subject, Verdict::ConfigProblem(late))])
}

async fn migrations(client: &Client) -> Vec<Finding> {
    let mut findings = Findings::of("migrations");
    match migrations::pending(client).await {
        Ok(pending) if pending.is_empty() => {}
        Ok(pending) => findings.fault(format!("lacks {}: run brandgate migrate", pending.join(", "))),
        Err(error) => findings.fault(error.to_string()),
    }
    findings.or_good("all applied")
}

/// Whether the server is fit for a shop, and what somebody should know of it all the same.
async fn server(client: &Client, config: &BrandConfig, all: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = Findings::of("postgresql");
    match postgres::find_problem(client, &config.name).await {
        Ok(None) => {}
        Ok(Some(sentence)) => findings.fault(sentence),
        Err(error) => findings.fault(error.to_string()),
    }
    let asked = client.query_one(
        "select current_setting('server_version') as version, pg_is_in_recovery() as is_replica, \
                current_setting('default_transaction_read_only') = 'on' as is_read_only, \
                current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most, \
                clock_timestamp() as now",
        &[],
    );
    let row = match asked.await {
        Ok(row) => row,
        Err(error) => {
            findings.fault(error.to_string());
            return findings.found;
        }
    };
    if row.get::<_, bool>("is_replica") || row.get::<_, bool>("is_read_only") {
        findings.fault("it takes no writes: name the primary server in [database] url");
    }
    let skew_s = row.get::<_, Timestamp>("now").duration_since(clock.now()).as_secs_f64();
    if skew_s.abs() > LARGEST_SKEW_S {
        findings.warning(format!("its clock is {skew_s:.0} s off this machine's: set both by NTP"));
    }
    let (most, needed) = (row.get::<_, i32>("most"), connections_needed(config, all));
    if usize::try_from(most).is_ok_and(|most| most < needed) {
        findings.warning(format!(
            "takes {most} connections, but gateway and workers of the brands on it may open {needed}: raise max_connections, \
             or lower pool_size"
        ));
    }
    let version: String = row.get("version");
    let version = version.split(' ').next().unwrap_or_default();
    findings.or_good(format!("{version} is reachable, version and locale fit, the role has its schema"))
}

/// Of all brands on this brand's server: gateway and workers have a pool each; the gateway shares some connections, twice as many while
/// all of them are stuck, and follows the catalogue on one more.
fn connections_needed(config: &BrandConfig, all: &[BrandConfig]) -> usize {
    let server = |brand: &BrandConfig| {
        let postgres = &brand.database.postgres;
        (postgres.get_hosts().to_vec(), postgres.get_hostaddrs().to_vec(), postgres.get_ports().to_vec())
    };
    let beside = all.iter().filter(|other| server(other) == server(config));
    beside
        .map(|brand| &brand.database)
        .map(|database| database.pool_size + database.worker_pool_size + 2 * database.shared_connections + 1)
        .sum()
}

/// Tries a forbidden read, and asks for every other right on the other brand's tables, views and functions. `is_beside`: the other
/// brand's database has the same name. A brand's name is checked by `config` to be a plain identifier.
async fn isolation(client: &Client, other: &str, is_beside: bool) -> Vec<Finding> {
    let mut findings = Findings::of("isolation");
    let refused = client.simple_query(&format!("select from \"{other}\".item limit 1")).await.err();
    match refused.as_ref().map(tokio_postgres::Error::code) {
        None => findings.fault(format!("this role can read the items of {other}: revoke what it was granted")),
        Some(Some(&SqlState::INSUFFICIENT_PRIVILEGE)) => {}
        Some(Some(&SqlState::UNDEFINED_TABLE)) if is_beside => findings.warning(format!(
            "{other} has no tables yet, so nothing could be tried: brandgate migrate, then look again"
        )),
        Some(Some(&SqlState::UNDEFINED_TABLE)) => {
            return findings.or_good(format!("{other} has no tables in this database"));
        }
        Some(_) => {
            let error = refused.map(|error| error.to_string()).unwrap_or_default();
            findings.fault(format!("reading {other}'s items could not be tried: {error}"));
        }
    }
    match granted(client, other).await {
        Ok(granted) if granted.is_empty() => {}
        Ok(granted) => findings.fault(format!("this role has rights on {}: revoke them", granted.join(", "))),
        Err(error) => findings.fault(format!("its rights on {other} could not be asked for: {error}")),
    }
    findings
        .or_good(format!("reading {other}'s items was tried and refused, and it has no right on anything else there"))
}

/// What of another brand's schema the role could use, were it let in; the schema itself among it, and the brand's role.
async fn granted(client: &Client, other: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "select format('the schema %I', nspname) as what from pg_namespace \
             where nspname = $1 and has_schema_privilege(oid, 'usage, create') \
             union all \
             select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm') \
               and has_table_privilege(c.oid, 'select, insert, update, delete, truncate, references, trigger') \
             union all \
             select format('the role %I', rolname) from pg_roles where rolname = $1 and pg_has_role(oid, 'member') \
             order by 1",
            &[&other],
        )
        .await?;
    rows.iter().map(|row| row.try_get("what")).collect()
}
