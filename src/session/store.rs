//! Sessions in Redis.
//!
//! A session is a hash under the hash of its cookie's secret: `id`, `user` (JSON), `expires_ms` (slides) and `ends_ms` (fixed),
//! both in milliseconds since 1970. A logout leaves the field `ended` alone, for as long as a concurrent login could still
//! create the same session. Every operation is one script, so that instances cannot race.
//!
//! The index of a user's sessions has a key of its own, and so another slot in a Redis Cluster: an entry is added before its
//! session is created, so that every session is indexed, and an entry without a session means nothing.

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

static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("end.lua")));

static INDEX: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("index.lua")));

/// What [`CHECK`] and [`CREATE`] return: whether it is active, `expires_ms`, `id`, `user`.
type Row = Option<(bool, i64, String, String)>;

pub(super) async fn check(
    redis: &Redis,
    secret: &CookieSecret,
    now: Timestamp,
    config: &SessionConfig,
) -> Result<Option<Session>> {
    let mut script = CHECK.key(key(redis, &secret.hash()));
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
    add_to_index(redis, user.id, &secret.hash(), now, config).await?;
    let user = serde_json::to_string(user).or_internal()?;
    let mut script = CREATE.key(key(redis, &secret.hash()));
    script.arg(now.as_millisecond()).arg(ms(config.idle_timeout)).arg(ms(config.expired_retention));
    from_row(redis.run_script(script.arg(ms(config.lifetime)).arg(id).arg(user)).await?)
}

/// Ends the session whose secret has this hash. Where there is none, only `prevents_creation` leaves a mark.
pub(super) async fn end(redis: &Redis, hash: &str, prevents_creation: bool, config: &SessionConfig) -> Result<()> {
    let mut script = END.key(key(redis, hash));
    script.arg(ms(config.attempt_lifetime) * 2).arg(u8::from(prevents_creation));
    let user: Option<String> = redis.run_script(&script).await?;
    let Some(user) = user else { return Ok(()) };
    let user: User = serde_json::from_str(&user).or_internal()?;
    redis.run(redis::cmd("ZREM").arg(index_key(redis, user.id)).arg(hash)).await
}

/// Ends every session of a user.
pub(super) async fn end_all(redis: &Redis, user_id: i64, config: &SessionConfig) -> Result<()> {
    let hashes: Vec<String> = redis.run(redis::cmd("ZRANGE").arg(index_key(redis, user_id)).arg(0).arg(-1)).await?;
    for hash in hashes {
        // A session that is just being created must not survive it.
        end(redis, &hash, true, config).await?;
    }
    Ok(())
}

/// The sessions of a user.
pub(super) async fn of_user(redis: &Redis, user_id: i64, now: Timestamp) -> Result<Vec<Session>> {
    let hashes: Vec<String> = redis.run(redis::cmd("ZRANGE").arg(index_key(redis, user_id)).arg(0).arg(-1)).await?;
    let mut sessions = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let mut read = redis::cmd("HMGET");
        read.arg(key(redis, &hash)).arg(&["expires_ms", "id", "user"]);
        let (expires_ms, id, user): (Option<i64>, Option<String>, Option<String>) = redis.run(&read).await?;
        // An entry of the index without a session means nothing.
        if let (Some(expires_ms), Some(id), Some(user)) = (expires_ms, id, user) {
            sessions.extend(from_row(Some((expires_ms > now.as_millisecond(), expires_ms, id, user)))?);
        }
    }
    Ok(sessions)
}

/// Ends the oldest sessions of a user who has more than the limit. Sessions that expired because they were not used leave the index
/// first, so that they are not counted.
async fn add_to_index(redis: &Redis, user_id: i64, hash: &str, now: Timestamp, config: &SessionConfig) -> Result<()> {
    let (index, unused_ms) = (index_key(redis, user_id), ms(config.idle_timeout + config.expired_retention));
    let add = async |unused_ms: u64, gone: &[String]| -> Result<(Vec<String>, Vec<String>)> {
        let mut script = INDEX.key(&index);
        script.arg(hash).arg(now.as_millisecond()).arg(ms(config.lifetime)).arg(config.max_per_user);
        redis.run_script(script.arg(unused_ms).arg(gone)).await
    };
    let (mut surplus, unused) = add(unused_ms, &[]).await?;
    if !unused.is_empty() {
        let mut gone = Vec::new();
        for hash in unused {
            let exists: bool = redis.run(redis::cmd("EXISTS").arg(key(redis, &hash))).await?;
            if !exists {
                gone.push(hash);
            }
        }
        // None is older than its lifetime.
        (surplus, _) = add(ms(config.lifetime) + 1, &gone).await?;
    }
    for hash in surplus {
        // A session that is just being created must not survive it.
        end(redis, &hash, true, config).await?;
    }
    Ok(())
}

fn key(redis: &Redis, hash: &str) -> RedisKey {
    redis.key(hash, "session")
}

fn index_key(redis: &Redis, user_id: i64) -> RedisKey {
    redis.key(&format!("user-{user_id}"), "sessions")
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
