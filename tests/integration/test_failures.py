"""Whatever a job's function raises ends its own run, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace import Client, Event
from headrace_worker import Abort, App, event_trigger
from tests.support.single_run import ONCE, SOON, TRIGGER, never, run_of, run_one
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost


def _raises(exc: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise exc

    return job


def _raises_async(exc: BaseException) -> Callable[[], Any]:
    async def job() -> None:
        raise exc

    return job


class _Own(BaseException):
    """Is no Exception."""


@pytest.mark.parametrize("make", [_raises, _raises_async])
@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (ValueError("no"), "ValueError"),
        (SystemExit(3), "SystemExit"),
        (StopIteration("end"), "RuntimeError"),
        (_Own("own"), f"{__name__}._Own"),
        (asyncio.CancelledError("by itself"), "asyncio.exceptions.CancelledError"),
        (TimeoutError("its own"), "TimeoutError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_an_exception_ends_its_run_and_nothing_else(
    host: WorkerHost, client: Client, make: Any, exc: BaseException, kind: str
) -> None:
    """The run is failed with the exception's type, and the worker goes on."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER, retry=ONCE)(make(exc))
    app.job(id="other", trigger=event_trigger("other"))(lambda: "fine")
    sent = client.send_event(Event("asked"))
    async with host.working(app):
        run = await await_until(lambda: (found := client.get_event(sent.id)).is_settled and found.runs[0])
        assert run
        assert (run.status, run.error and run.error.type) == ("failed", kind)
        other = client.send_event(Event("other"))
        await await_until(lambda: client.get_event(other.id).is_settled)
    assert run_of(client, other.id, "other").status == "succeeded"


async def test_a_thread_may_not_end_the_worker_as_a_signal_would(host: WorkerHost, client: Client) -> None:
    """A KeyboardInterrupt in a thread is the function's own."""
    run = await run_one(host, client, _raises(KeyboardInterrupt()))
    assert run.error is not None
    assert run.error.message == "the function raised KeyboardInterrupt"


async def test_an_error_of_ours_in_a_function_is_its_failure(host: WorkerHost, client: Client) -> None:
    """A function that reads a damaged event elsewhere has failed; its own entry is not taken for damaged."""
    from headrace import UndecodableEvent

    async def job() -> None:
        raise UndecodableEvent("another event")

    run = await run_one(host, client, job)
    assert run.status == "failed"


async def test_a_coroutine_from_a_plain_function_says_what_to_do(host: WorkerHost, client: Client) -> None:
    """A decorator hid that the function is async: it has not run, and the run must not count as succeeded."""

    async def inner() -> None: ...

    run = await run_one(host, client, lambda: inner())  # noqa: PLW0108 - it is not async
    assert run.status == "failed"
    assert run.error is not None
    assert (
        "a plain function returned a coroutine; make the function itself, and what wraps it, async def"
        in run.error.message
    )


async def test_a_schema_that_raises_is_a_failed_attempt(host: WorkerHost, client: Client) -> None:
    """An error in a type's own code is not the payload's fault, and is tried again."""

    class Moody(msgspec.Struct):
        x: int

        def __post_init__(self) -> None:
            raise KeyError("moody")

    run = await run_one(host, client, never, {"x": 1}, schema=Moody, retry=SOON)
    assert (run.status, run.attempt) == ("failed", 3)
    assert run.error is not None
    assert run.error.type == "KeyError"


async def test_an_abort_in_a_task_group_ends_the_run(host: WorkerHost, client: Client) -> None:
    """Python's own way to run things beside each other hides nothing."""

    async def part() -> None:
        raise Abort("the account is closed")

    async def job() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part())

    run = await run_one(host, client, job)
    assert (run.status, run.attempt) == ("failed", 1)
