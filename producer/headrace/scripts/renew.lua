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
-- KEYS[9]  hash    controls
-- KEYS[10] stream  recent
-- KEYS[11] stream  runs
-- ARGV[1]  map     the arguments:
--   worker    text   the worker's name
--   lease     ms     how long its lease is
--   movement  text   `moves`: its event loop does; `stuck`: it does not; `resigns`: the worker stops, and gives up its
--                    slot and the leadership at once
--   slots     count  dispatcher slots of the partition; 0: this worker wants none, and gives up the one that it has
--   keep      ms     how long dead letters stay
--   listed    count  entries that each index keeps, about, if no more is set
--
-- Returns  {'fenced'}                           when the name is fenced or unknown; the worker must take a new one
-- Returns  {'renewed', leader, slot, version, next_ms, expired, dead, now, fades, back,
--           controls, wanted}
--          leader, slot: 1 when this worker has it; version of the routes; next_ms: until the next end of another
--          worker's lease, slot or leadership, or of the quiet time after a gap; expired: workers whose slot has
--          expired; dead: workers whose lease has expired (both only for the leader, and none in the quiet time); the
--          server's time in ms; fades: 1 when there is something for `forget` (only for the leader);
--          back: 1 when runs are to be set back, as the clock has gone back; controls: the version of those; wanted: what
--          an operator wants of the worker, see `instruct.lua`, or empty
--
-- It frees first, so a full server lets it pass. Every call stores the time: a gap of more than half a lease starts a
-- quiet time of one lease, in which no worker is rescued, so that live workers renew first.
-- The same happens when the clock has gone back, as the last renewal is in its future: then all ends are set back too.
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _index
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local name, lease, movement = args.worker, args.lease, args.movement
local workers, worker, leader_key, dispatchers, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local routes_version, fading, dead_letters, controls = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local recent, runs = KEYS[10], KEYS[11]
local denied = lacking(dead_letters, 'HSET', 'ZADD', 'SET', 'DEL')
if denied then
  return denied
end
redis.call('ZREM', workers, '')
local last, quiet, back, kept = unpack(redis.call('HMGET', meta, 'renewed', 'quiet', 'back', 'index_entries'), 1, 4)
last = tonumber(last)
local is_gap, gone_back = last and now - last > lease / 2, last and last - now > 1000 and last - now
quiet = (is_gap or gone_back) and now + lease or tonumber(quiet) or 0
local fenced, known, wanted = unpack(redis.call('HMGET', worker, 'fenced', 'app', 'wanted'), 1, 3)
local leader, leads_until = string.match(redis.call('GET', leader_key) or '', '^(%S+) (%d+)$')
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
  redis.call('ZCARD', dispatchers)
  back = text(gone_back) .. ' ' .. text(last - lease)
  redis.call('HSET', meta, 'renewed', text(now), 'back', back)
  set_back(workers)
  set_back(dispatchers)
  if leads_until > now + lease then
    leads_until = leads_until - gone_back
    redis.call('SET', leader_key, leader .. ' ' .. text(leads_until))
  end
end

local may_lead = movement == 'moves' and (leader == name or leads_until <= now)
local leads = may_lead or (movement == 'stuck' and leader == name and leads_until > now)
local slot = tonumber(redis.call('ZSCORE', dispatchers, name) or 0)
local has_room = slot > now or redis.call('ZCOUNT', dispatchers, '(' .. text(now), '+inf') < args.slots
local may_have_slot = movement == 'moves' and args.slots > 0 and has_room
local gives_up = movement == 'resigns' or args.slots == 0
local has_slot = may_have_slot or (not gives_up and slot > now)
local version = redis.call('GET', routes_version) or '0'
local controlled = redis.call('HGET', controls, 'version') or '0'

local next_at, expired, dead, fades = now + lease, {}, {}, false
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
  look_at(workers, dead)
  look_at(dispatchers, expired)
  sooner(quiet)
  local too_old = text(math.max(now - args.keep, 0))
  local trimmed_to = entries_kept(kept, args.listed) + 100 -- a stream drops its entries by whole nodes, of 100 as a rule
  fades = redis.call('ZCOUNT', fading, '-inf', text(now)) > 0
    or #redis.call('XRANGE', dead_letters, '-', too_old, 'COUNT', 1) > 0
    or index_length(recent) > trimmed_to or index_length(runs) > trimmed_to
else
  sooner(leads_until)
end

if is_gap or gone_back then
  redis.call('HSET', meta, 'quiet', text(quiet))
end
redis.call('HSET', meta, 'renewed', text(now))
if fenced or not known then
  return { 'fenced' }
end
redis.call('ZADD', workers, text(now + lease), name)
if may_lead then
  redis.call('SET', leader_key, name .. ' ' .. text(now + lease))
elseif movement == 'resigns' and leader == name then
  redis.call('DEL', leader_key)
end
if may_have_slot then
  redis.call('ZADD', dispatchers, text(now + lease), name)
elseif gives_up then
  redis.call('ZREM', dispatchers, name)
end
local is_fading, is_back = fades and 1 or 0, back and 1 or 0
return {
  'renewed', leads and 1 or 0, has_slot and 1 or 0, version, next_at - now, expired, dead, now, is_fading, is_back, controlled,
  wanted or '',
}
