-- Ends a record whose last open thing has gone: it gets its TTL, or only its header stays for dedupe,
-- and whoever waits for the event hears of it. ARGV[1] to ARGV[5] are the policy, ARGV[6] the channel's prefix.
local retention_ms, failure_retention_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local dedupe_ms = { c = tonumber(ARGV[3]), s = tonumber(ARGV[4]), d = tonumber(ARGV[5]) }
local function close(record, header, failed, waited, event_id)
  local keep = failed and failure_retention_ms or retention_ms
  local dedupe = header and dedupe_ms[string.match(header, '^%S+ (%a)')] or 0
  if keep == 0 then
    redis.call('DEL', record)
    if header and dedupe > 0 then
      redis.call('HSET', record, 'm', header)
    end
  end
  redis.call('PEXPIRE', record, math.max(keep, dedupe))
  if waited then
    redis.pcall('PUBLISH', ARGV[6] .. event_id, '')
  end
end
