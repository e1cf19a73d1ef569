-- Runs whose times in `due` were set by a clock that has gone back since are due earlier by the same time, a part of them in each call.
--
-- KEYS[1]  zset   due
-- KEYS[2]  hash   meta
-- ARGV[1]  count  how many members to look at
--
-- Returns  how many were looked at; 0 when none is left, or no clock has gone back
--
-- It frees first, so a full server lets it pass. Events keep their times: those are times of the server's clock.
--@ include _time
--@ include _rights
--@ include _chunks
local due, meta, count = KEYS[1], KEYS[2], tonumber(ARGV[1])
local by, from = string.match(redis.call('HMGET', meta, 'back')[1] or '', '^(%d+) (%S+)$')
if not by then
  return 0
end
local found = redis.call('ZRANGEBYSCORE', due, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
-- Members of one millisecond stay together, as the next call begins after that millisecond.
if #found == count * 2 then
  local last = found[#found]
  if found[2] == last then
    found = redis.call('ZRANGEBYSCORE', due, last, last, 'WITHSCORES')
  else
    while found[#found] == last do
      found[#found], found[#found - 1] = nil, nil
    end
  end
end
local moved = {}
for i = 1, #found, 2 do
  if string.sub(found[i], 1, 2) ~= 'e:' then
    moved[#moved + 1] = text(found[i + 1] - by)
    moved[#moved + 1] = found[i]
  end
end
local denied = lacking(due, 'HSET', 'HDEL', 'ZADD')
if denied then
  return denied
end
redis.call('ZREM', due, '')
if #found == 0 then
  redis.call('HDEL', meta, 'back')
  return 0
end
redis.call('HSET', meta, 'back', by .. ' ' .. found[#found])
call_in_chunks('ZADD', due, moved)
return #found / 2
