-- Of each named event whose contents were kept long enough only the header is left, until its id may be used again; dead letters that were kept long enough are gone.
--
-- KEYS[1]    zset    fading
-- KEYS[2]    stream  dead
-- KEYS[3..]  hash    the record of each event
-- ARGV[1]    ms      how long dead letters stay
-- ARGV[2]    count   dead letters to delete at most, and events to return at most
-- ARGV[3..]  text    the events' ids
--
-- Returns  {letters, id, …}  how many dead letters were deleted, and the events whose contents are to go next
--
-- It frees first, so a full server lets it pass. An event with open runs again stays as it is: its record has no TTL.
--@ include _time
--@ include _rights
--@ include _chunks
local fading, dead, count, now = KEYS[1], KEYS[2], tonumber(ARGV[2]), now_ms()
local headers, left, is_asked = {}, {}, {}
for i = 3, #ARGV do
  is_asked[ARGV[i]] = true
  local faded = redis.call('ZSCORE', fading, ARGV[i])
  if faded and tonumber(faded) <= now then
    local stored = redis.pcall('HMGET', KEYS[i], 'm') -- a key that is no hash is not Headrace's
    if stored.err and not string.find(stored.err, 'WRONGTYPE') then
      return stored
    end
    headers[i], left[i] = stored[1] or false, redis.call('PTTL', KEYS[i])
  end
end
local letters = {}
for _, letter in ipairs(redis.call('XRANGE', dead, '-', text(math.max(now - tonumber(ARGV[1]), 0)), 'COUNT', count)) do
  letters[#letters + 1] = letter[1]
end
local following = redis.call('ZRANGEBYSCORE', fading, '-inf', text(now), 'LIMIT', 0, count + #ARGV - 2)
local denied = lacking(dead, 'DEL', 'HSET', 'PEXPIRE', 'ZREM', 'XDEL')
if denied then
  return denied
end
for i, header in pairs(headers) do
  if header and left[i] > 0 then
    redis.call('DEL', KEYS[i])
    redis.call('HSET', KEYS[i], 'm', header)
    redis.call('PEXPIRE', KEYS[i], left[i])
  end
  redis.call('ZREM', fading, ARGV[i])
end
call_in_chunks('XDEL', dead, letters)
local reply = { #letters }
for _, id in ipairs(following) do
  if not is_asked[id] and #reply <= count then
    reply[#reply + 1] = id
  end
end
return reply
