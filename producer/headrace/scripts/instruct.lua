-- A live worker will quiet or stop: it sees what is wanted of it with its next renewal.
--
-- KEYS[1]  zset  workers
-- KEYS[2]  hash  worker:<name>
-- ARGV[1]  text  the worker's name
-- ARGV[2]  text  `quiet` or `stop`
--
-- Returns  1  when it will see that
-- Returns  0  when it is unknown or fenced, or its lease has expired; nothing happened
--
-- A worker that is to stop is not made to go on by a later `quiet`. It adds first, so a full server refuses it.
--@ include _time
local workers, worker, name, wanted = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local ends, now = redis.call('ZSCORE', workers, name), now_ms()
local known, fenced, before = unpack(redis.call('HMGET', worker, 'app', 'fenced', 'wanted'), 1, 3)
if not known or fenced or not ends or tonumber(ends) <= now then
  return 0
end
if before ~= 'stop' then
  redis.call('HSET', worker, 'wanted', wanted)
end
return 1
