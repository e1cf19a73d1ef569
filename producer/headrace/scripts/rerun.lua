-- A run that ended for good without success is queued again from its first attempt, at the end of its line if it has an ordering key, and its dead letter is gone; a run that is lost, as its entry was deleted, is queued again too, in its place.
--
-- KEYS[1]  hash    the event's record
-- KEYS[2]  stream  the run's queue
-- KEYS[3]  stream  wake-up:<app>
-- KEYS[4]  stream  dead
-- KEYS[5..] list   the line of its ordering key and job, if it has a key
-- ARGV[1]  text    the event's id
-- ARGV[2]  text    `<app>/<job id>`
-- ARGV[3]  text    the queue's name, without its app, as read from the record
-- ARGV[4]  bytes   bodies up to this size travel in the entry
-- ARGV[5]  text    its ordering key, as read from the record; empty: none
-- ARGV[6]  ms      when it ended, as read from the record; 0: at any time
--
-- Returns  {'queued', entry}   when it is queued
-- Returns  {'waits', ''}       when it waits behind other runs in the line of its ordering key
-- Returns  {'missing', ''}     when no such run is known
-- Returns  {'gone', status}    when the event's payload is no longer kept; nothing happened
-- Returns  {'refused', status} when it neither failed nor is lost, or its queue, its ordering key or the time of its
--                              end differs from the given one; nothing happened
--
-- The time distinguishes a repeated call, whose reply was lost, from a new one: the run may have failed again since.
-- It adds first, so a full server refuses it before anything is written.
--@ include _rights
--@ include _run
--@ include _member
--@ include _exhausted
--@ include _wake_workers
local record, field = KEYS[1], 'r:' .. ARGV[2]
local stored, body, open, ordering_key = unpack(redis.call('HMGET', record, field, 'e', 'o', 'k'), 1, 4)
local status, _, _, _, _, queue, old_entry = run_of(stored or '')
if not status then
  return { 'missing', '' }
end
local ended, seen_end = string.match(stored, '^[^\n]* (%d+)'), ARGV[6]
local has_changed = queue ~= ARGV[3] or (ordering_key or '') ~= ARGV[5] or (seen_end ~= '0' and seen_end ~= ended)
-- An entry that is neither in its queue nor pending was deleted by another program.
local is_open, refused = string.find('qx', status, 1, true), { 'refused', status }
if has_changed or not (is_open or string.find('fti', status, 1, true)) then
  return refused
end
if is_open then
  if redis.call('XRANGE', KEYS[2], old_entry, old_entry)[1] then
    return refused
  end
  local held = redis.pcall('XPENDING', KEYS[2], 'workers', old_entry, old_entry, 1)
  if held.err and not string.find(held.err, 'NOGROUP') then
    return held
  end
  if held[1] then
    return refused
  end
end
if not body then
  return { 'gone', status }
end
redis.call('XLEN', KEYS[4])
local is_counted, failed = open and string.find(open, '^%d+$'), 0
local fields = is_counted and redis.call('HGETALL', record) or {}
for i = 1, #fields, 2 do
  if fields[i] ~= field and string.find(fields[i], '^r:') and string.find(fields[i + 1], '^[fti] ') then
    failed = 1
  end
end
local whole = #body <= tonumber(ARGV[4])
local entry_fields = {
  'e', ARGV[1], 'j', string.match(ARGV[2], '/(.*)$'), 's', '1 0 0 1 ' .. #body, 'b', whole and body or '',
}
local waits, entry = false, '-'
if #KEYS > 4 then
  entry_fields[9], entry_fields[10] = 'k', ordering_key
  redis.call('XLEN', KEYS[2])
  -- A lost run is still at the head of its line.
  waits = redis.call('LLEN', KEYS[5]) > 0 and not is_open
end
local denied = lacking(KEYS[2], 'HSET', 'HINCRBY', 'RPUSH', 'PERSIST', 'XDEL')
if denied then
  return denied
end
if not waits then
  entry = redis.call('XADD', KEYS[2], '*', unpack(entry_fields))
end
if #KEYS > 4 and not is_open then
  redis.call('RPUSH', KEYS[5], member_of(ordering_key, queue, ARGV[1], ARGV[2]))
end
redis.call('HSET', record, field, (waits and 'w' or 'q') .. ' 1 0 0 1 ' .. queue .. ' ' .. entry .. ' - 0 0')
if is_counted and not is_open then
  redis.call('HINCRBY', record, 'o', 1)
  redis.call('HSET', record, 'f', failed)
end
if not is_open then
  redis.call('PERSIST', record)
  redis.call('XDEL', KEYS[4], old_entry)
end
if waits then
  return { 'waits', '' }
end
wake_workers({ [KEYS[3]] = true })
return { 'queued', entry }
