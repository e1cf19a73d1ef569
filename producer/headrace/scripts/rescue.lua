-- If and only if a worker's lease (or dispatcher slot) has expired, the worker is fenced (or has no slot), and those of the named entries that are still its own are back in their stream.
--
-- KEYS[1]   zset    workers, or dispatchers
-- KEYS[2]   hash    worker:<name>
-- KEYS[3]   hash    meta
-- KEYS[4]   stream  where the entries are
-- KEYS[5]   stream  wake-up:<app>, or the same stream again
-- KEYS[6]   hash    routes:<app>
-- KEYS[7]   int     routes:version
-- KEYS[8..] hash    the record of each entry's event; none for entries of `events`
-- ARGV[1]   text    the worker's name
-- ARGV[2]   text    the stream's group
-- ARGV[3]   0 or 1  1: the worker is dead, its name is fenced; 0: only its dispatcher slot has expired
-- ARGV[4]   ms      how long until the name is looked at again
-- ARGV[5]   text    the queue's name, without its app
-- ARGV[6..]         two an entry: its id, `<app>/<job id>` (empty in `events`)
--
-- Returns  moved  the number of entries that were re-queued, each with one more lost worker if the worker is dead
-- Returns  -1     when its lease or slot has not expired; nothing happened
-- Returns  -2     in the quiet time after a gap; nothing happened
--
-- The subscriptions of a fenced worker no longer count, unless no worker of its app is alive.
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _run
--@ include _foreign
--@ include _exhausted
--@ include _room
--@ include _requeue
--@ include _wake_workers
local name, now, dies = ARGV[1], now_ms(), ARGV[3] == '1'
local fenced, known = unpack(redis.call('HMGET', KEYS[2], 'fenced', 'app'), 1, 2)
local ends = redis.call('ZSCORE', KEYS[1], name)
if not (dies and fenced) then
  if ends and tonumber(ends) > now then
    return -1
  end
  if now < (tonumber(redis.call('HGET', KEYS[3], 'quiet') or 0)) then
    return -2
  end
end
local denied = lacking(KEYS[4], 'ZREM', 'ZADD', 'HDEL', 'INCR')
if denied then
  return denied
end
redis.call('GET', KEYS[7])
local fingerprint, is_last, is_only = redis.call('HGET', KEYS[6], 'w:' .. name), true, true
local routes = dies and fingerprint and redis.call('HGETALL', KEYS[6]) or {}
for i = 1, #routes, 2 do
  if string.sub(routes[i], 1, 2) == 'w:' and routes[i] ~= 'w:' .. name then
    is_last, is_only = false, is_only and routes[i + 1] ~= fingerprint
  end
end
local moved = put_back(KEYS[4], ARGV[2], ARGV[5], dies and 1 or 0, 8, 6)
if type(moved) == 'table' then
  return moved
end
-- A name that was forgotten after it was found to be dead must not come back without pending entries.
if dies and (moved > 0 or (not fenced and (ends or known))) then
  redis.call('ZREM', KEYS[1], '')
  redis.call('HSET', KEYS[2], 'fenced', text(now))
  redis.call('ZADD', KEYS[1], text(now + tonumber(ARGV[4])), name)
  if fingerprint then
    redis.call('HDEL', KEYS[6], 'w:' .. name)
    redis.call('HSET', KEYS[6], 'd:' .. name, fingerprint)
    if is_last then
      redis.call('HSET', KEYS[6], 'last', fingerprint)
    end
    if is_only then
      redis.call('INCR', KEYS[7])
    end
  end
end
if moved > 0 and KEYS[5] ~= KEYS[4] then
  wake_workers({ [KEYS[5]] = true })
end
return moved
