-- Why a stream takes no entry, nil if it does. One is added and taken out again, as nothing else tells of a last id
-- whose entry is gone.
local function refusal(stream)
  local entry = redis.pcall('XADD', stream, '*', 'r', '')
  if type(entry) == 'string' then
    redis.call('XDEL', stream, entry)
    return nil
  end
  return is_exhausted(entry) and { err = 'EXHAUSTED ' .. stream } or entry
end
