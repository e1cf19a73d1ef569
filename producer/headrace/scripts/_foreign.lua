-- Whether an entry that names a run is none of the run's: its record knows another one, or says that the run waits or
-- has ended, or knows no such run. Where the record is gone, or can't be read, the entry is taken at its word.
-- `place` is where the entry gives_up in the run's field if its state is as long as that of the entry; that spares the rest.
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
