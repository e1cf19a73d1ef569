-- Read KEYS from the first to the last, so that no script counts their places.
-- `next_key` returns one key, `take_keys` a list of so many, or of all that are left.
local keys_taken = 0
local function next_key()
  keys_taken = keys_taken + 1
  return KEYS[keys_taken]
end
local function take_keys(count)
  local first = keys_taken + 1
  keys_taken = count and keys_taken + count or #KEYS
  local taken = { unpack(KEYS, first, math.min(keys_taken, first + 4999)) } -- unpack is limited to about 8,000
  for i = first + 5000, keys_taken do
    taken[i - first + 1] = KEYS[i]
  end
  return taken
end
