-- Each entry that is still pending is acknowledged, deleted, and its run's outcome recorded for good; a failed run is in `dead`, and its field names that dead letter; the next run in its line is due.
--
-- KEYS[1]     stream  runs
-- KEYS[2]     stream  dead
-- KEYS[3]     zset    fading
-- KEYS[4..]   stream  the queues of the runs
-- KEYS[..]    hash    then the record of each run's event
-- KEYS[..]            then, if there are runs with an ordering key: due (zset), wake (list), and the line (list) of
--                     the key and job of each of them
-- ARGV[1..5]  ms      retention after success, after failure; dedupe of ids by the client, the sender, derived
-- ARGV[6]     text    the prefix of the channels of settled events
-- ARGV[7]     text    the worker's name
-- ARGV[8]     count   entries that `runs` keeps, about
-- ARGV[9]     bytes   length of the prefix before the event's id in a record's key
-- ARGV[10]    count   queues
-- ARGV[11]    count   jobs
-- ARGV[12]    count   runs with an ordering key
-- ARGV[13..]          three a job: `<app>/<job id>`, queue's name, place of the queue
-- ARGV[..]            then the ends, runs that ended alike together: place of the job, status letter, the state of the
--                     entries, ms since they started, reason of their dead letters (empty: none), error and output,
--                     how many runs, and the entry of each; the records come in the same order
-- ARGV[..]            then two a run with an ordering key: its place, the key
--
-- Returns  {place, …, member, …}  the runs whose entry was no longer pending: nothing happened for them; below 0: the
--                                runs whose record names another entry, so that this entry, if it is pending at all,
--                                is not the run's own; then the members of `due` of the runs that are now at the head
--                                of their lines
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _exhausted
--@ include _list
--@ include _run
--@ include _foreign
--@ include _close
--@ include _line
--@ include _member
local runs, dead, now = KEYS[1], KEYS[2], now_ms()
redis.call('XLEN', runs)
redis.call('XLEN', dead)
local before_id, nqueues, njobs, nordered = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
redis.call('ZCARD', KEYS[3])
for q = 4, 3 + nqueues do
  redis.call('XLEN', KEYS[q])
end
local jobs, first_record, stored = {}, 3 + nqueues, {}
for j = 1, njobs do
  local a = 10 + j * 3
  jobs[j] = { name = ARGV[a], queue_name = ARGV[a + 1], queue = KEYS[3 + tonumber(ARGV[a + 2])] }
end
local nruns, ends_end, lines, due, wake = #KEYS - first_record, #ARGV - nordered * 2, {}, nil, nil
if nordered > 0 then
  nruns = nruns - 2 - nordered
  due, wake = KEYS[first_record + nruns + 1], KEYS[first_record + nruns + 2]
  redis.call('ZCARD', due)
  redis.call('LLEN', wake)
  for o = 1, nordered do
    local line = KEYS[first_record + nruns + 2 + o]
    redis.call('LINDEX', line, 0)
    lines[tonumber(ARGV[ends_end + o * 2 - 1])] = { line = line, key = ARGV[ends_end + o * 2] }
  end
end

local denied = lacking(KEYS[4], 'HSET', 'PEXPIRE', 'DEL', 'HINCRBY', 'XADD', 'XDEL', 'LPOP', 'ZADD')
if denied then
  return denied
end

-- Runs that ended alike share the text of their fields before and after the entry.
local end_of, entry_of, entries, missed, named = {}, {}, {}, {}, 0
local a, i, finished = 13 + njobs * 3, 0, text(now)
while a <= ends_end do
  local job, status, reason, outcome = jobs[tonumber(ARGV[a])], ARGV[a + 1], ARGV[a + 4], ARGV[a + 5]
  local started = text(now - tonumber(ARGV[a + 3]))
  local alike = {
    queue = job.queue,
    field = 'r:' .. job.name,
    suffix = ':' .. job.name,
    job = job,
    status = status,
    reason = reason,
    outcome = outcome,
    before = status .. ' ' .. ARGV[a + 2] .. ' ' .. job.queue_name .. ' ',
    after = ' ' .. ARGV[7] .. ' ' .. started .. ' ' .. finished .. (outcome == '' and '' or '\n' .. outcome),
  }
  local of_queue = entries[job.queue] or {}
  entries[job.queue] = of_queue
  local last = a + 6 + tonumber(ARGV[a + 6])
  local field, place = alike.field, #alike.before + 1
  for at = a + 7, last do
    i = i + 1
    local entry, found = ARGV[at], redis.call('HMGET', KEYS[first_record + i], 'm', 'w', 'o', field)
    entry_of[i], stored[i] = entry, found
    if is_foreign(found[1], found[4], entry, place) then
      missed[#missed + 1], end_of[i] = -i, false
    else
      end_of[i], named = alike, named + 1
      of_queue[#of_queue + 1] = entry
    end
  end
  a = last + 1
end

-- One acknowledgement a queue. Its count proves that all entries were pending; if it falls short, each record says what
-- happened: the record of a re-queued run names the new entry, that of a settled run its outcome.
local held = 0
for queue, of_queue in pairs(entries) do
  held = held + call_in_chunks('XACK', queue, of_queue, 'workers')
end
local function is_held(record, field, entry)
  local status, _, _, _, _, _, recorded = run_of(redis.call('HMGET', record, field)[1] or '')
  return recorded == entry and (status == 'q' or status == 'x')
end

local all_held = held == named
local gone, index, next_in_line = all_held and entries or {}, {}, {}
for i = 1, nruns do
  local record, alike, entry = KEYS[first_record + i], end_of[i], entry_of[i]
  if alike and (all_held or is_held(record, alike.field, entry)) then
    if not all_held then
      gone[alike.queue] = gone[alike.queue] or {}
      table.insert(gone[alike.queue], entry)
    end
    local id = string.sub(record, before_id + 1)
    local run = id .. alike.suffix
    local failed = alike.reason ~= ''
    if failed then
      local letter = redis.pcall('XADD', dead, 'MINID', '~', text(math.max(now - failure_retention_ms, 0)), '*',
        'run', run, 'reason', alike.reason, 'error', alike.outcome)
      if type(letter) ~= 'string' and not is_exhausted(letter) then
        return letter
      end
      entry = type(letter) == 'string' and letter or '0-0' -- if `dead` takes no entry, only the record has the failure
    end
    redis.call('HSET', record, alike.field, alike.before .. entry .. alike.after)

    local in_line = lines[i]
    if in_line then
      local member = member_of(in_line.key, alike.job.queue_name, id, alike.job.name)
      next_in_line[#next_in_line + 1] = pass_on_line(in_line.line, member, due, now) or nil
    end
    index[#index + 1] = run
    index[#index + 1] = alike.status
    local header, waited, counted = unpack(stored[i], 1, 3)
    local open = 0
    if counted and string.find(counted, '^%d+$') then
      open = redis.call('HINCRBY', record, 'o', -1)
      if failed and open > 0 then
        redis.call('HSET', record, 'f', 1)
      end
      failed = failed or redis.call('HMGET', record, 'f')[1] == '1'
    end
    if open <= 0 then
      close(record, header, failed, waited, id)
    end
  elseif alike then
    missed[#missed + 1] = i
  end
end

let_fade(KEYS[3])
for queue, of_queue in pairs(gone) do
  call_in_chunks('XDEL', queue, of_queue)
end
list(runs, ARGV[8], index)
if #next_in_line > 0 and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
for _, member in ipairs(next_in_line) do
  missed[#missed + 1] = member
end
return missed
