"""A loop goes on whatever happens, waits longer while it fails, and tells of each failure once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace import HeadraceError, ServerError, ServerNotReady, ServerUnreachable
from headrace_worker.membership.loops import run_loop, wait_either
from headrace_worker.membership.watch import Pulse


class _Scripted:
    """A loop whose ticks fail as scripted; `over` is set at the end of the script."""

    def __init__(self, *script: Exception | None, recovery: Exception | None = None) -> None:
        self.over = asyncio.Event()
        self.pulse = Pulse("scripted")
        self.recovered: list[HeadraceError | None] = []
        self.pauses: list[float] = []
        self._script: Iterator[Exception | None] = iter(script)
        self._recovery = recovery

    async def tick(self) -> None:
        try:
            fault = next(self._script)
        except StopIteration:
            self.over.set()
            return
        if fault is not None:
            raise fault

    async def recover(self, error: HeadraceError | None) -> None:
        self.recovered.append(error)
        if self._recovery is not None:
            raise self._recovery


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[_Scripted], Any]:
    """Run a loop without its pauses, whose bounds are kept, and returns what it logged."""

    async def run(loop: _Scripted) -> list[tuple[str, str]]:
        async def no_pause(awaitable: Any, timeout: float) -> None:
            awaitable.close()
            loop.pauses.append(timeout)
            raise TimeoutError

        monkeypatch.setattr(asyncio, "wait_for", no_pause)
        with capture_logs() as lines:
            await run_loop("scripted", loop, loop.over.is_set, loop.over)
        assert all(line["loop"] == "scripted" for line in lines)
        return [(line["log_level"], line["event"]) for line in lines]

    return run


async def test_an_outage_is_told_once_and_so_is_its_end(run: Any) -> None:
    """Its errors may differ from one attempt to the next."""
    faults = [ServerUnreachable("gone"), ServerUnreachable("still gone"), ServerNotReady("LOADING", "loading")]
    loop = _Scripted(None, *faults, None)
    assert await run(loop) == [("warning", "server can't be used, waiting"), ("info", "loop goes on")]
    assert loop.recovered == faults


async def test_a_stalled_event_loop_is_not_blamed_on_the_server() -> None:
    """What the server itself has answered is its own."""
    loop = _Scripted(ServerUnreachable("timed out"), ServerNotReady("LOADING", "loading"), None)
    with capture_logs() as lines:
        await run_loop("scripted", loop, loop.over.is_set, loop.over, lambda: 9.04)
    assert lines[0]["event"] == "event loop stood still, so a call to the server ran out of time; trying again"
    assert lines[0]["stood_s"] == 9.0
    loop = _Scripted(ServerNotReady("LOADING", "loading"), None)
    with capture_logs() as lines:
        await run_loop("scripted", loop, loop.over.is_set, loop.over, lambda: 9.04)
    assert lines[0]["event"] == "server can't be used, waiting"


async def test_the_same_refusal_is_told_once_and_another_one_again(run: Any) -> None:
    """A refusal that lasts does not fill the log."""
    same, other = [ServerError("no") for _ in range(50)], ServerError("neither")
    told = await run(_Scripted(*same, other, None))
    failed = ("error", "loop failed, trying again")
    assert told == [failed, failed, ("info", "loop goes on")]


async def test_no_failure_ends_a_loop(run: Any) -> None:
    """An unforeseen failure is logged with its traceback, and `recover` gets None."""
    loop = _Scripted(KeyError("what"), RuntimeError("x"), None)
    told = await run(loop)
    assert told == [("error", "loop failed in an unforeseen way, trying again")] * 2 + [("info", "loop goes on")]
    assert loop.recovered == [None, None]


@pytest.mark.parametrize("recovery", [ServerUnreachable("gone"), RuntimeError("worse")], ids=repr)
async def test_a_recovery_that_fails_ends_no_loop_either(run: Any, recovery: Exception) -> None:
    """It is tried again after the next failure."""
    loop = _Scripted(ServerUnreachable("gone"), ServerUnreachable("gone"), None, recovery=recovery)
    await run(loop)
    assert len(loop.recovered) == 2
    assert loop.over.is_set()


async def test_pauses_double_up_to_two_seconds_with_jitter(run: Any) -> None:
    """After a tick that went well they begin anew."""
    loop = _Scripted(*[ServerUnreachable("gone")] * 10, None, ServerUnreachable("gone"), None)
    await run(loop)
    longest = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2, 2, 0.05]
    assert len(loop.pauses) == len(longest)
    assert all(most / 2 <= pause <= most for pause, most in zip(loop.pauses, longest, strict=True))
    assert len({pause / most for pause, most in zip(loop.pauses, longest, strict=True)}) > 5


async def test_a_pause_ends_when_the_loop_is_over() -> None:
    """A stop does not wait for it."""
    loop = _Scripted(*[ServerUnreachable("gone")] * 1000)
    running = asyncio.ensure_future(run_loop("scripted", loop, loop.over.is_set, loop.over))
    await asyncio.sleep(0)
    loop.over.set()
    await asyncio.wait_for(running, 5)
    assert len(loop.recovered) == 1


async def test_cancelling_a_loop_ends_it() -> None:
    """Cancellation is no failure."""
    loop = _Scripted()
    loop.tick = asyncio.Event().wait  # type: ignore[method-assign,assignment]
    running = asyncio.ensure_future(run_loop("scripted", loop, loop.over.is_set, loop.over))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_one_of_two_events_is_enough() -> None:
    """Whichever is set, before or during the wait; nothing is left waiting."""
    first, second = asyncio.Event(), asyncio.Event()
    waiting = asyncio.ensure_future(wait_either(first, second))
    await asyncio.sleep(0)
    assert not waiting.done()
    second.set()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(wait_either(first, second), 5)
    await asyncio.wait_for(wait_either(second, first), 5)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
