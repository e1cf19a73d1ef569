-- Calls a command with any number of arguments, as unpack has a limit of about 8,000; returns the sum of its answers.
local function call_in_chunks(command, key, arguments, ...)
  local sum = 0
  for first = 1, #arguments, 5000 do
    local chunk = { ... }
    for i = first, math.min(first + 4999, #arguments) do
      chunk[#chunk + 1] = arguments[i]
    end
    sum = sum + redis.call(command, key, unpack(chunk))
  end
  return sum
end
