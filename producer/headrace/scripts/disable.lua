-- A job is disabled: no event that is dispatched from now on makes a run of it; runs that it has go on.
--
-- KEYS[1]  hash  routes:<app>
-- KEYS[2]  int   routes:version
-- ARGV[1]  text  the job's id
-- ARGV[2]  text  the reason; empty: none is given, and the one that is stored stays
--
-- Returns  {'none'}            when the app has no subscriptions; nothing happened
-- Returns  {'known', said}     when it was disabled already; said: since when in ms, a space, the reason
-- Returns  {'disabled', said}  when it is disabled from now on
--
-- The version is increased first, so no dispatcher goes on with the routes that it knows.
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
local routes, routes_version, reason = KEYS[1], KEYS[2], ARGV[2]
local field, fields, known, is_there = 'x:' .. ARGV[1], redis.call('HGETALL', routes), nil, false
for i = 1, #fields, 2 do
  if fields[i] == field then
    known = fields[i + 1]
  end
  is_there = is_there or string.sub(fields[i], 1, 2) == 's:'
end
if not is_there then
  return { 'none' }
end
redis.call('GET', routes_version)
local denied = lacking(routes, 'HDEL', 'INCR', 'HSET')
if denied then
  return denied
end
local since = known and string.match(known, '^%d+') or text(now_ms())
local said = (known and reason == '') and known or since .. ' ' .. reason

redis.call('HDEL', routes, '')
if not known then
  redis.call('INCR', routes_version)
end
redis.call('HSET', routes, field, said)
return { known and 'known' or 'disabled', said }
