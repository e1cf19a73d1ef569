-- Returns the member of `due` of a run with an ordering key. It names the key, so that whoever finds that nothing is
-- left of the run can let its key go.
local function member_of(ordering_key, queue, event_id, job)
  return 'o:' .. #ordering_key .. ':' .. ordering_key .. ':' .. queue .. ':' .. event_id .. ':' .. job
end
