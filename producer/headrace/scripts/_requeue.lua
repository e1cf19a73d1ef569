-- Needs `_time`, `_rights`, `_run`, `_foreign`, `_exhausted`, `_room` and `_trail`.
-- Re-queues entries under new ids; an entry that is no longer pending is left alone. An entry of a queue counts `lost`
-- more lost workers, and its record says queued, unless the record names another entry; what its worker had begun is among
-- the run's attempts as `released`, and what has cost its worker as `lost`. An entry that can't be read is re-queued
-- unchanged; the next worker that reads it dead-letters it. Returns how many entries were re-queued.
-- `of` has the `worker` whose entries they are, the `stream`, its `group`, the `queue`'s name without its app, the number of
-- `lost` workers to add, the `entries`, their `jobs` (`<app>/<job id>`, empty in `events`) and the `records` of their events.
local function successor(fields, lost)
  local value = {}
  for i = 1, #fields, 2 do
    value[fields[i]] = fields[i + 1]
  end
  local state = value['s'] ~= '' and value['s'] or '1 0 0 0 0'
  local attempt, lost_before, kept, size = string.match(state, '^(%d+) (%d+) (%d+ %d+) (%d+)$')
  if not (attempt and value['e'] and value['j'] and value['b']) then
    return fields
  end
  state = attempt .. ' ' .. text(lost_before + lost) .. ' ' .. kept
  local following = { 'e', value['e'], 'j', value['j'], 's', state .. ' ' .. size, 'b', value['b'] }
  if value['k'] then
    following[9], following[10] = 'k', value['k']
  end
  return following, state
end

local function requeue(of)
  local stream, group, entries, jobs, records = of.stream, of.group, of.entries, of.jobs, of.records
  local now = text(now_ms()) -- before anything is written: the right to TIME may be missing
  local successors, states, foreign, is_known, begun = {}, {}, {}, {}, {}
  for i = 1, #entries do
    local entry, job = entries[i], jobs[i]
    local found = redis.call('XRANGE', stream, entry, entry)[1]
    if job ~= '' then
      local header, field = unpack(redis.call('HMGET', records[i], 'm', 'r:' .. job), 1, 2)
      foreign[i] = is_foreign(header, field, entry, 1)
      is_known[i] = header
      begun[i] = string.match(field or '', '^x [^\n]* (%S+ %d+) 0$')
    end
    if found and job ~= '' then
      successors[i], states[i] = successor(found[2], of.lost)
    elseif found then
      successors[i] = found[2]
    end
  end
  local moved = 0
  local denied = lacking(stream, 'XADD', 'XDEL', 'HSET')
  if denied then
    return denied
  end
  redis.call('XACK', stream, group, '0-0')
  local refused = next(successors) and refusal(stream)
  if refused then
    return refused
  end
  for i = 1, #entries do
    local entry, job, fields = entries[i], jobs[i], successors[i]
    if redis.call('XACK', stream, group, entry) == 1 and fields then
      redis.call('XDEL', stream, entry)
      entry = redis.call('XADD', stream, '*', unpack(fields, 1, math.min(#fields, 5000)))
      if states[i] and not foreign[i] then
        local line = 'q ' .. states[i] .. ' ' .. of.queue .. ' ' .. entry .. ' - 0 0'
        local kind = is_known[i] and (of.lost > 0 and 'lost' or begun[i] and 'released') or ''
        local times = (begun[i] or of.worker .. ' 0') .. ' ' .. now
        local left = trail_of(records[i], job, { kind, '-', '' }, string.match(states[i], '^%d+'), times)
        redis.call('HSET', records[i], 'r:' .. job, line, unpack(left))
      end
      moved = moved + 1
    end
  end
  return moved
end
