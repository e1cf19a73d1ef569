-- A run that ended for good without success, or was canceled if that is asked for, is queued again from its first attempt, at the end of its line if it has an ordering key, and its dead letter is gone; a run that is lost, as its entry was deleted, is queued again too, in its place.
--
-- KEYS[1]  hash    the event's record
-- KEYS[2]  stream  the run's queue
-- KEYS[3]  stream  wake-up:<app>
-- KEYS[4]  stream  dead
-- KEYS[5..] list   the line of its ordering key and job, if it has a key
-- ARGV[1]  map     the arguments:
--   id            text   the event's id
--   job           text   `<app>/<job id>`
--   queue         text   the queue's name, without its app, as read from the record
--   inline        bytes  bodies up to this size travel in the entry
--   ordering_key  text   its ordering key, as read from the record; empty: none
--   canceled      bool   also if it was canceled
--   ended         ms     when it ended, as read from the record; 0: at any time
--   note          text   the note of the attempt that ended then, see `_trail.lua`; a dash: none
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
--@ include _keys
--@ include _rights
--@ include _run
--@ include _member
--@ include _exhausted
--@ include _wake_workers
--@ include _trail
local args = cmsgpack.unpack(ARGV[1])
local record, run_queue, wake_up, dead = next_key(), next_key(), next_key(), next_key()
local line, field = args.ordering_key ~= '' and next_key(), 'r:' .. args.job
local stored, body, open, ordering_key = unpack(redis.call('HMGET', record, field, 'e', 'o', 'k'), 1, 4)
local status, attempt, _, _, _, queue, old_entry = run_of(stored or '')
if not status then
  return { 'missing', '' }
end
local ended = tonumber(string.match(stored, '^[^\n]* (%d+)'))
local may_run = args.canceled and 'ftic' or 'fti'
local has_changed = queue ~= args.queue or (ordering_key or '') ~= args.ordering_key
  or (args.ended ~= 0 and args.ended ~= ended)
-- An entry that is neither in its queue nor pending was deleted by another program.
local is_open, refused = string.find('qx', status, 1, true), { 'refused', status }
if has_changed or not (is_open or string.find(may_run, status, 1, true)) then
  return refused
end
if is_open then
  if redis.call('XRANGE', run_queue, old_entry, old_entry)[1] then
    return refused
  end
  local pending = redis.pcall('XPENDING', run_queue, 'workers', old_entry, old_entry, 1)
  if pending.err and not string.find(pending.err, 'NOGROUP') then
    return pending
  end
  if pending[1] then
    return refused
  end
end
if not body then
  return { 'gone', status }
end
redis.call('XLEN', dead)
local is_counted, failed = open and string.find(open, '^%d+$'), 0
local fields = is_counted and redis.call('HGETALL', record) or {}
for i = 1, #fields, 2 do
  if fields[i] ~= field and string.find(fields[i], '^r:') and string.find(fields[i + 1], '^[fti] ') then
    failed = 1
  end
end
local whole = #body <= args.inline
local entry_fields = {
  'e', args.id, 'j', string.match(args.job, '/(.*)$'), 's', '1 0 0 1 ' .. #body, 'b', whole and body or '',
}
local waits, entry = false, '-'
if line then
  entry_fields[9], entry_fields[10] = 'k', ordering_key
  redis.call('XLEN', run_queue)
  -- A lost run is still at the head of its line.
  waits = redis.call('LLEN', line) > 0 and not is_open
end
local denied = lacking(run_queue, 'HSET', 'HINCRBY', 'RPUSH', 'PERSIST', 'XDEL')
if denied then
  return denied
end
if not waits then
  entry = redis.call('XADD', run_queue, '*', unpack(entry_fields))
end
if line and not is_open then
  redis.call('RPUSH', line, member_of(ordering_key, queue, args.id, args.job))
end
-- The end of a run's first attempt is only in its field until now.
local left, times = {}, string.match(stored, '^[^\n]* (%S+ %d+ %d+)')
local kind = ({ f = 'failed', t = 'timed_out', i = 'invalid_payload' })[status]
if kind and not string.find(redis.call('HMGET', record, 'a:' .. args.job)[1] or '', times .. ' ', 1, true) then
  local note = args.ended == ended and args.note or '-'
  left = trail_of(record, args.job, { kind, note, '' }, attempt, times)
end
redis.call('HSET', record, field, (waits and 'w' or 'q') .. ' 1 0 0 1 ' .. queue .. ' ' .. entry .. ' - 0 0', unpack(left))
if is_counted and not is_open then
  redis.call('HINCRBY', record, 'o', 1)
  redis.call('HSET', record, 'f', failed)
end
if not is_open then
  redis.call('PERSIST', record)
  if status ~= 'c' then -- such a run has no dead letter
    redis.call('XDEL', dead, old_entry)
  end
end
if waits then
  return { 'waits', '' }
end
wake_workers({ [wake_up] = true })
return { 'queued', entry }
