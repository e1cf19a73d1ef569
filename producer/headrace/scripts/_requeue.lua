-- Re-queues entries under new ids; an entry that is no longer pending is left alone. An entry of a queue counts `lost`
-- more lost workers, and its record says queued, unless the record names another entry. An entry that can't be read is
-- re-queued unchanged; the next worker that reads it dead-letters it. Returns how many entries were re-queued.
-- KEYS[first_key..] are the records, ARGV[first_arg..] two an entry: its id, `<app>/<job id>` (empty in `events`).
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

local function put_back(stream, group, queue, lost, first_key, first_arg)
  local successors, states, foreign, count = {}, {}, {}, (#ARGV - first_arg + 1) / 2
  for i = 1, count do
    local entry, job = ARGV[first_arg + i * 2 - 2], ARGV[first_arg + i * 2 - 1]
    local found = redis.call('XRANGE', stream, entry, entry)[1]
    if job ~= '' then
      local header, field = unpack(redis.call('HMGET', KEYS[first_key + i - 1], 'm', 'r:' .. job), 1, 2)
      foreign[i] = is_foreign(header, field, entry, 1)
    end
    if found and job ~= '' then
      successors[i], states[i] = successor(found[2], lost)
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
  for i = 1, count do
    local entry, job, fields = ARGV[first_arg + i * 2 - 2], ARGV[first_arg + i * 2 - 1], successors[i]
    if redis.call('XACK', stream, group, entry) == 1 and fields then
      redis.call('XDEL', stream, entry)
      entry = redis.call('XADD', stream, '*', unpack(fields, 1, math.min(#fields, 5000)))
      if states[i] and not foreign[i] then
        local line = 'q ' .. states[i] .. ' ' .. queue .. ' ' .. entry .. ' - 0 0'
        redis.call('HSET', KEYS[first_key + i - 1], 'r:' .. job, line)
      end
      moved = moved + 1
    end
  end
  return moved
end
