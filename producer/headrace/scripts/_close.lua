-- Needs `_time` and `_chunks`.
-- Returns two functions, which follow the given policy. `close` closes a record whose last open run has ended: sets its
-- TTL, and notifies the clients that wait for the event. If its contents are not kept, only its header stays, for
-- dedupe; if they are kept for less time than the header, they fade. `let_fade` comes last, once: it records in `fading`
-- when the contents of the closed records are to be deleted.
-- The policy has the ms for which records stay after `success` and after `failure`, the ms for which ids are remembered
-- in `dedupe` (`c` by the client, `s` the sender, `d` derived), and the prefix of the channels of settled events.
-- Where a header begins with `+`, the record's field `d` has the ms for which its id is remembered at least.
local function closing(policy, now, fading)
  local fades = {}
  local function close(record, header, failed, waited, event_id)
    local keep = failed and policy.failure or policy.success
    local dedupe = header and policy.dedupe[string.match(header, '^%S+ (%a)')] or 0
    if header and string.byte(header) == 43 then -- +
      local own = string.match(redis.call('HMGET', record, 'd')[1] or '', '^%d+$')
      dedupe = math.max(dedupe, own and #own < 14 and tonumber(own) or 0)
    end
    if keep == 0 then
      redis.call('DEL', record)
      if header and dedupe > 0 then
        redis.call('HSET', record, 'm', header)
      end
    elseif dedupe > keep then
      fades[#fades + 1] = text(now + keep)
      fades[#fades + 1] = event_id
    end
    redis.call('PEXPIRE', record, math.max(keep, dedupe))
    if waited then
      redis.pcall('PUBLISH', policy.channel .. event_id, '')
    end
  end
  local function let_fade()
    call_in_chunks('ZADD', fading, fades)
  end
  return close, let_fade
end
