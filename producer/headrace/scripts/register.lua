-- The worker has a lease, its app's subscriptions are stored under their fingerprint, and every group that it reads exists.
--
-- KEYS[1]   zset    workers
-- KEYS[2]   hash    worker:<name>
-- KEYS[3]   hash    routes:<app>
-- KEYS[4]   int     routes:version
-- KEYS[5]   set     queues
-- KEYS[6]   stream  events
-- KEYS[7]   stream  wake-up:<app>
-- KEYS[8..] stream  the queues of the app
-- ARGV[1]   text    the worker's name
-- ARGV[2]   ms      lease
-- ARGV[3]   text    app
-- ARGV[4]   text    fingerprint of the subscriptions
-- ARGV[5]   bytes   the subscriptions
-- ARGV[6..] text    name of each queue, `<app>/<queue>`
--
-- Returns  the version of the routes; it is increased only when a fingerprint gets its first live worker
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _chunks
local name, app, fingerprint, lease_end = ARGV[1], ARGV[3], ARGV[4], text(now_ms() + tonumber(ARGV[2]))
local denied = lacking(KEYS[6], 'HSET', 'INCR', 'HDEL', 'ZADD', 'SADD')
if denied then
  return denied
end
redis.call('ZREM', KEYS[1], '')
redis.call('HEXISTS', KEYS[2], 'app')
redis.call('GET', KEYS[4])
redis.call('SCARD', KEYS[5])
for i = 6, #KEYS do
  redis.call('XLEN', KEYS[i])
end
local forgettable, alive, held, known, gone = {}, {}, {}, false, {}
local fields = redis.call('HGETALL', KEYS[3])
for i = 1, #fields, 2 do
  local kind, other = string.match(fields[i], '^([wd]:)(.*)$')
  if kind == 'w:' then
    alive[fields[i + 1]], held[fields[i + 1]] = true, true
  elseif kind and redis.call('ZSCORE', KEYS[1], other) then
    held[fields[i + 1]] = true
  elseif kind then
    gone[#gone + 1] = fields[i]
  end
end
for i = 1, #fields, 2 do
  local print = string.match(fields[i], '^n:(.*)$')
  known = known or print == fingerprint
  if print and not held[print] and print ~= fingerprint then
    forgettable[#forgettable + 1] = { tonumber(fields[i + 1]) or 0, print }
  end
end
table.sort(forgettable, function(a, b) return a[1] > b[1] end)

local function group(stream, group_name)
  local made = redis.pcall('XGROUP', 'CREATE', stream, group_name, '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP') then
    return made
  end
end
local refused = group(KEYS[6], 'dispatch') or group(KEYS[7], 'wake-up')
for i = 8, #KEYS do
  refused = refused or group(KEYS[i], 'workers')
end
if refused then
  return refused
end

if not known then
  redis.call('HSET', KEYS[3], 'n:' .. fingerprint, redis.call('INCR', KEYS[4]), 's:' .. fingerprint, ARGV[5])
elseif not alive[fingerprint] then
  redis.call('INCR', KEYS[4])
end
redis.call('HSET', KEYS[3], 'w:' .. name, fingerprint)
call_in_chunks('HDEL', KEYS[3], gone)
for i = 21, #forgettable do
  redis.call('HDEL', KEYS[3], 'n:' .. forgettable[i][2], 's:' .. forgettable[i][2])
end
redis.call('HSET', KEYS[2], 'app', app, 'fingerprint', fingerprint, 'queues', table.concat(ARGV, ' ', 6))
redis.call('ZADD', KEYS[1], lease_end, name)
for i = 6, #ARGV do
  redis.call('SADD', KEYS[5], ARGV[i])
end
return redis.call('GET', KEYS[4])
