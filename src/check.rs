//! What a sysadmin runs before a start or a reload: everything that could go wrong, tried.
//!
//! Called by `bin/brandgate check` for each brand whose file was read without a fault; that adds what the domains say of the outside.
//! It changes nothing. What must never happen: a server that does not answer holds it up.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_postgres::error::SqlState;

use crate::clock::Clock;
use crate::config::BrandConfig;
use crate::db;
use crate::kv::Kv;
use crate::migrate;
use crate::net::tls;

/// When the end of a certificate is worth a sentence.
const RENEW_WITHIN: SignedDuration = SignedDuration::from_hours(14 * 24);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `certificate`, `postgresql`, …
    pub subject: &'static str,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good(String),
    /// It runs like this, but somebody should know.
    Warning(String),
    Fault(String),
}

/// How long any server may take to show what is asked of it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How far the clocks of this machine and of PostgreSQL may be apart, in seconds.
const LARGEST_SKEW_S: f64 = 2.0;

impl Finding {
    pub fn new(subject: &'static str, verdict: Verdict) -> Finding {
        Finding { subject, verdict }
    }
}

/// Waits for a server's verdict, as long as [`PATIENCE`] lasts.
pub async fn patiently<T>(asked: impl Future<Output = T>) -> Result<T, Verdict> {
    let late = |_| Verdict::Fault(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)
}

/// What can be seen on this machine alone.
pub fn offline(config: &BrandConfig, credentials: Option<&Path>, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![Finding::new("certificate", certificate(config, clock))];
    findings.push(Finding::new("secrets", secrets(config, credentials)));
    let warnings = config.warnings().into_iter();
    findings.extend(warnings.map(|w| Finding::new("origins", Verdict::Warning(w.message))));
    findings
}

/// What PostgreSQL and Redis show; `others` are all brands, whose schemas must be closed to this one.
pub async fn online(config: &BrandConfig, others: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let (database, redis) = tokio::join!(patiently(database(config, others, clock)), patiently(redis(config)));
    let mut findings = database.unwrap_or_else(|late| vec![Finding::new("postgresql", late)]);
    findings.push(Finding::new("redis", redis.unwrap_or_else(|late| late)));
    findings
}

/// The secrets were read with the file; whether others could read them too is looked at here.
fn secrets(config: &BrandConfig, credentials: Option<&Path>) -> Verdict {
    let Some(directory) = credentials else { return Verdict::Good("readable by their owner alone".into()) };
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.permissions().mode());
    let own = format!("{}.", config.name);
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut open: Vec<String> = entries
        .filter(|entry| entry.file_name().to_string_lossy().contains(&own))
        .filter(|entry| mode(&entry.path()) & 0o007 != 0)
        .map(|entry| entry.path().display().to_string())
        .collect();
    open.sort();
    // A directory that others cannot enter protects what is in it.
    if open.is_empty() || mode(directory) & 0o001 == 0 {
        return Verdict::Good("readable by their owner alone".into());
    }
    Verdict::Warning(format!("anybody on this machine can read {0}: chmod 600 {0}", open.join(" ")))
}

fn certificate(config: &BrandConfig, clock: &Clock) -> Verdict {
    let identity = match tls::load(&config.tls) {
        Ok(identity) => identity,
        Err(sentence) => return Verdict::Fault(sentence),
    };
    let file = config.tls.certificate.display();
    let host = config.host();
    let left = identity.not_after.duration_since(clock.now());
    if left.is_negative() {
        return Verdict::Fault(format!("{file} expired on {}: browsers refuse it", identity.not_after));
    }
    if identity.not_before > clock.now() {
        return Verdict::Fault(format!("{file} is not valid before {}: browsers refuse it", identity.not_before));
    }
    let key = &config.tls.key;
    if std::fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o007 != 0) {
        return Verdict::Fault(format!("anybody on this machine can read {0}: chmod 640 {0}", key.display()));
    }
    if !identity.names.iter().any(|name| covers(name, host)) {
        let names = identity.names.join(", ");
        return Verdict::Fault(format!("{file} is for {names}, but public_url says {host}"));
    }
    match left < RENEW_WITHIN {
        true => Verdict::Warning(format!("{file} expires on {}", identity.not_after)),
        false => Verdict::Good(format!("fits its key, is for {host}, valid until {}", identity.not_after)),
    }
}

/// Whether a name of a certificate covers a host (RFC 6125: a star stands for one label).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

async fn database(config: &BrandConfig, others: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |subject, verdict| findings.push(Finding { subject, verdict });
    let client = match db::connect(&config.database).await {
        Ok(client) => client,
        Err(error) => {
            found("postgresql", Verdict::Fault(error.to_string()));
            return findings;
        }
    };
    match db::unfitness(&client, &config.name).await {
        Ok(None) => found("postgresql", server(&client, config, clock).await),
        Ok(Some(sentence)) => {
            found("postgresql", Verdict::Fault(sentence));
            return findings;
        }
        Err(error) => {
            found("postgresql", Verdict::Fault(error.to_string()));
            return findings;
        }
    }
    match migrate::pending(&client).await {
        Ok(pending) if pending.is_empty() => found("migrations", Verdict::Good("all applied".into())),
        Ok(pending) => {
            found("migrations", Verdict::Fault(format!("lacks {}: run brandgate migrate", pending.join(", "))))
        }
        Err(error) => found("migrations", Verdict::Fault(error.to_string())),
    }
    for other in others.iter().filter(|other| other.name != config.name) {
        found("isolation", isolation(&client, &other.name).await);
    }
    findings
}

/// A server that is fit for a shop, and what somebody should know of it all the same.
async fn server(client: &tokio_postgres::Client, config: &BrandConfig, clock: &Clock) -> Verdict {
    let asked = client.query_one(
        "select current_setting('server_version') as version, pg_is_in_recovery() as is_replica, \
                current_setting('default_transaction_read_only') = 'on' as is_read_only, \
                current_setting('max_connections')::int as most, clock_timestamp() as now",
        &[],
    );
    let row = match asked.await {
        Ok(row) => row,
        Err(error) => return Verdict::Fault(error.to_string()),
    };
    if row.get::<_, bool>("is_replica") || row.get::<_, bool>("is_read_only") {
        return Verdict::Fault("it takes no writes: name the primary server in [database] url".into());
    }
    let skew_s = row.get::<_, jiff::Timestamp>("now").duration_since(clock.now()).as_secs_f64();
    if skew_s.abs() > LARGEST_SKEW_S {
        return Verdict::Warning(format!("its clock is {skew_s:.0} s off this machine's: set both by NTP"));
    }
    // The gateway and the workers have a pool each.
    let (most, needed) = (row.get::<_, i32>("most"), 2 * config.database.pool_size);
    if usize::try_from(most).is_ok_and(|most| most < needed) {
        return Verdict::Warning(format!(
            "max_connections is {most}, but gateway and workers of this brand alone may take {needed}: raise it, or lower pool_size"
        ));
    }
    let version: String = row.get("version");
    let version = version.split(' ').next().unwrap_or_default();
    Verdict::Good(format!("{version} is reachable, version and locale fit, the role has its schema"))
}

/// Tries the forbidden read. A brand's name is checked by `config` to be a plain identifier.
async fn isolation(client: &tokio_postgres::Client, other: &str) -> Verdict {
    let refused = match client.simple_query(&format!("select from \"{other}\".item limit 1")).await {
        Ok(_) => return Verdict::Fault(format!("this role can read the items of {other}: revoke what it was granted")),
        Err(error) => error,
    };
    match refused.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Verdict::Good(format!("reading {other}'s items was tried and refused"))
        }
        Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => {
            Verdict::Good(format!("{other} has no schema in this database"))
        }
        _ => Verdict::Fault(format!("reading {other}'s items could not be tried: {refused}")),
    }
}

async fn redis(config: &BrandConfig) -> Verdict {
    let kv = match Kv::new(&config.name, &config.redis) {
        Ok(kv) => kv,
        Err(error) => return Verdict::Fault(error.to_string()),
    };
    if let Err(error) = kv.ping().await {
        return Verdict::Fault(error.to_string());
    }
    match kv.durability().await {
        Ok((false, _)) => {
            Verdict::Warning("persists nothing: a restart of Redis logs everybody out (appendonly yes)".into())
        }
        Ok((true, policy)) if policy != "noeviction" => {
            Verdict::Warning(format!("maxmemory-policy is {policy}: sessions may vanish (noeviction)"))
        }
        Ok((true, _)) => Verdict::Good("reachable, persistent, evicts nothing".into()),
        Err(_) => Verdict::Good("reachable; its settings may not be read by this user".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_one_label_under_a_star() {
        assert!(covers("api.dexarmarket.ru", "API.dexarmarket.ru"));
        assert!(covers("*.dexarmarket.ru", "api.dexarmarket.ru"));
        assert!(!covers("*.dexarmarket.ru", "a.b.dexarmarket.ru"));
        assert!(!covers("*.dexarmarket.ru", "dexarmarket.ru"));
    }
}
