-- Each run whose record still names this entry as queued says that it executes.
--
-- KEYS[1..]  hash  the record of each run's event
-- ARGV[1]    text  the worker's name
-- ARGV[2..]        three a run: its field's name, entry, ms since it started
--
-- Returns  the number of runs that say so now
--@ include _time
--@ include _run
local now, count = now_ms(), 0
for i = 1, #KEYS do
  local name, entry, age = ARGV[i * 3 - 1], ARGV[i * 3], tonumber(ARGV[i * 3 + 1])
  local field = redis.call('HGET', KEYS[i], name)
  if field then
    local status, attempt, lost, since, replay, queue, recorded = run_of(field)
    if status == 'q' and recorded == entry then
      redis.call('HSET', KEYS[i], name, 'x ' .. attempt .. ' ' .. lost .. ' ' .. since .. ' ' .. replay .. ' '
        .. queue .. ' ' .. entry .. ' ' .. ARGV[1] .. ' ' .. text(now - age) .. ' 0')
      count = count + 1
    end
  end
end
return count
