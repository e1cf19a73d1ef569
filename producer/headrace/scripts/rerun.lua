-- A run that ended for good without success is queued again from its first attempt, and its dead letter is gone.
--
-- KEYS[1]  hash    the event's record
-- KEYS[2]  stream  the run's queue
-- KEYS[3]  stream  bell:<app>
-- KEYS[4]  stream  dead
-- ARGV[1]  text    the event's id
-- ARGV[2]  text    `<app>/<job id>`
-- ARGV[3]  text    the queue's name, without its app, as the record said it
-- ARGV[4]  bytes   bodies up to this size travel in the entry
--
-- Returns  {'queued', entry}   when it is queued
-- Returns  {'missing', ''}     when no such run is known
-- Returns  {'gone', status}    when the event's payload is not kept any more; nothing happened
-- Returns  {'refused', status} when its status letter is not one of a failure, or its queue another; nothing happened
--
-- It adds first, so a full server refuses it before anything is written.
--@ include _run
--@ include _ring
local record, field = KEYS[1], 'r:' .. ARGV[2]
local stored, body, open = unpack(redis.call('HMGET', record, field, 'e', 'o'), 1, 3)
local status, _, _, _, _, queue, dead_entry = run_of(stored or '')
if not status then
  return { 'missing', '' }
end
if not string.find('fti', status, 1, true) or queue ~= ARGV[3] then
  return { 'refused', status }
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
local entry = redis.call('XADD', KEYS[2], '*', 'e', ARGV[1], 'j', string.match(ARGV[2], '/(.*)$'),
  's', '1 0 0 1 ' .. #body, 'b', whole and body or '')
redis.call('HSET', record, field, 'q 1 0 0 1 ' .. queue .. ' ' .. entry .. ' - 0 0')
if is_counted then
  redis.call('HINCRBY', record, 'o', 1)
  redis.call('HSET', record, 'f', failed)
end
redis.call('PERSIST', record)
redis.call('XDEL', KEYS[4], dead_entry)
ring({ [KEYS[3]] = true })
return { 'queued', entry }
