-- The namespace has its stored number of partitions or, if it is used for the first time, the given number.
--
-- KEYS[1]  hash   meta, of any partition
-- ARGV[1]  count  partitions
--
-- Returns  how many partitions there are
--
-- It adds first, if it writes at all: a full server refuses it while the number is not stored yet.
local known = redis.call('HGET', KEYS[1], 'partitions')
if not known then
  redis.call('HSET', KEYS[1], 'partitions', ARGV[1])
end
return tonumber(known or ARGV[1])
