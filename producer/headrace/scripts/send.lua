-- Every new event has its record and is in `events` or `due`; a known event is updated or reported; `recent` has the new events.
--
-- KEYS[1]    stream  events
-- KEYS[2]    zset    due
-- KEYS[3]    list    wake
-- KEYS[4]    stream  recent
-- KEYS[5..]  list    the order of each ordering key
-- KEYS[..]   hash    then the record of each event
-- ARGV[1]    map     the arguments:
--   token         text   the call's token: the same at each retry of the call
--   listed        count  entries that `recent` keeps, about
--   inline        bytes  bodies up to this size travel in the entry
--   events        list   of each event: id, id kind, when (empty: now; +ms: after; ms: at), name, bytes of the body's
--                        identity
--   orders        list   the ordering keys of the events, each once
--   ordered       map    the place in `orders` of the ordering key of each event that has one, by the event's place
--   dedupe        map    ms for which an id is remembered at least, by the event's place, where the send asks for that
-- ARGV[2..]  bytes   the body of each event
--
-- Returns  {now, …}           the server's time in ms; nothing more for new or changed events, four for each other:
-- Returns  place, 'again', due, delivered           when this same call was done before; due is 0 if it was for now
-- Returns  place, 'duplicate', header, body        when it was delivered or canceled, or its id is derived from a run
--                                                  that has sent it before; nothing happened
-- Returns  place, 'conflict', '', ''               when it is delayed under another name or source; nothing happened
--
-- It adds first, so a full server refuses it before anything is written. The record is written last, so that a missing
-- right cannot leave a record without an entry in `events` or `due`.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _list
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local call, inline, ordering_keys = args.token, args.inline, args.orders
local events, due, wake, recent = next_key(), next_key(), next_key(), next_key()
local orders = take_keys(#ordering_keys)
local records = take_keys()
redis.call('XLEN', events)
redis.call('LLEN', wake)
redis.call('XLEN', recent)
for i = 1, #orders do
  redis.call('LLEN', orders[i])
end
local denied = lacking(events, 'XADD', 'HSET', orders[1] and 'RPUSH' or nil)
if denied then
  return denied
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local known = {}
for i = 1, #records do
  known[records[i]] = redis.call('HGET', records[i], 'm')
end

-- A delayed event may be sent again with another ordering key, or without one.
local function remember(record, body, header, ordering_key, dedupe_ms)
  if ordering_key or (known[record] and redis.call('HEXISTS', record, 'k') == 1) then
    redis.call('HSET', record, 'e', body, 'm', header, 'k', ordering_key or '')
  else
    redis.call('HSET', record, 'e', body, 'm', header)
  end
  if dedupe_ms then
    redis.call('HSET', record, 'd', text(dedupe_ms))
  end
end

local reply, index, earliest = { now }, {}, nil
for i = 1, #records do
  local id, kind, when, name, identity = unpack(args.events[i], 1, 5)
  local order, ordering_key = orders[args.ordered[i]], ordering_keys[args.ordered[i]]
  local record, body, dedupe_ms = records[i], ARGV[i + 1], args.dedupe[i]
  local mine = (dedupe_ms and '+' or '') .. call .. '.' .. i -- `_close.lua` reads the mark
  local header = known[record]
  local due_ms = tonumber(when) or 0
  if string.sub(when, 1, 1) == '+' then
    due_ms = now + due_ms
  end

  local accept, answer, first, second = true, nil, '', ''
  if header then
    local by, place, was_due, delivered, canceled = string.match(header, '^%+?(%S+)%.(%d+) %a (%d+) (%d+) (%d+)')
    if by == call and tonumber(place) >= i then
      accept, answer, first, second = false, 'again', was_due, delivered
    elseif delivered ~= '0' or canceled ~= '0' or kind == 'd' then
      accept, answer, first, second = false, 'duplicate', header, redis.call('HGET', record, 'e') or ''
    else
      local body_now = redis.call('HGET', record, 'e') or ''
      -- Compares name and source, which follow the map's size and the format: a sealed event may replace a plain one.
      if string.sub(body_now, 5, identity) ~= string.sub(body, 5, identity) then
        accept, answer = false, 'conflict'
      end
    end
  end

  if accept then
    if due_ms > now then
      header = mine .. ' ' .. kind .. ' ' .. text(due_ms) .. ' 0 0 -'
      redis.call('ZADD', due, text(due_ms), 'e:' .. id)
      remember(record, body, header, ordering_key, dedupe_ms)
      earliest = math.min(earliest or due_ms, due_ms)
    else
      local was_delayed = header
      header = mine .. ' ' .. kind .. ' 0 ' .. text(now) .. ' 0 -'
      local inlined = #body <= inline and body or ''
      if order then
        redis.call('XADD', events, '*', 'i', id, 'z', #body, 'b', inlined, 'k', ordering_key)
        redis.call('RPUSH', order, id)
      else
        redis.call('XADD', events, '*', 'i', id, 'z', #body, 'b', inlined)
      end
      remember(record, body, header, ordering_key, dedupe_ms)
      if was_delayed then
        redis.call('ZREM', due, 'e:' .. id)
      end
    end
    if not known[record] then
      index[#index + 1] = id
      index[#index + 1] = name
    end
    known[record] = header
  else
    reply[#reply + 1] = i
    reply[#reply + 1] = answer
    reply[#reply + 1] = first
    reply[#reply + 1] = second
  end
end

list(recent, args.listed, index)
-- If the earliest member is due already, its wake-up may have been lost.
if earliest and (not head or earliest < tonumber(head) or tonumber(head) <= now) and redis.call('LLEN', wake) == 0 then
  redis.pcall('LPUSH', wake, '1')
end
return reply
