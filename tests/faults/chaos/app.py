"""The app under chaos: a job for each way in which a run can go. Every call is in the diary before it does anything.

What an event is for stands in its payload: `n` is its number, from which jobs draw what they do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace import Event, Retention
from headrace.model.ids import derived_event_id
from headrace_worker import App, Context, JobIO, Retry, event_trigger
from tests.faults.chaos.history import Acknowledged, Began, Diary, Ended, Sending, now

LEASE_S = 2.0
GRACE_S = 3.0
BLOCK_S = 0.5
NAME = "chaos"
RETENTION_S = 7_200.0
RETENTION = Retention(success=RETENTION_S, failure=RETENTION_S, dedupe_sender=RETENTION_S)

BLOCK, BLOCKADE, POISON, QUITTER = "chaos/block", "chaos/blockade", "chaos/poison", "chaos/quitter"
SINCE_HARMLESS = frozenset({"chaos/canceller", "chaos/stopper"})
"""Jobs that a worker of the last release does not outlive."""
ENDS = {
    "chaos/doomed": "failed",
    "chaos/deaf": "timed_out",
    POISON: "failed",
    BLOCKADE: "timed_out",
    QUITTER: "failed",
}
"""The jobs whose runs do not succeed."""
_CHILD = "child"
STEP = "step"
"""An event with an ordering key."""
_HEARD = {
    "load": ("chaos/quick", "chaos/plain", "chaos/flaky"),
    "long": ("chaos/long",),
    "block": (BLOCK,),
    "doomed": ("chaos/doomed",),
    "deaf": ("chaos/deaf",),
    "poison": ("chaos/poison",),
    "blockade": (BLOCKADE,),
    "quitter": (QUITTER,),
    "stopper": ("chaos/stopper",),
    "canceller": ("chaos/canceller",),
    "parent": ("chaos/parent",),
    _CHILD: ("chaos/child",),
    STEP: ("chaos/step", "chaos/stumbling"),
}


def jobs_of(name: str, payload: dict[str, Any]) -> tuple[str, ...]:
    """Return the jobs of an event."""
    return (*_HEARD[name], "chaos/third") if name == "load" and payload["n"] % 3 == 0 else _HEARD[name]


class _Writer:
    """Writes down when a call begins and how it ends."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    @contextmanager
    def call(self, ctx: Context) -> Iterator[None]:
        job, event = f"{ctx.job.app}/{ctx.job.id}", ctx.event.id
        began = Began(
            **now(), event=event, job=job, attempt=ctx.run.attempt, pid=os.getpid(), worker=ctx.worker_id
        )  # fmt: skip
        self.diary.add(began)
        how = "raised"
        try:
            yield
            how = "returned"
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        finally:
            self.diary.add(Ended(**now(), event=event, job=job, pid=os.getpid(), began=began.at, how=how))


def chaos(diary: Diary) -> App:
    """Return the app."""
    app, writer = App(NAME), _Writer(diary)
    _add_load(app, writer)
    _add_long(app, writer)
    _add_failing(app, writer)
    _add_family(app, writer)
    _add_ordered(app, writer)
    _add_unruly(app, writer)
    return app


def late(diary: Diary, number: int) -> App:
    """Return an app of one job, for workers that register while events come in."""
    app, writer = App(f"late{number}"), _Writer(diary)

    @app.job(id="job", trigger=event_trigger("load"))
    async def job(ctx: Context) -> None:
        with writer.call(ctx):
            await asyncio.sleep(0.005)

    return app


def _add_load(app: App, writer: _Writer) -> None:
    @app.job(id="quick", trigger=event_trigger("load"))
    async def quick(payload: dict[str, Any], ctx: Context) -> None:
        with writer.call(ctx):
            await asyncio.sleep(0.03 * payload["n"])

    @app.job(id="plain", trigger=event_trigger("load"), queue="threads")
    def plain(ctx: Context) -> None:
        with writer.call(ctx):
            time.sleep(0.005)

    @app.job(id="third", trigger=event_trigger("load", filter={"third": [True]}))
    async def third(ctx: Context) -> None:
        with writer.call(ctx):
            await asyncio.sleep(0.02)

    retry = Retry(max_attempts=4, min_delay=0.2, jitter=False)

    @app.job(id="flaky", trigger=event_trigger("load"), retry=retry)
    async def flaky(payload: dict[str, Any], ctx: Context) -> None:
        with writer.call(ctx):
            if ctx.run.attempt <= payload["n"] % 4 - 1:
                raise RuntimeError("this attempt fails")


def _add_long(app: App, writer: _Writer) -> None:
    @app.job(id="long", trigger=event_trigger("long"), queue="long")
    async def long(payload: dict[str, Any], ctx: Context) -> None:
        """Longer than the lease; every other one longer than the grace too."""
        with writer.call(ctx):
            await asyncio.sleep(LEASE_S * 1.2 if payload["n"] % 2 else GRACE_S * 1.5)

    @app.job(id="block", trigger=event_trigger("block"), queue="long")
    async def block(ctx: Context) -> None:
        """Block the event loop for longer than the lease."""
        with writer.call(ctx):
            time.sleep(LEASE_S * 1.2)  # noqa: ASYNC251 - that is what is tested


def _add_failing(app: App, writer: _Writer) -> None:
    @app.job(id="doomed", trigger=event_trigger("doomed"), retry=Retry(max_attempts=2, min_delay=0.1, jitter=False))
    async def doomed(ctx: Context) -> None:
        with writer.call(ctx):
            raise RuntimeError("every attempt fails")

    @app.job(id="deaf", trigger=event_trigger("deaf"), retry=Retry(max_attempts=1), timeout=0.5)
    async def deaf(ctx: Context) -> None:
        """Go on for a while after its cancellation."""
        with writer.call(ctx):
            until = time.monotonic() + 3.0
            while time.monotonic() < until:
                try:
                    await asyncio.sleep(until - time.monotonic())
                except asyncio.CancelledError:
                    continue

    @app.job(id="poison", trigger=event_trigger("poison"))
    async def poison(ctx: Context) -> None:
        with writer.call(ctx):
            os.kill(os.getpid(), signal.SIGKILL)


def _add_family(app: App, writer: _Writer) -> None:
    @app.job(id="parent", trigger=event_trigger("parent"))
    async def parent(payload: dict[str, Any], io: JobIO, ctx: Context) -> None:
        with writer.call(ctx):
            child = derived_event_id(ctx.run.id, "key")
            jobs = jobs_of(_CHILD, payload)
            writer.diary.add(Sending(**now(), id=child, name=_CHILD, jobs=jobs))
            sent = await io.send_event("key", Event(_CHILD, payload=payload))
            assert sent.id == child
            delivered_ms = int(sent.delivered_at.timestamp() * 1000) if sent.delivered_at else 0
            writer.diary.add(Acknowledged(**now(), id=child, delivered_ms=delivered_ms))

    @app.job(id="child", trigger=event_trigger(_CHILD))
    async def child(ctx: Context) -> None:
        with writer.call(ctx):
            await asyncio.sleep(0)


def _add_ordered(app: App, writer: _Writer) -> None:
    @app.job(id="step", trigger=event_trigger(STEP))
    async def step(payload: dict[str, Any], ctx: Context) -> None:
        with writer.call(ctx):
            await asyncio.sleep(0.002 * payload["n"])

    retry = Retry(max_attempts=4, min_delay=0.05, jitter=False)  # one that fails, and some that others cancel

    @app.job(id="stumbling", trigger=event_trigger(STEP), retry=retry, queue="ordered")
    async def stumbling(payload: dict[str, Any], ctx: Context) -> None:
        with writer.call(ctx):
            if ctx.run.attempt == 1 and payload["n"] % 4 == 0:
                raise RuntimeError("the first attempt fails")


def _add_unruly(app: App, writer: _Writer) -> None:
    """Jobs that take the event loop, or the process, for theirs."""

    @app.job(id="blockade", trigger=event_trigger("blockade"), retry=Retry(max_attempts=1), timeout=0.5)
    async def blockade(ctx: Context) -> None:
        with writer.call(ctx):
            time.sleep(1e6)  # noqa: ASYNC251 - that is what is tested

    @app.job(id="quitter", trigger=event_trigger("quitter"))
    async def quitter(ctx: Context) -> None:
        with writer.call(ctx):
            os._exit(0)

    @app.job(id="stopper", trigger=event_trigger("stopper"))
    async def stopper(ctx: Context) -> None:
        with writer.call(ctx):
            for _ in range(10):
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0.01)

    @app.job(id="canceller", trigger=event_trigger("canceller"))
    async def canceller(ctx: Context) -> None:
        with writer.call(ctx):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0.05)
