-- An app of which no worker lives has no subscriptions any more, nor disabled jobs: new events make no runs of its jobs.
--
-- KEYS[1]  hash  routes:<app>
-- KEYS[2]  int   routes:version
--
-- Returns  {'live', worker, …}  when workers of the app live; nothing happened
-- Returns  {'none'}             when it had no subscriptions; nothing happened
-- Returns  {'ended'}            when it had some
--
-- It frees first, so a full server lets it pass.
--@ include _rights
local fields, live = redis.call('HGETALL', KEYS[1]), { 'live' }
for i = 1, #fields, 2 do
  live[#live + 1] = string.match(fields[i], '^w:(.*)$')
end
if #live > 1 then
  return live
end
if #fields == 0 then
  return { 'none' }
end
redis.call('GET', KEYS[2])
local denied = lacking(KEYS[1], 'DEL', 'INCR')
if denied then
  return denied
end

redis.call('DEL', KEYS[1])
redis.call('INCR', KEYS[2])
return { 'ended' }
