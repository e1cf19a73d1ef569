"""What stands for `io` in a test does what `io` does: each scenario is a job, run by a worker and without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace import Event, InvalidEvent, SentEvent
from headrace_worker import App, JobIO, Retry, SyncJobIO, event_trigger
from headrace_worker.testing import Headrace, acall_job

Facts = list[Any]


def _facts(sent: SentEvent) -> dict[str, Any]:
    """Return what of an answer depends neither on the clock nor on how far other workers are."""
    return {
        "id": sent.id, "name": sent.name, "payload": sent.payload, "context": sent.context,
        "duplicate": sent.duplicate, "is_delayed": sent.deliver_at is not None, "replicas": sent.replicas,
        "is_still_delayed": sent.status == "delayed", "is_delivered": sent.delivered_at is not None,
        "zone": str(sent.timestamp.tzinfo),
    }  # fmt: skip


async def _refusal(call: Awaitable[object]) -> str:
    try:
        await call
    except InvalidEvent as exc:
        return f"{type(exc).__name__}: {exc}"
    return "taken"


async def one_event(io: JobIO) -> Facts:
    """Sent once for its key: the same again is a duplicate of the first."""
    first = await io.send_event("k", Event("x", {"n": (1, 2)}, context={"c": 1}, source="s"))
    again = await io.send_event("k", Event("x", {"n": (1, 2)}, context={"c": 1}, source="s"))
    return [_facts(first), _facts(again)]


async def another_event(io: JobIO) -> Facts:
    """Refused under a key that has one; the key of a send that failed is free. An own id has no key."""
    payload = {"n": 1}
    facts: Facts = [_facts(await io.send_event("k", Event("x", payload)))]
    payload["n"] = 2
    others = [Event("x", payload), Event("y", {"n": 1}), Event("x", {"n": 1}, source="s"), Event("x", {"n": 1}, {})]
    facts += [await _refusal(io.send_event("k", other)) for other in others]
    facts += [await _refusal(io.send_events("k", [Event("x", {"n": 1}), Event("x"), Event("")]))]
    facts += map(_facts, await io.send_events("k", [Event("x", {"n": 1}), Event("z")]))
    facts += [await _refusal(io.send_events("k", [Event("x", {"n": 1}), Event("x")]))]
    facts += [_facts(await io.send_event("own", Event("x", n, id="mine"))) for n in range(2)]
    return facts


async def several_events(io: JobIO) -> Facts:
    """Each has its place in the id; an own id counts before the key."""
    first = await io.send_events("k", [Event("x", n) for n in range(3)])
    more = await io.send_events("k", [{"name": "x", "payload": n} for n in range(4)])
    own = await io.send_events("own", [Event("x", id="mine"), Event("x", id="mine")])
    return [*map(_facts, [*first, *more, *own]), await io.send_events("none", [])]


async def delays(io: JobIO) -> Facts:
    """The first delay counts; what is due already is not delayed."""
    now = datetime.now(UTC)
    return [
        _facts(await io.send_event("after", Event("x"), deliver_after=3600)),
        _facts(await io.send_event("after", Event("x"), deliver_after=7200)),
        _facts(await io.send_event("after", Event("x"))),
        _facts(await io.send_event("after", Event("x"), deliver_after=3600)),
        _facts(await io.send_event("at", Event("x"), deliver_at=now + timedelta(days=1))),
        _facts(await io.send_event("past", Event("x"), deliver_at=now - timedelta(days=1))),
        _facts(await io.send_event("zero", Event("x"), deliver_after=0)),
        _facts(await io.send_event("duration", Event("x"), deliver_after=timedelta(hours=1))),
    ]


async def refusals(io: JobIO) -> Facts:
    """Each names its field; nothing of the call is sent."""
    both = {"deliver_after": 1, "deliver_at": datetime.now(UTC)}
    calls: list[Awaitable[object]] = [
        io.send_event("", Event("x")),
        io.send_event("a\0b", Event("x")),
        io.send_event("k", Event("")),
        io.send_event("k", Event("x", {"a": object()})),
        io.send_event("k", Event("x", context=[{1: {2: object()}}])),
        io.send_event("k", Event("x", "a" * 1_048_577)),
        io.send_event("k", Event("x", id="")),
        io.send_event("k", Event("x", timestamp=datetime(2030, 1, 1))),  # noqa: DTZ001 - that is what is wrong
        io.send_event("k", {"nam": "x"}),
        io.send_event("k", Event("x"), deliver_after=-1),
        io.send_event("k", Event("x"), **both),  # type: ignore[arg-type]
        io.send_event("k", Event("x"), account_id=""),
        io.send_event("k", Event("x"), ordering_key="a" * 300),
        io.send_events("k", [Event("x"), Event("x", object())]),
    ]
    return [await _refusal(call) for call in calls]


SCENARIOS: list[Callable[[JobIO], Awaitable[Facts]]] = [one_event, another_event, several_events, delays, refusals]


@pytest.fixture
async def headrace(url: str, namespace: str) -> AsyncIterator[Headrace]:
    kit = Headrace(url, namespace)
    yield kit
    kit.empty()
    kit.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
async def test_a_stand_in_does_what_the_real_one_does(
    headrace: Headrace, scenario: Callable[[JobIO], Awaitable[Facts]]
) -> None:
    """Its answers, what it has sent, and what it refuses."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("go"), retry=Retry.none())
    async def job(io: JobIO) -> Facts:
        return await scenario(io)

    headrace.client.send_event(Event("go", id="e1"))
    (run,) = await headrace.run(app)
    attempt = await acall_job(app, "job", id="e1")
    assert attempt.output == run.output
    real = [event for event in headrace.sent() if event.name != "go"]
    fields = ("id", "name", "context", "source")
    shown = [[getattr(each, field) for field in fields] for each in attempt.sent]
    assert sorted(shown) == sorted([getattr(each, field) for field in fields] for each in real)
    assert {each.id: each.received for each in attempt.sent} == {each.id: each.payload for each in real}


async def test_a_plain_stand_in_does_too(headrace: Headrace) -> None:
    """As both are one, with other ports."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("go"), retry=Retry.none())
    def job(io: SyncJobIO) -> Facts:
        first, again = (io.send_event("k", Event("x", [1]), deliver_after=60) for _ in range(2))
        return [_facts(first), _facts(again), *map(_facts, io.send_events("more", [Event("y"), Event("z")]))]

    headrace.client.send_event(Event("go", id="e1"))
    (run,) = await headrace.run(app)
    attempt = await acall_job(app, "job", id="e1")
    assert attempt.output == run.output
