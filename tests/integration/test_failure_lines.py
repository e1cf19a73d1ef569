"""A failed attempt leaves a line that says what happened, and what happens next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from headrace import Client, Event
from headrace_worker import Abort, App, Retry, event_trigger
from headrace_worker.process import log_setup
from tests.support.waiting import await_until, wait_until
from tests.support.workers import WorkerHost

TRIGGER = event_trigger("asked")
TWICE = Retry(max_attempts=2, min_delay=1.5, jitter=False)


def _failures(lines: list[Any]) -> list[dict[str, Any]]:
    return [dict(line) for line in lines if line["event"] in ("attempt failed", "run failed")]


async def test_a_retry_is_a_warning_and_an_end_is_an_error(host: WorkerHost, client: Client) -> None:
    """Both have the type and the message; the first says when the next attempt is, the last has the traceback."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER, retry=TWICE)
    async def job() -> None:
        raise LookupError("no such customer")

    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        began = datetime.now(UTC)
        await host.settle(app)
    first, last = _failures(lines)
    assert first["next_at"].endswith("Z")  # as the time of the line itself
    next_at = datetime.fromisoformat(first.pop("next_at"))
    assert (next_at - began).total_seconds() >= 1.4
    ids = {"run": f"{sent.id}:app/job", "job": "app/job"}
    both = {**ids, "error": "LookupError", "message": "no such customer"}
    assert first == {"event": "attempt failed", "log_level": "warning", "attempt": 1, **both}
    assert 'raise LookupError("no such customer")' in last.pop("exception")
    assert last == {"event": "run failed", "log_level": "error", "attempt": 2, **both}


@contextmanager
def _around() -> Iterator[None]:
    yield


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_traceback_begins_in_the_job(host: WorkerHost, client: Client, kind: str) -> None:
    """No frame of the worker stands before it, whatever is around the job."""
    app = App("app")
    app.around(_around)

    async def async_job() -> None:
        raise LookupError("no such customer")

    def plain_job() -> None:
        raise LookupError("no such customer")

    app.job(id="job", trigger=TRIGGER, retry=Retry.none())(async_job if kind == "async" else plain_job)
    sent = client.send_event(Event("asked"))
    await host.settle(app)
    error = client.get_run(f"{sent.id}:app/job").error
    assert error is not None
    head, first, *rest = (error.traceback or "").splitlines()
    assert head == "Traceback (most recent call last):"
    assert first.strip().startswith(f'File "{__file__}"')
    assert "headrace_worker" not in "".join(rest)


async def test_a_payload_that_does_not_fit_is_an_error_with_the_path(host: WorkerHost, client: Client) -> None:
    """There is no retry, so there is one line."""

    class Order(msgspec.Struct):
        price: int

    app = App("app")

    @app.job(id="job", trigger=TRIGGER, schema=list[Order])
    async def job() -> None:
        """It is never called."""

    client.send_event(Event("asked", payload=[{"price": 1}, {"price": "free of charge"}]))
    with capture_logs() as lines:
        await host.settle(app)
    (line,) = _failures(lines)
    assert (line["log_level"], line["reason"], line["error"]) == ("error", "invalid_payload", "InvalidPayload")
    assert line["message"] == "Expected `int`, got `str` - at `payload[1].price`"


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_timeout_is_an_error_that_shows_where_the_function_was(
    host: WorkerHost, client: Client, kind: str
) -> None:
    """Of a plain function the place is not known."""
    app = App("app")
    once = Retry(max_attempts=1)
    over = asyncio.Event()

    if kind == "async":

        @app.job(id="job", trigger=TRIGGER, retry=once, timeout=0.1)
        async def coroutine() -> None:
            await over.wait()
    else:

        @app.job(id="job", trigger=TRIGGER, retry=once, timeout=0.1)
        def plain() -> None:
            wait_until(over.is_set)

    client.send_event(Event("asked"))
    with capture_logs() as lines:
        running = asyncio.ensure_future(host.settle(app))
        await await_until(lambda: _failures(list(lines)))
        over.set()
        await running
    (line,) = _failures(lines)
    assert (line["log_level"], line["reason"], line["error"]) == ("error", "timed_out", "TimeoutError")
    assert "longer than the 0.1 s" in line["message"]
    assert ("await over.wait()" in line["exception"]) == (kind == "async")


async def test_every_traceback_is_shown_if_asked_for(host: WorkerHost, client: Client) -> None:
    """As `headrace dev` does."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=2, min_delay=0.01))
    async def job() -> None:
        raise ValueError("why")

    client.send_event(Event("asked"))
    with capture_logs() as lines:
        await host.settle(app, tracebacks="every")
    assert ["raise ValueError" in line["exception"] for line in _failures(lines)] == [True, True]


async def test_an_app_may_keep_messages_out_of_the_log(host: WorkerHost, client: Client) -> None:
    """`log_errors=False` leaves the types; the record has the message and the traceback still."""
    app = App("app", log_errors=False)

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=2, min_delay=0.01))
    async def job() -> None:
        raise ValueError("card 4111")

    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        await host.settle(app, tracebacks="every")
    assert [line["error"] for line in _failures(lines)] == ["ValueError", "ValueError"]
    assert "4111" not in str(lines)
    (run,) = client.get_event(sent.id).runs
    assert run.error is not None
    assert run.error.message == "card 4111"
    assert "raise ValueError" in (run.error.traceback or "")


async def test_an_abort_is_one_error(host: WorkerHost, client: Client) -> None:
    """No attempt follows, so no line promises one; runs that succeed leave no line."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER)
    async def job(payload: str) -> None:
        if payload == "abort":
            raise Abort("closed account")

    client.send_events([Event("asked", payload="abort"), Event("asked", payload="go on")])
    with capture_logs() as lines:
        await host.settle(app)
    (line,) = _failures(lines)
    assert (line["log_level"], line["attempt"], line["message"]) == ("error", 1, "closed account")


async def test_a_success_has_a_line_where_debug_is_shown(
    host: WorkerHost, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the job, the run and how long it took; no line of any other level."""
    app = App("app")
    app.job(id="job", trigger=TRIGGER)(lambda: None)
    for level, count in (("debug", 1), ("info", 0)):
        log_setup.configure("json", level)
        sent = client.send_event(Event("asked"))
        await host.settle(app)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        told = [line for line in lines if line["event"] == "run succeeded"]
        assert len(told) == count
        for line in told:
            assert (line["level"], line["run"], line["job"]) == ("debug", f"{sent.id}:app/job", "app/job")
            assert 0 <= line["took_s"] < 30
