-- Needs `_run`.
-- Acknowledges the entry of a run that was canceled while a worker had it: it is deleted, and was pending until its
-- function had ended, so that a limit counted it. The events that it has sent are among the run's, unless that has begun
-- anew. Returns whether the entry was pending.
local function end_canceled(queue, entry, record, job, field, trail)
  if redis.call('XACK', queue, 'workers', entry) == 0 then
    return false
  end
  local status, _, _, _, _, _, recorded = run_of(field or '')
  if status == 'c' and recorded == entry and trail and trail[3] ~= '' then
    redis.call('HSET', record, 'c:' .. job, trail[3])
  end
  return true
end
