//! What Redis shows: whether it answers, and whether sessions are safe in it.

use super::{Finding, Findings};
use crate::config::BrandConfig;
use crate::platform::redis::Redis;

/// The first whose PEXPIRE knows NX, which counting needs (`Redis::count`).
const LEAST_MAJOR: u32 = 7;

pub(super) async fn look(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::of("redis");
    let asked = async {
        let kv = Redis::new(&config.name, &config.redis)?;
        kv.ping().await?;
        let durability = kv.durability().await;
        Ok::<_, crate::foundation::error::Error>((kv, durability))
    };
    match asked.await {
        Err(error) => {
            let place = Redis::address(&config.redis);
            findings.fault(format!("Redis at {place}: {error}; see that it runs, and that [redis] url is right"));
        }
        Ok((_, Err(error))) => {
            tracing::debug!(%error, "Redis does not say how it keeps what it is given");
            findings.warning(
                "its user may not ask how it keeps sessions: see to it that it persists (appendonly yes) and evicts nothing \
                 (maxmemory-policy noeviction), or allow +info",
            );
        }
        Ok((kv, Ok((persists, policy)))) => {
            let told = told(&kv).await;
            let of = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            if of("role") == Some("slave") {
                findings.fault("it takes no writes: name the primary server in [redis] url");
            }
            if let Some(version) = of("redis_version")
                && major(version).is_some_and(|major| major < LEAST_MAJOR)
            {
                findings.fault(format!(
                    "it is version {version}: requests are counted from Redis {LEAST_MAJOR} on (or Valkey)"
                ));
            }
            if !persists {
                findings.warning("persists nothing: a restart of Redis logs everybody out (appendonly yes)");
            }
            if policy != "noeviction" {
                findings.warning(format!("maxmemory-policy is {policy}: sessions may vanish (noeviction)"));
            }
        }
    }
    findings.or_good("reachable, persistent, evicts nothing")
}

/// What it says of itself; a user who may not ask is told nothing.
async fn told(kv: &Redis) -> String {
    kv.run(&redis::cmd("INFO")).await.unwrap_or_default()
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
