-- Each named member that is still due is in its stream and out of `due`.
--
-- KEYS[1]    zset    due
-- KEYS[2]    stream  events
-- KEYS[3..]          three a member: its record (hash); its stream, `events` or a queue; its app's bell, or `events` again
-- ARGV[1]    bytes   bodies up to this size travel in the entry
-- ARGV[2]    count   how many members to tell of
-- ARGV[3..]          one a member: `e:<event id>` or `r:<queue>:<event id>:<app>/<job id>`
--
-- Returns  {now, dropped, member, score, …}  the server's time in ms; how many members were taken out as nothing of
--                                            theirs is delayed or waits any more, or can be read; the earliest
--                                            members that are left, due or not, with their times in ms
--
-- An event adds first and is refused by a full server; a run frees first, so that what was begun can end.
--@ include _time
--@ include _ring
local due, events, inline, ahead = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
redis.call('XLEN', events)
redis.call('ZRANGE', due, 0, 0)
local work = {}
for i = 3, #ARGV do
  local member, k = ARGV[i], 3 + (i - 3) * 3
  local score = redis.call('ZSCORE', due, member)
  if score and tonumber(score) <= now then
    redis.call('XLEN', KEYS[k + 1])
    local id, run = string.match(member, '^r:[^:]+:(.*):([^:]+)$')
    local header, body, field = unpack(redis.call('HMGET', KEYS[k], 'm', 'e', run and 'r:' .. run or 'm'), 1, 3)
    local item = { member = member, record = KEYS[k], stream = KEYS[k + 1], bell = KEYS[k + 2], body = body, run = run }
    if run then
      item.id = id
      item.kept, item.queue, item.rest = string.match(field or '', '^w (%d+ %d+ %d+ %d+) (%S+) %S+ (.*)$')
    else
      item.id = string.sub(member, 3)
      item.kept = string.match(header or '', '^(%S+ %a %d+) 0 0 %-$')
    end
    item.is_lost = not (header and body and item.kept)
    item.is_headless = not header
    work[#work + 1] = item
  end
end

local dropped, bells = 0, {}
for _, item in ipairs(work) do
  local body, whole = item.body, item.body and #item.body <= inline and item.body or ''
  if item.is_lost then
    redis.call('ZREM', due, item.member)
    if item.is_headless then -- what an end or a retry has written since the record went would never go
      redis.call('DEL', item.record)
    end
    dropped = dropped + 1
  elseif item.run then
    redis.call('ZREM', due, item.member)
    local entry = redis.call('XADD', item.stream, '*', 'e', item.id, 'j', string.match(item.run, '/(.*)$'),
      's', item.kept .. ' ' .. #body, 'b', whole)
    local line = 'q ' .. item.kept .. ' ' .. item.queue .. ' ' .. entry .. ' ' .. item.rest
    redis.call('HSET', item.record, 'r:' .. item.run, line)
    bells[item.bell] = true
  else
    redis.call('XADD', item.stream, '*', 'i', item.id, 'z', #body, 'b', whole)
    redis.call('ZREM', due, item.member)
    redis.call('HSET', item.record, 'm', item.kept .. ' ' .. text(now) .. ' 0 -')
  end
end

ring(bells)
local reply = { now, dropped }
for _, value in ipairs(ahead > 0 and redis.call('ZRANGE', due, 0, ahead - 1, 'WITHSCORES') or {}) do
  reply[#reply + 1] = value
end
return reply
