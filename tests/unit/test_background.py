"""What a process does beside its main work goes on after a failure of any kind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from headrace_worker.tasks import restarting
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "_FIRST_PAUSE_S", 0.001)


FAILURES = [ValueError("one"), SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()]


async def test_a_task_is_started_again_after_any_exception() -> None:
    """Also after a cancellation that was not its own; it is over when its work returns."""
    failures = list(FAILURES)

    async def work() -> None:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop(0)

    await asyncio.wait_for(restarting.start_task("work", work), 30)
    assert not failures


async def test_a_canceled_task_ends() -> None:
    """It is not started again."""
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    task = restarting.start_task("work", work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun == 1


def test_a_thread_starts_its_work_again_after_any_exception() -> None:
    """The thread ends when its work returns, and keeps no process alive."""
    failures = list(FAILURES)
    threads: list[threading.Thread] = []

    def work() -> None:
        threads[:] = [threading.current_thread()]
        if failures:
            raise failures.pop(0)

    restarting.start_thread("work", work)
    wait_until(lambda: threads and not threads[0].is_alive())
    assert not failures
    assert threads[0].daemon


async def test_a_closed_event_loop_is_told_nothing() -> None:
    """A signal that comes as the process ends raises nothing."""
    loop, called = asyncio.new_event_loop(), asyncio.Event()
    loop.close()
    restarting.call_on_loop(loop, called.set)
    restarting.call_on_loop(asyncio.get_running_loop(), called.set)
    await asyncio.wait_for(called.wait(), 10)
