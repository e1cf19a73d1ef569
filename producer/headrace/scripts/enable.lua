-- A job that was disabled is enabled: events that are dispatched from now on make runs of it again.
--
-- KEYS[1]  hash  routes:<app>
-- KEYS[2]  int   routes:version
-- ARGV[1]  text  the job's id
--
-- Returns  said   since when in ms it was disabled, a space, the reason
-- Returns  false  when it was not disabled; nothing happened
--
-- It frees first, so a full server lets it pass.
--@ include _rights
local field = 'x:' .. ARGV[1]
local said = redis.call('HGET', KEYS[1], field)
if not said then
  return false
end
redis.call('GET', KEYS[2])
local denied = lacking(KEYS[1], 'HDEL', 'INCR')
if denied then
  return denied
end

redis.call('HDEL', KEYS[1], field)
redis.call('INCR', KEYS[2])
return said
