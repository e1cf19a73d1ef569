-- Adds pairs to a stream for listings, twenty an entry at most, so that the stream's limit in entries bounds its bytes.
-- A listing is not part of any guarantee, so this may fail and comes last.
local function list(stream, limit, pairs_flat)
  for first = 1, #pairs_flat, 40 do
    redis.pcall('XADD', stream, 'MAXLEN', '~', limit, '*',
      unpack(pairs_flat, first, math.min(first + 39, #pairs_flat)))
  end
end
