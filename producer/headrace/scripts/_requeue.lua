-- Puts entries back under new ids; what is not in the group's hands any more is left alone. An entry of a queue
-- counts `lost` more lost workers, and its record says queued. Returns how many were put back.
-- KEYS[first_key..] are the records, ARGV[first_arg..] two an entry: its id, `<app>/<job id>` (empty in `events`).
local function requeue(stream, record, fields, job, queue, lost)
  local value = {}
  for i = 1, #fields, 2 do
    value[fields[i]] = fields[i + 1]
  end
  local state = value['s'] ~= '' and value['s'] or '1 0 0 0 0'
  local attempt, lost_before, kept, size = string.match(state, '^(%d+) (%d+) (%d+ %d+) (%d+)$')
  state = attempt .. ' ' .. text(lost_before + lost) .. ' ' .. kept
  local entry = redis.call('XADD', stream, '*', 'e', value['e'], 'j', value['j'], 's', state .. ' ' .. size, 'b', value['b'])
  redis.call('HSET', record, 'r:' .. job, 'q ' .. state .. ' ' .. queue .. ' ' .. entry .. ' - 0 0')
end

local function put_back(stream, group, queue, lost, first_key, first_arg)
  local found, count = {}, (#ARGV - first_arg + 1) / 2
  for i = 1, count do
    local entry = ARGV[first_arg + i * 2 - 2]
    found[i] = redis.call('XRANGE', stream, entry, entry)[1]
    if KEYS[first_key + i - 1] then
      redis.call('HEXISTS', KEYS[first_key + i - 1], 'm')
    end
  end
  local moved = 0
  for i = 1, count do
    local entry, job = ARGV[first_arg + i * 2 - 2], ARGV[first_arg + i * 2 - 1]
    if redis.call('XACK', stream, group, entry) == 1 and found[i] then
      redis.call('XDEL', stream, entry)
      if job == '' then
        redis.call('XADD', stream, '*', unpack(found[i][2]))
      else
        requeue(stream, KEYS[first_key + i - 1], found[i][2], job, queue, lost)
      end
      moved = moved + 1
    end
  end
  return moved
end
