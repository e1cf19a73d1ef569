-- Calls a command with any number of arguments, as unpack is limited to about 8,000. Returns the sum of the replies.
local function call_in_chunks(command, key, arguments, group)
  local sum = 0
  for first = 1, #arguments, 5000 do
    local last = math.min(first + 4999, #arguments)
    if group then
      sum = sum + redis.call(command, key, group, unpack(arguments, first, last))
    else
      sum = sum + redis.call(command, key, unpack(arguments, first, last))
    end
  end
  return sum
end
