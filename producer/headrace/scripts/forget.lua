-- Of each named event whose contents were kept long enough only the header is left, until its id may be used again; dead letters that were kept long enough are gone, and entries of the indexes beyond those that are kept.
--
-- KEYS[1]    zset    fading
-- KEYS[2]    stream  dead
-- KEYS[3]    hash    meta
-- KEYS[4]    stream  recent
-- KEYS[5]    stream  runs
-- KEYS[6..]  hash    the record of each event
-- ARGV[1]    map     the arguments:
--   keep     ms      how long dead letters stay
--   count    count   dead letters to delete at most, and events to return at most
--   ids      list    the events' ids
--   listed   count   entries that each index keeps, about, if no more is set
--
-- Returns  {letters, trimmed, id, …}  how many dead letters were deleted, and how many entries of the indexes, which
--                                     drop about 10,000 at a time; the events whose contents are to go next
--
-- It frees first, so a full server lets it pass. An event with open runs again stays as it is: its record has no TTL.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _chunks
--@ include _index
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local fading, dead, meta, recent, runs = next_key(), next_key(), next_key(), next_key(), next_key()
local records, count = take_keys(), args.count
local headers, left, is_named = {}, {}, {}
for i, id in ipairs(args.ids) do
  is_named[id] = true
  local faded = redis.call('ZSCORE', fading, id)
  if faded and tonumber(faded) <= now then
    local stored = redis.pcall('HMGET', records[i], 'm') -- a key that is no hash is not Headrace's
    if stored.err and not string.find(stored.err, 'WRONGTYPE') then
      return stored
    end
    headers[i], left[i] = stored[1] or false, redis.call('PTTL', records[i])
  end
end
local letters = {}
for _, letter in ipairs(redis.call('XRANGE', dead, '-', text(math.max(now - args.keep, 0)), 'COUNT', count)) do
  letters[#letters + 1] = letter[1]
end
local following = redis.call('ZRANGEBYSCORE', fading, '-inf', text(now), 'LIMIT', 0, count + #args.ids)
local kept = entries_kept(redis.call('HGET', meta, 'index_entries'), args.listed)
local lengths = { [recent] = index_length(recent), [runs] = index_length(runs) }
local denied = lacking(dead, 'DEL', 'HSET', 'PEXPIRE', 'ZREM', 'XDEL', 'XTRIM')
if denied then
  return denied
end
for i, header in pairs(headers) do
  if header and left[i] > 0 then
    redis.call('DEL', records[i])
    redis.call('HSET', records[i], 'm', header)
    redis.call('PEXPIRE', records[i], left[i])
  end
  redis.call('ZREM', fading, args.ids[i])
end
call_in_chunks('XDEL', dead, letters)
local trimmed = 0
for index, length in pairs(lengths) do
  trimmed = trimmed + (length > kept and redis.call('XTRIM', index, 'MAXLEN', '~', kept) or 0)
end
local reply = { #letters, trimmed }
for _, id in ipairs(following) do
  if not is_named[id] and #reply < count + 2 then
    reply[#reply + 1] = id
  end
end
return reply
