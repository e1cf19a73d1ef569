-- Returns the member of `due` of a run with an ordering key. The member names the key, so that a worker that finds
-- nothing left of the run can release the key.
local function member_of(ordering_key, queue, event_id, job)
  return 'o:' .. #ordering_key .. ':' .. ordering_key .. ':' .. queue .. ':' .. event_id .. ':' .. job
end
