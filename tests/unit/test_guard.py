"""What the guard has started is known to it: a callback is called again, and a part that is gone breaks the guard."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from headrace_worker.current_run import current_run
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.tasks import guard as guards
from headrace_worker.tasks.guard import Guard, is_end, lasting_task, own_task, run_task
from tests.support import no_threads
from tests.support.waiting import await_until


class Panic(BaseException):
    """As pyo3 has it: no Exception."""


FAULTS = [ValueError("wrong"), SystemExit(0), Panic(), GeneratorExit(), asyncio.CancelledError(), MemoryError()]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(guards, "_LONGEST_PAUSE_S", 0.001)


@contextlib.contextmanager
def in_a_run() -> Iterator[None]:
    """What is done here is done by a job."""
    delivery: Delivery = object()  # type: ignore[assignment]
    token = current_run.set(delivery)
    try:
        yield
    finally:
        current_run.reset(token)


class _Fails:
    """A callback that fails so often before it succeeds."""

    def __init__(self, fault: BaseException, times: int) -> None:
        self.calls = 0
        self._fault = fault
        self._times = times

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls <= self._times:
            raise self._fault


WAYS: dict[str, Callable[[Guard, _Fails], object]] = {
    "later": lambda guard, call: guard.later(0, call),
    "from_thread": lambda guard, call: guard.from_thread(asyncio.get_running_loop(), call),
    "on_done": lambda guard, call: guard.on_done(_done(), call),
    "again": lambda guard, call: guard.again(ValueError("it has failed already"), call),
}


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_callback_that_fails_is_called_again(way: str, fault: BaseException) -> None:
    """Whatever it raises; it has succeeded then, and nothing is broken."""
    guard, call = Guard(), _Fails(fault, 3)
    WAYS[way](guard, call)
    await await_until(lambda: call.calls == 4)
    assert guard.broken == ""


async def test_a_callback_that_fails_for_good_breaks_the_guard() -> None:
    """The guard says which, and tells of it once a part is gone."""
    told: list[str] = []
    guard = Guard(lambda: told.append("broken"))
    call = _Fails(ValueError("wrong"), 1_000)
    guard.later(0, call)
    await await_until(lambda: guard.broken)
    assert call.calls == guards._MOST_FAILURES
    assert guard.broken == "a callback has ended: ValueError: wrong"
    assert told == ["broken"]


async def test_a_timer_that_is_cancelled_calls_nothing() -> None:
    """As one of asyncio's own."""
    call = _Fails(ValueError(), 0)
    Guard().later(0, call).cancel()
    await asyncio.sleep(0.01)
    assert call.calls == 0


async def test_a_call_for_a_closed_loop_is_not_made() -> None:
    """The caller gets that answer, and no exception."""
    loop = asyncio.new_event_loop()
    loop.close()
    assert not Guard().from_thread(loop, print)


# SystemExit goes through asyncio: here it would end the test.
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not isinstance(fault, SystemExit)], ids=lambda fault: type(fault).__name__
)
async def test_a_part_that_ends_breaks_the_guard(fault: BaseException) -> None:
    """Whatever has ended it; the first one counts."""

    async def end() -> None:
        raise fault

    guard = Guard()
    part = guard.part("fetcher", end(), lambda: False)
    await asyncio.wait([part])
    assert guard.broken.startswith("fetcher has ended")
    guard.break_off("settler")
    assert guard.broken.startswith("fetcher has ended")
    with contextlib.suppress(BaseException):
        part.result()


async def test_a_part_that_returns_too_early_breaks_the_guard() -> None:
    """One that may end does not."""
    guard = Guard()
    await guard.part("promoter", asyncio.sleep(0), lambda: True)
    assert guard.broken == ""
    await guard.part("promoter", asyncio.sleep(0), lambda: False)
    assert guard.broken == "promoter has ended"


async def test_work_aside_breaks_nothing() -> None:
    """Its failure is logged."""

    async def fail() -> None:
        raise ValueError("wrong")

    guard = Guard()
    await guard.detached("the end of a read", fail())
    assert guard.broken == ""


@pytest.mark.parametrize("is_vital", [True, False])
def test_a_vital_thread_that_ends_breaks_the_guard(is_vital: bool) -> None:  # noqa: FBT001
    """Another one does not."""
    guard = Guard()

    def fail() -> None:
        raise Panic

    guard.thread("lease", fail, is_vital=is_vital).join(10)
    assert guard.broken.startswith("the thread 'lease' has ended") == is_vital


def test_what_can_t_be_told_on_is_noted_all_the_same() -> None:
    """A callback of a watcher may fail as well."""

    def fail() -> None:
        raise Panic

    guard = Guard(fail)
    guard.break_off("settler")
    assert guard.broken == "settler has ended"


async def test_a_run_can_t_cancel_the_worker_s_own_tasks() -> None:
    """The worker can; and a run can cancel those of runs."""
    own, run = own_task(asyncio.sleep(60)), run_task(_sleep())
    await asyncio.sleep(0)
    with in_a_run():
        assert not own.cancel()
        assert run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    assert not own.done()
    assert own.cancel()
    await asyncio.wait([own])
    assert own.cancelled()


async def _sleep() -> None:
    await asyncio.sleep(60)


async def test_a_run_that_is_cancelled_before_it_begins_begins() -> None:
    """And is cancelled then: a task that never began would come to no outcome."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("began")
        try:
            await asyncio.sleep(60)
        finally:
            steps.append("ended")

    task = run_task(work())
    task.cancel()
    await asyncio.wait([task])
    assert steps == ["began", "ended"]
    assert task.cancelled()


async def test_nothing_cancels_a_lasting_task() -> None:
    """Neither a run nor a thread that a job has started."""
    over = asyncio.Event()
    task = lasting_task(over.wait())
    assert not task.cancel()
    over.set()
    assert await task


async def test_timeouts_end_in_a_lasting_task() -> None:
    """A timeout cancels the task that waits, so that task must take the request."""

    async def wait_in_vain() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return "over"

    async with asyncio.timeout(10):
        assert await asyncio.shield(lasting_task(wait_in_vain())) == "over"


async def test_only_a_requested_cancellation_ends_a_task_quietly() -> None:
    """A CancelledError without a cancellation is a failure like any other."""
    found: list[bool] = []

    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    async def raises() -> None:
        try:
            await cancelled
        except asyncio.CancelledError as exc:
            found.append(is_end(exc))

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as exc:
            found.append(is_end(exc))

    await own_task(raises())
    task = own_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert found == [False, True]


def test_a_thread_that_can_t_start_is_an_error_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is broken by that."""
    monkeypatch.setattr(threading, no_threads.NAME, no_threads.refuse)
    guard = Guard()
    with pytest.raises(RuntimeError, match="can't start"):
        guard.thread("lease", print)
    assert guard.broken == ""
