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
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
local name, dead = ARGV[1], ARGV[2] == '1'
local workers, worker, dispatchers, leader, routes = next_key(), next_key(), next_key(), next_key(), next_key()
local routes_version, events = next_key(), next_key()
local queues = take_keys()
if dead then
  local look = redis.call('ZSCORE', workers, name)
  local fenced, known = unpack(redis.call('HMGET', worker, 'fenced', 'app'), 1, 2)
  if (look or known or fenced) and (not fenced or (look and tonumber(look) > now_ms())) then
    return 0
  end
end
local function pending_in(stream, group)
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1, name)
  if pending.err and string.find(pending.err, 'NOGROUP') then
    return {}
  end
  return pending
end
local pending = pending_in(events, 'dispatch')
for _, queue in ipairs(queues) do
  if pending.err or #pending > 0 then
    break
  end
  pending = pending_in(queue, 'workers')
end
if pending.err then
  return pending
end
if #pending > 0 then
  return 0
end
redis.call('HEXISTS', worker, 'app')
redis.call('ZCARD', dispatchers)
redis.call('GET', routes_version)
local leads = string.match(redis.call('GET', leader) or '', '^(%S+)') == name
local prefix, fingerprint = 'w:', redis.call('HGET', routes, 'w:' .. name)
if not fingerprint then
  prefix, fingerprint = 'd:', redis.call('HGET', routes, 'd:' .. name)
end
-- Counts the app's other workers, live and dead, and those of them with the same subscriptions.
local others, same, dead_fields = { ['w:'] = 0, ['d:'] = 0 }, { ['w:'] = 0, ['d:'] = 0 }, {}
local fields = fingerprint and redis.call('HGETALL', routes) or {}
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
local denied = lacking(events, 'ZREM', 'DEL', 'HDEL', 'HSET', 'INCR')
if denied then
  return denied
end

redis.call('ZREM', workers, name)
redis.call('ZREM', dispatchers, name)
redis.call('DEL', worker)
if leads then
  redis.call('DEL', leader)
end
if fingerprint then
  redis.call('HDEL', routes, prefix .. name)
  if others['w:'] > 0 then
    if prefix == 'w:' and same['w:'] == 0 then
      redis.call('INCR', routes_version)
    end
  elseif prefix == 'w:' or others['d:'] == 0 then -- its subscriptions stay, not those of dead workers
    redis.call('HSET', routes, 'last', fingerprint)
    call_in_chunks('HDEL', routes, dead_fields)
    if prefix == 'w:' and redis.call('HEXISTS', routes, 'registered') == 1 then -- those count from now on
      redis.call('INCR', routes_version)
    end
  elseif same['d:'] == 0 then
    redis.call('INCR', routes_version)
  end
end
redis.pcall('XGROUP', 'DELCONSUMER', events, 'dispatch', name)
for _, queue in ipairs(queues) do
  redis.pcall('XGROUP', 'DELCONSUMER', queue, 'workers', name)
end
return 1
