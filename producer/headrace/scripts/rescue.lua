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
-- ARGV[1]   map     the arguments:
--   worker      text  the worker's name
--   group       text  the stream's group
--   dead        bool  the worker is dead, its name is fenced; else only its dispatcher slot has expired
--   look_again  ms    how long until the name is looked at again
--   queue       text  the queue's name, without its app
--   entries     list  the id of each entry
--   jobs        list  `<app>/<job id>` of each entry (empty in `events`)
--
-- Returns  moved  the number of entries that were re-queued, each with one more lost worker if the worker is dead
-- Returns  -1     when its lease or slot has not expired; nothing happened
-- Returns  -2     in the quiet time after a gap; nothing happened
--
-- The subscriptions of a fenced worker no longer count, unless no worker of its app is alive.
-- It frees first, so a full server lets it pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _run
--@ include _foreign
--@ include _exhausted
--@ include _room
--@ include _trail
--@ include _requeue
--@ include _wake_workers
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local name, dies = args.worker, args.dead
local ends_of, worker, meta, stream, wake_up = next_key(), next_key(), next_key(), next_key(), next_key()
local app_routes, routes_version = next_key(), next_key()
local records = take_keys()
local fenced, known = unpack(redis.call('HMGET', worker, 'fenced', 'app'), 1, 2)
local ends = redis.call('ZSCORE', ends_of, name)
if not (dies and fenced) then
  if ends and tonumber(ends) > now then
    return -1
  end
  if now < (tonumber(redis.call('HGET', meta, 'quiet') or 0)) then
    return -2
  end
end
local denied = lacking(stream, 'ZREM', 'ZADD', 'HDEL', 'INCR')
if denied then
  return denied
end
redis.call('GET', routes_version)
local fingerprint, is_last, is_only = redis.call('HGET', app_routes, 'w:' .. name), true, true
local routes = dies and fingerprint and redis.call('HGETALL', app_routes) or {}
for i = 1, #routes, 2 do
  if string.sub(routes[i], 1, 2) == 'w:' and routes[i] ~= 'w:' .. name then
    is_last, is_only = false, is_only and routes[i + 1] ~= fingerprint
  end
end
local moved = requeue({
  stream = stream,
  group = args.group,
  queue = args.queue,
  lost = dies and 1 or 0,
  worker = name,
  entries = args.entries,
  jobs = args.jobs,
  records = records,
})
if type(moved) == 'table' then
  return moved
end
-- A name that was forgotten after it was found to be dead must not come back without pending entries.
if dies and (moved > 0 or (not fenced and (ends or known))) then
  redis.call('ZREM', ends_of, '')
  redis.call('HSET', worker, 'fenced', text(now))
  redis.call('ZADD', ends_of, text(now + args.look_again), name)
  if fingerprint then
    redis.call('HDEL', app_routes, 'w:' .. name)
    redis.call('HSET', app_routes, 'd:' .. name, fingerprint)
    if is_last then
      redis.call('HSET', app_routes, 'last', fingerprint)
    end
    if is_only then
      redis.call('INCR', routes_version)
    end
  end
end
if moved > 0 and wake_up ~= stream then
  wake_workers({ [wake_up] = true })
end
return moved
