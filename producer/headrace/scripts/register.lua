-- The worker has a lease, its app's subscriptions are stored under their fingerprint, and every group that it reads exists.
--
-- KEYS[1]   zset    workers
-- KEYS[2]   hash    worker:<name>
-- KEYS[3]   hash    routes:<app>
-- KEYS[4]   int     routes:version
-- KEYS[5]   set     queues
-- KEYS[6]   stream  events
-- KEYS[7]   stream  wake-up:<app>
-- KEYS[8]   hash    controls
-- KEYS[9..] stream  the queues of the app
-- ARGV[1]   map     the arguments:
--   worker         text   the worker's name
--   lease          ms     how long its lease is
--   app            text   the app's name
--   fingerprint    text   that of the subscriptions
--   queues         list   the name of each queue, `<app>/<queue>`
--   served         list   the names of those from which the worker takes runs
-- ARGV[2]   bytes   the subscriptions
--
-- Returns  the version of the routes; it is increased only when a fingerprint gets its first live worker
--
-- A queue that the controls want closed is closed, also where its group had to be made again.
-- Subscriptions that were registered before (`subscribe`) have done their part once a worker has them, or newer ones.
-- It frees first, so a full server lets it pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _closed
--@ include _group
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local name, fingerprint = args.worker, args.fingerprint
local workers, worker, routes, routes_version, queues = next_key(), next_key(), next_key(), next_key(), next_key()
local events, wake_up, controls = next_key(), next_key(), next_key()
local app_queues = take_keys()
local denied = lacking(events, 'HSET', 'INCR', 'HDEL', 'ZADD', 'SADD', 'XGROUP SETID')
if denied then
  return denied
end
redis.call('ZREM', workers, '')
redis.call('HEXISTS', worker, 'app')
redis.call('GET', routes_version)
redis.call('SCARD', queues)
redis.call('XLEN', events)
redis.call('XLEN', wake_up)
local closed = {}
for i, queue in ipairs(app_queues) do
  redis.call('XLEN', queue)
  local paused, limit = unpack(redis.call('HMGET', controls, 'p:' .. args.queues[i], 'l:' .. args.queues[i]), 1, 2)
  closed[i] = paused or tonumber(limit)
end
local forgettable, alive, in_use, known, gone = {}, {}, {}, false, {}
local registered = redis.call('HGET', routes, 'registered')
if registered then
  in_use[registered] = true
end
local fields = redis.call('HGETALL', routes)
for i = 1, #fields, 2 do
  local kind, other = string.match(fields[i], '^([wd]:)(.*)$')
  if kind == 'w:' then
    alive[fields[i + 1]], in_use[fields[i + 1]] = true, true
  elseif kind and redis.call('ZSCORE', workers, other) then
    in_use[fields[i + 1]] = true
  elseif kind then
    gone[#gone + 1] = fields[i]
  end
end
for i = 1, #fields, 2 do
  local print = string.match(fields[i], '^n:(.*)$')
  known = known or print == fingerprint
  if print and not in_use[print] and print ~= fingerprint then
    forgettable[#forgettable + 1] = { tonumber(fields[i + 1]) or 0, print }
  end
end
table.sort(forgettable, function(a, b) return a[1] > b[1] end)
if registered == fingerprint or (registered and not known) then
  gone[#gone + 1] = 'registered'
end

local refused = make_group(events, 'dispatch') or make_group(wake_up, 'wake-up')
for i, queue in ipairs(app_queues) do
  refused = refused or make_group(queue, 'workers')
  if not refused and closed[i] then
    local answer = close_queue(queue)
    refused = answer.err and answer
  end
end
if refused then
  return refused
end

if not known then
  redis.call('HSET', routes, 'n:' .. fingerprint, redis.call('INCR', routes_version), 's:' .. fingerprint, ARGV[2])
elseif not alive[fingerprint] then
  redis.call('INCR', routes_version)
end
redis.call('HSET', routes, 'w:' .. name, fingerprint)
call_in_chunks('HDEL', routes, gone)
for i = 21, #forgettable do
  redis.call('HDEL', routes, 'n:' .. forgettable[i][2], 's:' .. forgettable[i][2])
end
redis.call('HSET', worker, 'app', args.app, 'fingerprint', fingerprint, 'queues', table.concat(args.served, ' '))
redis.call('ZADD', workers, text(now + args.lease), name)
for _, queue in ipairs(args.queues) do
  redis.call('SADD', queues, queue)
end
return redis.call('GET', routes_version)
