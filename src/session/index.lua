-- Adds a session to the index of its user; returns the oldest sessions that exceed the limit, which leave the index.
-- KEYS[1]: the index, a sorted set of session names by end (ms). ARGV: name, now (ms since 1970), lifetime (ms), limit.
redis.call('zremrangebyscore', KEYS[1], '-inf', ARGV[2])
redis.call('zadd', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + tonumber(ARGV[3])), ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[3])
local surplus = redis.call('zcard', KEYS[1]) - tonumber(ARGV[4])
if surplus <= 0 then return {} end
local oldest = redis.call('zrange', KEYS[1], 0, surplus - 1)
redis.call('zremrangebyrank', KEYS[1], 0, surplus - 1)
return oldest
