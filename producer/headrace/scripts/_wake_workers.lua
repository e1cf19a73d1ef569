-- Needs `_exhausted`.
-- Wakes one idle worker of each app whose wake-up stream is given. Optional, so it may fail and comes last.
local function wake_workers(streams)
  for stream in pairs(streams) do
    local added = redis.pcall('XADD', stream, 'MAXLEN', 1, '*', 'r', '')
    if is_exhausted(added) then
      redis.pcall('DEL', stream) -- it holds nothing; a worker that waits for it makes it again
    end
  end
end
