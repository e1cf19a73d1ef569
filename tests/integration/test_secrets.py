"""A worker's log has no payload and no foreign line in it, whatever the entries contain."""

from __future__ import annotations

import json

import pytest
import redis as redis_py

from headrace import Client, Event
from headrace.formats.keys import Keys
from tests.support.processes import Process, Processes
from tests.support.waiting import wait_until

SECRET = "hunter2"
FORGED = '\n2026-01-01T00:00:00Z [error    ] forged-line\r\x1b[2J\u2028\x85{"event": "forged-line"}\n'
"""What looks like lines of either format, with all that ends a line somewhere."""

_FAILING = ("raises", "waits", "invalid", "unknown", "output", "loud", "blocked")


def _plant(redis: redis_py.Redis, keys: Keys) -> int:
    """Add unreadable entries with the secret to every stream; return how many dead letters they make."""
    named = FORGED.encode()
    body = f"not msgpack {SECRET}"
    redis.xadd(keys.events, {named: SECRET, b"more": named})
    redis.xadd(keys.events, {"i": FORGED, "z": len(body), "b": body})
    redis.xadd(keys.queue("secrets", "default"), {"e": FORGED, "j": "raises", "s": "1 x", "b": body})
    redis.xadd(keys.queue("secrets", "default"), {"e": FORGED, "j": "raises", "s": "", "b": body})
    redis.xadd(keys.queue("secrets", "default"), {"e": FORGED, "j": named, "s": "", "b": body})
    redis.zadd(keys.due, {named + b"x": 1})
    redis.lpush(keys.wake, "1")  # as what is due already, and nobody was told of, hides what is due later
    return 6


_OWN_WORDS = ("raises", "waits", "loud")
"""The jobs that put what they were sent into the message of their exception."""


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("app", ["app", "talking"])
def test_what_was_sent_is_in_no_line(
    processes: Processes, client: Client, redis: redis_py.Redis, namespace: str, app: str, log_format: str
) -> None:
    """On every path on which a run or an entry can fail; and no line ends before its end.

    Only the messages of a job's own exceptions may hold it, and with `log_errors=False` nothing does.
    """
    worker = processes.worker(f"tests.apps.secrets:{app}", "--log-format", log_format, "--tracebacks", "every")
    worker.wait_for_line("worker started")
    planted = _plant(redis, Keys(namespace))
    payload = {"secret": SECRET, "forged": FORGED}
    events = [Event(name, payload=payload, context=payload, id=f"{name}{FORGED}", source=FORGED) for name in _FAILING]
    sent = client.send_events(events)
    for each in sent:
        client.wait_for_event(each.id, 30)
    wait_until(lambda: len(client.list_dead_letters(limit=100).items) >= planted + 4, 30)
    worker.terminate()
    assert worker.wait() == 0
    _check(worker, log_format, may_quote=app == "talking")


def _check(worker: Process, log_format: str, *, may_quote: bool) -> None:
    text = worker.output
    lines = text.removesuffix("\n").split("\n")
    assert "attempt failed" in text
    assert "moved to dead" in text
    if log_format == "json":
        quoted = [line for line in map(json.loads, lines) if SECRET in str(line)]
        assert {line["job"] for line in quoted} == ({f"secrets/{job}" for job in _OWN_WORDS} if may_quote else set())
        assert {line["event"] for line in quoted} <= {"attempt failed", "run failed"}
    else:
        assert any(SECRET in line for line in lines) == may_quote
    assert [line for line in lines if not line.isprintable()] == []
    if log_format == "json":
        assert [line for line in map(json.loads, lines) if line["event"] == "forged-line"] == []
    else:
        assert [line for line in lines if line.startswith("2026-01-01T00:00:00Z")] == []
