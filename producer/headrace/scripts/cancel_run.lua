-- An open run is canceled for good: its entry, its member of `due` and its place in its line are gone, its record says so, and the next run of its line is due; where a worker has it, the deleted entry stays pending until its function has ended.
--
-- KEYS[1]   hash    the event's record
-- KEYS[2]   stream  the run's queue
-- KEYS[3]   zset    due
-- KEYS[4]   stream  runs
-- KEYS[5]   zset    fading
-- KEYS[6..]         if it has an ordering key: wake (list), and the line (list) of its key and job
-- ARGV[1]   map     the arguments:
--   policy        map    how long records stay, see `_close.lua`
--   listed        count  entries that `runs` keeps, about
--   id            text   the event's id
--   job           text   `<app>/<job id>`
--   queue         text   the queue's name, without its app, as read from the record
--   ordering_key  text   its ordering key, as read from the record; empty: none
--   queued        bool   only if it is queued, and no worker has it, or waits behind another one of its line
--   channel       text   where workers hear of it
--   grace         ms     how long its function may take to stop, before the next run of its line is due
--   note          text   the note of its error, for the attempt of a run that a worker has, see `_trail.lua`
--   mark          count  what the delivery count of such a run's entry becomes
-- ARGV[2]   bytes   the error of the run
--
-- Returns  {'canceled', ''}    when it is canceled, and no worker had it
-- Returns  {'asked', entry}    when it is canceled, now or before, and a worker has it, which is told to end its function
-- Returns  {'ended', status}   when it has ended before, canceled or not; nothing happened
-- Returns  {'missing', ''}     when no such run is known
-- Returns  {'changed', status} when its queue or its ordering key differs from the given one, or it is to be queued, or
--                              behind another one, and is not; nothing happened
--
-- Its worker's outcome is dropped, as that of an entry which the record does not name as open. An entry without contents
-- can't be executed: what finds it pending acknowledges it.
-- It frees first, so a full server lets it pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _list
--@ include _run
--@ include _close
--@ include _line
--@ include _member
--@ include _trail
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local record, run_queue, due, runs, fading = next_key(), next_key(), next_key(), next_key(), next_key()
local field, outcome = 'r:' .. args.job, ARGV[2]
local stored, header, waited, counted, ordering_key = unpack(redis.call('HMGET', record, field, 'm', 'w', 'o', 'k'), 1, 5)
local status, attempt, lost, since, replay, queue, entry = run_of(stored or '')
if not status then
  return { 'missing', '' }
end
local is_open = string.find('qxw', status, 1, true)
local is_another = queue ~= args.queue or (ordering_key or '') ~= args.ordering_key
if not is_open and (status ~= 'c' or is_another) then
  return { 'ended', status }
end
if is_another then
  return { 'changed', status }
end
redis.call('XLEN', run_queue)
local pending = status ~= 'w' and redis.pcall('XPENDING', run_queue, 'workers', entry, entry, 1) or {}
if pending.err and not string.find(pending.err, 'NOGROUP') then
  return pending
end
local holder = pending[1] and pending[1][2]
if not is_open then
  return holder and { 'asked', entry } or { 'ended', status }
end
local wake, line, member = nil, nil, 'r:' .. queue .. ':' .. args.id .. ':' .. args.job
if args.ordering_key ~= '' then
  wake, line, member = next_key(), next_key(), member_of(ordering_key, queue, args.id, args.job)
  redis.call('LLEN', wake)
end
local is_behind = line and redis.call('LINDEX', line, 0) ~= member and status == 'w'
if args.queued and (holder or status ~= 'q') and not is_behind then
  return { 'changed', status }
end
redis.call('XLEN', runs)
redis.call('ZRANGE', due, 0, 0)
redis.call('ZRANGE', fading, 0, 0)
local denied = lacking(run_queue, 'XACK', 'XCLAIM', 'XDEL', 'ZREM', 'LPOP', 'LREM', 'ZADD', 'HSET', 'HINCRBY', 'PEXPIRE',
  'DEL')
if denied then
  return denied
end

redis.call('ZREM', due, member)
if holder then
  redis.call('XCLAIM', run_queue, 'workers', holder, 0, entry, 'RETRYCOUNT', args.mark, 'JUSTID')
elseif status ~= 'w' then
  redis.call('XACK', run_queue, 'workers', entry)
end
if status ~= 'w' then
  redis.call('XDEL', run_queue, entry)
end
local worker, started = string.match(stored, '^%a %d+ %d+ %d+ %d+ %S+ %S+ (%S+) (%d+)')
started = started or '0'
local times, trail = started .. ' ' .. text(now), { 'canceled', args.note, '' }
local left = holder and trail_of(record, args.job, trail, attempt, holder .. ' ' .. times) or {}
redis.call('HSET', record, field, 'c ' .. attempt .. ' ' .. lost .. ' ' .. since .. ' ' .. replay .. ' ' .. queue .. ' '
  .. (holder and entry or '0-0') .. ' ' .. (worker or '-') .. ' ' .. times .. (outcome == '' and '' or '\n' .. outcome), unpack(left))
if line then
  local was_first = redis.call('LINDEX', line, 0) == member
  if not was_first then
    redis.call('LREM', line, 1, member)
  elseif pass_on_line(line, member, due, holder and now + args.grace or now) and redis.call('LLEN', wake) == 0 then
    redis.pcall('LPUSH', wake, '1')
  end
end
local open = counted and string.find(counted, '^%d+$') and redis.call('HINCRBY', record, 'o', -1) or 0
if open <= 0 then
  local close, let_fade = closing(args.policy, now, fading)
  close(record, header, redis.call('HMGET', record, 'f')[1] == '1', waited, args.id)
  let_fade()
end
list(runs, args.listed, { args.id .. ':' .. args.job, 'c' })
if holder then
  redis.pcall('PUBLISH', args.channel, entry .. ' ' .. run_queue .. ' ' .. holder)
end
return holder and { 'asked', entry } or { 'canceled', '' }
