//! Checks of Redis: reachability, version, persistence and eviction.

use super::{Finding, Findings};
use crate::config::BrandConfig;
use crate::platform::redis::Redis;

/// The first version whose PEXPIRE knows NX, which rate limits need (`Redis::count`).
const MIN_MAJOR_VERSION: u32 = 7;

pub(super) async fn check(config: &BrandConfig) -> Vec<Finding> {
    let mut findings = Findings::about("redis");
    let connected = async {
        let redis = Redis::new(&config.name, &config.redis)?;
        redis.probe().await?;
        let durability = redis.durability().await;
        Ok::<_, crate::foundation::error::Error>((redis, durability))
    };
    match connected.await {
        Err(error) => {
            let address = Redis::address(&config.redis);
            findings.error(format!("Redis at {address}: {error}; see that it runs, and that [redis] url is right"));
        }
        Ok((_, Err(error))) => {
            tracing::debug!(%error, "failed to read the persistence settings of Redis");
            findings.warning(
                "the Redis user may not read the persistence settings: make sure that Redis persists (appendonly yes) and evicts \
                 nothing (maxmemory-policy noeviction), or grant +info",
            );
        }
        Ok((redis, Ok((persists, policy)))) => {
            let info = info(&redis).await;
            check_info(&info, &mut findings);
            if !persists {
                findings.warning("persistence is off: a restart of Redis logs out every visitor; set appendonly yes");
            }
            if policy != "noeviction" {
                findings.warning(format!("maxmemory-policy is {policy}: sessions may be evicted; set noeviction"));
            }
        }
    }
    findings.or_passed("reachable, persistent, evicts nothing")
}

fn check_info(info: &str, findings: &mut Findings) {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    if let Some(version) = field("redis_version")
        && major(version).is_some_and(|major| major < MIN_MAJOR_VERSION)
    {
        findings.error(format!("version {version} is too old: rate limits need Redis {MIN_MAJOR_VERSION} or Valkey"));
    }
}

/// The reply of INFO; empty for a user who may not run it.
async fn info(redis: &Redis) -> String {
    redis.run(&redis::cmd("INFO")).await.unwrap_or_default()
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
