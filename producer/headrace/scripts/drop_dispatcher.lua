-- An expired dispatcher slot is gone, once no late read of its worker can complete any more.
--
-- KEYS[1]  zset    dispatchers
-- KEYS[2]  stream  events
-- ARGV[1]  text    the worker's name
-- ARGV[2]  ms      how long after the slot's end a read of that worker may still be open
--
-- Returns  1  when the slot is gone
-- Returns  0  when the slot has not expired, or only lately, or its worker has pending entries; nothing happened
--
-- It frees first, so a full server lets it pass.
--@ include _time
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) + tonumber(ARGV[2]) > now_ms() then
  return 0
end
local pending = redis.pcall('XPENDING', KEYS[2], 'dispatch', '-', '+', 1, ARGV[1])
if pending.err and not string.find(pending.err, 'NOGROUP') then
  return pending
end
if #pending > 0 then
  return 0
end
return redis.call('ZREM', KEYS[1], ARGV[1])
