"""A job's function gets the payload, the context and the IO that it asks for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from headrace import Client, Event
from headrace_worker import App, Context, JobIO, SyncJobIO, event_trigger
from headrace_worker.current_run import current_run, ids_here
from headrace_worker.run.context import Account
from tests.support.single_run import SOON, TRIGGER, run_one
from tests.support.workers import WorkerHost


class _User(msgspec.Struct):
    name: str


@dataclass
class _Point:
    x: int


@pytest.mark.parametrize(
    "payload", [0, "", [], {}, None, False, 0.0, b"", -1, "ü\U0001f600", [None], {"a": {"b": [1.5]}}]
)
async def test_a_payload_stays_what_it_is(host: WorkerHost, client: Client, payload: Any) -> None:
    """Falsy payloads and outputs too."""
    seen: list[Any] = []

    async def job(payload: Any) -> Any:
        seen.append(payload)
        return payload

    run = await run_one(host, client, job, payload)
    assert seen == [payload]
    assert type(seen[0]) is type(payload)
    assert (run.status, run.output, run.error, run.attempt) == ("succeeded", payload, None, 1)
    assert run.finished_at is not None
    assert run.started_at is not None
    assert run.started_at <= run.finished_at


@pytest.mark.parametrize(
    ("schema", "payload", "value"),
    [(_User, {"name": "Ada"}, _User("Ada")), (_Point, {"x": 1}, _Point(1)), (list[int], [1], [1])],
)
async def test_a_payload_is_parsed_by_the_schema(
    host: WorkerHost, client: Client, schema: Any, payload: Any, value: Any
) -> None:
    """The function gets the parsed value."""
    seen: list[Any] = []
    await run_one(host, client, lambda payload: seen.append(payload), payload, schema=schema)  # noqa: PLW0108 - its name counts
    assert seen == [value]


async def test_the_context_says_where_a_run_is(host: WorkerHost, client: Client) -> None:
    """Run, job, event, account, namespace and worker, at each attempt."""
    seen: list[Context] = []
    app = App("shop", version="1.2.3")

    @app.job(id="look", trigger=event_trigger("looked"), retry=SOON, queue="slow")
    async def look(ctx: Context) -> None:
        seen.append(ctx)
        if ctx.run.attempt == 1:
            raise ValueError("again")

    timestamp = datetime(2020, 2, 3, 4, 5, 6, 789, tzinfo=timezone(timedelta(hours=5)))
    event = Event("looked", id="e:1", context={"plan": "pro"}, timestamp=timestamp, source="web")
    client.send_event(event, account_id="acme")
    await host.settle(app)
    first, second = seen
    assert (first.run.attempt, second.run.attempt) == (1, 2)
    assert (first.run.is_retry, second.run.is_retry) == (False, True)
    assert first.run.started_at < second.run.started_at <= datetime.now(UTC)
    for ctx in seen:
        assert (ctx.run.id, ctx.run.max_attempts, ctx.run.is_replay) == ("e:1:shop/look", 3, False)
        assert (ctx.job.id, ctx.job.app, ctx.job.version, ctx.job.queue) == ("look", "shop", "1.2.3", "slow")
        assert (ctx.event.id, ctx.event.name, ctx.event.source) == ("e:1", "looked", "web")
        assert ctx.event.context == {"plan": "pro"}
        assert ctx.event.timestamp == timestamp
        assert ctx.account == Account("acme")
        assert ctx.namespace == host.namespace
        assert ctx.worker_id == client.get_run("e:1:shop/look").worker


async def test_what_was_not_sent_has_its_default_in_the_context(host: WorkerHost, client: Client) -> None:
    """No account, no context, the default source, and now."""
    seen: list[Context] = []
    before = datetime.now(UTC)
    await run_one(host, client, lambda ctx: seen.append(ctx))  # noqa: PLW0108 - its name counts
    (ctx,) = seen
    assert ctx.account is None
    assert ctx.event.context is None
    assert ctx.event.source == "trigger.dev"
    assert before <= ctx.event.timestamp <= datetime.now(UTC)
    assert ctx.job.version is None


async def test_plain_functions_run_in_threads_with_an_io_of_their_own(host: WorkerHost, client: Client) -> None:
    """An async one runs on the event loop."""
    seen: dict[str, Any] = {}
    app = App("app")

    @app.job(id="plain", trigger=TRIGGER)
    def plain(io: SyncJobIO) -> None:
        seen["plain"] = (threading.current_thread() is threading.main_thread(), type(io))

    @app.job(id="async", trigger=TRIGGER)
    async def coroutine(io: JobIO) -> None:
        seen["async"] = (threading.current_thread() is threading.main_thread(), type(io))

    client.send_event(Event("asked"))
    await host.settle(app)
    assert seen == {"plain": (False, SyncJobIO), "async": (True, JobIO)}


async def test_each_run_has_a_context_of_its_own(host: WorkerHost, client: Client) -> None:
    """A context variable that one run sets is not seen by other runs or the worker; each run sees its own ids."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    app, seen, ids = App("app"), [], []

    def note(payload: int, ctx: Context) -> None:
        seen.append(variable.get())
        variable.set(f"set by {payload}")
        ids.append(ids_here()["run"] == ctx.run.id)

    @app.job(id="at-once", trigger=TRIGGER)
    async def at_once(payload: int, ctx: Context) -> None:
        note(payload, ctx)

    @app.job(id="later", trigger=TRIGGER)
    async def later(payload: int, ctx: Context) -> None:
        note(payload, ctx)
        await asyncio.sleep(0)
        assert variable.get() == f"set by {payload}"

    @app.job(id="plain", trigger=TRIGGER)
    def plain(payload: int, ctx: Context) -> None:
        note(payload, ctx)

    client.send_events([Event("asked", payload=n) for n in range(20)])
    await host.settle(app)
    assert seen == ["unset"] * 60
    assert all(ids)
    assert variable.get() == "unset"
    assert current_run.get() is None
