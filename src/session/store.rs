//! Sessions in Redis.
//!
//! A session is a hash under the hash of its cookie's secret: `id`, `user` (JSON), `expires_ms` (slides) and `ends_ms` (fixed),
//! both in milliseconds since 1970. A logout leaves the field `ended` alone, for as long as a concurrent login could still
//! create the same session. Every operation is one script, so that instances cannot race.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::Script;

use super::{Session, User};
use crate::config::SessionConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::http::cookie::CookieSecret;
use crate::platform::redis::{Redis, RedisKey};

static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("check.lua")));

static CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("create.lua")));

/// ARGV: for how long the mark stays (ms).
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"redis.call('del', KEYS[1])
          redis.call('hset', KEYS[1], 'ended', 1)
          redis.call('pexpire', KEYS[1], ARGV[1])",
    )
});

/// What [`CHECK`] and [`CREATE`] return: whether it is active, `expires_ms`, `id`, `user`.
type Row = Option<(bool, i64, String, String)>;

pub(super) async fn check(
    redis: &Redis,
    secret: &CookieSecret,
    now: Timestamp,
    config: &SessionConfig,
) -> Result<Option<Session>> {
    let mut script = CHECK.key(key(redis, secret));
    from_row(
        redis
            .run_script(script.arg(now.as_millisecond()).arg(ms(config.idle_timeout)).arg(ms(config.expired_retention)))
            .await?,
    )
}

pub(super) async fn create(
    redis: &Redis,
    secret: &CookieSecret,
    id: &str,
    user: &User,
    now: Timestamp,
    config: &SessionConfig,
) -> Result<Option<Session>> {
    let user = serde_json::to_string(user).or_internal()?;
    let mut script = CREATE.key(key(redis, secret));
    script.arg(now.as_millisecond()).arg(ms(config.idle_timeout)).arg(ms(config.expired_retention));
    from_row(redis.run_script(script.arg(ms(config.lifetime)).arg(id).arg(user)).await?)
}

pub(super) async fn end(redis: &Redis, secret: &CookieSecret, config: &SessionConfig) -> Result<()> {
    redis.run_script(END.key(key(redis, secret)).arg(ms(config.attempt_lifetime) * 2)).await
}

fn key(redis: &Redis, secret: &CookieSecret) -> RedisKey {
    redis.key(&secret.hash(), "session")
}

fn from_row(row: Row) -> Result<Option<Session>> {
    let Some((is_active, expires_ms, id, user)) = row else { return Ok(None) };
    let user: User = serde_json::from_str(&user).or_internal()?;
    let expires_at = Timestamp::from_millisecond(expires_ms).or_internal()?;
    Ok(Some(Session { id, user, is_active, expires_at }))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
