-- Runs from this worker's queues are delivered to it: at most one for each free slot, none of a paused queue, and no more of a limited queue than may be in flight.
--
-- KEYS[1]    hash    controls
-- KEYS[2..]  stream  the worker's queues, in the order in which to read them
-- ARGV[1]    map     the arguments:
--   worker  text   the worker's name
--   free    count  free slots
--   shares  list   how many of these slots each queue has a right to; what a queue leaves goes to those that have more
--   limits  list   the limit that the code declares for each queue; 0: none
--
-- Returns  {version, {place, …}, place, entries, …}  the version of the controls; the limited queues; then for queues
--                                                    that had any, the entries that XREADGROUP returned
--
-- What is in flight is what is pending in the group, whichever worker has it. A limit at run time replaces the declared
-- one. A queue that can't be read fails the call only while no entry is delivered: delivered entries must be returned.
--@ include _keys
--@ include _closed
local args, controls = cmsgpack.unpack(ARGV[1]), next_key()
local queues, fields = take_keys(), { 'version' }
for _, queue in ipairs(queues) do
  local name = string.match(queue, ':([^:]+)$')
  fields[#fields + 1] = 'p:' .. name
  fields[#fields + 1] = 'l:' .. name
end
local found = redis.call('HMGET', controls, unpack(fields))
local free, limited, rooms, closed, filled = args.free, {}, {}, {}, {}
local reply = { found[1] or '0', limited }
for i, queue in ipairs(queues) do
  local is_paused, at_run_time = found[2 * i], found[2 * i + 1]
  local limit = tonumber(at_run_time) or (not at_run_time and args.limits[i] > 0 and args.limits[i])
  if limit then
    limited[#limited + 1] = i
    local pending = redis.call('XPENDING', queue, 'workers')
    rooms[i], closed[i] = limit - pending[1], tonumber(at_run_time) and pending
  end
  if is_paused then
    rooms[i] = 0
  end
end

local function read(i, most)
  local count, queue, pending = math.min(most, free, rooms[i] or most), queues[i], closed[i]
  if count <= 0 then
    return
  end
  if pending then -- a full Redis 6.2 refuses XGROUP as the first write
    redis.call('XACK', queue, 'workers', '0-0')
  end
  local got = pending and open_queue(queue, pending)
  if got and got.err then
    return got
  end
  got = redis.pcall('XREADGROUP', 'GROUP', 'workers', args.worker, 'COUNT', count, 'STREAMS', queue, '>')
  if pending then
    close_queue(queue)
  end
  if got and got.err then
    return got
  end
  local entries = got and got[1][2] or {}
  if #entries > 0 then
    reply[#reply + 1] = i
    reply[#reply + 1] = entries
    free = free - #entries
    rooms[i] = rooms[i] and rooms[i] - #entries
    if pending then
      pending[3] = entries[#entries][1]
    end
  end
  filled[i] = #entries == count
end

for pass = 1, 2 do
  for i = 1, #queues do
    local refused
    if pass == 1 and args.shares[i] > 0 then
      refused = read(i, args.shares[i])
    elseif pass == 2 and (filled[i] or args.shares[i] == 0) then
      refused = read(i, free)
    end
    if refused then
      return #reply > 2 and reply or refused
    end
  end
end
return reply
