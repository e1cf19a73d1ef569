-- Calls a command with any number of arguments: unpack has a limit of about 8,000.
local function call_in_chunks(command, key, arguments, ...)
  for first = 1, #arguments, 5000 do
    local chunk = { ... }
    for i = first, math.min(first + 4999, #arguments) do
      chunk[#chunk + 1] = arguments[i]
    end
    redis.call(command, key, unpack(chunk))
  end
end
