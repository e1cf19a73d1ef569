-- Those of the named entries that are still pending are back in their stream, and no lost worker is counted.
--
-- KEYS[1]   stream  where the entries are
-- KEYS[2]   stream  wake-up:<app>, or the same stream again
-- KEYS[3..] hash    the record of each entry's event; none for entries of `events`
-- ARGV[1]   text    the stream's group
-- ARGV[2]   text    the queue's name, without its app
-- ARGV[3..]         two an entry: its id, `<app>/<job id>` (empty in `events`)
--
-- Returns  the number of entries that were re-queued
--
-- It frees first, so a full server lets it pass.
--@ include _time
--@ include _rights
--@ include _run
--@ include _foreign
--@ include _exhausted
--@ include _room
--@ include _requeue
--@ include _wake_workers
local moved = put_back(KEYS[1], ARGV[1], ARGV[2], 0, 3, 3)
if type(moved) == 'table' then
  return moved
end
if moved > 0 and KEYS[2] ~= KEYS[1] then
  wake_workers({ [KEYS[2]] = true })
end
return moved
