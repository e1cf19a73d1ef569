-- Each entry of `events` is acknowledged and deleted, and its event, unless it was dispatched before, has one run in each matched queue and in its record.
--
-- KEYS[1]       stream  events
-- KEYS[2]       int     routes:version
-- KEYS[3]       zset    fading
-- KEYS[4..]             two a job: its queue (stream), its app's wake-up stream
-- KEYS[..]      hash    then the record of each event
-- KEYS[..]      list    then, for each event with an ordering key: the key's order, and the line of each of its jobs
-- ARGV[1]       map     the arguments:
--   policy      map     how long records stay, see `_close.lua`
--   version     text    the version of the routes that the events were matched with
--   free_first  bool    one event, acknowledged first, and only if its queues are empty
--   inline      bytes   bodies up to this size travel in the entry
--   before_id   bytes   length of the prefix before the event's id in a record's key
--   jobs        list    of each job: `<app>/<job id>`, queue's name
--   matches     list    of each match: the places of its jobs
--   alike       list    of neighbours with the same match: the place of the match, how many events
--   entries     list    the entry of each event, in the order of `alike`
--   ordered     map     the ordering key of each event that has one, by the event's place
--
-- Returns  {'stale', version}            when the routes have changed since; nothing happened
-- Returns  {'full'}                      when `free_first` and a queue has entries; nothing happened
-- Returns  {'behind', place, …}          when these events have undispatched events of their ordering keys before
--                                        them, which are not in this batch; nothing happened
-- Returns  {'done', events, runs, lost}  what was dispatched; lost: events without a record and without a body;
--                                        an event that was dispatched before is only acknowledged
--
-- It adds first, so a full server refuses it before anything is written, unless `free_first` or there are no jobs: then
-- it frees first.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _exhausted
--@ include _room
--@ include _wake_workers
--@ include _close
--@ include _member
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local events, routes_version, fading = next_key(), next_key(), next_key()
-- Recreates a missing record from the entry, if the body was in the entry: so a lost record loses no event.
local function record_from_entry(entry)
  local found = redis.call('XRANGE', events, entry, entry)[1]
  for i = 1, found and #found[2] or 0, 2 do
    if found[2][i] == 'b' and found[2][i + 1] ~= '' then
      return { '- s 0 ' .. string.match(entry, '^%d+') .. ' 0 -', found[2][i + 1], false, true }
    end
  end
  return {}
end

local version = redis.call('GET', routes_version) or '0'
if version ~= args.version then
  return { 'stale', version }
end
local free_first, inline, before_id = args.free_first, args.inline, args.before_id
local jobs = {}
for j, job in ipairs(args.jobs) do
  local name, queue_name = unpack(job, 1, 2)
  local queue, wake_up = next_key(), next_key()
  jobs[j] = {
    queue = queue,
    wake_up = wake_up,
    field = 'r:' .. name,
    id = string.match(name, '/(.*)$'),
    prefix = 'q 1 0 0 0 ' .. queue_name .. ' ',
    waits = 'w 1 0 0 0 ' .. queue_name .. ' - - 0 0',
    queue_name = queue_name,
    name = name,
  }
  redis.call('XLEN', wake_up)
  if redis.call('XLEN', queue) > 0 and free_first then
    return { 'full' }
  end
end

local matches = {}
for m, places in ipairs(args.matches) do
  matches[m] = {}
  for j, place in ipairs(places) do
    matches[m][j] = jobs[place]
  end
end
local entries, jobs_of = args.entries, {}
for _, alike in ipairs(args.alike) do
  local match, count = unpack(alike, 1, 2)
  for i = #jobs_of + 1, #jobs_of + count do
    jobs_of[i] = matches[match]
  end
end
local records, stored = take_keys(#entries), {}
for i = 1, #records do
  local found = redis.call('HMGET', records[i], 'm', 'e', 'w')
  if not found[2] and string.sub(found[1] or ' -', -2) == ' -' then
    found = record_from_entry(entries[i])
  end
  stored[i] = found
end
redis.call('XLEN', events)
redis.call('XRANGE', events, '+', '-', 'COUNT', 1)
redis.call('ZCARD', fading)

-- An event with an ordering key is dispatched if it is the first undispatched one of its key, or is not in its order.
local lines, behind, ahead, known, ordered = {}, { 'behind' }, {}, {}, args.ordered
for i = 1, next(ordered) and #records or 0 do
  if ordered[i] then
    local order, of_jobs = next_key(), take_keys(#jobs_of[i])
    local id, header = string.sub(records[i], before_id + 1), stored[i][1]
    lines[i] = { order = order, key = ordered[i], of_jobs = of_jobs }
    for _, line in ipairs(of_jobs) do
      redis.call('LLEN', line)
    end
    if redis.call('LINDEX', order, ahead[order] or 0) == id then
      ahead[order] = (ahead[order] or 0) + 1
      known[id] = true
    elseif header and string.sub(header, -2) == ' -' and not known[id] and redis.call('LPOS', order, id) then
      behind[#behind + 1] = i
    end
  end
end
if #behind > 1 then
  return behind
end

local denied = lacking(events, 'XACK', 'XADD', 'XDEL', 'LREM', 'RPUSH', 'HSET', 'PEXPIRE', 'DEL', 'ZADD')
if denied then
  return denied
end
if free_first then
  redis.call('XACK', events, 'dispatch', '0-0')
end
local wake_ups = {}
for _, job in ipairs(jobs) do
  local refused = refusal(job.queue)
  if refused then
    return refused
  end
  wake_ups[job.wake_up] = true
end
if not free_first then
  wake_workers(wake_ups)
end

-- One acknowledgement for all entries. If it falls short, another worker has handled some, and deleted them: their records
-- may be those of events that were sent under these ids since. Entry 0-0 stands for one in other hands.
local are_all = call_in_chunks('XACK', events, entries, 'dispatch') == #entries
local function is_here(entry)
  return entry == '0-0' or redis.call('XRANGE', events, entry, entry)[1]
end
local close, let_fade = closing(args.policy, now, fading)
local seen, dispatched, runs, lost = {}, 0, 0, 0
for i = 1, #records do
  local record, matched = records[i], jobs_of[i]
  local header, body, waited, remade = unpack(stored[i], 1, 4)
  local line = lines[i]
  local here = are_all or is_here(entries[i])
  if line and here then
    redis.call('LREM', line.order, 1, string.sub(record, before_id + 1))
  end
  if not header then
    lost = lost + (are_all and 1 or 0)
  elseif here and string.sub(header, -2) == ' -' and not seen[record] then
    seen[record] = true
    local id, open, inlined, state = string.sub(record, before_id + 1), #matched, body, ''
    if #body > inline then
      inlined, state = '', '1 0 0 0 ' .. #body
    end
    header = string.sub(header, 1, -2) .. open
    local fields = { 'm', header }
    for j = 1, open do
      local job = matched[j]
      fields[#fields + 1] = job.field
      if not line then
        local run = redis.call('XADD', job.queue, '*', 'e', id, 'j', job.id, 's', state, 'b', inlined)
        fields[#fields + 1] = job.prefix .. run .. ' - 0 0'
      elseif redis.call('RPUSH', line.of_jobs[j], member_of(line.key, job.queue_name, id, job.name)) == 1 then
        local run = redis.call('XADD', job.queue, '*', 'e', id, 'j', job.id, 's', state, 'b', inlined, 'k', line.key)
        fields[#fields + 1] = job.prefix .. run .. ' - 0 0'
      else
        fields[#fields + 1] = job.waits
      end
    end
    if open > 1 then
      fields[#fields + 1] = 'o'
      fields[#fields + 1] = open
    end
    if remade then
      if line then
        fields[#fields + 1] = 'k'
        fields[#fields + 1] = line.key
      end
      fields[#fields + 1] = 'e'
      fields[#fields + 1] = body
    end
    call_in_chunks('HSET', record, fields)
    if open == 0 then
      close(record, header, false, waited, id)
    end
    dispatched, runs = dispatched + 1, runs + open
  end
end
let_fade()
call_in_chunks('XDEL', events, entries)
if free_first and runs > 0 then
  wake_workers(wake_ups)
end
return { 'done', dispatched, runs, lost }
