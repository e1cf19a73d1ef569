"""Feeds whatever atheris makes up to everything that reads what others may have written: `make fuzz`.

Arguments are libFuzzer's, `-max_total_time=60` for one, then the folder of the inputs that it goes on from. Each reader
either returns or raises what it says that it raises; anything else ends the run with the input that did it, in a file
`crash-…`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["headrace", "headrace_worker"]):
    from headrace import RunError, UndecodableEvent
    from headrace.calls import listing
    from headrace.formats import codec, records
    from headrace.formats.keys import Keys
    from headrace.model.values import decode_value
    from headrace_worker import App, event_trigger
    from headrace_worker.app.filters import compile_filter
    from headrace_worker.app.routes import Routes, RoutesTooNew, subscriptions_of
    from headrace_worker.protocol import due, reading
    from headrace_worker.protocol.delivery import decode_delivery, decode_event_entry, named_by
    from headrace_worker.protocol.switching import decode_disabled

_KEYS = Keys("fuzz")
_QUEUE = reading.queue_stream(_KEYS, "app", "default")
_ID = b"1-0"
_MOST_DIGITS = 20


def _fields(data: bytes, names: list[bytes]) -> list[bytes]:
    """Return an entry's fields: each name with its part of the data, between zero bytes."""
    parts = data.split(b"\0", len(names) - 1)
    return [part for pair in zip(names, parts, strict=False) for part in pair]


def _event(data: bytes) -> None:
    event = codec.decode_event(data)
    payload, _ = decode_value(event.p), decode_value(event.c)
    compile_filter({"a": [1, 2], "b": {"c": [{"$startsWith": "x"}]}})(payload)


def _record(data: bytes) -> None:
    header, _, run = data.partition(b"\0")
    body = codec.encode_event("a", "b", 0, None, None, None)
    records.decode_record("e", {b"m": header, b"e": body, b"r:app/job": run})


def _delivery(data: bytes) -> None:
    fields = _fields(data, [b"e", b"j", b"s", b"b"])
    named_by((_ID, fields))
    decode_delivery(_QUEUE, (_ID, fields))


def _event_entry(data: bytes) -> None:
    fields = _fields(data, [b"i", b"z", b"b"])
    named_by((_ID, fields))
    decode_event_entry((_ID, fields))


def _due(data: bytes) -> None:
    due.promote(_KEYS, [], 1).read([1, 0, 0, [], data, b"5"])


def _dead(data: bytes) -> None:
    listing.read_dead(_KEYS, None, 1).read([[_ID, _fields(data, [b"run", b"reason", b"error", b"raw.x"])]])


def _routes(data: bytes) -> None:
    Routes("1", {"app": {b"s:f": data, b"n:f": data[:_MOST_DIGITS], b"w:w": b"f"}})
    decode_disabled(data)


READERS: list[Callable[[bytes], Any]] = [_event, _record, _delivery, _event_entry, _due, _dead, _routes]


def read(data: bytes) -> None:
    """One of the readers, chosen by the first byte, reads the rest."""
    if data:
        with contextlib.suppress(UndecodableEvent, RoutesTooNew):
            READERS[data[0] % len(READERS)](data[1:])


def _seeds() -> list[bytes]:
    """One thing that each reader can read, for the fuzzer to begin with."""
    event = codec.encode_event("a", "b", 0, {"a": 1, "b": [{"c": "x"}]}, [None, 1.5, b"x"], "account", {"h": "1"})
    outcome = codec.encode_outcome(RunError("ValueError", "no", "Traceback"), [1])
    return [
        event,
        b"t.1 s 0 1000000000000 0 1\0f 2 1 0 0 default 1-0 w1 1000000000000 1000000000001\n" + outcome,
        b"\0".join([b"e", b"job", b"1 0 0 0 9000", event]),
        b"\0".join([b"e", b"100", event]),
        b"r:default:e:app/job",
        b"\0".join([b"e:app/job", b"failed", outcome, b"x"]),
        subscriptions_of(_app()),
    ]


def _app() -> App:
    app = App("app")
    app.job(id="job", trigger=event_trigger("a", filter={"b": [{"$gt": 1}]}))(lambda: None)
    return app


if __name__ == "__main__":
    folder = Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(_seeds()):
        (folder / f"seed-{place}").write_bytes(bytes([place]) + seed)
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
