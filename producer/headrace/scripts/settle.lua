-- Each entry that is still in the group's hands is acknowledged, deleted, and its run's outcome recorded for good; what failed is in `dead`, whose entry its field then names.
--
-- KEYS[1]     stream  runs
-- KEYS[2]     stream  dead
-- KEYS[3..]   stream  the queues of the runs
-- KEYS[..]    hash    then the record of each run's event
-- ARGV[1..5]  ms      retention after success, after failure; dedupe of ids by the client, the sender, derived
-- ARGV[6]     text    the prefix of the channels that hear of settled events
-- ARGV[7]     text    the worker's name
-- ARGV[8]     count   entries that `runs` keeps, about
-- ARGV[9]     bytes   length of what stands before the event's id in a record's key
-- ARGV[10]    count   queues
-- ARGV[11]    count   jobs
-- ARGV[12..]          three a job: `<app>/<job id>`, queue's name, place of the queue
-- ARGV[..]            then seven a run: place of the job, entry, status letter, its entry's state (empty: a first
--                     delivery), ms since it started, reason it is dead for (empty: it is not), error and output
--
-- Returns  {place, …}  the runs whose entry was not in the group's hands any more: nothing happened for them
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _chunks
--@ include _list
--@ include _run
--@ include _close
local runs, dead, now = KEYS[1], KEYS[2], now_ms()
redis.call('XLEN', runs)
redis.call('XLEN', dead)
local before_id, nqueues, njobs = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
for q = 3, 2 + nqueues do
  redis.call('XLEN', KEYS[q])
end
local jobs, first_record, first_run, stored = {}, 2 + nqueues, 5 + njobs * 3, {}
for j = 1, njobs do
  local a = 9 + j * 3
  jobs[j] = { name = ARGV[a], queue_name = ARGV[a + 1], queue = KEYS[2 + tonumber(ARGV[a + 2])] }
end
for i = 1, #KEYS - first_record do
  stored[i] = redis.call('HMGET', KEYS[first_record + i], 'm', 'w', 'o', 'f')
end

-- One acknowledgement a queue. Its count proves that all entries were in the group's hands; where it falls short, the
-- record tells whose they are: a run that was put back names its new entry there, and one that has settled says so.
local entries, held = {}, 0
for i = 1, #stored do
  local a = first_run + i * 7
  local queue = jobs[tonumber(ARGV[a])].queue
  entries[queue] = entries[queue] or {}
  table.insert(entries[queue], ARGV[a + 1])
end
for queue, of_queue in pairs(entries) do
  held = held + call_in_chunks('XACK', queue, of_queue, 'workers')
end
local function is_held(record, job, entry)
  if held == #stored then
    return true
  end
  local status, _, _, _, _, _, recorded = run_of(redis.call('HMGET', record, 'r:' .. job)[1] or '')
  return recorded == entry and (status == 'q' or status == 'x')
end

local gone = held == #stored and entries or {}
local missed, index, finished = {}, {}, text(now)
for i = 1, #stored do
  local record, a = KEYS[first_record + i], first_run + i * 7
  local id = string.sub(record, before_id + 1)
  local of_job, entry, status, state = jobs[tonumber(ARGV[a])], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local job = of_job.name
  if is_held(record, job, entry) then
    if gone ~= entries then
      gone[of_job.queue] = gone[of_job.queue] or {}
      table.insert(gone[of_job.queue], entry)
    end
    local reason, outcome = ARGV[a + 5], ARGV[a + 6]
    local failed = reason ~= ''
    if failed then
      entry = redis.call('XADD', dead, 'MINID', '~', text(math.max(now - failure_retention_ms, 0)), '*',
        'run', id .. ':' .. job, 'reason', reason, 'error', outcome)
    end
    local line = status .. ' ' .. (state == '' and '1 0 0 0' or state) .. ' ' .. of_job.queue_name .. ' ' .. entry
      .. ' ' .. ARGV[7] .. ' ' .. text(now - tonumber(ARGV[a + 4])) .. ' ' .. finished
    redis.call('HSET', record, 'r:' .. job, outcome == '' and line or line .. '\n' .. outcome)

    index[#index + 1] = id .. ':' .. job
    index[#index + 1] = status
    local open = 0
    if stored[i][3] and string.find(stored[i][3], '^%d+$') then
      open = redis.call('HINCRBY', record, 'o', -1)
      if failed and open > 0 then
        redis.call('HSET', record, 'f', 1)
      end
      failed = failed or redis.call('HMGET', record, 'f')[1]
    end
    if open <= 0 then
      close(record, stored[i][1], failed, stored[i][2], id)
    end
  else
    missed[#missed + 1] = i
  end
end

for queue, of_queue in pairs(gone) do
  call_in_chunks('XDEL', queue, of_queue)
end
list(runs, ARGV[8], index)
return missed
