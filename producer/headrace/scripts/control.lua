-- A queue is paused or goes on, or has another limit at run time; what is given already stays as it is.
--
-- KEYS[1]  hash    controls
-- KEYS[2]  stream  the queue
-- KEYS[3]  stream  wake-up:<app>
-- ARGV[1]  map     the arguments:
--   queue    text  `<app>/<queue>`
--   pause    text  `pause` or `resume`; empty: it stays as it is
--   reason   text  why it is paused; empty: the reason of an earlier pause stays
--   limit    text  how many of its runs may be in flight; `none`: any number, whatever the code declares; `declared`: as
--                  many as the code says; empty: it stays as it is
--   channel  text  where workers hear of it
--
-- Returns  {paused, limit}  since when in ms and the reason, nil if it is not paused; the limit at run time, a number
--                           or `none`, empty if there is none
--
-- A queue that is paused, or has a number as its limit at run time, is closed. It frees first, so a full server lets it
-- pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _exhausted
--@ include _wake_workers
--@ include _closed
--@ include _group
local args, controls, queue, wake_up = cmsgpack.unpack(ARGV[1]), next_key(), next_key(), next_key()
local pause_field, limit_field = 'p:' .. args.queue, 'l:' .. args.queue
local was_paused, was_limit = unpack(redis.call('HMGET', controls, pause_field, limit_field), 1, 2)
redis.call('XLEN', queue)
redis.call('XLEN', wake_up)
local pending = redis.pcall('XPENDING', queue, 'workers')
if pending.err and not string.find(pending.err, 'NOGROUP') then
  return pending
end
local waiting = redis.call('XRANGE', queue, pending[3] and '(' .. pending[3] or '-', '+', 'COUNT', 1)[1]
local paused, limit = was_paused, was_limit
if args.pause == 'pause' then
  local since, reason = string.match(was_paused or '', '^(%d+) ?(.*)$')
  reason = args.reason ~= '' and args.reason or reason or ''
  paused = (since or text(now_ms())) .. (reason ~= '' and ' ' .. reason or '')
elseif args.pause == 'resume' then
  paused = false
end
if args.limit == 'declared' then
  limit = false
elseif args.limit ~= '' then
  limit = args.limit
end
local was_closed, is_closed = was_paused or tonumber(was_limit), paused or tonumber(limit)

local denied = lacking(wake_up, 'HSET', 'HDEL', 'HINCRBY', 'XADD', 'XDEL', 'XGROUP SETID')
if denied then
  return denied
end
redis.call('HDEL', controls, '')
local refused = make_group(queue, 'workers')
if refused then
  return refused
end
local moved = is_closed and close_queue(queue) or was_closed and open_queue(queue, pending)
if moved and moved.err then
  return moved
end
local function write(field, was, value)
  if value and value ~= was then
    redis.call('HSET', controls, field, value)
  elseif was and not value then
    redis.call('HDEL', controls, field)
  end
  return value ~= was
end
local has_changed = write(pause_field, was_paused, paused)
has_changed = write(limit_field, was_limit, limit) or has_changed
if has_changed then
  local version = redis.call('HINCRBY', controls, 'version', 1)
  redis.pcall('PUBLISH', args.channel, version)
  if not paused and waiting then
    -- Reads that are open on the queue look at it only when an entry is added.
    local entry = not is_closed and redis.pcall('XADD', queue, '*', 'r', '')
    if type(entry) == 'string' then
      redis.call('XDEL', queue, entry)
    end
    wake_workers({ [wake_up] = true })
  end
end
return { paused, limit or '' }
