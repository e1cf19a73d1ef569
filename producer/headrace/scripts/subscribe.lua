-- The app's subscriptions are registered: they count while no worker of the app lives, until a worker starts that has them or new ones; every group of its queues exists.
--
-- KEYS[1]   hash    routes:<app>
-- KEYS[2]   int     routes:version
-- KEYS[3]   set     queues
-- KEYS[4]   stream  wake-up:<app>
-- KEYS[5..] stream  the queues of the app
-- ARGV[1]   map     the arguments:
--   fingerprint  text  that of the subscriptions
--   queues       list  the name of each queue, `<app>/<queue>`
-- ARGV[2]   bytes   the subscriptions
--
-- Returns  'live'        when a live worker has them: they count already, and no others are registered any more
-- Returns  'waiting'     when live workers have others, which count until the last of these workers has left
-- Returns  'known'       when they were registered already, and no worker lives
-- Returns  'registered'  when they count from now on
--
-- It adds first, so a full server refuses it before anything is written.
--@ include _keys
--@ include _rights
--@ include _group
local args = cmsgpack.unpack(ARGV[1])
local fingerprint = args.fingerprint
local routes, routes_version, queues, wake_up = next_key(), next_key(), next_key(), next_key()
local app_queues = take_keys()
local denied = lacking(wake_up, 'HSET', 'INCR', 'HDEL', 'SADD')
if denied then
  return denied
end
redis.call('GET', routes_version)
redis.call('SCARD', queues)
for _, queue in ipairs(app_queues) do
  redis.call('XLEN', queue)
end
local known, registered, is_live, others_live = false, false, false, false
local fields = redis.call('HGETALL', routes)
for i = 1, #fields, 2 do
  local field, value = fields[i], fields[i + 1]
  if field == 'registered' then
    registered = value
  elseif field == 'n:' .. fingerprint then
    known = true
  elseif string.sub(field, 1, 2) == 'w:' then
    is_live, others_live = is_live or value == fingerprint, others_live or value ~= fingerprint
  end
end

local refused = make_group(wake_up, 'wake-up')
for _, queue in ipairs(app_queues) do
  refused = refused or make_group(queue, 'workers')
end
if refused then
  return refused
end
for _, queue in ipairs(args.queues) do
  redis.call('SADD', queues, queue)
end
if is_live then
  redis.call('HDEL', routes, 'registered')
  return 'live'
end
if not known then
  redis.call('HSET', routes, 'n:' .. fingerprint, redis.call('INCR', routes_version), 's:' .. fingerprint, ARGV[2])
elseif registered ~= fingerprint and not others_live then
  redis.call('INCR', routes_version)
end
redis.call('HSET', routes, 'registered', fingerprint)
if others_live then
  return 'waiting'
end
return registered == fingerprint and 'known' or 'registered'
