//! The Redis client: one multiplexed connection per brand, opened on demand and reconnected automatically.
//!
//! # Invariants
//!
//! - Every key has the brand's prefix: [`Redis::key`] is the only way to build one.
//! - Keys that are used together share a hash tag (`dexar:{…}:…`), and so a slot in a Redis Cluster.
//! - An unavailable Redis is an error of the single call.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation};

use crate::config::RedisConfig;
use crate::foundation::error::{Error, Kind, Result, ResultExt};
use crate::platform::outage::{Outage, Sign};

/// How long the key of a probe lives.
const PROBE_LIFETIME_MS: u64 = 10_000;

/// The Redis client of one brand. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    client: redis::Client,
    config: ConnectionManagerConfig,
    /// Created at the first use, because it needs a Tokio runtime. It connects in the background.
    connection: OnceLock<ConnectionManager>,
    /// The time limit of a call, including the connection.
    timeout: Duration,
    outage: Arc<Outage>,
}

/// A key with its brand's prefix, built by [`Redis::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisKey(String);

impl redis::ToRedisArgs for RedisKey {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        out.write_arg(self.0.as_bytes());
    }
}

impl redis::ToSingleRedisArg for RedisKey {}

/// Error codes of a server that cannot serve requests at present: it is loading, failing over, out of memory, or rejects the login.
const UNAVAILABLE_CODES: [&str; 12] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "OOM",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "EXECABORT",
    "WRONGPASS",
];

impl From<RedisError> for Error {
    #[track_caller]
    fn from(cause: RedisError) -> Error {
        let is_connection_error =
            cause.is_io_error() || cause.is_timeout() || cause.is_connection_refusal() || cause.is_connection_dropped();
        match is_connection_error || cause.code().is_some_and(|code| UNAVAILABLE_CODES.contains(&code)) {
            true => Error::unavailable(cause),
            false => Error::internal(cause),
        }
    }
}

impl Redis {
    /// # Errors
    /// 500 for an invalid URL, which the configuration rejects.
    pub fn new(brand: &str, config: &RedisConfig) -> Result<Redis> {
        let mut info = config.url.as_str().into_connection_info().or_internal()?;
        if let Some(password) = &config.password {
            let redis = info.redis_settings().clone().set_password(password.reveal());
            info = info.set_redis_settings(redis);
        }
        let inner = Inner {
            prefix: format!("{brand}:"),
            client: redis::Client::open(info).or_internal()?,
            config: ConnectionManagerConfig::new()
                .set_connection_timeout(Some(config.connect_timeout))
                .set_response_timeout(Some(config.response_timeout))
                .set_number_of_retries(1),
            connection: OnceLock::new(),
            timeout: config.connect_timeout + config.response_timeout,
            outage: Arc::default(),
        };
        Ok(Redis { inner: Arc::new(inner) })
    }

    /// The address of Redis, without the other parts of its URL: `127.0.0.1:6379`, `/run/redis/redis-server.sock`.
    pub fn address(config: &RedisConfig) -> String {
        let info = config.url.as_str().into_connection_info();
        info.map_or_else(|_| "no address".to_owned(), |info| info.addr().to_string())
    }

    /// `BRAND:{tag}:rest`. All keys of one tag are in one slot of a Redis Cluster.
    pub fn key(&self, tag: &str, rest: &str) -> RedisKey {
        RedisKey(format!("{}{{{tag}}}:{rest}", self.inner.prefix))
    }

    /// Runs `call` on the connection, with a timeout. A failure may begin an outage.
    async fn call<T>(&self, call: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>) -> Result<T> {
        self.call_unobserved(call).await.inspect_err(|error| self.notice(error))
    }

    fn notice(&self, error: &Error) {
        if !matches!(error.kind, Kind::Unavailable { .. }) {
            return;
        }
        let code = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<RedisError>()).and_then(RedisError::code);
        let sign = match code.is_some_and(|code| UNAVAILABLE_CODES.contains(&code)) {
            true => Sign::Reported,
            false => Sign::Suspicion,
        };
        let brand = self.inner.prefix.trim_end_matches(':').to_owned();
        let (ended, text) = (brand.clone(), error.to_string());
        let log_begin = move || {
            tracing::warn!(brand, error = text, "Redis unavailable: logins fail and rate limits are not enforced");
        };
        let inner = Arc::downgrade(&self.inner);
        let probe = move || {
            let redis = inner.upgrade().map(|inner| Redis { inner });
            async move {
                match redis {
                    Some(redis) => redis.write_probe().await.is_ok(),
                    None => false,
                }
            }
        };
        self.inner.outage.notice(sign, log_begin, probe, move || tracing::info!(brand = ended, "Redis recovered"));
    }

    async fn write_probe(&self) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.key("probe", "written")).arg(1).arg("PX").arg(PROBE_LIFETIME_MS);
        self.call_unobserved(async |mut connection| command.query_async(&mut connection).await).await
    }

    async fn call_unobserved<T>(
        &self,
        call: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>,
    ) -> Result<T> {
        let inner = &self.inner;
        let connection = match inner.connection.get() {
            Some(connection) => connection.clone(),
            None => {
                let connection = ConnectionManager::new_lazy_with_config(inner.client.clone(), inner.config.clone())?;
                inner.connection.get_or_init(|| connection).clone()
            }
        };
        match tokio::time::timeout(inner.timeout, call(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error.into()),
            Err(elapsed) => Err(Error::unavailable(elapsed)),
        }
    }

    /// Runs a Lua script atomically on the server; loads it first if the server does not have it.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run_script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        self.call(async |mut connection| script.invoke_async(&mut connection).await).await
    }

    /// Runs one command.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        self.call(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs two commands on keys of one tag in a transaction (MULTI/EXEC).
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run_atomically(&self, first: &redis::Cmd, second: &redis::Cmd) -> Result<()> {
        let mut pipe = redis::pipe();
        pipe.atomic().add_command(first.clone()).ignore().add_command(second.clone()).ignore();
        self.call(async |mut connection| pipe.query_async(&mut connection).await).await
    }

    /// Increments a counter at each key, which expires `window_ms` after its first increment. Returns each count with the
    /// milliseconds until it expires. One round trip, and a second one after the first increment of a key.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn increment(&self, keys: &[RedisKey], window_ms: u64) -> Result<Vec<(u64, u64)>> {
        let (mut increments, mut expirations) = (redis::pipe(), redis::pipe());
        for key in keys {
            increments.cmd("INCR").arg(key).cmd("PTTL").arg(key);
        }
        let values: Vec<i64> = self.call(async |mut connection| increments.query_async(&mut connection).await).await?;
        let counts = keys.iter().zip(values.chunks_exact(2)).map(|(key, pair)| {
            let expires_in_ms = u64::try_from(pair[1]).unwrap_or_else(|_| {
                // The key has no expiration: this was its first increment, or an earlier call failed in between.
                expirations.cmd("PEXPIRE").arg(key).arg(window_ms).arg("NX").ignore();
                window_ms
            });
            (u64::try_from(pair[0]).unwrap_or(0), expires_in_ms)
        });
        let counts = counts.collect();
        if !expirations.is_empty() {
            let () = self.call(async |mut connection| expirations.query_async(&mut connection).await).await?;
        }
        Ok(counts)
    }

    /// Writes a key that expires after some seconds: a server that is out of memory or a read-only replica responds to reads.
    ///
    /// # Errors
    /// 503 while Redis is unavailable or accepts no writes.
    pub async fn probe(&self) -> Result<()> {
        self.write_probe().await.inspect_err(|error| self.notice(error))
    }

    /// Whether sessions survive a restart and memory pressure: whether `appendonly` or `save` is enabled, and `maxmemory-policy`.
    ///
    /// # Errors
    /// That of CONFIG, when this user may not run it and INFO is not sufficient (it does not report `save`).
    pub async fn durability(&self) -> Result<(bool, String)> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(&["appendonly", "save", "maxmemory-policy"]);
        let settings: Result<HashMap<String, String>> = self.run(&command).await;
        match settings {
            Ok(settings) => {
                let setting = |name: &str| settings.get(name).map_or("", String::as_str);
                let is_persistent = setting("appendonly") == "yes" || !setting("save").is_empty();
                Ok((is_persistent, setting("maxmemory-policy").to_owned()))
            }
            Err(error) => {
                let text: String = self.run(redis::cmd("INFO").arg("everything")).await?;
                let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                match (field("aof_enabled"), field("maxmemory_policy")) {
                    (Some("1"), Some(policy)) => Ok((true, policy.to_owned())),
                    _ => Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_the_brands_prefix_and_a_hash_tag() {
        let second = Duration::from_secs(1);
        let url = "unix:///nowhere.sock".to_owned();
        let config = RedisConfig { url, password: None, connect_timeout: second, response_timeout: second };
        let redis = Redis::new("novo", &config).expect("a good URL");
        assert_eq!(redis.key("abc", "session"), RedisKey("novo:{abc}:session".to_owned()));
    }
}
