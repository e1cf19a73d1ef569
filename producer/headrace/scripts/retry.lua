-- Each entry that is still pending is acknowledged, deleted, and its run waits in `due` for its next delivery.
--
-- KEYS[1]    zset  due
-- KEYS[2]    list  wake
-- KEYS[3..]        two a run: its queue (stream), its event's record (hash)
-- ARGV[1]    text  the worker's name
-- ARGV[2..]        eight a run: entry, member of `due`, `<app>/<job id>`, the state of its next entry, queue's name,
--                  ms since it started, ms to wait, the error of this attempt
--
-- Returns  {place, …}  the runs whose entry was no longer pending: nothing happened for them; below 0: the runs whose
--                      record names another entry, so that this entry is not the run's own
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _run
--@ include _foreign
local due, wake, now = KEYS[1], KEYS[2], now_ms()
redis.call('LLEN', wake)
local denied = lacking(KEYS[3], 'HSET', 'ZADD', 'XDEL')
if denied then
  return denied
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local missed, gone, earliest, foreign = {}, {}, nil, {}
for i = 1, (#KEYS - 2) / 2 do
  redis.call('XLEN', KEYS[1 + i * 2])
  local header, field = unpack(redis.call('HMGET', KEYS[2 + i * 2], 'm', 'r:' .. ARGV[i * 8 - 4]), 1, 2)
  foreign[i] = is_foreign(header, field, ARGV[i * 8 - 6], 1)
end

for i = 1, (#KEYS - 2) / 2 do
  local queue, record, a = KEYS[1 + i * 2], KEYS[2 + i * 2], 2 + (i - 1) * 8
  local entry, member, job, state, name = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  if foreign[i] then
    missed[#missed + 1] = -i
  elseif redis.call('XACK', queue, 'workers', entry) == 1 then
    gone[queue] = gone[queue] or {}
    table.insert(gone[queue], entry)
    local due_ms = now + tonumber(ARGV[a + 6])
    local line = 'w ' .. state .. ' ' .. name .. ' - ' .. ARGV[1] .. ' ' .. text(now - tonumber(ARGV[a + 5])) .. ' 0'
    local outcome = ARGV[a + 7]
    redis.call('HSET', record, 'r:' .. job, outcome == '' and line or line .. '\n' .. outcome)
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
