-- A delayed event is due at another time; any other event stays as it is.
--
-- KEYS[1]  zset  due
-- KEYS[2]  hash  the event's record
-- KEYS[3]  list  wake
-- ARGV[1]  map   the arguments:
--   id    text  the event's id
--   when  text  `+<ms>` from now, or `<ms>` since 1970
--
-- Returns  'delayed'    when it is due at that time
-- Returns  'delivered'  when it was delivered already; nothing happened
-- Returns  'canceled'   when it is canceled; nothing happened
-- Returns  'missing'    when no such event is known
-- Returns  'damaged'    when its header can't be read; nothing happened
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local due, record, wake = KEYS[1], KEYS[2], KEYS[3]
local header = redis.call('HGET', record, 'm')
if not header then
  return 'missing'
end
local before, delivered, canceled, after = string.match(header, '^(%S+ %a) %d+ (%d+) (%d+) (%S+)$')
if not before then
  return 'damaged'
end
if canceled ~= '0' then
  return 'canceled'
end
if delivered ~= '0' then
  return 'delivered'
end
local due_ms = tonumber(args.when)
if string.sub(args.when, 1, 1) == '+' then
  due_ms = now + due_ms
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
redis.call('LLEN', wake)
local denied = lacking(due, 'HSET', 'ZADD')
if denied then
  return denied
end
redis.call('ZREM', due, '')
redis.call('HSET', record, 'm', before .. ' ' .. text(due_ms) .. ' 0 0 ' .. after)
redis.call('ZADD', due, text(due_ms), 'e:' .. args.id)
-- If the earliest member is due already, its wake-up may have been lost.
if (not head or due_ms < tonumber(head) or tonumber(head) <= now) and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
return 'delayed'
