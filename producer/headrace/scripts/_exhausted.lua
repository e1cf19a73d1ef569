-- Whether a write was refused as its stream has had the last entry id that there is, and so takes no entry for ever.
local function is_exhausted(answer)
  local err = type(answer) == 'table' and answer.err or ''
  return (string.find(err, 'exhausted') or string.find(err, 'equal or smaller')) and true or false
end
