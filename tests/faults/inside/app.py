"""The app of the worker that a fault strikes: small jobs of every kind, and the events that they wait for."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from headrace import Event
from headrace_worker import App, Context, JobIO, Retry, SyncJobIO, event_trigger
from tests.faults.calls import CallLog
from tests.support.codecs import SCRAMBLER

APP = "inside"
TIMEOUT_S = 2.0
"""Of all jobs but `late`: a fault within a run that never returns is bounded by it."""
BLOCKED_PID = "blocked-pid"
"""The file with the id of the process in which `block` blocks; in any other it returns at once."""
EXPECTED = {
    "work": {"quick": "succeeded", "plain": "succeeded", "flaky": "succeeded"},
    "late": {"late": "timed_out"},
    "turn": {"turn": "succeeded"},
    "ask": {"sender": "succeeded", "plain-sender": "succeeded"},
    "answer": {"answer": "succeeded"},
    "strict": {"strict": "invalid_payload"},
    "pick": {"picked": "succeeded"},
    "block": {"block": "succeeded"},
}
"""What each job's run of an event comes to, by the event's name and the job's id."""
_RETRY = Retry(max_attempts=3, min_delay=0.05, jitter=False)
_ONCE = Retry(max_attempts=1)


def make_app(folder: Path) -> App:
    """Return the app, whose calls are on record in the folder."""
    app, calls = App(APP, codec=SCRAMBLER), CallLog(folder / "calls")
    _add_workers(app, calls)
    _add_senders(app, calls)
    _add_others(app, calls)
    _add_blocking(app, calls, folder / BLOCKED_PID)
    return app


def _add_workers(app: App, calls: CallLog) -> None:
    @app.job(id="quick", trigger=event_trigger("work"), retry=_RETRY, timeout=TIMEOUT_S)
    async def quick(payload: Any, ctx: Context) -> int:
        calls.add(ctx.event.id, "quick", ctx.run.attempt)
        await asyncio.sleep(0.005)
        return len(payload or "")

    @app.job(id="plain", trigger=event_trigger("work"), retry=_RETRY, timeout=TIMEOUT_S)
    def plain(ctx: Context) -> None:
        calls.add(ctx.event.id, "plain", ctx.run.attempt)
        time.sleep(0.005)

    @app.job(id="flaky", trigger=event_trigger("work"), retry=_RETRY, timeout=TIMEOUT_S)
    async def flaky(ctx: Context) -> None:
        calls.add(ctx.event.id, "flaky", ctx.run.attempt)
        if ctx.run.attempt == 1:
            raise ValueError("the first attempt fails")


def _add_senders(app: App, calls: CallLog) -> None:
    @app.job(id="sender", trigger=event_trigger("ask"), retry=_RETRY, timeout=TIMEOUT_S)
    async def sender(io: JobIO, ctx: Context) -> str:
        calls.add(ctx.event.id, "sender", ctx.run.attempt)
        return (await io.send_event("answer", Event("answer"))).id

    @app.job(id="plain-sender", trigger=event_trigger("ask"), retry=_RETRY, timeout=TIMEOUT_S)
    def plain_sender(io: SyncJobIO, ctx: Context) -> str:
        calls.add(ctx.event.id, "plain-sender", ctx.run.attempt)
        return io.send_event("answer", Event("answer")).id

    @app.job(id="answer", trigger=event_trigger("answer"), retry=_RETRY, timeout=TIMEOUT_S)
    async def answer(ctx: Context) -> None:
        calls.add(ctx.event.id, "answer", ctx.run.attempt)


def _add_others(app: App, calls: CallLog) -> None:
    @app.job(id="late", trigger=event_trigger("late"), retry=_ONCE, timeout=0.3)
    async def late(ctx: Context) -> None:
        calls.add(ctx.event.id, "late", ctx.run.attempt)
        await asyncio.sleep(60)

    @app.job(id="turn", trigger=event_trigger("turn"), retry=_RETRY, timeout=TIMEOUT_S)
    async def turn(ctx: Context) -> None:
        calls.add(ctx.event.id, "turn", ctx.run.attempt)

    @app.job(id="strict", trigger=event_trigger("strict"), retry=_RETRY, timeout=TIMEOUT_S)
    async def strict(payload: dict[str, int]) -> None:
        """A job whose payload never fits its schema."""

    @app.job(id="picked", trigger=event_trigger("pick", filter={"n": [{"$gt": 1}]}), retry=_RETRY, timeout=TIMEOUT_S)
    async def picked(ctx: Context) -> None:
        calls.add(ctx.event.id, "picked", ctx.run.attempt)


def _add_blocking(app: App, calls: CallLog, blocked_pid: Path) -> None:
    @app.job(id="block", trigger=event_trigger("block"), retry=_ONCE)
    async def block(ctx: Context) -> None:
        calls.add(ctx.event.id, "block", ctx.run.attempt)
        _stand_still_if_named(blocked_pid)


def _stand_still_if_named(blocked_pid: Path) -> None:
    while blocked_pid.exists() and blocked_pid.read_text() == str(os.getpid()):
        time.sleep(0.05)
