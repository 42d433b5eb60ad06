//! Sessions in Redis. One key a session, named by the hash of its cookie's secret; every decision is one script, so that two
//! instances never decide differently.
//!
//! A session is a hash of `id`, `user` (JSON), `expires_ms` (slides) and `ends_ms` (does not), milliseconds since 1970. What
//! is left after a logout is `ended` alone, for as long as a login that raced with it could still begin the same session.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::Script;

use super::{Session, User};
use crate::config::SessionConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::http::cookie::CookieSecret;
use crate::platform::redis::{Redis, RedisKey};

/// now, idle, told → {active, expires_ms, id, user}
static CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local s = redis.call('hmget', KEYS[1], 'expires_ms', 'ends_ms', 'id', 'user') \
         if not s[1] then return false end \
         local now = tonumber(ARGV[1]) \
         if tonumber(s[1]) <= now then return {0, tonumber(s[1]), s[3], s[4]} end \
         local expires = math.min(now + tonumber(ARGV[2]), tonumber(s[2])) \
         redis.call('hset', KEYS[1], 'expires_ms', string.format('%.0f', expires)) \
         redis.call('pexpire', KEYS[1], string.format('%.0f', expires - now + tonumber(ARGV[3]))) \
         return {1, expires, s[3], s[4]}",
    )
});

/// now, idle, told, lifetime, id, user → the same; false for one that was ended
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local s = redis.call('hmget', KEYS[1], 'expires_ms', 'id', 'user', 'ended') \
         if s[4] then return false end \
         if s[1] then return {1, tonumber(s[1]), s[2], s[3]} end \
         local now = tonumber(ARGV[1]) \
         local ends = now + tonumber(ARGV[4]) \
         local expires = math.min(now + tonumber(ARGV[2]), ends) \
         redis.call('hset', KEYS[1], 'expires_ms', string.format('%.0f', expires), \
             'ends_ms', string.format('%.0f', ends), 'id', ARGV[5], 'user', ARGV[6]) \
         redis.call('pexpire', KEYS[1], string.format('%.0f', expires - now + tonumber(ARGV[3]))) \
         return {1, expires, ARGV[5], ARGV[6]}",
    )
});

/// for how long to remember → nothing
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('del', KEYS[1]) redis.call('hset', KEYS[1], 'ended', 1) redis.call('pexpire', KEYS[1], ARGV[1])",
    )
});

type Row = Option<(bool, i64, String, String)>;

fn key(kv: &Redis, secret: &CookieSecret) -> RedisKey {
    kv.key(&secret.hash(), "session")
}

fn read(row: Row) -> Result<Option<Session>> {
    let Some((is_active, expires_ms, id, user)) = row else { return Ok(None) };
    let user: User = serde_json::from_str(&user).or_internal()?;
    let expires_at = Timestamp::from_millisecond(expires_ms).or_internal()?;
    Ok(Some(Session { id, user, is_active, expires_at }))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) async fn check(
    kv: &Redis,
    secret: &CookieSecret,
    now: Timestamp,
    config: &SessionConfig,
) -> Result<Option<Session>> {
    let mut script = CHECK.key(key(kv, secret));
    read(
        kv.run_script(script.arg(now.as_millisecond()).arg(ms(config.idle_timeout)).arg(ms(config.expired_retention)))
            .await?,
    )
}

pub(super) async fn begin(
    kv: &Redis,
    secret: &CookieSecret,
    id: &str,
    user: &User,
    now: Timestamp,
    config: &SessionConfig,
) -> Result<Option<Session>> {
    let user = serde_json::to_string(user).or_internal()?;
    let mut script = BEGIN.key(key(kv, secret));
    script.arg(now.as_millisecond()).arg(ms(config.idle_timeout)).arg(ms(config.expired_retention));
    read(kv.run_script(script.arg(ms(config.lifetime)).arg(id).arg(user)).await?)
}

pub(super) async fn end(kv: &Redis, secret: &CookieSecret, config: &SessionConfig) -> Result<()> {
    kv.run_script(END.key(key(kv, secret)).arg(ms(config.attempt_lifetime) * 2)).await
}
