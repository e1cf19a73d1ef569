-- Each entry of `events` is acknowledged and deleted, and its event, unless it was dispatched before, has one run in each matched queue and in its record.
--
-- KEYS[1]     stream  events
-- KEYS[2]     int     routes:version
-- KEYS[3]     zset    fading
-- KEYS[4..]           two a job: its queue (stream), its app's wake-up stream
-- KEYS[..]    hash    then the record of each event
-- KEYS[..]    list    then, for each event with an ordering key: the key's order, and the line of each of its jobs
-- ARGV[1..5]  ms      retention after success, after failure; dedupe of ids by the client, the sender, derived
-- ARGV[6]     text    the prefix of the channels of settled events
-- ARGV[7]     int     the version of the routes that the events were matched with
-- ARGV[8]     0 or 1  1: one event, acknowledged first, and only if its queues are empty
-- ARGV[9]     bytes   bodies up to this size travel in the entry
-- ARGV[10]    bytes   length of the prefix before the event's id in a record's key
-- ARGV[11]    count   jobs
-- ARGV[12]    count   matches
-- ARGV[13]    count   events with an ordering key
-- ARGV[14..]          two a job: `<app>/<job id>`, queue's name
-- ARGV[..]            then one a match: places of the jobs, with a comma behind each
-- ARGV[..]            then the events, neighbours with the same match together: its place, how many events, and the
--                     entry of each
-- ARGV[..]            then two an event with an ordering key: its place, the key
--
-- Returns  {'stale', version}            when the routes have changed since; nothing happened
-- Returns  {'full'}                      when ARGV[8] is 1 and a queue has entries; nothing happened
-- Returns  {'behind', place, …}          when these events have undispatched events of their ordering keys before
--                                        them, which are not in this batch; nothing happened
-- Returns  {'done', events, runs, lost}  what was dispatched; lost: events without a record and without a body;
--                                        an event that was dispatched before is only acknowledged
--
-- It adds first, so a full server refuses it before anything is written, unless ARGV[8] is 1 or there are no jobs: then
-- it frees first.
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _exhausted
--@ include _room
--@ include _wake_workers
--@ include _close
--@ include _member
-- Recreates a missing record from the entry, if the body was in the entry: so a lost record loses no event.
local function record_from_entry(entry)
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  for i = 1, found and #found[2] or 0, 2 do
    if found[2][i] == 'b' and found[2][i + 1] ~= '' then
      return { '- s 0 ' .. string.match(entry, '^%d+') .. ' 0 -', found[2][i + 1], false, true }
    end
  end
  return {}
end

local events, version = KEYS[1], redis.call('GET', KEYS[2]) or '0'
if version ~= ARGV[7] then
  return { 'stale', version }
end
local free_first, inline = ARGV[8] == '1', tonumber(ARGV[9])
local before_id, njobs, nmatches, nordered = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local jobs = {}
for j = 1, njobs do
  local name, queue_name = ARGV[12 + j * 2], ARGV[13 + j * 2]
  jobs[j] = {
    queue = KEYS[2 + j * 2],
    wake_up = KEYS[3 + j * 2],
    field = 'r:' .. name,
    id = string.match(name, '/(.*)$'),
    prefix = 'q 1 0 0 0 ' .. queue_name .. ' ',
    waits = 'w 1 0 0 0 ' .. queue_name .. ' - - 0 0',
    queue_name = queue_name,
    name = name,
  }
  redis.call('XLEN', KEYS[3 + j * 2])
  if redis.call('XLEN', KEYS[2 + j * 2]) > 0 and free_first then
    return { 'full' }
  end
end

local matches, a, events_end = {}, 13 + njobs * 2, #ARGV - nordered * 2
for m = 1, nmatches do
  matches[m] = {}
  for place in string.gmatch(ARGV[a + m], '(%d+),') do
    table.insert(matches[m], jobs[tonumber(place)])
  end
end
local entries, jobs_of = {}, {}
a = a + nmatches + 1
while a <= events_end do
  local match, last = matches[tonumber(ARGV[a])], a + 1 + tonumber(ARGV[a + 1])
  for at = a + 2, last do
    entries[#entries + 1] = ARGV[at]
    jobs_of[#entries] = match
  end
  a = last + 1
end
local nevents, first_record, stored = #entries, 3 + njobs * 2, {}
for i = 1, nevents do
  local found = redis.call('HMGET', KEYS[first_record + i], 'm', 'e', 'w')
  if not found[2] and string.sub(found[1] or ' -', -2) == ' -' then
    found = record_from_entry(entries[i])
  end
  stored[i] = found
end
redis.call('XLEN', events)
redis.call('ZCARD', KEYS[3])

-- An event with an ordering key is dispatched if it is the first undispatched one of its key, or is not in its order.
local lines, behind, ahead, known, k = {}, { 'behind' }, {}, {}, first_record + nevents
for at = events_end + 1, #ARGV, 2 do
  local i, order = tonumber(ARGV[at]), KEYS[k + 1]
  local id, header = string.sub(KEYS[first_record + i], before_id + 1), stored[i][1]
  lines[i] = { order = order, key = ARGV[at + 1], line = k + 1 }
  for j = 1, #jobs_of[i] do
    redis.call('LLEN', KEYS[k + 1 + j])
  end
  k = k + 1 + #jobs_of[i]
  if redis.call('LINDEX', order, ahead[order] or 0) == id then
    ahead[order] = (ahead[order] or 0) + 1
    known[id] = true
  elseif header and string.sub(header, -2) == ' -' and not known[id] and redis.call('LPOS', order, id) then
    behind[#behind + 1] = i
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
for j = 1, njobs do
  local refused = refusal(jobs[j].queue)
  if refused then
    return refused
  end
  wake_ups[jobs[j].wake_up] = true
end
if not free_first then
  wake_workers(wake_ups)
end

-- One acknowledgement for all entries. If an entry is no longer pending, the record says whether its event was
-- dispatched.
local held = call_in_chunks('XACK', events, entries, 'dispatch')
local seen, dispatched, runs, lost = {}, 0, 0, 0
for i = 1, nevents do
  local record, matched = KEYS[first_record + i], jobs_of[i]
  local header, body, waited, remade = unpack(stored[i], 1, 4)
  local line = lines[i]
  if line then
    redis.call('LREM', line.order, 1, string.sub(record, before_id + 1))
  end
  if not header then
    lost = lost + (held == nevents and 1 or 0)
  elseif string.sub(header, -2) == ' -' and not seen[record] then
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
      elseif redis.call('RPUSH', KEYS[line.line + j], member_of(line.key, job.queue_name, id, job.name)) == 1 then
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
let_fade(KEYS[3])
call_in_chunks('XDEL', events, entries)
if free_first and runs > 0 then
  wake_workers(wake_ups)
end
return { 'done', dispatched, runs, lost }
