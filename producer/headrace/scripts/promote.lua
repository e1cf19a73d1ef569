-- Each named member that is still due is in its stream and out of `due`.
--
-- KEYS[1]    zset    due
-- KEYS[2]    stream  events
-- KEYS[3..]          three a member: its record (hash); its stream, `events` or a queue; its app's wake-up stream or, for
--                    an event, the order (list) of its ordering key, or `events` again; for a run with an ordering
--                    key, in fourth place the line (list) of its key and job
-- ARGV[1]    map     the arguments:
--   inline   bytes   bodies up to this size travel in the entry
--   ahead    count   how many of the members that are left to return
--   members  list    `e:<event id>`, `r:<queue>:<event id>:<app>/<job id>`, or the same behind `o`, length and ordering
--                    key
--   ordered  map     the ordering key of each event whose order is in KEYS, by the place of its member
--
-- Returns  {now, moved, dropped, {member, key, …}, member, score, …}
--          the server's time in ms; how many members are in their streams now; how many were removed, as their event is
--          not delayed or their run no longer waits, or can't be read; events that stay, as their ordering key is
--          not the given one, each with its key; the earliest members that are left, due or not, with their times in ms
--
-- A member whose stream takes no entries is due again in ten seconds. An event adds first and is refused by a full
-- server; a run frees first, so that a begun run can end.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _exhausted
--@ include _room
--@ include _wake_workers
--@ include _line
-- Parses a run's member of `due`: the event's id, `<app>/<job id>`, its ordering key if it has one.
local function split(member)
  local length = string.match(member, '^o:(%d+):')
  local before_queue = length and #length + 4 + tonumber(length) or 2
  local id, run = string.match(string.sub(member, before_queue + 1), '^[^:]+:(.*):([^:]+)$')
  return id, run, length and string.sub(member, #length + 4, before_queue - 1)
end

local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local inline, ahead = args.inline, args.ahead
local due, events = next_key(), next_key()
redis.call('XLEN', events)
redis.call('ZRANGE', due, 0, 0)
local work, unordered = {}, {}
for i, member in ipairs(args.members) do
  local kind = string.sub(member, 1, 2)
  local record, stream, wake_up = next_key(), next_key(), next_key()
  local line, is_event, order = kind == 'o:' and next_key(), kind == 'e:', nil
  if is_event then
    wake_up, order = nil, wake_up
  end
  local score = redis.call('ZSCORE', due, member)
  if score and tonumber(score) <= now then
    redis.call('XLEN', stream)
    local id, run, run_key
    if not is_event then
      id, run, run_key = split(member)
    end
    local header, body, field, key = unpack(redis.call('HMGET', record, 'm', 'e', run and 'r:' .. run or 'm', 'k'), 1, 4)
    local item =
      { member = member, record = record, stream = stream, wake_up = wake_up, order = order, body = body, run = run }
    item.key = run_key or (is_event and key and key ~= '' and key) or nil
    if run then
      item.id = id
      item.line = run_key and line
      if item.line then
        redis.call('LINDEX', item.line, 0)
      end
      item.kept, item.queue, item.rest = string.match(field or '', '^w (%d+ %d+ %d+ %d+) (%S+) %S+ (.*)$')
    else
      item.id = string.sub(member, 3)
      item.kept = string.match(header or '', '^(%S+ %a %d+) 0 0 %-$')
    end
    item.is_lost = not (header and body and item.kept)
    item.is_headless = not header
    if run or item.is_lost or item.key == args.ordered[i] then
      if item.key and not (run or item.is_lost) then
        redis.call('LLEN', item.order)
      end
      work[#work + 1] = item
    else
      unordered[#unordered + 1] = member
      unordered[#unordered + 1] = item.key or ''
    end
  end
end

-- A call that only looks at the earliest members writes nothing, and needs no right to write.
local denied = #work > 0 and lacking(events, 'ZREM', 'ZADD', 'XADD', 'XDEL', 'HSET', 'RPUSH', 'LPOP', 'DEL')
if denied then
  return denied
end

local dropped, wake_ups, looked, refusals, put_off = 0, {}, {}, {}, 0
for _, item in ipairs(work) do
  if item.run or item.is_lost then
    redis.call('ZREM', due, '')
  end
  if not (item.is_lost or looked[item.stream]) then
    looked[item.stream] = true
    local refused = refusal(item.stream)
    if refused and not string.find(refused.err, '^EXHAUSTED') then
      return refused
    end
    refusals[item.stream] = refused
  end
  local body, whole = item.body, item.body and #item.body <= inline and item.body or ''
  if item.is_lost then
    redis.call('ZREM', due, item.member)
    if item.is_headless then -- a field written after the record went would never be deleted
      redis.call('DEL', item.record)
    end
    if item.line then
      pass_on_line(item.line, item.member, due, now)
    end
    dropped = dropped + 1
  elseif refusals[item.stream] then
    redis.call('ZADD', due, text(now + 10000), item.member)
    put_off = put_off + 1
  elseif item.run then
    redis.call('ZREM', due, item.member)
    local fields = { 'e', item.id, 'j', string.match(item.run, '/(.*)$'), 's', item.kept .. ' ' .. #body, 'b', whole }
    if item.key then
      fields[9], fields[10] = 'k', item.key
    end
    local entry = redis.call('XADD', item.stream, '*', unpack(fields))
    local line = 'q ' .. item.kept .. ' ' .. item.queue .. ' ' .. entry .. ' ' .. item.rest
    redis.call('HSET', item.record, 'r:' .. item.run, line)
    wake_ups[item.wake_up] = true
  else
    if item.key then
      redis.call('RPUSH', item.order, item.id)
      redis.call('XADD', item.stream, '*', 'i', item.id, 'z', #body, 'b', whole, 'k', item.key)
    else
      redis.call('XADD', item.stream, '*', 'i', item.id, 'z', #body, 'b', whole)
    end
    redis.call('ZREM', due, item.member)
    redis.call('HSET', item.record, 'm', item.kept .. ' ' .. text(now) .. ' 0 -')
  end
end

wake_workers(wake_ups)
local reply = { now, #work - dropped - put_off, dropped, unordered }
for _, value in ipairs(ahead > 0 and redis.call('ZRANGE', due, 0, ahead - 1, 'WITHSCORES') or {}) do
  reply[#reply + 1] = value
end
return reply
