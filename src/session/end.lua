-- Ends a session and leaves a mark, so that a concurrent login does not create it again. Returns its user (JSON), or false.
-- KEYS[1]: the session. ARGV: for how long the mark stays (ms), 1 to leave the mark even where no session exists yet.
local session = redis.call('hmget', KEYS[1], 'expires_ms', 'user')
if not session[1] and ARGV[2] ~= '1' then return false end
redis.call('del', KEYS[1])
redis.call('hset', KEYS[1], 'ended', 1)
redis.call('pexpire', KEYS[1], ARGV[1])
return session[2]
