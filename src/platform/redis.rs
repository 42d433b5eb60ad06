//! Redis: one shared connection a brand, and the only place where a key gets its prefix.
//!
//! Used by `brand`. The connection is made when it is first needed and made again by itself; a Redis that is away is an error
//! of the one call, never of the process. What must never happen: a key without the brand's prefix. Keys that belong
//! together carry a hash tag, `dexar:{…}:…`, so that they share a slot in a Cluster.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation};

use crate::config::RedisConfig;
use crate::foundation::error::{Error, Kind, Result, ResultExt};

/// One brand's corner of Redis.
#[derive(Clone)]
pub struct Redis {
    inner: std::sync::Arc<Inner>,
}

struct Inner {
    prefix: String,
    client: redis::Client,
    config: ConnectionManagerConfig,
    /// Made at the first use, without waiting for the server; then it connects by itself, once for all who wait.
    connection: OnceLock<ConnectionManager>,
    /// What any call may take, connecting included.
    longest: Duration,
    is_away: AtomicBool,
}

impl Inner {
    /// Says once that Redis is away, and once that it is back.
    fn tell<T>(&self, answered: &Result<T>) {
        let brand = self.prefix.trim_end_matches(':');
        let is_away = matches!(answered, Err(error) if matches!(error.kind, Kind::Unavailable { .. }));
        if self.is_away.load(Ordering::Relaxed) == is_away || self.is_away.swap(is_away, Ordering::Relaxed) == is_away {
            return;
        }
        match answered {
            Err(error) => tracing::warn!(brand, %error, "Redis is away: nobody can log in, and nothing is rationed"),
            Ok(_) => tracing::info!(brand, "Redis is back"),
        }
    }
}

/// A key with its brand's prefix; made by [`Redis::key`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisKey(String);

impl redis::ToRedisArgs for RedisKey {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        out.write_arg(self.0.as_bytes());
    }
}

impl redis::ToSingleRedisArg for RedisKey {}

/// What a Redis says that is there and cannot serve: it loads, fails over, has no memory left, or is not let in. All of it
/// passes, by itself or when somebody looks.
const CANNOT_SERVE: [&str; 12] = [
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
        let is_away =
            cause.is_io_error() || cause.is_timeout() || cause.is_connection_refusal() || cause.is_connection_dropped();
        match is_away || cause.code().is_some_and(|code| CANNOT_SERVE.contains(&code)) {
            true => Error::unavailable(cause),
            false => Error::internal(cause),
        }
    }
}

impl Redis {
    /// # Errors
    /// Only for a URL that `config` would have refused.
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
            longest: config.connect_timeout + config.response_timeout,
            is_away: AtomicBool::new(false),
        };
        Ok(Redis { inner: std::sync::Arc::new(inner) })
    }

    /// Where Redis is looked for: `127.0.0.1:6379`, `/run/redis/redis-server.sock`. Without what else its URL says.
    pub fn place(config: &RedisConfig) -> String {
        let info = config.url.as_str().into_connection_info();
        info.map_or_else(|_| "no address".to_owned(), |info| info.addr().to_string())
    }

    /// `dexar:{tag}:rest`: everything about one `tag` lives in one slot.
    pub fn key(&self, tag: &str, rest: &str) -> RedisKey {
        RedisKey(format!("{}{{{tag}}}:{rest}", self.inner.prefix))
    }

    /// Waits for `call` on the shared connection.
    async fn within<T>(&self, call: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>) -> Result<T> {
        let inner = &self.inner;
        let connection = match inner.connection.get() {
            Some(connection) => connection.clone(),
            None => {
                let made = ConnectionManager::new_lazy_with_config(inner.client.clone(), inner.config.clone())?;
                inner.connection.get_or_init(|| made).clone()
            }
        };
        let answered = match tokio::time::timeout(inner.longest, call(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.into()),
            Err(late) => Err(Error::unavailable(late)),
        };
        inner.tell(&answered);
        answered
    }

    /// Runs a script on the server, which decides in one step; loads it when the server does not know it yet.
    ///
    /// # Errors
    /// 503 while Redis is away or silent.
    pub async fn run_script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        self.within(async |mut connection| script.invoke_async(&mut connection).await).await
    }

    /// Runs one command.
    ///
    /// # Errors
    /// 503 while Redis is away or silent.
    pub async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        self.within(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs two commands about one tag, both or none.
    ///
    /// # Errors
    /// 503 while Redis is away or silent.
    pub async fn run_atomically(&self, first: &redis::Cmd, second: &redis::Cmd) -> Result<()> {
        let mut pipe = redis::pipe();
        pipe.atomic().add_command(first.clone()).ignore().add_command(second.clone()).ignore();
        self.within(async |mut connection| pipe.query_async(&mut connection).await).await
    }

    /// Counts one more at each key, which is forgotten `window_ms` after its first; returns the counts, each with the milliseconds
    /// that are left. One round trip, and another for the first.
    ///
    /// # Errors
    /// 503 while Redis is away or silent.
    pub async fn count(&self, keys: &[RedisKey], window_ms: u64) -> Result<Vec<(u64, u64)>> {
        let (mut counting, mut ending) = (redis::pipe(), redis::pipe());
        for key in keys {
            counting.cmd("INCR").arg(key).cmd("PTTL").arg(key);
        }
        let answers: Vec<i64> = self.within(async |mut connection| counting.query_async(&mut connection).await).await?;
        let counts = keys.iter().zip(answers.chunks_exact(2)).map(|(key, pair)| {
            let left_ms = u64::try_from(pair[1]).unwrap_or_else(|_| {
                // Its first count, or it lost its end by whatever accident.
                ending.cmd("PEXPIRE").arg(key).arg(window_ms).arg("NX").ignore();
                window_ms
            });
            (u64::try_from(pair[0]).unwrap_or(0), left_ms)
        });
        let counts = counts.collect();
        if !ending.is_empty() {
            let () = self.within(async |mut connection| ending.query_async(&mut connection).await).await?;
        }
        Ok(counts)
    }

    /// Whether Redis answers, for readiness and `check`.
    pub async fn ping(&self) -> Result<()> {
        self.run(&redis::cmd("PING")).await
    }

    /// Redis's own settings that decide whether sessions are safe in it: `(appendonly or save is on, maxmemory-policy)`.
    ///
    /// # Errors
    /// That of CONFIG, when this user may not ask for it and INFO does not tell either: it says nothing of `save`.
    pub async fn durability(&self) -> Result<(bool, String)> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(&["appendonly", "save", "maxmemory-policy"]);
        let settings: Result<HashMap<String, String>> = self.run(&command).await;
        match settings {
            Ok(settings) => {
                let of = |name: &str| settings.get(name).map_or("", String::as_str);
                Ok((of("appendonly") == "yes" || !of("save").is_empty(), of("maxmemory-policy").to_owned()))
            }
            Err(refused) => {
                let text: String = self.run(redis::cmd("INFO").arg("everything")).await?;
                let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                match (of("aof_enabled"), of("maxmemory_policy")) {
                    (Some("1"), Some(policy)) => Ok((true, policy.to_owned())),
                    _ => Err(refused),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_brand_and_a_hash_tag() {
        let second = Duration::from_secs(1);
        let url = "unix:///nowhere.sock".to_owned();
        let config = RedisConfig { url, password: None, connect_timeout: second, response_timeout: second };
        let kv = Redis::new("novo", &config).expect("a good URL");
        assert_eq!(kv.key("abc", "session"), RedisKey("novo:{abc}:session".to_owned()));
    }
}
