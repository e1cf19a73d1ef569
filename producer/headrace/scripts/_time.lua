-- Return the server's time in ms, and a whole number as text: Lua would write 1.7e+12.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function text(number)
  return string.format('%.0f', number)
end
