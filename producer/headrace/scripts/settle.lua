-- Each entry that is still in the group's hands is acknowledged, deleted, and its run's outcome recorded for good; what failed is in `dead`, whose entry its field then names.
--
-- KEYS[1]     stream  runs
-- KEYS[2]     stream  dead
-- KEYS[3..]           two a run: its queue (stream), its event's record (hash)
-- ARGV[1..5]  ms      retention after success, after failure; dedupe of ids by the client, the sender, derived
-- ARGV[6]     text    the prefix of the channels that hear of settled events
-- ARGV[7]     text    the worker's name
-- ARGV[8]     count   entries that `runs` keeps, about
-- ARGV[9..]           nine a run: entry, event id, `<app>/<job id>`, status letter, its entry's state, queue's name,
--                     ms since it started, reason it is dead for (empty: it is not), error and output
--
-- Returns  {place, …}  the runs whose entry was not in the group's hands any more: nothing happened for them
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _chunks
--@ include _close
local runs, dead, now = KEYS[1], KEYS[2], now_ms()
redis.call('XLEN', runs)
redis.call('XLEN', dead)
local nruns, stored = (#KEYS - 2) / 2, {}
for i = 1, nruns do
  if KEYS[1 + i * 2] ~= KEYS[i * 2 - 1] then
    redis.call('XLEN', KEYS[1 + i * 2])
  end
  stored[i] = redis.call('HMGET', KEYS[2 + i * 2], 'm', 'w', 'o', 'f')
end

local missed, index, gone = {}, {}, {}
for i = 1, nruns do
  local queue, record, a = KEYS[1 + i * 2], KEYS[2 + i * 2], 9 + (i - 1) * 9
  local entry, id, job, status = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  if redis.call('XACK', queue, 'workers', entry) == 1 then
    gone[queue] = gone[queue] or {}
    table.insert(gone[queue], entry)
    local reason, outcome = ARGV[a + 7], ARGV[a + 8]
    local failed = reason ~= ''
    if failed then
      entry = redis.call('XADD', dead, 'MINID', '~', text(math.max(now - failure_retention_ms, 0)), '*',
        'run', id .. ':' .. job, 'reason', reason, 'error', outcome)
    end
    local line = status .. ' ' .. ARGV[a + 4] .. ' ' .. ARGV[a + 5] .. ' ' .. entry .. ' ' .. ARGV[7] .. ' '
      .. text(now - tonumber(ARGV[a + 6])) .. ' ' .. text(now)
    redis.call('HSET', record, 'r:' .. job, outcome == '' and line or line .. '\n' .. outcome)

    index[#index + 1] = id .. ':' .. job
    index[#index + 1] = status
    local open = 0
    if stored[i][3] and string.find(stored[i][3], '^%d+$') then
      open = redis.call('HINCRBY', record, 'o', -1)
      if failed and open > 0 then
        redis.call('HSET', record, 'f', 1)
      end
      failed = failed or redis.call('HGET', record, 'f')
    end
    if open <= 0 then
      close(record, stored[i][1], failed, stored[i][2], id)
    end
  else
    missed[#missed + 1] = i
  end
end

for queue, entries in pairs(gone) do
  call_in_chunks('XDEL', queue, entries)
end
if #index > 0 then
  redis.call('XADD', runs, 'MAXLEN', '~', ARGV[8], '*', unpack(index, 1, math.min(#index, 5000)))
end
return missed
