//! What a sysadmin runs before a start: everything that could go wrong, tried.
//!
//! Called by `bin/brandgate check` for each brand whose file was read without a fault. It changes nothing.

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

/// Looks at one brand; `others` are all brands, whose schemas must be closed to this one.
pub async fn brand(config: &BrandConfig, others: &[BrandConfig], clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![Finding { subject: "certificate", verdict: certificate(config, clock) }];
    let warnings = config.warnings().into_iter();
    findings.extend(warnings.map(|w| Finding { subject: "origins", verdict: Verdict::Warning(w.message) }));
    findings.extend(database(config, others).await);
    findings.push(Finding { subject: "redis", verdict: redis(config).await });
    findings
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

async fn database(config: &BrandConfig, others: &[BrandConfig]) -> Vec<Finding> {
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
        Ok(None) => {
            found("postgresql", Verdict::Good("reachable, version and locale fit, the role has its schema".into()))
        }
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
