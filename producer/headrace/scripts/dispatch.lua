-- Each entry of `events` is acknowledged and deleted, and its event, unless it was dispatched before, has one run in each matched queue and in its record.
--
-- KEYS[1]     stream  events
-- KEYS[2]     int     routes:version
-- KEYS[3..]           two a job: its queue (stream), its app's bell (stream)
-- KEYS[..]    hash    then the record of each event
-- ARGV[1..5]  ms      retention after success, after failure; dedupe of ids by the client, the sender, derived
-- ARGV[6]     text    the prefix of the channels that hear of settled events
-- ARGV[7]     int     the version of the routes that was matched against
-- ARGV[8]     0 or 1  1: one event, acknowledged first, and only where its queues are empty
-- ARGV[9]     bytes   bodies up to this size travel in the entry
-- ARGV[10]    bytes   length of what stands before the event's id in a record's key
-- ARGV[11]    count   jobs
-- ARGV[12..]          two a job: `<app>/<job id>`, queue's name
-- ARGV[..]            then two an event: entry, places of the matched jobs with a comma behind each
--
-- Returns  {'stale', version}            when the routes have changed since; nothing happened
-- Returns  {'full'}                      when ARGV[8] is 1 and a queue has entries; nothing happened
-- Returns  {'done', events, runs, lost}  what was dispatched; lost: events without a record and without a body;
--                                        an event that was dispatched before is only acknowledged
--
-- It adds first, so a full server refuses it before anything is written, unless ARGV[8] is 1 or there
-- are no jobs: then it frees first.
--@ include _chunks
--@ include _ring
--@ include _close
-- A record that is gone is made again from the entry, if the body was in it: a lost record loses no event.
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
local before_id, njobs = tonumber(ARGV[10]), tonumber(ARGV[11])
local jobs = {}
for j = 1, njobs do
  local name = ARGV[10 + j * 2]
  jobs[j] = {
    queue = KEYS[1 + j * 2],
    bell = KEYS[2 + j * 2],
    field = 'r:' .. name,
    id = string.match(name, '/(.*)$'),
    prefix = 'q 1 0 0 0 ' .. ARGV[11 + j * 2] .. ' ',
  }
  redis.call('XLEN', KEYS[2 + j * 2])
  if redis.call('XLEN', KEYS[1 + j * 2]) > 0 and free_first then
    return { 'full' }
  end
end
local nevents = #KEYS - 2 - njobs * 2
local first_event, stored = 12 + njobs * 2, {}
for i = 1, nevents do
  local found = redis.call('HMGET', KEYS[2 + njobs * 2 + i], 'm', 'e', 'w')
  if not found[2] and string.sub(found[1] or ' -', -2) == ' -' then
    found = record_from_entry(ARGV[first_event + (i - 1) * 2])
  end
  stored[i] = found
end
redis.call('XLEN', events)
local bells = {}
for j = 1, njobs do
  if not free_first and not bells[jobs[j].bell] then
    redis.call('XADD', jobs[j].bell, 'MAXLEN', 1, '*', 'r', '')
  end
  bells[jobs[j].bell] = true
end

-- One acknowledgement for all. Where an entry is not in the group's hands any more, the record tells whether its event
-- was dispatched.
local entries = {}
for i = 1, nevents do
  entries[i] = ARGV[first_event + (i - 1) * 2]
end
local held = call_in_chunks('XACK', events, entries, 'dispatch')
local seen, dispatched, runs, lost = {}, 0, 0, 0
for i = 1, nevents do
  local matched = ARGV[first_event + (i - 1) * 2 + 1]
  local record = KEYS[2 + njobs * 2 + i]
  local id = string.sub(record, before_id + 1)
  local header, body, waited, remade = unpack(stored[i], 1, 4)
  if not header then
    lost = lost + (held == nevents and 1 or 0)
  elseif string.sub(header, -2) == ' -' and not seen[id] then
    seen[id] = true
    local fields, open, whole, state = {}, 0, #body <= inline, ''
    if not whole then
      state = '1 0 0 0 ' .. #body
      body = ''
    end
    for place in string.gmatch(matched, '(%d+),') do
      local job = jobs[tonumber(place)]
      local run = redis.call('XADD', job.queue, '*', 'e', id, 'j', job.id, 's', state, 'b', body)
      fields[#fields + 1] = job.field
      fields[#fields + 1] = job.prefix .. run .. ' - 0 0'
      open = open + 1
    end
    header = string.gsub(header, ' %S+$', ' ' .. open)
    if open > 1 then
      fields[#fields + 1] = 'o'
      fields[#fields + 1] = open
    end
    fields[#fields + 1] = 'm'
    fields[#fields + 1] = header
    if remade then
      fields[#fields + 1] = 'e'
      fields[#fields + 1] = stored[i][2]
    end
    call_in_chunks('HSET', record, fields)
    if open == 0 then
      close(record, header, false, waited, id)
    end
    dispatched, runs = dispatched + 1, runs + open
  end
end
call_in_chunks('XDEL', events, entries)
if free_first and runs > 0 then
  ring(bells)
end
return { 'done', dispatched, runs, lost }
