-- Wakes one idle worker of each app whose bell was noted. Optional, so it may fail and comes last.
local function ring(bells)
  for bell in pairs(bells) do
    local rung = redis.pcall('XADD', bell, 'MAXLEN', 1, '*', 'r', '')
    if is_exhausted(rung) then
      redis.pcall('DEL', bell) -- it holds nothing; those who wait at it make it again
    end
  end
end
