-- An entry that can't be handled is acknowledged, deleted, and in `dead` unchanged, with the reason; a run whose entry it is has failed, and an event that it was to dispatch has no runs and is no longer in the order of its key.
--
-- KEYS[1]    stream  where the entry is
-- KEYS[2]    stream  dead
-- KEYS[3]    stream  runs
-- KEYS[4]    zset    fading
-- KEYS[5..]  hash    the record of the event that the entry names, if it names one
-- KEYS[..]           then, for a run with an ordering key: due (zset), wake (list), line (list) of its key and job;
--                    for an event with an ordering key: the order (list) of the key
-- ARGV[1]    map     the arguments:
--   policy   map     how long records stay, see `_close.lua`
--   listed   count   entries that `runs` keeps, about
--   group    text    the stream's group
--   entry    text    the entry
--   reason   text    one word
--   error    text    what is wrong with the entry
--   id       text    the event's id; empty: the entry names none
--   job      text    `<app>/<job id>`; empty in `events`
--   member   text    with an ordering key: the run's member of the line, or the event's id; else empty
-- ARGV[2]    bytes   the error as the outcome of a run
--
-- Returns  1  when the entry is in `dead` now
-- Returns  0  when the entry was no longer pending, or is that of a canceled run, which is acknowledged; nothing else
--            happened
--
-- It frees first, so a full server lets it pass. The record itself may be damaged, or may belong to another entry: a
-- record of a foreign type, or one that does not name this entry, is not touched; the dead letter then has no run.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _exhausted
--@ include _room
--@ include _list
--@ include _run
--@ include _close
--@ include _line
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local entry, id, job, member, outcome = args.entry, args.id, args.job, args.member, ARGV[2]
local stream, dead, runs, fading = next_key(), next_key(), next_key(), next_key()
local record = id ~= '' and next_key()
redis.call('XLEN', dead)
redis.call('XLEN', runs)
redis.call('ZCARD', fading)
local due, wake, line, order
if member ~= '' and job ~= '' then
  due, wake, line = next_key(), next_key(), next_key()
  redis.call('ZCARD', due)
  redis.call('LLEN', wake)
  redis.call('LINDEX', line, 0)
elseif member ~= '' then
  order = next_key()
  redis.call('LLEN', order)
end
local raw = redis.call('XRANGE', stream, entry, entry)[1]
local is_deleted = not raw
raw = raw and raw[2] or {}
local stored = record and redis.pcall('HMGET', record, 'm', 'w', 'o', 'e', 'r:' .. job) or {}
if stored.err and not string.find(stored.err, 'WRONGTYPE') then
  return stored
end
local header, waited, counted, body, field = unpack(stored, 1, 5)
local status, attempt, lost, since, replay, queue, recorded = run_of(field or '')
local is_run = recorded == entry and (status == 'q' or status == 'x')

-- Whether the entry is that of an event which is not dispatched yet: their bodies are equal.
local function is_event()
  local values = {}
  for i = 1, math.min(#raw, 4000), 2 do
    values[raw[i]] = raw[i + 1]
  end
  local is_whole = body and (values['b'] == body or (values['b'] == '' and values['z'] == text(#body)))
  return is_whole and job == '' and values['i'] == id and string.find(header or '', ' [1-9]%d* 0 %-$')
end
local is_undispatched = is_event()

local denied = lacking(stream, 'XADD', 'XDEL', 'LREM', 'HSET', 'HINCRBY', 'PEXPIRE', 'DEL', 'LPOP', 'ZADD')
if denied then
  return denied
end
redis.call('XACK', stream, args.group, '0-0')
local refused = refusal(dead)
if refused then
  return refused
end
if redis.call('XACK', stream, args.group, entry) == 0 or (is_deleted and record and job ~= '' and not is_run) then
  return 0
end
redis.call('XDEL', stream, entry)
if order then
  redis.call('LREM', order, 1, member)
end
local fields = { 'reason', args.reason, 'error', is_run and outcome or args.error }
if is_run then
  fields[5], fields[6] = 'run', id .. ':' .. job
end
for i = 1, math.min(#raw, 4000), 2 do
  fields[#fields + 1] = 'raw.' .. raw[i]
  fields[#fields + 1] = raw[i + 1]
end
local letter = redis.call('XADD', dead, 'MINID', '~', text(math.max(now - args.policy.failure, 0)), '*', unpack(fields))
local open = 0
if is_run then
  local line = 'f ' .. attempt .. ' ' .. lost .. ' ' .. since .. ' ' .. replay .. ' ' .. queue .. ' ' .. letter
  redis.call('HSET', record, 'r:' .. job, line .. ' - 0 ' .. text(now) .. '\n' .. outcome)
  if counted and string.find(counted, '^%d+$') then
    open = redis.call('HINCRBY', record, 'o', -1)
    if open > 0 then
      redis.call('HSET', record, 'f', 1)
    end
  end
elseif is_undispatched then
  header = string.sub(header, 1, -2) .. '0'
  redis.call('HSET', record, 'm', header)
end
if (is_run or is_undispatched) and open <= 0 then
  local close, let_fade = closing(args.policy, now, fading)
  close(record, header, true, waited, id)
  let_fade()
end
if is_run then
  list(runs, args.listed, { id .. ':' .. job, 'f' })
end
if line and pass_on_line(line, member, due, now) and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
return 1
