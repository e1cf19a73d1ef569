"""What a server holds of a namespace, as facts that can be compared with those of the model, and time that passes.

A moment is given as the hours left until then, rounded up. Redis's clock can't be moved, so time passes by
moving every moment that is stored into the past; an example takes seconds, and never an hour.
"""

from __future__ import annotations

from typing import Any

from headrace.calls.controlling import read_controls
from headrace.formats.keys import Keys
from headrace.formats.records import decode_header
from headrace_worker.app.routes import DISABLED

HOUR_MS = 3_600_000

Facts = dict[str, Any]

# KEYS has the namespace's keys, those of moments first; ARGV[1] the ms that pass.
_PASS_TIME = """
local passed = tonumber(ARGV[1])
local function earlier(moment)
  return string.format('%.0f', tonumber(moment) - passed)
end
for i = 1, 3 do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    redis.call('ZADD', KEYS[i], earlier(redis.call('ZSCORE', KEYS[i], member)), member)
  end
end
local leader, ends = string.match(redis.call('GET', KEYS[4]) or '', '^(%S+) (%d+)$')
if leader then
  redis.call('SET', KEYS[4], leader .. ' ' .. earlier(ends))
end
for _, field in ipairs({ 'renewed', 'quiet' }) do
  local moment = redis.call('HGET', KEYS[5], field)
  if moment then
    redis.call('HSET', KEYS[5], field, earlier(moment))
  end
end
for i = 6, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 then
    redis.call('PEXPIRE', KEYS[i], left - passed)
  end
end
"""


class Seen:
    """A namespace on a server, as it is found."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def pass_time(self, hours: int) -> None:
        """So many hours have passed for everything that is stored."""
        keys = self._keys
        moments = (keys.due, keys.workers, keys.dispatchers, keys.leader, keys.meta)
        records = self._redis.keys(f"{keys.event_prefix}*")
        self._redis.eval(_PASS_TIME, len(moments) + len(records), *moments, *records, hours * HOUR_MS)

    def facts(self, workers: list[str], queues: tuple[str, ...]) -> Facts:
        """Return what the server holds of the namespace, of these workers and these queues."""
        reply = self._read(workers, queues)
        seconds, micros = reply["time"]
        now_ms = seconds * 1000 + micros // 1000
        due, leases, seats = (_moments(reply[name], now_ms) for name in ("due", "workers", "dispatchers"))
        dead = {entry.decode(): _fields(raw) for entry, raw in reply["dead"]}
        found: Facts = {
            "due": {_due_name(member): left for member, left in due.items()},
            "dead": sorted((fields.get("run", ""), fields["reason"]) for fields in dead.values()),
            "sent": sorted(event_id for event_id, _ in _listed(reply["recent"])),
            "settled": sorted(_listed(reply["runs"])),
            "leases": leases,
            "dispatchers": seats,
            "leader": _leader(reply["leader"], now_ms),
            "quiet": _left(reply["quiet"] or 0, now_ms),
            "version": int(reply["version"] or 0),
            "workers": _known({name: reply[f"worker {name}"] for name in workers}),
            "controls": _controls(self._keys, reply["controls"]),
            "disabled": {name.removeprefix(DISABLED).decode() for name in reply["routes"] if name.startswith(DISABLED)},
        }
        places = {("dead", entry) for entry in dead}
        for name in ("events", *queues):
            entries = reply[f"stream {name}"]
            places |= {(name, entry.decode()) for entry, _ in entries}
            held = {row["message_id"]: row["consumer"].decode() for row in reply[f"held {name}"]}
            there = {entry for entry, _ in entries}
            found[f"stopping {name}"] = [holder for entry, holder in held.items() if entry not in there]
            found[f"stream {name}"] = [_entry(_fields(raw), held.get(entry)) for entry, raw in entries]
        return found | self._records(reply["keys"], places)

    def _read(self, workers: list[str], queues: tuple[str, ...]) -> dict[str, Any]:
        """Return what is read in one round trip, by a name for each."""
        keys, read, names = self._keys, self._redis.pipeline(transaction=False), []

        def note(name: str, _: object) -> None:
            names.append(name)

        note("time", read.time())
        note("keys", read.keys(f"{keys.event_prefix}*"))
        for name, key in (("due", keys.due), ("workers", keys.workers), ("dispatchers", keys.dispatchers)):
            note(name, read.zrange(key, 0, -1, withscores=True))
        note("leader", read.get(keys.leader))
        note("quiet", read.hget(keys.meta, "quiet"))
        note("version", read.get(keys.routes_version))
        note("controls", read.hgetall(keys.controls))
        note("routes", read.hkeys(keys.routes("app")))
        for name, key in (("dead", keys.dead), ("recent", keys.recent), ("runs", keys.runs)):
            note(name, read.xrange(key))
        for name in workers:
            note(f"worker {name}", read.hmget(keys.worker(name), "app", "fenced"))
        for name in ("events", *queues):
            stream, group = (keys.queue("app", name), "workers") if name in queues else (keys.events, "dispatch")
            note(f"stream {name}", read.xrange(stream))
            note(f"held {name}", read.xpending_range(stream, group, "-", "+", 10_000))
        return dict(zip(names, read.execute(), strict=True))

    def _records(self, keys: list[bytes], places: set[tuple[str, str]]) -> Facts:
        read = self._redis.pipeline(transaction=False)
        for key in keys:
            read.hgetall(key)
            read.pttl(key)
        replies = iter(read.execute())
        names = [key.decode().removeprefix(self._keys.event_prefix) for key in keys]
        return {f"event {name}": _record(next(replies), next(replies), places) for name in names}


def _moments(pairs: list[tuple[bytes, float]], now_ms: int) -> dict[str, int]:
    return {member.decode(): _left(ms, now_ms) for member, ms in pairs}


def _listed(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[tuple[str, str]]:
    return [pair for _, raw in entries for pair in _fields(raw).items()]


def _controls(keys: Keys, raw: dict[bytes, bytes]) -> dict[str, tuple[bool, str]]:
    """Return of each queue for which something is set whether it is paused, and its limit."""
    found = read_controls(keys).read([part for pair in raw.items() for part in pair])
    return {queue.removeprefix("app/"): (control.paused_ms > 0, control.limit) for queue, control in found.items()}


def _known(hashes: dict[str, list[bytes | None]]) -> dict[str, tuple[bool, bool]]:
    return {name: (app is not None, fenced is not None) for name, (app, fenced) in hashes.items() if app or fenced}


def _left(moment: bytes | float, now_ms: int) -> int:
    return max(-(-(int(float(moment)) - now_ms) // HOUR_MS), 0)


def _leader(text: bytes | None, now_ms: int) -> tuple[str, int] | None:
    if text is None:
        return None
    name, ends = text.split()
    return name.decode(), _left(ends, now_ms)


def _fields(raw: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "backslashreplace") for name, value in raw.items()}


def _due_name(member: str) -> str:
    """Return `<event>:<job>`, with no job for an event."""
    kind, _, rest = member.partition(":")
    if kind == "e":
        return f"{rest}:"
    event_id, _, job = rest.partition(":")[2].rpartition(":app/")
    return f"{event_id}:{job}"


def _entry(fields: dict[str, str], holder: str | None) -> tuple[str, str, tuple[int, ...], str | None]:
    state = tuple(int(part) for part in (fields.get("s") or "1 0 0 0 0").split(" "))
    return fields.get("i") or fields["e"], fields.get("j", ""), state[:4], holder


def _record(fields: dict[bytes, bytes], left_ms: int, places: set[tuple[str, str]]) -> dict[str, Any]:
    """Return a record; the entry that a run names must be where its status says."""
    header = decode_header(fields[b"m"])
    runs = {}
    for field, value in fields.items():
        if not field.startswith(b"r:app/"):
            continue
        status, *state, queue, entry, _, _, _ = value.partition(b"\n")[0].decode().split(" ")
        where = queue if status in "qx" else "dead" if status in "fti" else None
        assert where is None or (where, entry) in places, f"{value!r} names an entry that is not in {where}"
        runs[field.removeprefix(b"r:app/").decode()] = (status, tuple(map(int, state)), queue)
    is_open = int(fields[b"o"]) if b"o" in fields else None
    counted = sum(status in "qxw" for status, _, _ in runs.values())
    assert is_open in (None, counted), f"{is_open} open runs, and {counted} of them are: {runs}"
    assert not runs or header.runs == len(runs), f"{header.runs} runs, and these are there: {runs}"
    return {
        "status": header.status,
        "count": header.runs,
        "open": is_open,
        # Once no run is open, it depends on the order in which a batch settled the last ones, and nothing reads it.
        "failed": bool(is_open) and fields.get(b"f") == b"1",
        "left": None if left_ms == -1 else -(-left_ms // HOUR_MS),
        "has_body": b"e" in fields,
        "watched": b"w" in fields,
        "runs": runs,
    }
