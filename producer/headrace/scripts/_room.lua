-- Needs `_exhausted`.
-- Returns the error with which a stream takes no entry, nil if it takes one. Probes with an XADD and an XDEL, as no
-- command shows a last id whose entry is gone.
local function refusal(stream)
  local entry = redis.pcall('XADD', stream, '*', 'r', '')
  if type(entry) == 'string' then
    redis.call('XDEL', stream, entry)
    return nil
  end
  return is_exhausted(entry) and { err = 'EXHAUSTED ' .. stream } or entry
end
