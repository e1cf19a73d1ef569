-- Needs `_run`.
-- Returns whether an entry that names a run is not the run's own: the record names another entry, says that the run
-- waits or has ended, or has no such run. If the record is gone, or can't be read, the entry is believed.
-- `place` is the position of the entry's id in the run's field if the state there is as long as that of the entry; an
-- entry that is found at that position needs no further comparison.
local find, byte = string.find, string.byte
local function is_foreign(header, field, entry, place)
  if not field then
    return header and true or false
  end
  local letter = byte(field)
  if (letter == 113 or letter == 120) and find(field, entry .. ' ', place, true) == place then -- q, x
    return false
  end
  local status, _, _, _, _, _, recorded = run_of(field)
  return status and not (recorded == entry and (status == 'q' or status == 'x')) or false
end
