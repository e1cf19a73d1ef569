-- A closed queue delivers nothing to whoever reads it plainly, not even to a read that was open before: the last id that
-- its group has delivered is the highest there is. `open_queue` lets the group go on where it was. An entry is deleted
-- when it is acknowledged, so whatever lies behind the last pending entry waits for a worker.
-- `pending` is what XPENDING says of the queue.
local function close_queue(queue)
  return redis.pcall('XGROUP', 'SETID', queue, 'workers', '18446744073709551615-0')
end
local function open_queue(queue, pending)
  return redis.pcall('XGROUP', 'SETID', queue, 'workers', pending[3] or '0-0')
end
