-- The lease, dispatcher slot and leadership of a worker that is known to be dead have ended, and the leader is woken to rescue.
--
-- KEYS[1]  zset    workers
-- KEYS[2]  hash    worker:<name>
-- KEYS[3]  zset    dispatchers
-- KEYS[4]  string  leader
-- KEYS[5]  list    wake
-- ARGV[1]  text    the worker's name
--
-- Returns  1  when its lease has ended
-- Returns  0  when it had no lease, or is fenced already; nothing happened
--
-- It frees first, so a full server lets it pass.
--@ include _rights
local name = ARGV[1]
if not redis.call('ZSCORE', KEYS[1], name) or redis.call('HEXISTS', KEYS[2], 'fenced') == 1 then
  return 0
end
local leader = string.match(redis.call('GET', KEYS[4]) or '', '^(%S+)')
redis.call('LLEN', KEYS[5])
local denied = lacking(KEYS[3], 'ZADD', 'DEL')
if denied then
  return denied
end

redis.call('ZREM', KEYS[3], name)
if leader == name then
  redis.call('DEL', KEYS[4])
end
redis.call('ZADD', KEYS[1], 0, name)
redis.call('DEL', KEYS[5])
redis.pcall('LPUSH', KEYS[5], 'lease')
return 1
