-- The event's settling will be published, if the event has not settled yet.
--
-- KEYS[1]  hash  the event's record
--
-- Returns  1  when the event is known
-- Returns  0  when the event is not known; nothing happened
--
-- It adds first, so a full server refuses it before anything is written.
if redis.call('HEXISTS', KEYS[1], 'm') == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'w', 1)
return 1
