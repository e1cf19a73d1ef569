-- Each entry that is still pending is acknowledged, deleted, and its run's outcome recorded for good; a failed run is in `dead`, and its field names that dead letter; the next run in its line is due.
--
-- KEYS[1]      stream  runs
-- KEYS[2]      stream  dead
-- KEYS[3]      zset    fading
-- KEYS[4..]    stream  the queues of the runs
-- KEYS[..]     hash    then the record of each run's event
-- KEYS[..]             then, if there are runs with an ordering key: due (zset), wake (list), and the line (list) of
--                      the key and job of each of them
-- ARGV[1]      map     the arguments:
--   policy     map     how long records stay, see `_close.lua`
--   worker     text    the worker's name
--   listed     count   entries that `runs` keeps, about
--   before_id  bytes   length of the prefix before the event's id in a record's key
--   queues     count   queues
--   jobs       list    of each job: `<app>/<job id>`, queue's name, place of the queue
--   ends       list    of runs that ended alike: place of the job, status letter (`-`: of runs that are not canceled
--                      nothing is recorded), the state of the entries, ms since they started, reason of their dead
--                      letters (empty: none), how many runs
--   entries    list    the entry of each run, in the order of `ends`; the records come in the same order
--   ordered    map     the ordering key of each run that has one, by the run's place
--   trails     map     what a run's attempt leaves behind, by the run's place, see `_trail.lua`; few runs have any
-- ARGV[2..]    bytes   error and output of each of `ends`
--
-- Returns  {place, …, member, …}  the runs whose entry was no longer pending: nothing happened for them; below 0: the
--                                runs whose record names another entry, so that this entry, if it is pending at all,
--                                is not the run's own; above the number of runs: those that were canceled meanwhile, and
--                                whose functions have ended now; then the members of `due` of the runs that are now at
--                                the head of their lines
--
-- It frees first, so a full server lets it pass.
--@ include _keys
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
--@ include _trail
--@ include _canceled
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local runs, dead, fading = next_key(), next_key(), next_key()
local queues, records = take_keys(args.queues), take_keys(#args.entries)
redis.call('XLEN', runs)
redis.call('XLEN', dead)
redis.call('ZCARD', fading)
for _, queue in ipairs(queues) do
  redis.call('XLEN', queue)
end
local jobs = {}
for j, job in ipairs(args.jobs) do
  local name, queue_name, queue = unpack(job, 1, 3)
  jobs[j] = { name = name, queue_name = queue_name, queue = queues[queue] }
end
local lines, due, wake = {}, nil, nil
if next(args.ordered) then
  due, wake = next_key(), next_key()
  redis.call('ZCARD', due)
  redis.call('LLEN', wake)
  for i = 1, #records do
    if args.ordered[i] then
      lines[i] = next_key()
      redis.call('LINDEX', lines[i], 0)
    end
  end
end

local denied = lacking(queues[1], 'HSET', 'PEXPIRE', 'DEL', 'HINCRBY', 'XADD', 'XDEL', 'LPOP', 'ZADD')
if denied then
  return denied
end

-- Runs that ended alike share the text of their fields before and after the entry.
local entries, end_of, stored, pending, deleted, missed, named = args.entries, {}, {}, {}, {}, {}, 0
local i, finished = 0, text(now)
for e, alike_runs in ipairs(args.ends) do
  local job_place, status, state, elapsed_ms, reason, count = unpack(alike_runs, 1, 6)
  local job, outcome = jobs[job_place], ARGV[e + 1]
  local alike = {
    queue = job.queue,
    suffix = ':' .. job.name,
    field = 'r:' .. job.name,
    job = job,
    status = status,
    attempt = string.match(state, '^%d+'),
    times = args.worker .. ' ' .. text(now - elapsed_ms) .. ' ' .. finished,
    reason = reason,
    outcome = outcome,
    before = status .. ' ' .. state .. ' ' .. job.queue_name .. ' ',
    after = ' ' .. args.worker .. ' ' .. text(now - elapsed_ms) .. ' ' .. finished .. (outcome == '' and '' or '\n' .. outcome),
  }
  local of_queue = pending[job.queue] or {}
  pending[job.queue] = of_queue
  local field, place = alike.field, #alike.before + 1
  for _ = 1, count do
    i = i + 1
    local entry, found = entries[i], redis.call('HMGET', records[i], 'm', 'w', 'o', field)
    stored[i] = found
    local foreign = is_foreign(found[1], found[4], entry, place)
    if (foreign or not found[1]) and not redis.call('XRANGE', job.queue, entry, entry)[1] then
      deleted[i], end_of[i] = { job, foreign and -i or i }, false
    elseif foreign or status == '-' then
      missed[#missed + 1], end_of[i] = foreign and -i or i, false
    else
      end_of[i], named = alike, named + 1
      of_queue[#of_queue + 1] = entry
    end
  end
end

-- One acknowledgement a queue. Its count proves that all entries were pending; if it falls short, each record says what
-- happened: the record of a re-queued run names the new entry, that of a settled run its outcome.
local acknowledged = 0
for queue, of_queue in pairs(pending) do
  acknowledged = acknowledged + call_in_chunks('XACK', queue, of_queue, 'workers')
end
for at, of in pairs(deleted) do
  local job, place = unpack(of, 1, 2)
  local is_ended = end_canceled(job.queue, entries[at], records[at], job.name, stored[at][4], args.trails[at])
  missed[#missed + 1] = is_ended and #entries + at or place
end
local function is_named(record, field, entry)
  local status, _, _, _, _, _, recorded = run_of(redis.call('HMGET', record, field)[1] or '')
  return recorded == entry and (status == 'q' or status == 'x')
end

local are_all = acknowledged == named
local gone, index, next_in_line = are_all and pending or {}, {}, {}
local close, let_fade = closing(args.policy, now, fading)
local trails = args.trails
for i = 1, #records do
  local record, alike, entry = records[i], end_of[i], entries[i]
  if alike and (are_all or is_named(record, alike.field, entry)) then
    if not are_all then
      gone[alike.queue] = gone[alike.queue] or {}
      table.insert(gone[alike.queue], entry)
    end
    local id = string.sub(record, args.before_id + 1)
    local run = id .. alike.suffix
    local failed = alike.reason ~= ''
    if failed then
      local letter = redis.pcall('XADD', dead, 'MINID', '~', text(math.max(now - args.policy.failure, 0)), '*',
        'run', run, 'reason', alike.reason, 'error', alike.outcome)
      if type(letter) ~= 'string' and not is_exhausted(letter) then
        return letter
      end
      entry = type(letter) == 'string' and letter or '0-0' -- if `dead` takes no entry, only the record has the failure
    end
    local trail, value = trails[i], alike.before .. entry .. alike.after
    if trail then
      local left = trail_of(record, alike.job.name, trail, alike.attempt, alike.times)
      redis.call('HSET', record, alike.field, value, unpack(left))
    else
      redis.call('HSET', record, alike.field, value)
    end

    if lines[i] then
      local member = member_of(args.ordered[i], alike.job.queue_name, id, alike.job.name)
      next_in_line[#next_in_line + 1] = pass_on_line(lines[i], member, due, now) or nil
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

let_fade()
for queue, of_queue in pairs(gone) do
  call_in_chunks('XDEL', queue, of_queue)
end
list(runs, args.listed, index)
if #next_in_line > 0 and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
for _, member in ipairs(next_in_line) do
  missed[#missed + 1] = member
end
return missed
