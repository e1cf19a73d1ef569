"""Seeds a namespace, runs one call on it, and returns everything that the call has changed there.

A state is flat, one line a fact, so that what a call did is a short dict and whatever it did not do is its silence:

    leader                      the string
    wake 0                      an element of the list, by place
    queues app/default          a member of the set
    due e:e1                    the score of a member of the zset
    event:e1 m                  a field of the hash
    event:e1 ttl                when the key ends, if it does
    events                      `stream`, once the key is there
    events 5-0                  the fields of an entry; those that the call added are new-1, new-2 …
    events dispatch             the last entry that the group has delivered
    events dispatch w1          the entries that are pending under a consumer
    published settled:e1        what was published on a channel

Time is the server's. A moment that the call wrote is shown as `<now>` or, ten seconds being the grain, `<now+60s>`:
seeded moments are far from now, or no multiple of ten seconds from it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

import msgspec
import redis

from headrace.calls.call import Call
from headrace.errors import HeadraceError
from headrace.formats.codec import from_millis
from headrace.formats.keys import Keys
from headrace.transport.single import Transport

Fact = str | dict[str, str]
State = dict[str, Fact]
Changes = Mapping[str, Fact | None]
"""What became of the lines that a call has changed; None: the line is gone."""

NOW: Any = "<now>"
"""Stands for a moment within the call wherever one is expected, in a text or as a datetime."""

_GRAIN_MS = 10_000
_SLACK_MS = 5
_FAR_MS = 200 * 86_400_000
_MOMENT = re.compile(r"\b\d{13}\b(?!-)")

# One read of everything, so that no key can change or end between two looks. ARGV[1] is the prefix.
_DUMP = """
local function dump(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'string' then return kind, redis.call('GET', key) end
  if kind == 'list' then return kind, redis.call('LRANGE', key, 0, -1) end
  if kind == 'set' then return kind, redis.call('SMEMBERS', key) end
  if kind == 'zset' then return kind, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'hash' then return kind, redis.call('HGETALL', key) end
  local groups = {}
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    groups[#groups + 1] = {
      group, redis.call('XINFO', 'CONSUMERS', key, group[2]), redis.call('XPENDING', key, group[2], '-', '+', 1000000)
    }
  end
  return kind, { redis.call('XRANGE', key, '-', '+'), groups }
end
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, value = dump(key)
  found[#found + 1] = { string.sub(key, #ARGV[1] + 1), kind, redis.call('PTTL', key), value }
end
return { redis.call('TIME'), found }
"""


class Ran(msgspec.Struct, frozen=True):
    """What a call gave, be it an error, and what it changed."""

    gave: Any
    changes: Changes


class Keyspace:
    """One namespace of a server, seeded by hand, on which calls are run one at a time."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.admin = redis.Redis.from_url(url)
        self.keys = Keys(namespace)
        self._transport = Transport(url, attempts=1)
        self._published = self.admin.pubsub()
        self._published.psubscribe(f"{self.keys.prefix}*")
        self._published.get_message(timeout=10)
        self._planned = self.admin.pipeline(transaction=False)

    def close(self) -> None:
        self._transport.close()
        self._published.close()
        self.admin.close()

    def seed(self, command: str, key: str, *args: Any) -> None:
        """The command will have been carried out on the namespace's key before the next call."""
        self._planned.execute_command(*command.split(), self.keys.prefix + key, *args)

    def now_ms(self) -> int:
        """Return the server's time."""
        seconds, micros = _any(self.admin.time())
        return int(seconds) * 1000 + int(micros) // 1000

    def entry(self, stream: str, entry: str, fields: Mapping[str, str | bytes | int]) -> None:
        """The entry will be in the stream; entries must come in their order."""
        flat = [part for pair in fields.items() for part in pair]
        self.seed("XADD", stream, entry, *flat)

    def hold(self, stream: str, group: str, worker: str, *entries: str) -> None:
        """Make these entries pending under the worker, as the last that the group has delivered."""
        claim = ("XCLAIM", self.keys.prefix + stream, group, worker, 0, *entries, "FORCE", "JUSTID")
        self._planned.execute_command(*claim, parse_justid=True)
        self._planned.execute_command("XGROUP", "SETID", self.keys.prefix + stream, group, entries[-1])

    def seed_now(self) -> None:
        """What was planned is carried out."""
        self._planned.execute()

    def plant(self, key: str) -> None:
        """The key will be of a type that Headrace did not give it."""
        self.seed("DEL", key)
        if key in ("leader", "routes:version"):
            self.seed("LPUSH", key, "planted")
        else:
            self.seed("SET", key, "planted")

    def empty(self) -> None:
        """The server holds nothing any more, nothing is planned, and what was published before is forgotten."""
        self._planned.reset()
        self.admin.flushall()
        self._receive()

    def seed_nothing(self) -> None:
        """Nothing that was to be seeded so far will be."""
        self._planned.reset()

    def run(
        self,
        call: Call[Any],
        *,
        by: Transport | None = None,
        under: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
    ) -> Ran:
        """Run the call on the seeded namespace; errors are returned, not raised.

        Args:
            by: the connection of a limited user; the test's own, unlimited one if None.
            under: what holds during the call alone.
        """
        self.seed_now()
        was = self._dump()
        with under:
            try:
                (gave,) = (by or self._transport).run([call])
            except HeadraceError as exc:
                gave = exc
        return self._told(gave, was)

    def ask(self, *calls: Call[Any]) -> list[Any]:
        """Return what the calls give, as it is; errors are raised."""
        return self._transport.run(calls)

    def entries(self, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Return the entries of a stream, by its whole key."""
        found: list[tuple[bytes, dict[bytes, bytes]]] = _any(self.admin.xrange(key))
        return found

    def snapshot(self) -> dict[bytes, bytes]:
        """Return every key of the server with all that it holds, to compare."""
        return {key: _any(self.admin.dump(key)) for key in _any(self.admin.keys())}

    def count(self, stream: str) -> int:
        """Return how many entries a stream has."""
        return int(_any(self.admin.xlen(self.keys.prefix + stream)))

    def _told(self, gave: object, was: _Dump) -> Ran:
        published = self._receive()
        now = self._dump()
        tokens = _Tokens(was, now)
        old, new = _flat(was, tokens), _flat(now, tokens)
        changes: dict[str, Fact | None] = {line: None for line in old if line not in new}
        changes |= {line: fact for line, fact in new.items() if old.get(line) != fact}
        changes |= {f"published {channel}": "" for channel in published}
        return Ran(tokens.comparable(gave), changes)

    def _dump(self) -> _Dump:
        (seconds, micros), found = _any(self.admin.eval(_DUMP, 0, self.keys.prefix))
        rows = {_text(key): _Key(kind.decode(), ttl, value) for key, kind, ttl, value in found}
        return _Dump(int(seconds) * 1000 + int(micros) // 1000, rows)

    def _receive(self) -> list[str]:
        """Return the channels on which anything was published since the last look."""
        end = f"{self.keys.prefix}{secrets.token_hex(4)}"
        self.admin.publish(end, "")
        published: list[str] = []
        while (name := self._next_channel()) != end:
            published.append(name.removeprefix(self.keys.prefix))
        return published

    def _next_channel(self) -> str:
        while True:
            message = self._published.get_message(ignore_subscribe_messages=True, timeout=10)
            if message is not None:
                return _text(message["channel"])


class _Key(msgspec.Struct, frozen=True):
    kind: str
    ttl: int
    value: Any


class _Dump(msgspec.Struct, frozen=True):
    time_ms: int
    keys: dict[str, _Key]

    def entries(self, stream: str) -> list[str]:
        found = self.keys.get(stream)
        return [_text(entry) for entry, _ in found.value[0]] if found and found.kind == "stream" else []


class _Tokens:
    """Replaces what no two calls have in common, moments and the ids of new entries, by what can be expected."""

    def __init__(self, was: _Dump, now: _Dump) -> None:
        self._first, self._last = was.time_ms - _SLACK_MS, now.time_ms + _SLACK_MS
        self._ends: dict[str, int] = {}
        self._new: dict[str, dict[str, str]] = {}
        for stream in now.keys:
            known = set(was.entries(stream))
            added = [entry for entry in now.entries(stream) if entry not in known]
            self._new[stream] = {entry: f"new-{place}" for place, entry in enumerate(added, 1)}

    def moment(self, millis: int) -> str:
        """Return a moment of the call as a token; others as they are."""
        lowest = -((self._last - millis) // _GRAIN_MS) * _GRAIN_MS
        if lowest <= millis - self._first and abs(lowest) < _FAR_MS:
            return f"<now{lowest // 1000:+d}s>" if lowest else NOW
        return str(millis)

    def end(self, name: str, millis: int) -> str:
        """Return the end of a key, which no server tells to the millisecond: one that hardly differs is the same."""
        if abs(millis - self._ends.setdefault(name, millis)) <= _SLACK_MS:
            millis = self._ends[name]
        token = self.moment(millis)
        return token if token.startswith("<") else str(round(millis, -3))

    def text(self, value: bytes | str) -> str:
        return _MOMENT.sub(lambda found: self.moment(int(found[0])), _text(value))

    def entry(self, stream: str, entry: bytes | str) -> str:
        return self._new.get(stream, {}).get(_text(entry), _text(entry))

    def field(self, field: str, value: bytes) -> str:
        """Return a field of a hash; that of a run with the id of its entry, in its queue or in `dead`, as a token."""
        if not field.startswith("r:"):
            return self.text(value)
        line, end, outcome = self.text(value).partition("\n")
        parts = line.split(" ")
        if len(parts) > 6:
            app = field.removeprefix("r:").partition("/")[0]
            stream = "dead" if parts[0] in "fti" else f"queue:{app}/{parts[5]}"
            parts[6] = self.entry(stream, parts[6])
        return " ".join(parts) + end + outcome

    def comparable(self, value: Any) -> Any:
        """Return what a call gave, with tokens in it."""
        match value:
            case HeadraceError():
                return type(value), str(value)
            case datetime():
                token = self.moment(int(value.timestamp() * 1000))
                return token if token.startswith("<") else value
            case bool() | None:
                return value
            case int() if value > 10**12:
                token = self.moment(value)
                return token if token.startswith("<") else value
            case str() | bytes():
                return next((ids[_text(value)] for ids in self._new.values() if _text(value) in ids), value)
            case list() | tuple():
                return type(value)(self.comparable(each) for each in value)
            case msgspec.Struct():
                names = value.__struct_fields__
                return type(value), {name: self.comparable(getattr(value, name)) for name in names}
        return value


def expected(value: Any) -> Any:
    """Return an expected answer in the form of the recorded answers."""
    nothing = _Dump(0, {})
    return _Tokens(nothing, nothing).comparable(value)


def _flat(dump: _Dump, tokens: _Tokens) -> State:
    state: State = {}
    for name, key in dump.keys.items():
        if key.ttl >= 0:
            state[f"{name} ttl"] = tokens.end(name, dump.time_ms + key.ttl)
        state.update(_facts(name, key, tokens))
    return state


def _facts(name: str, key: _Key, tokens: _Tokens) -> Iterable[tuple[str, Fact]]:
    match key.kind:
        case "string":
            return [(name, tokens.text(key.value))]
        case "list":
            return [(f"{name} {place}", tokens.text(element)) for place, element in enumerate(key.value)]
        case "set":
            return [(f"{name} {_text(member)}", "") for member in key.value]
        case "zset":
            return [(f"{name} {_text(member)}", tokens.text(score)) for member, score in _pairs(key.value)]
        case "hash":
            return [(f"{name} {_text(field)}", tokens.field(_text(field), value)) for field, value in _pairs(key.value)]
    return [(name, "stream"), *_stream_facts(name, key.value, tokens)]


def _stream_facts(name: str, value: Any, tokens: _Tokens) -> Iterable[tuple[str, Fact]]:
    entries, groups = value
    for entry, fields in entries:
        yield f"{name} {tokens.entry(name, entry)}", {_text(k): tokens.text(v) for k, v in _pairs(fields)}
    for info, consumers, held in groups:
        facts = dict(_pairs(info))
        group = f"{name} {_text(facts[b'name'])}"
        yield group, tokens.entry(name, facts[b"last-delivered-id"])
        for consumer in (dict(_pairs(each))[b"name"] for each in consumers):
            mine = [tokens.entry(name, row[0]) for row in held if row[1] == consumer]
            yield f"{group} {_text(consumer)}", " ".join(mine)


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _any(reply: Any) -> Any:
    # redis-py types each reply as one of the sync or the async client.
    return reply


def moment_of(millis: int) -> datetime:
    """Return a seeded moment as the packages tell it."""
    return from_millis(millis)
