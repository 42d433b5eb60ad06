//! What Redis shows: whether it answers, and whether sessions are safe in it.

use super::{Finding, Findings};
use crate::config::BrandConfig;
use crate::kv::Kv;

pub(super) async fn look(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::of("redis");
    let asked = async {
        let kv = Kv::new(&config.name, &config.redis)?;
        kv.ping().await?;
        let durability = kv.durability().await;
        Ok::<_, crate::error::Error>((kv, durability))
    };
    match asked.await {
        Err(error) => findings.fault(error.to_string()),
        Ok((_, Err(error))) => {
            tracing::debug!(%error, "Redis does not say how it keeps what it is given");
            findings.warning(
                "its user may not ask how it keeps sessions: see to it that it persists (appendonly yes) and evicts nothing \
                 (maxmemory-policy noeviction), or allow +info",
            );
        }
        Ok((kv, Ok((persists, policy)))) => {
            if is_replica(&kv).await {
                findings.fault("it takes no writes: name the primary server in [redis] url");
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

/// Whether it is a replica; a user who may not ask is told nothing.
async fn is_replica(kv: &Kv) -> bool {
    let mut command = redis::cmd("INFO");
    command.arg("replication");
    kv.run::<String>(&command).await.is_ok_and(|text| text.lines().any(|line| line.trim_end() == "role:slave"))
}
