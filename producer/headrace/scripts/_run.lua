-- Parses a run's field: status, the state of its entry (attempt, lost, unknown since, replay), queue, entry.
local function run_of(field)
  local status, attempt, lost, since, replay, queue, entry =
    string.match(field, '^(%a) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+)')
  return status, attempt, lost, since, replay, queue, entry
end
