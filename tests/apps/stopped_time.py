"""A test's process in which Python's clocks stand, as under freezegun: `python -m tests.apps.stopped_time settles`.

It is a process of its own, as the runner of the tests reads the same clocks.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from unittest import mock

from headrace import Client, Event
from headrace_worker import App, Retry, event_trigger
from headrace_worker.testing import NotSettled, run_until_settled

MOMENT = datetime.fromisoformat("2012-01-14T00:00:00+00:00").timestamp()
_SPARED = ("threading", "queue")


@contextmanager
def stopped_time() -> Iterator[None]:
    """Every module that has one of Python's clocks as an attribute gets one that stands, until the end."""
    stopped = {clock: lambda: MOMENT for clock in (time.time, time.monotonic, time.perf_counter)}
    stopped |= {clock: lambda: int(MOMENT * 1e9) for clock in (time.time_ns, time.monotonic_ns)}
    found = [
        mock.patch.object(module, attribute, stopped[value])
        for name, module in list(sys.modules.items())
        if not name.startswith(_SPARED)
        for attribute, value in list(vars(module).items())
        if callable(value) and getattr(value, "__module__", None) == "time" and value in stopped
    ]
    for patch in found:
        patch.start()
    try:
        yield
    finally:
        for patch in found:
            patch.stop()


async def settles() -> None:
    """Print what a job has seen of the time, which fails once and is tried again."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=event_trigger("work"), retry=Retry(max_attempts=2, min_delay=0.05))
    def job() -> None:
        seen.append((time.time(), time.monotonic()))
        if len(seen) == 1:
            raise ValueError("once")

    with Client() as client:
        client.send_event(Event("work"), deliver_after=0.05)
    with stopped_time():
        await run_until_settled(app, timeout=20)
    print(seen)


async def does_not_settle() -> None:
    """Print what is said of an event that is due in a minute."""
    app = App("app")
    app.job(id="job", trigger=event_trigger("work"))(lambda: None)
    with Client() as client:
        client.send_event(Event("work", id="e"), deliver_after=60)
        with stopped_time():
            try:
                await run_until_settled(app, timeout=0.5)
            except NotSettled as exc:
                print(exc)
        client.cancel_event("e")


if __name__ == "__main__":
    asyncio.run({"settles": settles, "does_not_settle": does_not_settle}[sys.argv[1]]())
