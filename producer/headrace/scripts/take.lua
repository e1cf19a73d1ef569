-- Runs from this worker's queues are delivered to it, at most one for each free slot.
--
-- KEYS[1..]  stream  the worker's queues, in the order in which to read them
-- ARGV[1]    text    the worker's name
-- ARGV[2]    count   free slots
--
-- Returns  {place, entries, …}  for each queue that had any, the entries that XREADGROUP returned
--
-- A queue that can't be read fails the call only while no entry is delivered: delivered entries must be returned.
local reply, free = {}, tonumber(ARGV[2])
for i = 1, #KEYS do
  if free <= 0 then
    break
  end
  local got = redis.pcall('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', free, 'STREAMS', KEYS[i], '>')
  if got and got.err then
    return #reply > 0 and reply or got
  end
  if got then
    reply[#reply + 1] = i
    reply[#reply + 1] = got[1][2]
    free = free - #got[1][2]
  end
end
return reply
