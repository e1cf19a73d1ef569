"""Whatever is written into the streams, unusable entries are dead-lettered and everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import redis as redis_py
import structlog.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Client, Event
from headrace.formats.codec import encode_event
from headrace.formats.keys import Keys
from headrace_worker import App, Context, Retry, event_trigger
from tests.support.workers import WorkerHost

DEEP = [opening * 2_000 for opening in (b"\x91", b"\x81\x01", b"\x81\xa1x")]
HUGE = [head + b"\xff" * size for head, size in ((b"\xdd", 4), (b"\xdf", 4), (b"\xdb", 4), (b"\xc6", 4), (b"\xc9", 5))]
ODD = [
    b"\xc1",
    b"\xa2\xff\xff",
    b"\xc7\x02\x05ab",
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\x81\x80\x01",
    b"\x81\x81\x01\x02\x03",
]
VALUES = st.sampled_from([*DEEP, *HUGE, *ODD, b"\xc0"]) | st.binary(max_size=40)


def _event(value: bytes, key: bytes, name: str) -> bytes:
    """An event of which the field `key` holds the value, whatever it is."""
    fields: dict[str, Any] = {"v": 1, "n": name, "s": "s", "t": 0}
    fields[key.decode()] = msgspec.Raw(value)
    return msgspec.msgpack.encode(fields)


def _cut(body: bytes, length: int) -> bytes:
    return body[:length]


GOOD = encode_event("asked", "trigger.dev", 0, {"n": -1}, None, None)
KEYS = st.sampled_from([b"v", b"n", b"s", b"t", b"p", b"c", b"a", b"x"])
BODIES = (
    VALUES
    | st.builds(_event, VALUES, KEYS, st.sampled_from(["asked", "filtered"]))
    | st.builds(_cut, st.just(GOOD), st.integers(0, len(GOOD) - 1))
)
NUMBERS = st.sampled_from(["", "0", "-1", "99999999999999999999", "9" * 5_000, "1e9", "0x10", "٣"])
WORDS = st.sampled_from(["", "job", "nobody", "a b", "a/b", "a:b", "\n", "x" * 65]).map(str.encode) | st.binary(
    max_size=9
)
NEIGHBOURS = st.sampled_from([b"n0", b"n1"])
STATES = st.lists(NUMBERS, max_size=6).map(" ".join) | st.sampled_from(["1 0 0 0 5", "9" * 16 + " 0 0 0 5"])
JUNK = st.dictionaries(st.sampled_from("eijszb") | st.text(max_size=3).filter(bool), BODIES, min_size=1, max_size=6)
ENTRIES = JUNK | st.fixed_dictionaries({"i": WORDS | NEIGHBOURS, "z": NUMBERS, "b": BODIES})
RUNS = (
    JUNK
    | st.fixed_dictionaries({"e": WORDS, "j": WORDS, "s": STATES, "b": BODIES.filter(bool)})
    # One that can be read is executed as it says; it settles nothing of the run that it names.
    | st.fixed_dictionaries(
        {
            "e": NEIGHBOURS,
            "j": st.sampled_from([b"job", b"filtered"]),
            "s": STATES | st.sampled_from(["", "1 0 0 0 0", "1 3 0 0 0", "7 2 0 1 0"]),
            "b": st.sampled_from([b"\xc1", GOOD, GOOD, *DEEP]),
        }
    )
)


def _app(seen: list[Any]) -> App:
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def job(payload: Any, ctx: Context) -> None:
        if isinstance(payload, dict) and payload.get("n", -1) >= 0:
            seen.append(ctx.event.id)

    @app.job(id="filtered", trigger=event_trigger("filtered", filter={"plan": ["pro"]}), retry=Retry(max_attempts=1))
    async def filtered() -> None:
        """A job that is never called: no payload has a plan."""

    return app


def test_no_entry_stops_its_neighbours(url: str, redis: redis_py.Redis, make_namespace: Callable[[], str]) -> None:
    """At the end the streams are empty, the good entries have run once, and no loop has failed in an unforeseen way."""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ENTRIES, max_size=20), st.lists(RUNS, max_size=20))
    def hold(entries: list[dict[str, Any]], runs: list[dict[str, Any]]) -> None:
        namespace = make_namespace()
        keys, seen = Keys(namespace), list[Any]()
        with Client(url, namespace=namespace) as client:
            client.send_event(Event("asked", payload={"n": 0}, id="n0"))
            for fields in entries:
                redis.xadd(keys.events, _encoded(fields))
            for fields in runs:
                redis.xadd(keys.queue("app", "default"), _encoded(fields))
            client.send_event(Event("asked", payload={"n": 1}, id="n1"))
            with structlog.testing.capture_logs() as lines:
                asyncio.run(WorkerHost(url, namespace).settle(_app(seen), unknown_job=0))
            assert sorted(seen) == ["n0", "n1"]
            assert [client.get_event(each).runs[0].status for each in ("n0", "n1")] == ["succeeded"] * 2
            letters = client.list_dead_letters(limit=100).items
        assert [line for line in lines if "unforeseen" in line["event"]] == []
        assert {letter.reason for letter in letters} <= {
            "unreadable",
            "unknown_job",
            "invalid_payload",
            "lost",
            "sealed",
            "foreign",
        }
        assert all(letter.error for letter in letters)
        assert len(letters) <= len(entries) + len(runs)

    hold()


def _encoded(fields: dict[str, Any]) -> Any:
    return {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}


ALL_BYTES = [f"{chr(code)}x{chr(code)}" for code in range(256)] + [
    "{}",
    "a:b/c",
    "r:q:e:app/job",
    "é\U0001f600",
    "x" * 256,
]


async def test_ids_and_names_may_hold_any_character(host: WorkerHost, client: Client) -> None:
    """At every step: sent now, delayed, retried, failed for good, and retried with the client."""
    app = App("app")
    failing = {"always"}

    @app.job(id="job", trigger=event_trigger(ALL_BYTES), retry=Retry(max_attempts=2, min_delay=0.001, jitter=False))
    async def job(payload: str, ctx: Context) -> str:
        if ctx.run.attempt == 1 or payload in failing:
            raise ValueError(ctx.event.name)
        return ctx.event.id

    client.send_events([Event(text, id=text, source=text, payload="once") for text in ALL_BYTES])
    late = [Event(text, id=f"late {text[:9]}", payload="always") for text in ALL_BYTES]
    client.send_events(late, deliver_after=0.01)
    await host.settle(app)
    for text in ALL_BYTES:
        record = client.get_event(text)
        assert (record.name, record.source, record.runs[0].output) == (text, text, text)
    letters = {letter.run_id: letter for letter in client.list_dead_letters(limit=1000).items}
    assert set(letters) == {f"{event.id}:app/job" for event in late}
    failing.clear()
    for run in letters:
        assert run is not None
        client.retry_run(run)
    await host.settle(app)
    assert client.list_dead_letters().items == []
    assert [client.get_run(f"{event.id}:app/job").output for event in late] == [event.id for event in late]
