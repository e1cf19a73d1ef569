-- Returns the fields, each with its value, that hold what an attempt of a run has left behind: its line in the last ten of
-- the run's attempts (`a:<app>/<job id>`), and the events that it has sent (`c:<app>/<job id>`).
-- A trail has the attempt's kind (empty: it has no line), a note of its error, and the events (empty: none). `times` is
-- the attempt's worker, start and end, as in the run's field.
local function with_line(lines, line)
  local _, count = string.gsub(lines, '\n', '\n')
  for _ = 10, count + 1 do
    lines = string.match(lines, '\n(.*)$')
  end
  return lines and lines ~= '' and lines .. '\n' .. line or line
end
local function trail_of(record, job, trail, attempt, times)
  local fields, kind, note, sent = {}, unpack(trail, 1, 3)
  if kind ~= '' then
    local known = redis.call('HMGET', record, 'a:' .. job)[1] or ''
    fields[1], fields[2] = 'a:' .. job, with_line(known, attempt .. ' ' .. kind .. ' ' .. times .. ' ' .. note)
  end
  if sent ~= '' then
    fields[#fields + 1] = 'c:' .. job
    fields[#fields + 1] = sent
  end
  return fields
end
