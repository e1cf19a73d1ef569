"""Each call of a plain function has a thread, and is called once or not at all."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, Self

import pytest

from headrace_worker.tasks.guard import Guard
from headrace_worker.tasks.job_threads import JobThreads, NoThread
from tests.support import no_threads
from tests.support.waiting import await_until


class Panic(BaseException):
    """As pyo3 has it: no Exception."""


class Interruption(Exception):
    """Of a time limit for threads."""


@pytest.fixture
async def threads() -> AsyncIterator[JobThreads]:
    threads = JobThreads(Guard())
    yield threads
    threads.close()


async def test_a_call_returns_or_raises_what_its_function_does(threads: JobThreads) -> None:
    """No Exception is an outcome as well."""
    assert await threads.call(lambda: 1).outcome == 1
    for fault in (ValueError("wrong"), Panic(), SystemExit(3)):
        with pytest.raises(type(fault)):
            await threads.call(_raising(fault)).outcome


def _raising(fault: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise fault

    return fail


async def test_a_thread_is_kept_for_the_next_call(threads: JobThreads) -> None:
    """There are as many as there are calls at once."""
    idents = [await threads.call(threading.get_ident).outcome for _ in range(5)]
    assert len(set(idents)) == 1
    gate = threading.Barrier(3)
    calls = [threads.call(lambda: (gate.wait(10), threading.get_ident())[1]) for _ in range(3)]
    assert threads.busy == 3
    assert len({await call.outcome for call in calls}) == 3
    assert threads.busy == 0


async def test_a_call_has_a_copy_of_its_caller_s_context(threads: JobThreads) -> None:
    """What it sets there stays there."""
    variable: ContextVar[int] = ContextVar("variable")
    variable.set(1)
    call = threads.call(lambda: (variable.get(), variable.set(2)))
    assert (await call.outcome)[0] == 1
    assert variable.get() == 1


async def test_a_call_without_a_thread_is_never_made(threads: JobThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when there are threads again."""
    called: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading, no_threads.NAME, no_threads.refuse)
        with pytest.raises(NoThread, match="can't start"):
            threads.call(lambda: called.append(1))
    await threads.call(lambda: called.append(2)).outcome
    assert called == [2]
    assert threads.busy == 0


async def test_a_function_that_is_not_waited_for_keeps_its_thread(threads: JobThreads) -> None:
    """Its end is reported once, and the thread is free then."""
    gate, ended = threading.Event(), asyncio.Event()
    call = threads.call(gate.wait)
    call.on_done = ended.set
    call.outcome.cancel()
    await asyncio.sleep(0)
    assert not call.is_done
    assert threads.busy == 1
    gate.set()
    await asyncio.wait_for(ended.wait(), 10)
    assert threads.busy == 0


def interrupt(ident: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Interruption))


async def test_an_interruption_after_the_function_s_end_costs_nothing(threads: JobThreads) -> None:
    """The thread that waits for its next call is there for it."""
    ident = await threads.call(threading.get_ident).outcome
    for _ in range(50):
        interrupt(ident)
        # It is raised when the thread goes on, which is at its next call: before, in or after the function.
        await asyncio.wait([threads.call(threading.get_ident).outcome])
    assert await threads.call(threading.get_ident).outcome == ident


class _Shower:
    """Interrupts each thread that stands in it, a moment after its function has begun."""

    def __init__(self) -> None:
        self._due: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def stand_in(self) -> str:
        self._due.append(threading.get_ident())
        until = time.monotonic() + 0.0004
        while time.monotonic() < until:
            pass
        return "done"

    def _run(self) -> None:
        while not self._over.wait(0.0003):
            while self._due:
                interrupt(self._due.pop())


async def test_interruptions_at_any_moment_lose_no_call(threads: JobThreads) -> None:
    """Each call ends once, as its function did or by the interruption, and all threads are there after it."""
    with _Shower() as shower:
        for _ in range(300):
            calls = [threads.call(shower.stand_in) for _ in range(4)]
            ends = await asyncio.gather(*(call.outcome for call in calls), return_exceptions=True)
            assert all(end == "done" or isinstance(end, Interruption) for end in ends), ends
    assert threads.busy == 0
    assert [await threads.call(lambda: 1).outcome for _ in range(4)] == [1] * 4


async def test_threads_end_with_their_pool() -> None:
    """Idle ones at once, and those that execute after that."""
    threads, gate = JobThreads(Guard()), threading.Event()
    others = set(threading.enumerate())  # of earlier tests; they may end meanwhile
    busy = threads.call(gate.wait)
    await threads.call(lambda: 1).outcome
    assert len(set(threading.enumerate()) - others) == 2
    threads.close()
    await await_until(lambda: len(set(threading.enumerate()) - others) == 1)
    gate.set()
    await busy.outcome
    await await_until(lambda: not set(threading.enumerate()) - others)
