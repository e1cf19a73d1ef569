-- Those of the named entries that are still pending are back in their stream, and no lost worker is counted.
--
-- KEYS[1]   stream  where the entries are
-- KEYS[2]   stream  wake-up:<app>, or the same stream again
-- KEYS[3..] hash    the record of each entry's event; none for entries of `events`
-- ARGV[1]   map     the arguments:
--   group   text    the stream's group
--   queue   text    the queue's name, without its app
--   entries list    the id of each entry
--   jobs    list    `<app>/<job id>` of each entry (empty in `events`)
--
-- Returns  the number of entries that were re-queued
--
-- It frees first, so a full server lets it pass.
--@ include _keys
--@ include _time
--@ include _rights
--@ include _run
--@ include _foreign
--@ include _exhausted
--@ include _room
--@ include _trail
--@ include _requeue
--@ include _wake_workers
local args = cmsgpack.unpack(ARGV[1])
local stream, wake_up = next_key(), next_key()
local moved = requeue({
  stream = stream,
  group = args.group,
  queue = args.queue,
  lost = 0,
  worker = '-',
  entries = args.entries,
  jobs = args.jobs,
  records = take_keys(),
})
if type(moved) == 'table' then
  return moved
end
if moved > 0 and wake_up ~= stream then
  wake_workers({ [wake_up] = true })
end
return moved
