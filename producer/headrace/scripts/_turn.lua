-- Passes the turn of an ordering key on: a run that had it leaves, and the one behind it is due at once.
-- Returns the member of `due` of the one that has it now, if there is one.
local function pass_turn(turns, member, due, now)
  if redis.call('LINDEX', turns, 0) ~= member then
    return nil
  end
  redis.call('LPOP', turns)
  local following = redis.call('LINDEX', turns, 0)
  if following then
    redis.call('ZADD', due, string.format('%.0f', now), following)
  end
  return following
end
