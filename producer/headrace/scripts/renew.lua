-- The worker's lease is extended from now; so are its dispatcher slot and the leadership, if the worker moves and may have them.
--
-- KEYS[1]  zset    workers
-- KEYS[2]  hash    worker:<name>
-- KEYS[3]  string  leader
-- KEYS[4]  zset    dispatchers
-- KEYS[5]  hash    meta
-- KEYS[6]  int     routes:version
-- KEYS[7]  zset    fading
-- KEYS[8]  stream  dead
-- ARGV[1]  text    the worker's name
-- ARGV[2]  ms      lease
-- ARGV[3]  -1 to 1 1: its event loop moves; 0: it does not; -1: it stops, and gives up slot and leadership at once
-- ARGV[4]  count   dispatcher slots of the partition; 0: this worker wants none, and gives up the one that it has
-- ARGV[5]  ms      how long dead letters stay
--
-- Returns  {'fenced'}                           when the name is fenced or unknown; the worker must take a new one
-- Returns  {'held', leader, slot, version, next_ms, lapsed, dead, now, fades, back}
--          leader, slot: 1 when this worker has it; version of the routes; next_ms: until the next end of another
--          worker's lease, slot or leadership, or of the quiet time after a gap; lapsed: workers whose slot has
--          expired, dead: workers whose lease has (both only for the leader, and none in the quiet time); the server's
--          time in ms; fades: 1 when contents or dead letters were kept long enough (only for the leader); back: 1 when
--          runs are to be set back, as the clock has gone back
--
-- It frees first, so a full server lets it pass. Every call stores the time: a gap of more than half a lease starts a
-- quiet time of one lease, in which no worker is rescued, so that live workers renew first.
-- The same happens when the clock has gone back, as the last renewal is in its future: then all ends are set back too.
--@ include _time
--@ include _rights
--@ include _chunks
local name, lease, moves, dispatchers, now = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), now_ms()
local denied = lacking(KEYS[8], 'HSET', 'ZADD', 'SET', 'DEL')
if denied then
  return denied
end
redis.call('ZREM', KEYS[1], '')
local last, quiet, back = unpack(redis.call('HMGET', KEYS[5], 'renewed', 'quiet', 'back'), 1, 3)
last = tonumber(last)
local is_gap, gone_back = last and now - last > lease / 2, last and last - now > 1000 and last - now
quiet = (is_gap or gone_back) and now + lease or tonumber(quiet) or 0
local fenced, known = unpack(redis.call('HMGET', KEYS[2], 'fenced', 'app'))
local leader, leads_until = string.match(redis.call('GET', KEYS[3]) or '', '^(%S+) (%d+)$')
leads_until = tonumber(leads_until) or 0

-- An end later than this lease from now may come from before the jump; an earlier end costs a lease at most.
local function set_back(key)
  local moved = redis.call('ZRANGEBYSCORE', key, '(' .. text(now + lease), '+inf', 'WITHSCORES')
  for i = 1, #moved, 2 do
    moved[i], moved[i + 1] = text(moved[i + 1] - gone_back), moved[i]
  end
  call_in_chunks('ZADD', key, moved)
end
if gone_back then
  redis.call('ZCARD', KEYS[4])
  back = text(gone_back) .. ' ' .. text(last - lease)
  redis.call('HSET', KEYS[5], 'renewed', text(now), 'back', back)
  set_back(KEYS[1])
  set_back(KEYS[4])
  if leads_until > now + lease then
    leads_until = leads_until - gone_back
    redis.call('SET', KEYS[3], leader .. ' ' .. text(leads_until))
  end
end

local may_lead = moves == '1' and (leader == name or leads_until <= now)
local leads = may_lead or (moves == '0' and leader == name and leads_until > now)
local slot = tonumber(redis.call('ZSCORE', KEYS[4], name) or 0)
local has_room = slot > now or redis.call('ZCOUNT', KEYS[4], '(' .. text(now), '+inf') < dispatchers
local may_have_slot = moves == '1' and dispatchers > 0 and has_room
local gives_up = moves == '-1' or dispatchers == 0
local has_slot = may_have_slot or (not gives_up and slot > now)
local version = redis.call('GET', KEYS[6]) or '0'

local next_at, lapsed, dead, fades = now + lease, {}, {}, false
local function sooner(at)
  if at > now then
    next_at = math.min(next_at, at)
  end
end
local function look_at(key, ended)
  local past = now >= quiet and redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, 17) or {}
  for _, other in ipairs(past) do
    if other ~= name then
      ended[#ended + 1] = other
    end
  end
  local ahead = redis.call('ZRANGEBYSCORE', key, '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
  for i = 1, #ahead, 2 do
    sooner(ahead[i] ~= name and tonumber(ahead[i + 1]) or 0)
  end
end
if leads then
  look_at(KEYS[1], dead)
  look_at(KEYS[4], lapsed)
  sooner(quiet)
  local too_old = text(math.max(now - tonumber(ARGV[5]), 0))
  fades = redis.call('ZCOUNT', KEYS[7], '-inf', text(now)) > 0
    or #redis.call('XRANGE', KEYS[8], '-', too_old, 'COUNT', 1) > 0
else
  sooner(leads_until)
end

if is_gap or gone_back then
  redis.call('HSET', KEYS[5], 'quiet', text(quiet))
end
redis.call('HSET', KEYS[5], 'renewed', text(now))
if fenced or not known then
  return { 'fenced' }
end
redis.call('ZADD', KEYS[1], text(now + lease), name)
if may_lead then
  redis.call('SET', KEYS[3], name .. ' ' .. text(now + lease))
elseif moves == '-1' and leader == name then
  redis.call('DEL', KEYS[3])
end
if may_have_slot then
  redis.call('ZADD', KEYS[4], text(now + lease), name)
elseif gives_up then
  redis.call('ZREM', KEYS[4], name)
end
return { 'held', leads and 1 or 0, has_slot and 1 or 0, version, next_at - now, lapsed, dead, now, fades and 1 or 0, back and 1 or 0 }
