-- Wakes one idle worker of each app whose bell was noted. Optional, so it may fail and comes last.
local function ring(bells)
  for bell in pairs(bells) do
    redis.pcall('XADD', bell, 'MAXLEN', 1, '*', 'r', '')
  end
end
