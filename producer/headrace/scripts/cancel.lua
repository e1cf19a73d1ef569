-- A delayed event is gone from `due` and its record says canceled; so, if that is asked for, does that of one which no dispatcher has handled yet; any other event stays as it is.
--
-- KEYS[1]   zset  due
-- KEYS[2]   hash  the event's record
-- KEYS[3]   zset  fading
-- ARGV[1]   map   the arguments:
--   policy   map   how long records stay, see `_close.lua`
--   id       text  the event's id
--   pending  bool  cancel it also if it was delivered and has no runs yet: its dispatch makes none then
--   keep     ms    how long the record of such an event stays at least: without it the entry would make the event anew
--
-- Returns  {'canceled', time}    when it is canceled, now or before: since when, in ms
-- Returns  {'delivered'}         when it was delivered already; nothing happened
-- Returns  {'missing'}           when no such event is known
-- Returns  {'damaged'}           when its header can't be read; nothing happened
--
-- It frees first, so a full server lets it pass. The record is written before `due`, so that a missing right can't
-- leave an event that is out of `due` while its record says that it will be delivered.
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _close
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local due, record, fading, id = KEYS[1], KEYS[2], KEYS[3], args.id
local stored = redis.call('HMGET', record, 'm', 'w')
local header = stored[1]
if not header then
  return { 'missing' }
end
local token, kind, due_ms, delivered, canceled, counted = string.match(header, '^(%S+) (%a) (%d+) (%d+) (%d+) (%S+)')
if not canceled then
  return { 'damaged' }
end
if canceled ~= '0' then
  return { 'canceled', canceled }
end
local is_pending = args.pending and delivered ~= '0' and counted == '-'
if delivered ~= '0' and not is_pending then
  return { 'delivered' }
end
local denied = lacking(due, 'HSET', 'PEXPIRE', 'DEL', 'ZADD')
if denied then
  return denied
end
redis.call('ZRANGE', fading, 0, 0)
redis.call('ZREM', due, '')
canceled = text(now)
header = token .. ' ' .. kind .. ' ' .. due_ms .. ' ' .. delivered .. ' ' .. canceled .. ' 0'
redis.call('HSET', record, 'm', header)
if is_pending then
  redis.call('PEXPIRE', record, args.keep)
  if stored[2] then
    redis.pcall('PUBLISH', args.policy.channel .. id, '')
  end
  return { 'canceled', canceled }
end
redis.call('ZREM', due, 'e:' .. id)
local close, let_fade = closing(args.policy, now, fading)
close(record, header, false, stored[2], id)
let_fade()
return { 'canceled', canceled }
