-- Each run whose record still names this entry as queued says that it executes.
--
-- KEYS[1..]  hash  the record of each run's event
-- ARGV[1]    map   the arguments:
--   worker   text  the worker's name
--   fields   list  the name of each run's field
--   entries  list  the entry of each run
--   elapsed  list  ms since each run started
--
-- Returns  the number of runs that were marked
--
-- It adds first, so a full server refuses it before anything is written.
--@ include _time
--@ include _run
local args, now, lines, count = cmsgpack.unpack(ARGV[1]), now_ms(), {}, 0
for i, entry in ipairs(args.entries) do
  local status, attempt, lost, since, replay, queue, recorded = run_of(redis.call('HGET', KEYS[i], args.fields[i]) or '')
  if status == 'q' and recorded == entry then
    lines[i] = 'x ' .. attempt .. ' ' .. lost .. ' ' .. since .. ' ' .. replay .. ' ' .. queue .. ' ' .. entry .. ' '
      .. args.worker .. ' ' .. text(now - args.elapsed[i]) .. ' 0'
    count = count + 1
  end
end
for i, line in pairs(lines) do
  redis.call('HSET', KEYS[i], args.fields[i], line)
end
return count
