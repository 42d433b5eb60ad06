-- Creates a session, or finds it when it exists; returns {is_active, expires_ms, id, user}, or false for one that a logout ended.
-- KEYS[1]: the session. ARGV: now (ms since 1970), idle timeout (ms), retention of an expired session (ms), lifetime (ms), id,
-- user (JSON).
local session = redis.call('hmget', KEYS[1], 'expires_ms', 'id', 'user', 'ended')
if session[4] then return false end
if session[1] then return {1, tonumber(session[1]), session[2], session[3]} end
local now = tonumber(ARGV[1])
local ends = now + tonumber(ARGV[4])
local expires = math.min(now + tonumber(ARGV[2]), ends)
redis.call('hset', KEYS[1], 'expires_ms', string.format('%.0f', expires), 'ends_ms', string.format('%.0f', ends),
  'id', ARGV[5], 'user', ARGV[6])
redis.call('pexpire', KEYS[1], string.format('%.0f', expires - now + tonumber(ARGV[3])))
return {1, expires, ARGV[5], ARGV[6]}
