-- Adds a session to the index of its user. Returns the oldest sessions that exceed the limit, which leave the index, and those that
-- may be gone because they were not used. While there are some of these, nothing is removed for the limit.
-- KEYS[1]: the index, a sorted set of session names by end (ms). ARGV: name, now (ms since 1970), lifetime (ms), limit, how long
-- a session that is not used exists (ms), then names that leave the index first.
if #ARGV > 5 then redis.call('zrem', KEYS[1], unpack(ARGV, 6)) end
redis.call('zremrangebyscore', KEYS[1], '-inf', ARGV[2])
local lifetime_end = tonumber(ARGV[2]) + tonumber(ARGV[3])
redis.call('zadd', KEYS[1], string.format('%.0f', lifetime_end), ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[3])
local unused = redis.call('zrangebyscore', KEYS[1], '-inf', string.format('%.0f', lifetime_end - tonumber(ARGV[5])))
if #unused > 0 then return {{}, unused} end
local surplus = redis.call('zcard', KEYS[1]) - tonumber(ARGV[4])
if surplus <= 0 then return {{}, {}} end
local oldest = redis.call('zrange', KEYS[1], 0, surplus - 1)
redis.call('zremrangebyrank', KEYS[1], 0, surplus - 1)
return {oldest, {}}
