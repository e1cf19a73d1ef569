-- What a worker has counted is added to the counts of a minute, and what the worker says of itself is stored, if its name is known.
--
-- KEYS[1]   hash   worker:<name>
-- KEYS[2..] hash   tally:<minute>, if there are counts
-- ARGV[1]   map    the arguments:
--   facts  list    fields of the worker, each with its value; may be empty
--   age    ms      how long the worker runs
--   counts list    fields of the minute, each with the number to add; may be empty
--   keep   ms      how long the minute stays
--
-- Returns  1  always
--
-- It adds first, so a full server refuses it before anything is written. A call whose reply was lost counts twice.
--@ include _keys
--@ include _time
--@ include _rights
local args, now = cmsgpack.unpack(ARGV[1]), now_ms()
local worker = next_key()
local tally = take_keys()[1]
local is_known = redis.call('HEXISTS', worker, 'app') == 1
if tally then
  redis.call('HEXISTS', tally, '')
end
local denied = lacking(worker, 'HSET', 'HINCRBY', 'PEXPIRE')
if denied then
  return denied
end
if is_known and #args.facts > 0 then
  redis.call('HSET', worker, unpack(args.facts))
  if redis.call('HEXISTS', worker, 'started') == 0 then -- it would differ by how long each report has taken
    redis.call('HSET', worker, 'started', text(now - args.age))
  end
end
for i = 1, #args.counts, 2 do
  redis.call('HINCRBY', tally, args.counts[i], args.counts[i + 1])
end
if tally then
  redis.call('PEXPIRE', tally, args.keep)
end
return 1
