-- An entry that can't be handled is acknowledged, deleted, and stands in `dead` as it was, with the reason.
--
-- KEYS[1]  stream  where the entry is
-- KEYS[2]  stream  dead
-- ARGV[1]  text    the stream's group
-- ARGV[2]  text    the entry
-- ARGV[3]  text    the reason, one word
-- ARGV[4]  text    the error
-- ARGV[5]  ms      retention after failure
--
-- Returns  1  when it is in `dead` now
-- Returns  0  when it was not in the group's hands any more; nothing happened
--
-- It frees first, so a full server lets it pass. The record, if there is one, is not touched: it may be what is wrong.
--@ include _time
local oldest = text(math.max(now_ms() - tonumber(ARGV[5]), 0))
redis.call('XLEN', KEYS[2])
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[2])
local fields = { 'reason', ARGV[3], 'error', ARGV[4] }
for i = 1, math.min(found and #found[2] or 0, 4000), 2 do
  fields[#fields + 1] = 'raw.' .. found[2][i]
  fields[#fields + 1] = found[2][i + 1]
end
redis.call('XADD', KEYS[2], 'MINID', '~', oldest, '*', unpack(fields))
return 1
