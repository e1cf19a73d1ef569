-- Returns how many entries `recent` and `runs`, the indexes, keep: what an operator has set, if that is more than is given.
local function entries_kept(set, least)
  return math.max(least, string.match(set or '', '^%d%d?%d?%d?%d?%d?%d?$') and tonumber(set) or 0)
end

-- Returns how long an index is. A key of another type is no index, and 0 long.
local function index_length(index)
  local length = redis.pcall('XLEN', index)
  if type(length) == 'number' then
    return length
  elseif string.find(length.err, 'WRONGTYPE') then
    return 0
  end
  error(length.err)
end
