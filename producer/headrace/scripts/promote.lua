-- Each named member that is still due is in its stream and out of `due`.
--
-- KEYS[1]    zset    due
-- KEYS[2]    stream  events
-- KEYS[3..]          three a member: its record (hash); its stream, `events` or a queue; its app's bell, or `events` again
-- ARGV[1]    bytes   bodies up to this size travel in the entry
-- ARGV[2]    count   how many members to tell of
-- ARGV[3..]          one a member: `e:<event id>` or `r:<queue>:<event id>:<app>/<job id>`
--
-- Returns  {now, dropped, member, score, …}  the server's time in ms; how many members had no record any more; the
--                                            earliest members that are left, due or not, with their times in ms
--
-- An event adds first and is refused by a full server; a run frees first, so that what was begun can end.
--@ include _time
--@ include _ring
local due, events, inline = KEYS[1], KEYS[2], tonumber(ARGV[1])
local now = now_ms()
redis.call('XLEN', events)
local work = {}
for i = 3, #ARGV do
  local member, k = ARGV[i], 3 + (i - 3) * 3
  local score = redis.call('ZSCORE', due, member)
  if score and tonumber(score) <= now then
    local run = string.match(member, '^r:[^:]+:.*:([^:]+)$')
    redis.call('XLEN', KEYS[k + 1])
    local stored = redis.call('HMGET', KEYS[k], 'm', 'e', run and 'r:' .. run or 'm')
    work[#work + 1] = { member, KEYS[k], KEYS[k + 1], KEYS[k + 2], run, stored[1], stored[2], stored[3] }
  end
end

local dropped, bells = 0, {}
for _, item in ipairs(work) do
  local member, record, stream, bell, run, header, body, field = unpack(item, 1, 8)
  if not header or not body or (run and not field) then
    redis.call('ZREM', due, member)
    dropped = dropped + 1
  elseif run then
    local id = string.match(member, '^r:[^:]+:(.*):[^:]+$')
    local _, state, queue, tail =
      string.match(field, '^(%a) (%d+ %d+ %d+ %d+) (%S+) %S+ (.*)$')
    redis.call('ZREM', due, member)
    local entry = redis.call('XADD', stream, '*', 'e', id, 'j', string.match(run, '/(.*)$'),
      's', state .. ' ' .. #body, 'b', #body <= inline and body or '')
    redis.call('HSET', record, 'r:' .. run, 'q ' .. state .. ' ' .. queue .. ' ' .. entry .. ' ' .. tail)
    bells[bell] = true
  else
    local id = string.sub(member, 3)
    redis.call('XADD', stream, '*', 'i', id, 'z', #body, 'b', #body <= inline and body or '')
    redis.call('ZREM', due, member)
    local token, kind, due_ms = string.match(header, '^(%S+) (%a) (%d+)')
    redis.call('HSET', record, 'm', token .. ' ' .. kind .. ' ' .. due_ms .. ' ' .. text(now) .. ' 0 -')
  end
end

ring(bells)
local reply = { now, dropped }
for _, value in ipairs(redis.call('ZRANGE', due, 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')) do
  reply[#reply + 1] = value
end
return reply
