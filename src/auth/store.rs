//! Login attempts and one-time tokens in Redis.
//!
//! An attempt is a hash under its public token. Its states: `new`, `asked` (a user pressed START), `approved`, `claimed` (the
//! browser has the session), `denied`. Every step is one script, so that concurrent steps cannot race.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::Script;

use super::attempt::{Attempt, AttemptOutcome, AttemptState};
use crate::foundation::error::{Result, ResultExt};
use crate::platform::redis::{Redis, RedisKey};
use crate::session::User;

/// After an approval the browser has at least this long to claim its session.
const MIN_CLAIM_MS: u64 = 60_000;

/// Binds an attempt to the user who pressed START. ARGV: user id. Returns {word, code, choices, browser, address, created_ms}.
static BIND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'code', 'choices', 'browser', 'address', 'created_ms')
          if not a[1] then return false end
          if a[2] and a[2] ~= ARGV[1] then return {'taken', '', '', '', '', 0} end
          if a[1] == 'new' then redis.call('hset', KEYS[1], 'state', 'asked', 'asked_by', ARGV[1]) a[1] = 'asked' end
          return {a[1], a[3], a[4], a[5], a[6], tonumber(a[7])}",
    )
});

/// Checks the pressed number; a wrong one denies the attempt. ARGV: user id, code (empty: No). Returns the word.
static SUBMIT_CODE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'code')
          if not a[1] then return 'gone' end
          if a[2] ~= ARGV[1] then return 'foreign' end
          if a[1] ~= 'asked' then return a[1] end
          if ARGV[2] == a[3] then return 'right' end
          redis.call('hset', KEYS[1], 'state', 'denied')
          if ARGV[2] == '' then return 'refused' end
          return 'wrong'",
    )
});

/// Approves an attempt once. ARGV: user id, user (JSON), session id, minimum lifetime (ms). Returns {word, session id}.
static APPROVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'session_id')
          if not a[1] then return {'gone', ''} end
          if a[1] == 'denied' then return {'denied', ''} end
          if a[2] and a[2] ~= ARGV[1] then return {'foreign', ''} end
          if a[3] then return {'approved', a[3]} end
          redis.call('hset', KEYS[1], 'state', 'approved', 'asked_by', ARGV[1], 'user', ARGV[2], 'session_id', ARGV[3])
          if redis.call('pttl', KEYS[1]) < tonumber(ARGV[4]) then redis.call('pexpire', KEYS[1], ARGV[4]) end
          return {'approved', ARGV[3]}",
    )
});

/// Unlike a bare HSET it does not create an attempt that has expired.
static MARK_CLAIMED: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('exists', KEYS[1]) == 1 then redis.call('hset', KEYS[1], 'state', 'claimed') end")
});

/// Deletes a token if it has the expected binding. ARGV: binding. Returns the number of deleted keys.
static USE_FORM_TOKEN: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('del', KEYS[1])")
});

pub(super) async fn create(redis: &Redis, attempt: &Attempt, lifetime: Duration) -> Result<()> {
    let choices = serde_json::to_string(&attempt.choices).or_internal()?;
    let key = attempt_key(redis, &attempt.token);
    let mut set = redis::cmd("HSET");
    set.arg(&key).arg("state").arg("new").arg("code").arg(&attempt.code).arg("choices").arg(choices);
    set.arg("browser").arg(&attempt.browser).arg("address").arg(&attempt.address);
    set.arg("created_ms").arg(attempt.created_at.as_millisecond());
    let mut expire = redis::cmd("PEXPIRE");
    expire.arg(&key).arg(ms(lifetime));
    redis.run_atomically(&set, &expire).await
}

pub(super) async fn find(redis: &Redis, token: &str) -> Result<Option<(Attempt, AttemptState)>> {
    let mut row: HashMap<String, String> = redis.run(redis::cmd("HGETALL").arg(attempt_key(redis, token))).await?;
    if row.is_empty() {
        return Ok(None);
    }
    let mut field = |name: &str| row.remove(name).unwrap_or_default();
    let created_ms = field("created_ms").parse().or_internal()?;
    let attempt = from_fields(token, field("code"), &field("choices"), field("browser"), field("address"), created_ms)?;
    let word = field("state");
    let state = match word.as_str() {
        "denied" => AttemptState::Denied,
        "approved" | "claimed" => {
            let user = serde_json::from_str(&field("user")).or_internal()?;
            AttemptState::Approved { user, session_id: field("session_id"), is_claimed: word == "claimed" }
        }
        _ => AttemptState::Pending,
    };
    Ok(Some((attempt, state)))
}

/// Binds an attempt to a user. The outer `None`: expired; the inner one: bound to another user.
pub(super) async fn bind(
    redis: &Redis,
    token: &str,
    user_id: i64,
) -> Result<Option<(AttemptOutcome, Option<Attempt>)>> {
    type Row = Option<(String, String, String, String, String, i64)>;
    let row: Row = redis.run_script(BIND.key(attempt_key(redis, token)).arg(user_id)).await?;
    let Some((word, code, choices, browser, address, created_ms)) = row else { return Ok(None) };
    let outcome = AttemptOutcome::parse(&word)?;
    let attempt = match outcome {
        AttemptOutcome::OtherUser => None,
        _ => Some(from_fields(token, code, &choices, browser, address, created_ms)?),
    };
    Ok(Some((outcome, attempt)))
}

/// `code` is `None` for the button No.
pub(super) async fn submit_code(
    redis: &Redis,
    token: &str,
    user_id: i64,
    code: Option<&str>,
) -> Result<AttemptOutcome> {
    let mut script = SUBMIT_CODE.key(attempt_key(redis, token));
    let word: String = redis.run_script(script.arg(user_id).arg(code.unwrap_or_default())).await?;
    AttemptOutcome::parse(&word)
}

/// Returns the outcome and the session id: that of an earlier approval if there was one.
pub(super) async fn approve(
    redis: &Redis,
    token: &str,
    user: &User,
    session_id: &str,
) -> Result<(AttemptOutcome, String)> {
    let json = serde_json::to_string(user).or_internal()?;
    let mut script = APPROVE.key(attempt_key(redis, token));
    let (word, session_id): (String, String) =
        redis.run_script(script.arg(user.id).arg(json).arg(session_id).arg(MIN_CLAIM_MS)).await?;
    Ok((AttemptOutcome::parse(&word)?, session_id))
}

pub(super) async fn mark_claimed(redis: &Redis, token: &str) -> Result<()> {
    redis.run_script(&MARK_CLAIMED.key(attempt_key(redis, token))).await
}

/// Whether an attempt exists, in any state.
pub(super) async fn exists(redis: &Redis, token: &str) -> Result<bool> {
    redis.run(redis::cmd("EXISTS").arg(attempt_key(redis, token))).await
}

/// Deletes an attempt in any state.
pub(super) async fn delete(redis: &Redis, token: &str) -> Result<()> {
    redis.run(redis::cmd("DEL").arg(attempt_key(redis, token))).await
}

/// Marks the hash of login data as used; `false` when it was used before.
pub(super) async fn use_hash(redis: &Redis, hash: &str, lifetime: Duration) -> Result<bool> {
    let mut set = redis::cmd("SET");
    let set: Option<String> =
        redis.run(set.arg(hash_key(redis, hash)).arg(1).arg("NX").arg("PX").arg(ms(lifetime))).await?;
    Ok(set.is_some())
}

pub(super) async fn is_hash_used(redis: &Redis, hash: &str) -> Result<bool> {
    redis.run(redis::cmd("EXISTS").arg(hash_key(redis, hash))).await
}

/// Undoes [`use_hash`] after a login that failed.
pub(super) async fn release_hash(redis: &Redis, hash: &str) -> Result<()> {
    redis.run(redis::cmd("DEL").arg(hash_key(redis, hash))).await
}

/// Stores the one-time token of a form with the browser and the data it is bound to.
pub(super) async fn create_form_token(redis: &Redis, token: &str, binding: &str, lifetime: Duration) -> Result<()> {
    redis.run(redis::cmd("SET").arg(form_key(redis, token)).arg(binding).arg("PX").arg(ms(lifetime))).await
}

/// Uses up a form token; `false`, and no effect, when its binding is another one.
pub(super) async fn use_form_token(redis: &Redis, token: &str, binding: &str) -> Result<bool> {
    redis.run_script(USE_FORM_TOKEN.key(form_key(redis, token)).arg(binding)).await
}

fn attempt_key(redis: &Redis, token: &str) -> RedisKey {
    redis.key(token, "attempt")
}

fn hash_key(redis: &Redis, hash: &str) -> RedisKey {
    redis.key(hash, "login")
}

fn form_key(redis: &Redis, token: &str) -> RedisKey {
    redis.key(token, "form")
}

fn from_fields(
    token: &str,
    code: String,
    choices: &str,
    browser: String,
    address: String,
    created_ms: i64,
) -> Result<Attempt> {
    let choices = serde_json::from_str(choices).or_internal()?;
    let created_at = Timestamp::from_millisecond(created_ms).or_internal()?;
    Ok(Attempt { token: token.to_owned(), code, choices, browser, address, created_at })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
