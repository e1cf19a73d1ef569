-- Each run whose record still names this entry as queued says that it executes.
--
-- KEYS[1..]  hash  the record of each run's event
-- ARGV[1]    text  the worker's name
-- ARGV[2..]        three a run: its field's name, entry, ms since it started
--
-- Returns  the number of runs that were marked
--
-- It adds first, so a full server refuses it before anything is written.
--@ include _time
--@ include _run
local now, lines, count = now_ms(), {}, 0
for i = 1, #KEYS do
  local entry, age = ARGV[i * 3], tonumber(ARGV[i * 3 + 1])
  local status, attempt, lost, since, replay, queue, recorded = run_of(redis.call('HGET', KEYS[i], ARGV[i * 3 - 1]) or '')
  if status == 'q' and recorded == entry then
    lines[i] = 'x ' .. attempt .. ' ' .. lost .. ' ' .. since .. ' ' .. replay .. ' ' .. queue .. ' ' .. entry .. ' '
      .. ARGV[1] .. ' ' .. text(now - age) .. ' 0'
    count = count + 1
  end
end
for i, line in pairs(lines) do
  redis.call('HSET', KEYS[i], ARGV[i * 3 - 1], line)
end
return count
