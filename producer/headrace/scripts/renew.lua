-- The worker's lease holds on from now; so do its seat and the leadership, if it moves and may have them.
--
-- KEYS[1]  zset    workers
-- KEYS[2]  hash    worker:<name>
-- KEYS[3]  string  leader
-- KEYS[4]  zset    seats
-- KEYS[5]  hash    meta
-- KEYS[6]  int     routes:version
-- ARGV[1]  text    the worker's name
-- ARGV[2]  ms      lease
-- ARGV[3]  -1 to 1 1: its event loop moves; 0: it does not; -1: it stops, and gives up seat and leadership at once
-- ARGV[4]  count   seats there are; 0: this worker wants none
--
-- Returns  {'fenced'}                           when the name is fenced or unknown; the worker must take a new one
-- Returns  {'held', leader, seat, version, next_ms, lapsed, dead}
--          leader, seat: 1 when this worker has it; version of the routes; next_ms: until the next lease, seat or
--          leadership may end, or the quiet time after a gap does; lapsed: workers whose seat has
--          ended, dead: whose lease has (both only for the leader, and none in the quiet time)
--
-- It frees first, so a full server lets it pass. Every call marks the time: after a gap of more than half a lease
-- the time is quiet for one lease, in which nobody is rescued, so that the living renew first.
--@ include _time
local name, lease, moves, seats, now = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4]), now_ms()
redis.call('ZREM', KEYS[1], '')
local last, quiet = unpack(redis.call('HMGET', KEYS[5], 'renewed', 'quiet'))
quiet = tonumber(quiet) or 0
local fenced, known = unpack(redis.call('HMGET', KEYS[2], 'fenced', 'app'))
local leader, leads_until = string.match(redis.call('GET', KEYS[3]) or '', '^(%S+) (%d+)$')
leads_until = tonumber(leads_until) or 0
local seat = tonumber(redis.call('ZSCORE', KEYS[4], name) or 0)
local has_room = seat > now or redis.call('ZCOUNT', KEYS[4], '(' .. text(now), '+inf') < seats
local version = redis.call('GET', KEYS[6]) or '0'

if last and now - tonumber(last) > lease / 2 then
  quiet = now + lease
  redis.call('HSET', KEYS[5], 'quiet', text(quiet))
end
redis.call('HSET', KEYS[5], 'renewed', text(now))
if fenced or not known then
  return { 'fenced' }
end
redis.call('ZADD', KEYS[1], text(now + lease), name)
if ARGV[3] == '-1' then
  redis.call('ZREM', KEYS[4], name)
  seat = 0
  if leader == name then
    redis.call('DEL', KEYS[3])
    leader, leads_until = nil, 0
  end
end
if moves and (leader == name or leads_until <= now) then
  leader, leads_until = name, now + lease
  redis.call('SET', KEYS[3], name .. ' ' .. text(leads_until))
end
if moves and seats > 0 and has_room then
  seat = now + lease
  redis.call('ZADD', KEYS[4], text(seat), name)
end
local leads, sits = leader == name and leads_until > now, seat > now

local next_at, lapsed, dead = now + lease, {}, {}
local function sooner(at)
  if at > now then
    next_at = math.min(next_at, at)
  end
end
if leads then
  for key, ended in pairs({ [KEYS[1]] = dead, [KEYS[4]] = lapsed }) do
    if now >= quiet then
      for _, other in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, 16)) do
        ended[#ended + 1] = other
      end
    end
    sooner(tonumber(redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]) or 0)
  end
  sooner(quiet)
else
  sooner(leads_until)
end
return { 'held', leads and 1 or 0, sits and 1 or 0, version, next_at - now, lapsed, dead }
