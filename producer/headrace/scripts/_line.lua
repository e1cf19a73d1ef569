-- Removes the run at the head of an ordering key's line, and makes the next run due at once.
-- Returns the member of `due` of the run that is at the head now, if there is one.
local function pass_on_line(line, member, due, now)
  if redis.call('LINDEX', line, 0) ~= member then
    return nil
  end
  redis.call('LPOP', line)
  local following = redis.call('LINDEX', line, 0)
  if following then
    redis.call('ZADD', due, string.format('%.0f', now), following)
  end
  return following
end
