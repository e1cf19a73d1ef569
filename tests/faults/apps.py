"""The apps whose workers the tests start: as processes by `runner`, or on the test's own event loop.

Each is made for a folder: every call of a job is in its `calls` first. A gate is a file of that folder; what waits at
it goes on when the test makes it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace_worker import App, Context, Retry, event_trigger
from tests.faults.calls import CallLog
from tests.faults.turns import TurnLog

_LOOK_S = 0.01
_LONGEST_S = 60.0
"""A gate that no test has opened by then lets through, so that a failed test ends."""


def gate_path(folder: Path, name: str) -> Path:
    """Return the file that opens a gate."""
    return folder / f"gate-{name}"


async def wait_at_gate(folder: Path, name: str) -> None:
    """Return when the gate is open; the event loop goes on meanwhile."""
    deadline = time.monotonic() + _LONGEST_S
    while not gate_path(folder, name).exists() and time.monotonic() < deadline:  # noqa: ASYNC110 - the gate is a file
        await asyncio.sleep(_LOOK_S)


def block_at_gate(folder: Path, name: str) -> None:
    """Return when the gate is open; block the calling thread, and an event loop that runs on it."""
    deadline = time.monotonic() + _LONGEST_S
    while not gate_path(folder, name).exists() and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def load(folder: Path) -> App:
    """Three jobs for each `load`; each takes a few milliseconds."""
    app, calls = App("load"), CallLog(folder / "calls")
    for name in ("a", "b", "c"):
        _add_quick_job(app, calls, name)
    return app


def _add_quick_job(app: App, calls: CallLog, name: str) -> None:
    @app.job(id=name, trigger=event_trigger("load"))
    async def quick(ctx: Context) -> int:
        calls.add(ctx.event.id, name, ctx.run.attempt)
        await asyncio.sleep(0.005)
        return os.getpid()


def gates(folder: Path) -> App:
    """Jobs that wait at the gate that their event's payload names."""
    app, calls = App("gates"), CallLog(folder / "calls")

    @app.job(id="hold", trigger=event_trigger("hold"))
    async def hold(payload: Any, ctx: Context) -> int:
        calls.add(ctx.event.id, "hold", ctx.run.attempt)
        await wait_at_gate(folder, payload)
        return os.getpid()

    @app.job(id="block", trigger=event_trigger("block"))
    async def block(payload: Any, ctx: Context) -> int:
        calls.add(ctx.event.id, "block", ctx.run.attempt)
        block_at_gate(folder, payload)
        return os.getpid()

    @app.job(id="quick", trigger=event_trigger("quick"))
    async def quick(ctx: Context) -> int:
        calls.add(ctx.event.id, "quick", ctx.run.attempt)
        return os.getpid()

    return app


def poison(folder: Path) -> App:
    """One job that kills the process it is in, and one that does no harm."""
    app, calls = App("poison"), CallLog(folder / "calls")

    @app.job(id="killer", trigger=event_trigger("poison"))
    async def killer(ctx: Context) -> None:
        calls.add(ctx.event.id, "killer", ctx.run.attempt)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.job(id="innocent", trigger=event_trigger("innocent"))
    async def innocent(ctx: Context) -> int:
        calls.add(ctx.event.id, "innocent", ctx.run.attempt)
        await asyncio.sleep(0.03)
        return os.getpid()

    return app


def flaky(folder: Path, second_queue: str = "default") -> App:
    """Two jobs for each `work`; the second fails at its first attempt."""
    app, calls = App("flaky"), CallLog(folder / "calls")

    @app.job(id="steady", trigger=event_trigger("work"))
    async def steady(ctx: Context) -> str:
        calls.add(ctx.event.id, "steady", ctx.run.attempt)
        return "steady"

    retry = Retry(max_attempts=3, min_delay=0.05, jitter=False)

    @app.job(id="second", trigger=event_trigger("work"), retry=retry, queue=second_queue)
    async def second(ctx: Context) -> str:
        calls.add(ctx.event.id, "second", ctx.run.attempt)
        if ctx.run.attempt == 1:
            raise RuntimeError("the first attempt fails")
        return "second"

    return app


def ordered(folder: Path) -> App:
    """Jobs whose events have ordering keys; the log has the begin and the end of each attempt."""
    app, log = App("ordered"), TurnLog(folder)

    @app.job(id="steady", trigger=event_trigger("step"))
    async def steady(ctx: Context) -> None:
        log.add(ctx.event.id, "steady")
        await asyncio.sleep(0.002)
        log.add(ctx.event.id, "steady", is_last=True)

    retry = Retry(max_attempts=2, min_delay=0.01, jitter=False)

    @app.job(id="flaky", trigger=event_trigger("step"), retry=retry, queue="second")
    async def flaky(payload: int, ctx: Context) -> None:
        is_last = ctx.run.attempt == 2 or payload % 3 > 0
        log.add(ctx.event.id, "flaky")
        await asyncio.sleep(0.002)
        log.add(ctx.event.id, "flaky", is_last=is_last)
        if not is_last or (ctx.run.attempt == 2 and payload % 2):
            raise RuntimeError("this attempt fails")

    @app.job(id="quick", trigger=event_trigger("quick"))
    async def quick(ctx: Context) -> None:
        log.add(ctx.event.id, "quick")
        log.add(ctx.event.id, "quick", is_last=True)

    @app.job(id="held", trigger=event_trigger("held"))
    async def held(payload: Any, ctx: Context) -> None:
        log.add(ctx.event.id, "held")
        if payload:
            await wait_at_gate(folder, payload)
        log.add(ctx.event.id, "held", is_last=True)

    return app


def outcomes(folder: Path) -> App:
    """A job for each way in which a run can end, and one that waits for its second attempt."""
    app, calls = App("outcomes"), CallLog(folder / "calls")

    @app.job(id="echo", trigger=event_trigger("echo", filter={"text": [{"$exists": True}]}))
    async def echo(payload: Any, ctx: Context) -> Any:
        calls.add(ctx.event.id, "echo", ctx.run.attempt)
        return {"payload": payload, "context": ctx.event.context}

    @app.job(id="wrong", trigger=event_trigger(["echo", "wrong"]), retry=Retry(max_attempts=1))
    async def wrong(ctx: Context) -> None:
        raise ValueError(f"wrong é {ctx.event.name}")

    @app.job(id="late", trigger=event_trigger("late"), retry=Retry(max_attempts=1), timeout=0.05)
    async def late() -> None:
        await asyncio.sleep(60)

    @app.job(id="strict", trigger=event_trigger("echo"))
    async def strict(payload: dict[str, int]) -> None:
        """A job whose payload never fits its schema."""

    @app.job(id="again", trigger=event_trigger("again"), retry=Retry(max_attempts=2, min_delay=3600, max_delay=3600))
    async def again(ctx: Context) -> None:
        calls.add(ctx.event.id, "again", ctx.run.attempt)
        raise RuntimeError("an hour until the second attempt")

    return app


LIMIT = 5
"""How many runs of `limited` may be in flight at once, as its code declares."""


def over_limit_path(folder: Path) -> Path:
    """Return the file that is there once more runs than the limit, or than there are files of slots, have executed."""
    return folder / "over-limit"


def limited(folder: Path) -> App:
    """A job with a limit, and one without; each run of theirs holds the lock of a slot, which no dead process keeps."""
    app, calls = App("limited"), CallLog(folder / "calls")

    @app.job(id="limited", trigger=event_trigger("limited"), concurrency=LIMIT)
    async def run_limited(ctx: Context) -> None:
        with _slot(folder, LIMIT):
            calls.add(ctx.event.id, "limited", ctx.run.attempt)
            await asyncio.sleep(0.003)

    @app.job(id="free", trigger=event_trigger("free"))
    async def run_free(ctx: Context) -> None:
        calls.add(ctx.event.id, "free", ctx.run.attempt)
        await asyncio.sleep(0.003)

    return app


def shared(folder: Path) -> App:
    """A job without a limit in its code, for limits at run time of at most `LIMIT`."""
    app, calls = App("shared"), CallLog(folder / "calls")

    @app.job(id="shared", trigger=event_trigger("shared"))
    async def run(ctx: Context) -> None:
        with _slot(folder, LIMIT):
            calls.add(ctx.event.id, "shared", ctx.run.attempt)
            await asyncio.sleep(0.003)

    return app


@contextmanager
def _slot(folder: Path, slots: int) -> Iterator[None]:
    """Hold one of so many locks; note it if none is free."""
    for number in range(slots):
        with (folder / f"slot-{number}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield
            return
    over_limit_path(folder).touch()
    yield


APPS: dict[str, Callable[[Path], App]] = {
    "load": load,
    "gates": gates,
    "poison": poison,
    "flaky": flaky,
    "ordered": ordered,
    "outcomes": outcomes,
    "limited": limited,
    "shared": shared,
}
