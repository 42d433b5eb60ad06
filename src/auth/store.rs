//! Login attempts in Redis, and what may be used once: hashes of login data, tokens of forms.
//!
//! An attempt is one key, named by its public token; every step is one script, so that two presses, two polls or two
//! instances at the same moment agree. Its states: `new`, `asked` (somebody pressed START), `approved`, `claimed` (a browser
//! has the session), `denied`.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::Script;

use super::attempt::{Attempt, AttemptState, Decision};
use crate::foundation::error::{Result, ResultExt};
use crate::platform::redis::{Redis, RedisKey};
use crate::session::User;

/// After an approval the browser has at least this long to claim its session.
const LEAST_CLAIM_MS: u64 = 60_000;

/// user → {word, code, choices, browser, address, created_ms}
static ASK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'code', 'choices', 'browser', 'address', 'created_ms') \
         if not a[1] then return false end \
         if a[2] and a[2] ~= ARGV[1] then return {'taken', '', '', '', '', 0} end \
         if a[1] == 'new' then redis.call('hset', KEYS[1], 'state', 'asked', 'asked_by', ARGV[1]) a[1] = 'asked' end \
         return {a[1], a[3], a[4], a[5], a[6], tonumber(a[7])}",
    )
});

/// user, code ('' is No) → word
static PRESS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'code') \
         if not a[1] then return 'gone' end \
         if a[2] ~= ARGV[1] then return 'foreign' end \
         if a[1] ~= 'asked' then return a[1] end \
         if ARGV[2] == a[3] then return 'right' end \
         redis.call('hset', KEYS[1], 'state', 'denied') \
         if ARGV[2] == '' then return 'refused' end \
         return 'wrong'",
    )
});

/// user, user as JSON, session id, least milliseconds → {word, session id}
static APPROVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local a = redis.call('hmget', KEYS[1], 'state', 'asked_by', 'session_id') \
         if not a[1] then return {'gone', ''} end \
         if a[1] == 'denied' then return {'denied', ''} end \
         if a[2] and a[2] ~= ARGV[1] then return {'foreign', ''} end \
         if a[3] then return {'approved', a[3]} end \
         redis.call('hset', KEYS[1], 'state', 'approved', 'asked_by', ARGV[1], 'user', ARGV[2], 'session_id', ARGV[3]) \
         if redis.call('pttl', KEYS[1]) < tonumber(ARGV[4]) then redis.call('pexpire', KEYS[1], ARGV[4]) end \
         return {'approved', ARGV[3]}",
    )
});

/// → nothing
static CLAIMED: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('exists', KEYS[1]) == 1 then redis.call('hset', KEYS[1], 'state', 'claimed') end")
});

/// whose → whether it was
static USE_FORM: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('del', KEYS[1])")
});

fn key(kv: &Redis, token: &str) -> RedisKey {
    kv.key(token, "attempt")
}

pub(super) async fn begin(kv: &Redis, attempt: &Attempt, lifetime: Duration) -> Result<()> {
    let choices = serde_json::to_string(&attempt.choices).or_internal()?;
    let key = key(kv, &attempt.token);
    let mut set = redis::cmd("HSET");
    set.arg(&key).arg("state").arg("new").arg("code").arg(&attempt.code).arg("choices").arg(choices);
    set.arg("browser").arg(&attempt.browser).arg("address").arg(&attempt.address);
    set.arg("created_ms").arg(attempt.created_at.as_millisecond());
    let mut expire = redis::cmd("PEXPIRE");
    expire.arg(&key).arg(ms(lifetime));
    kv.run_atomically(&set, &expire).await
}

/// The attempt as a page shows it, with how far it got.
pub(super) async fn look(kv: &Redis, token: &str) -> Result<Option<(Attempt, AttemptState)>> {
    let mut row: HashMap<String, String> = kv.run(redis::cmd("HGETALL").arg(key(kv, token))).await?;
    if row.is_empty() {
        return Ok(None);
    }
    let mut of = |name: &str| row.remove(name).unwrap_or_default();
    let created_ms = of("created_ms").parse().or_internal()?;
    let attempt = attempt(token, of("code"), &of("choices"), of("browser"), of("address"), created_ms)?;
    let state = of("state");
    let progress = match state.as_str() {
        "denied" => AttemptState::Denied,
        "approved" | "claimed" => {
            let user = serde_json::from_str(&of("user")).or_internal()?;
            AttemptState::Approved { user, session_id: of("session_id"), is_claimed: state == "claimed" }
        }
        _ => AttemptState::Pending,
    };
    Ok(Some((attempt, progress)))
}

/// Marks that this user was asked; `Ok(None)` when there is no such attempt any more.
pub(super) async fn ask(kv: &Redis, token: &str, user_id: i64) -> Result<Option<(Decision, Option<Attempt>)>> {
    type Row = Option<(String, String, String, String, String, i64)>;
    let row: Row = kv.run_script(ASK.key(key(kv, token)).arg(user_id)).await?;
    let Some((word, code, choices, browser, address, created_ms)) = row else { return Ok(None) };
    let decision = Decision::of(&word)?;
    let attempt = match decision {
        Decision::Foreign => None,
        _ => Some(attempt(token, code, &choices, browser, address, created_ms)?),
    };
    Ok(Some((decision, attempt)))
}

/// `code` is what was pressed, `None` for No.
pub(super) async fn press(kv: &Redis, token: &str, user_id: i64, code: Option<&str>) -> Result<Decision> {
    let word: String = kv.run_script(PRESS.key(key(kv, token)).arg(user_id).arg(code.unwrap_or_default())).await?;
    Decision::of(&word)
}

/// Returns what became of it, and the session's id, which an earlier approval decided.
pub(super) async fn approve(kv: &Redis, token: &str, user: &User, session_id: &str) -> Result<(Decision, String)> {
    let json = serde_json::to_string(user).or_internal()?;
    let mut script = APPROVE.key(key(kv, token));
    let row: (String, String) =
        kv.run_script(script.arg(user.id).arg(json).arg(session_id).arg(LEAST_CLAIM_MS)).await?;
    Ok((Decision::of(&row.0)?, row.1))
}

pub(super) async fn mark_claimed(kv: &Redis, token: &str) -> Result<()> {
    kv.run_script(&CLAIMED.key(key(kv, token))).await
}

/// Ends an attempt, whatever its state.
pub(super) async fn end(kv: &Redis, token: &str) -> Result<()> {
    kv.run(redis::cmd("DEL").arg(key(kv, token))).await
}

/// Uses up the hash of login data; `false` when it was used before.
pub(super) async fn use_hash(kv: &Redis, hash: &str, lifetime: Duration) -> Result<bool> {
    let mut set = redis::cmd("SET");
    let done: Option<String> =
        kv.run(set.arg(kv.key(hash, "login")).arg(1).arg("NX").arg("PX").arg(ms(lifetime))).await?;
    Ok(done.is_some())
}

/// Whether login data was used up.
pub(super) async fn is_used(kv: &Redis, hash: &str) -> Result<bool> {
    kv.run(redis::cmd("EXISTS").arg(kv.key(hash, "login"))).await
}

/// Takes that back: nothing came of it.
pub(super) async fn spare_hash(kv: &Redis, hash: &str) -> Result<()> {
    kv.run(redis::cmd("DEL").arg(kv.key(hash, "login"))).await
}

/// Notes the token of a form and whose browser it was made for.
pub(super) async fn begin_form(kv: &Redis, token: &str, whose: &str, lifetime: Duration) -> Result<()> {
    kv.run(redis::cmd("SET").arg(kv.key(token, "form")).arg(whose).arg("PX").arg(ms(lifetime))).await
}

/// Uses up the token of a form when it is this browser's; another's try leaves it.
pub(super) async fn use_form(kv: &Redis, token: &str, whose: &str) -> Result<bool> {
    kv.run_script(USE_FORM.key(kv.key(token, "form")).arg(whose)).await
}

fn attempt(
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
