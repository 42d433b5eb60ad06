//! The Redis client: one multiplexed connection per brand and node, opened on demand and reconnected automatically.
//!
//! # Invariants
//!
//! - Every key has the brand's prefix: [`Redis::key`] is the only way to build one.
//! - Keys that are used together share a hash tag (`dexar:{…}:…`), and so a slot in a Redis Cluster.
//! - An unavailable Redis is an error of the single call.

mod connection;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use redis::{FromRedisValue, RedisError, ScriptInvocation};

use crate::config::{RedisConfig, RedisUrl};
use crate::foundation::error::{Error, Kind, Result};
use crate::platform::outage::{Outage, Sign};
use connection::{RedisConnection, RedisConnector};

/// How long the key of a probe lives.
const PROBE_LIFETIME_MS: u64 = 10_000;

/// The Redis client of one brand. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    connector: RedisConnector,
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

/// Error codes of a server that cannot serve requests at present: it is loading, failing over, out of memory, rejects the login, or is
/// a node of a Cluster whose URL is that of a single server.
const UNAVAILABLE_CODES: [&str; 14] = [
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
    "MOVED",
    "ASK",
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

/// What a call sends.
#[derive(Clone, Copy)]
enum Call<'a> {
    Command(&'a redis::Cmd),
    Pipeline(&'a redis::Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Call<'_> {
    async fn run<T: FromRedisValue>(self, mut connection: RedisConnection) -> redis::RedisResult<T> {
        match self {
            Call::Command(command) => command.query_async(&mut connection).await,
            Call::Pipeline(pipeline) => pipeline.query_async(&mut connection).await,
            Call::Script(script) => script.invoke_async(&mut connection).await,
        }
    }
}

impl Redis {
    /// # Errors
    /// 500 for an invalid URL, which the configuration rejects, and for certificates that cannot be used.
    pub fn new(brand: &str, config: &RedisConfig) -> Result<Redis> {
        let inner = Inner {
            prefix: format!("{brand}:"),
            connector: RedisConnector::new(config)?,
            timeout: connection::time_limit(config),
            outage: Arc::default(),
        };
        Ok(Redis { inner: Arc::new(inner) })
    }

    /// The addresses of Redis, without the other parts of its URL: `127.0.0.1:6379`, `/run/redis/redis-server.sock`.
    pub fn address(config: &RedisConfig) -> String {
        RedisUrl::parse(&config.url).map_or_else(|| "no address".to_owned(), |url| url.address())
    }

    /// `BRAND:{tag}:rest`. All keys of one tag are in one slot of a Redis Cluster.
    pub fn key(&self, tag: &str, rest: &str) -> RedisKey {
        RedisKey(format!("{}{{{tag}}}:{rest}", self.inner.prefix))
    }

    /// Runs `call` on the connection, with a timeout. A failure may begin an outage.
    async fn call<T: FromRedisValue>(&self, call: Call<'_>) -> Result<T> {
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
        if let Some(problem) = self.with_timeout(self.inner.connector.find_problem()).await? {
            return Err(Error::unavailable(problem));
        }
        let mut command = redis::cmd("SET");
        command.arg(self.key("probe", "written")).arg(1).arg("PX").arg(PROBE_LIFETIME_MS);
        self.call_unobserved(Call::Command(&command)).await
    }

    async fn call_unobserved<T: FromRedisValue>(&self, call: Call<'_>) -> Result<T> {
        self.with_timeout(self.call_or_retry(call)).await
    }

    async fn with_timeout<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T> {
        match tokio::time::timeout(self.inner.timeout, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error.into()),
            Err(elapsed) => Err(Error::unavailable(elapsed)),
        }
    }

    /// Repeats a call once that the former master refused: it has changed nothing.
    async fn call_or_retry<T: FromRedisValue>(&self, call: Call<'_>) -> redis::RedisResult<T> {
        let connector = &self.inner.connector;
        let connection = connector.connection().await?;
        let result = call.run(connection.clone()).await;
        let Err(error) = &result else { return result };
        let is_refused = error.code() == Some("READONLY");
        if is_refused || error.is_unrecoverable_error() || error.is_timeout() {
            connector.discard(&connection).await;
        }
        if is_refused && connector.is_sentinel() { call.run(connector.connection().await?).await } else { result }
    }

    /// Runs a Lua script atomically on the server; loads it first if the server does not have it.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run_script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        self.call(Call::Script(script)).await
    }

    /// Runs one command.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        self.call(Call::Command(command)).await
    }

    /// Runs two commands on keys of one tag in a transaction (MULTI/EXEC).
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn run_atomically(&self, first: &redis::Cmd, second: &redis::Cmd) -> Result<()> {
        let mut pipe = redis::pipe();
        pipe.atomic().add_command(first.clone()).ignore().add_command(second.clone()).ignore();
        self.call(Call::Pipeline(&pipe)).await
    }

    /// Increments a counter at each key, which expires `window_ms` after its first increment. Returns each count with the
    /// milliseconds until it expires. One round trip, and a second one after the first increment of a key.
    ///
    /// # Errors
    /// 503 while Redis is unavailable.
    pub async fn increment(&self, keys: &[RedisKey], window_ms: u64) -> Result<Vec<(u64, u64)>> {
        if self.inner.connector.is_cluster() {
            // Each key may be in another slot.
            let mut counts = Vec::new();
            for key in keys {
                counts.push(self.increment_together(std::slice::from_ref(key), window_ms));
            }
            return Ok(future::try_join_all(counts).await?.concat());
        }
        self.increment_together(keys, window_ms).await
    }

    async fn increment_together(&self, keys: &[RedisKey], window_ms: u64) -> Result<Vec<(u64, u64)>> {
        let (mut increments, mut expirations) = (redis::pipe(), redis::pipe());
        for key in keys {
            increments.cmd("INCR").arg(key).cmd("PTTL").arg(key);
        }
        let values: Vec<i64> = self.call(Call::Pipeline(&increments)).await?;
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
            let () = self.call(Call::Pipeline(&expirations)).await?;
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
        let (ca_file, client_files) = (None, None);
        let config = RedisConfig {
            url,
            password: None,
            ca_file,
            client_files,
            connect_timeout: second,
            response_timeout: second,
        };
        let redis = Redis::new("novo", &config).expect("a good URL");
        assert_eq!(redis.key("abc", "session"), RedisKey("novo:{abc}:session".to_owned()));
    }
}
