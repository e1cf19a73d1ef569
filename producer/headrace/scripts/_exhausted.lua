-- Returns whether a write was refused as its stream has had the last possible entry id, and so never takes an entry again.
local function is_exhausted(answer)
  local err = type(answer) == 'table' and answer.err or ''
  return (string.find(err, 'exhausted') or string.find(err, 'equal or smaller')) and true or false
end
