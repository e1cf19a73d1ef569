-- A worker without pending entries is forgotten: its lease, dispatcher slot, leadership, consumers and its subscription in its app's routes.
--
-- KEYS[1]   zset    workers
-- KEYS[2]   hash    worker:<name>
-- KEYS[3]   zset    dispatchers
-- KEYS[4]   string  leader
-- KEYS[5]   hash    routes:<app>
-- KEYS[6]   int     routes:version
-- KEYS[7]   stream  events
-- KEYS[8..] stream  the queues of the worker
-- ARGV[1]   text    the worker's name
-- ARGV[2]   0 or 1  1: it died, and is forgotten only if it is fenced and the time of the last look at its name has
--                   come, or if nothing but its consumers is known of it
--
-- Returns  1  when it is forgotten
-- Returns  0  when it has pending entries, or its time has not come; nothing happened
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _chunks
local name, dead = ARGV[1], ARGV[2] == '1'
if dead then
  local look = redis.call('ZSCORE', KEYS[1], name)
  local fenced, known = unpack(redis.call('HMGET', KEYS[2], 'fenced', 'app'), 1, 2)
  if (look or known or fenced) and (not fenced or (look and tonumber(look) > now_ms())) then
    return 0
  end
end
local function group_of(stream)
  return stream == KEYS[7] and 'dispatch' or 'workers'
end
for i = 7, #KEYS do
  local held = redis.pcall('XPENDING', KEYS[i], group_of(KEYS[i]), '-', '+', 1, name)
  if held.err and not string.find(held.err, 'NOGROUP') then
    return held
  end
  if #held > 0 then
    return 0
  end
end
redis.call('HEXISTS', KEYS[2], 'app')
redis.call('ZCARD', KEYS[3])
redis.call('GET', KEYS[6])
local leads = string.match(redis.call('GET', KEYS[4]) or '', '^(%S+)') == name
local prefix, fingerprint = 'w:', redis.call('HGET', KEYS[5], 'w:' .. name)
if not fingerprint then
  prefix, fingerprint = 'd:', redis.call('HGET', KEYS[5], 'd:' .. name)
end
-- Counts the app's other workers, live and dead, and those of them with the same subscriptions.
local others, same, dead_fields = { ['w:'] = 0, ['d:'] = 0 }, { ['w:'] = 0, ['d:'] = 0 }, {}
local fields = fingerprint and redis.call('HGETALL', KEYS[5]) or {}
for i = 1, #fields, 2 do
  local kind = string.sub(fields[i], 1, 2)
  if kind == 'd:' then
    dead_fields[#dead_fields + 1] = fields[i]
  end
  if others[kind] and fields[i] ~= prefix .. name then
    others[kind] = others[kind] + 1
    same[kind] = same[kind] + (fields[i + 1] == fingerprint and 1 or 0)
  end
end
local denied = lacking(KEYS[7], 'ZREM', 'DEL', 'HDEL', 'HSET', 'INCR')
if denied then
  return denied
end

redis.call('ZREM', KEYS[1], name)
redis.call('ZREM', KEYS[3], name)
redis.call('DEL', KEYS[2])
if leads then
  redis.call('DEL', KEYS[4])
end
if fingerprint then
  redis.call('HDEL', KEYS[5], prefix .. name)
  if others['w:'] > 0 then
    if prefix == 'w:' and same['w:'] == 0 then
      redis.call('INCR', KEYS[6])
    end
  elseif prefix == 'w:' or others['d:'] == 0 then -- its subscriptions stay in force, not those of dead workers
    redis.call('HSET', KEYS[5], 'last', fingerprint)
    call_in_chunks('HDEL', KEYS[5], dead_fields)
  elseif same['d:'] == 0 then
    redis.call('INCR', KEYS[6])
  end
end
for i = 7, #KEYS do
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[i], group_of(KEYS[i]), name)
end
return 1
