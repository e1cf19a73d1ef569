"""A test may stop Python's clocks for its jobs, as freezegun does, and run a worker all the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from headrace import Client, Event
from headrace_worker import App, Retry, event_trigger
from headrace_worker.testing import NotSettled, run_until_settled

MOMENT = datetime.fromisoformat("2012-01-14T00:00:00+00:00").timestamp()
_SPARED = ("threading", "queue", "_pytest", "pytest", "tests.support")


@contextmanager
def stopped_time() -> Iterator[None]:
    """Every module that has one of Python's clocks as an attribute gets one that stands, until the end."""
    stopped = {clock: lambda: MOMENT for clock in (time.time, time.monotonic, time.perf_counter)}
    stopped |= {clock: lambda: int(MOMENT * 1e9) for clock in (time.time_ns, time.monotonic_ns)}
    patch = pytest.MonkeyPatch()
    for name, module in list(sys.modules.items()):
        if name.startswith(_SPARED):
            continue
        for attribute, value in list(vars(module).items()):
            if callable(value) and getattr(value, "__module__", None) == "time" and value in stopped:
                patch.setattr(module, attribute, stopped[value])
    try:
        yield
    finally:
        patch.undo()


async def test_a_worker_settles_what_was_sent_while_time_stands(url: str, namespace: str) -> None:
    """Retries and delays included; a job sees the time that stands."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=event_trigger("work"), retry=Retry(max_attempts=2, min_delay=0.05))
    def job() -> None:
        seen.append((time.time(), time.monotonic()))
        if len(seen) == 1:
            raise ValueError("once")

    with Client(url, namespace=namespace) as client:
        client.send_event(Event("work"), deliver_after=0.05)
    with stopped_time():
        await run_until_settled(app, url, namespace=namespace, timeout=20)
    assert seen == [(MOMENT, MOMENT)] * 2


async def test_what_does_not_settle_ends_at_its_timeout_while_time_stands(url: str, namespace: str) -> None:
    """By the clock of the system."""
    app = App("app")
    app.job(id="job", trigger=event_trigger("work"))(lambda: None)
    with Client(url, namespace=namespace) as client:
        client.send_event(Event("work", id="e"), deliver_after=60)
        with stopped_time(), pytest.raises(NotSettled, match=r"not settled after 0\.5 s"):
            await run_until_settled(app, url, namespace=namespace, timeout=0.5)
        client.cancel_event("e")
