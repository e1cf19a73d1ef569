-- Closes a record whose last open run has ended: sets its TTL, and notifies the clients that wait for the event. If its
-- contents are not kept, only its header stays, for dedupe; if they are kept for less time than the header, they fade.
-- ARGV[1] to ARGV[5] are the retention, ARGV[6] the channel's prefix.
local retention_ms, failure_retention_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local dedupe_ms = { c = tonumber(ARGV[3]), s = tonumber(ARGV[4]), d = tonumber(ARGV[5]) }
local fades, closed_at = {}, now_ms()
local function close(record, header, failed, waited, event_id)
  local keep = failed and failure_retention_ms or retention_ms
  local dedupe = header and dedupe_ms[string.match(header, '^%S+ (%a)')] or 0
  if keep == 0 then
    redis.call('DEL', record)
    if header and dedupe > 0 then
      redis.call('HSET', record, 'm', header)
    end
  elseif dedupe > keep then
    fades[#fades + 1] = text(closed_at + keep)
    fades[#fades + 1] = event_id
  end
  redis.call('PEXPIRE', record, math.max(keep, dedupe))
  if waited then
    redis.pcall('PUBLISH', ARGV[6] .. event_id, '')
  end
end
-- Records when the contents of the closed records are to be deleted.
local function let_fade(fading)
  call_in_chunks('ZADD', fading, fades)
end
