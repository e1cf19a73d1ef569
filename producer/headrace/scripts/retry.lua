-- Each entry that is still pending is acknowledged, deleted, and its run waits in `due` for its next delivery.
--
-- KEYS[1]    zset   due
-- KEYS[2]    list   wake
-- KEYS[3..]         two a run: its queue (stream), its event's record (hash)
-- ARGV[1]    map    the arguments:
--   worker   text  the worker's name
--   runs     list  of each run: entry, member of `due`, `<app>/<job id>`, the state of its next entry, queue's name, ms
--                  since it started, ms to wait
--   attempts list  the number of each run's attempt
--   trails   map   what a run's attempt leaves behind, by the run's place, see `_trail.lua`
-- ARGV[2..]  bytes  the error of each run's attempt
--
-- Returns  {place, …}  the runs whose entry was no longer pending: nothing happened for them; below 0: the runs whose
--                      record names another entry, so that this entry is not the run's own; above the number of runs:
--                      those that were canceled meanwhile, and whose functions have ended now
--
-- It frees first, so a full server lets it pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _run
--@ include _foreign
--@ include _trail
--@ include _canceled
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local due, wake = next_key(), next_key()
local runs, queues, records = args.runs, {}, {}
for i = 1, #runs do
  queues[i], records[i] = next_key(), next_key()
end
redis.call('LLEN', wake)
local denied = lacking(queues[1], 'HSET', 'ZADD', 'XDEL')
if denied then
  return denied
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local missed, gone, earliest, foreign, deleted, fields = {}, {}, nil, {}, {}, {}
for i = 1, #runs do
  local entry, _, job = unpack(runs[i], 1, 3)
  redis.call('XLEN', queues[i])
  local header, field = unpack(redis.call('HMGET', records[i], 'm', 'r:' .. job), 1, 2)
  foreign[i], fields[i] = is_foreign(header, field, entry, 1), field
  deleted[i] = (foreign[i] or not header) and not redis.call('XRANGE', queues[i], entry, entry)[1]
end

for i = 1, #runs do
  local queue, record = queues[i], records[i]
  local entry, member, job, state, queue_name, elapsed_ms, wait_ms = unpack(runs[i], 1, 7)
  if deleted[i] and end_canceled(queue, entry, record, job, fields[i], args.trails[i]) then
    missed[#missed + 1] = #runs + i
  elseif foreign[i] then
    missed[#missed + 1] = -i
  elseif redis.call('XACK', queue, 'workers', entry) == 1 then
    gone[queue] = gone[queue] or {}
    table.insert(gone[queue], entry)
    local due_ms, started = now + wait_ms, text(now - elapsed_ms)
    local line = 'w ' .. state .. ' ' .. queue_name .. ' - ' .. args.worker .. ' ' .. started .. ' 0'
    local outcome = ARGV[i + 1]
    local times = args.worker .. ' ' .. started .. ' ' .. text(now)
    local left = args.trails[i] and trail_of(record, job, args.trails[i], args.attempts[i], times) or {}
    redis.call('HSET', record, 'r:' .. job, outcome == '' and line or line .. '\n' .. outcome, unpack(left))
    redis.call('ZADD', due, text(due_ms), member)
    earliest = math.min(earliest or due_ms, due_ms)
  else
    missed[#missed + 1] = i
  end
end

for queue, entries in pairs(gone) do
  call_in_chunks('XDEL', queue, entries)
end
-- If the earliest member is due already, its wake-up may have been lost.
if earliest and (not head or earliest < tonumber(head) or tonumber(head) <= now) and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
return missed
