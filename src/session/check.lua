-- Returns {is_active, expires_ms, id, user} of a session and slides its expiry; false when there is no such session.
-- KEYS[1]: the session. ARGV: now (ms since 1970), idle timeout (ms), retention of an expired session (ms).
local session = redis.call('hmget', KEYS[1], 'expires_ms', 'ends_ms', 'id', 'user')
if not session[1] then return false end
local now = tonumber(ARGV[1])
if tonumber(session[1]) <= now then return {0, tonumber(session[1]), session[3], session[4]} end
local expires = math.min(now + tonumber(ARGV[2]), tonumber(session[2]))
redis.call('hset', KEYS[1], 'expires_ms', string.format('%.0f', expires))
redis.call('pexpire', KEYS[1], string.format('%.0f', expires - now + tonumber(ARGV[3])))
return {1, expires, session[3], session[4]}
