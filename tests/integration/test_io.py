"""Whatever a job sends through `io` is sent once for its run and key, however many attempts the run takes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace import Client, Event, SentEvent
from headrace_worker import App, Context, JobIO, Retry, SyncJobIO, event_trigger
from tests.support.workers import WorkerHost

TWICE = Retry(max_attempts=2, min_delay=0.01, jitter=False)


def _derived(run_id: str, key: str) -> str:
    """`d_` and the base32 of a 128-bit blake2b of both, as the design has it."""
    digest = hashlib.blake2b(f"{len(run_id)}:{run_id}:{key}".encode(), digest_size=16).digest()
    return "d_" + base64.b32encode(digest).decode().rstrip("=").lower()


def _listener(app: App, seen: list[Any]) -> None:
    @app.job(id="listener", trigger=event_trigger(["told", "told.too"]))
    async def listen(payload: Any, ctx: Context) -> None:
        seen.append((ctx.event.id, ctx.event.name, payload))


@pytest.mark.parametrize("job", ["async", "plain"])
async def test_an_event_is_sent_once_though_its_run_is_tried_twice(host: WorkerHost, client: Client, job: str) -> None:
    """Its id is derived from run and key, and the second answer says that it is a duplicate of the first."""
    app, answers = App("app"), []
    seen: list[Any] = []
    _listener(app, seen)

    def after(answer: SentEvent, ctx: Context) -> None:
        answers.append(answer)
        if ctx.run.attempt == 1:
            raise ValueError("after the send")

    @app.job(id="async", trigger=event_trigger("asked.async"), retry=TWICE)
    async def coroutine(io: JobIO, ctx: Context) -> None:
        after(await io.send_event("key", Event("told", payload=ctx.run.attempt)), ctx)

    @app.job(id="plain", trigger=event_trigger("asked.plain"), retry=TWICE)
    def plain(io: SyncJobIO, ctx: Context) -> None:
        after(io.send_event("key", {"name": "told", "payload": ctx.run.attempt}), ctx)

    sent = client.send_event(Event(f"asked.{job}"))
    await host.settle(app)
    event_id = _derived(f"{sent.id}:app/{job}", "key")
    assert seen == [(event_id, "told", 1)]
    assert [(answer.id, answer.duplicate, answer.payload) for answer in answers] == [
        (event_id, False, 1),
        (event_id, True, 1),
    ]
    assert client.get_event(event_id).runs[0].status == "succeeded"


@pytest.mark.parametrize("job", ["async", "plain"])
async def test_each_event_of_a_call_is_sent_once(host: WorkerHost, client: Client, job: str) -> None:
    """By its place in the list. The first has the id of a single event; an event may bring its own id."""
    app = App("app")
    seen: list[Any] = []
    _listener(app, seen)
    events = [Event("told", payload=0), Event("told.too", payload=1), Event("told", payload=2, id="own")]

    @app.job(id="async", trigger=event_trigger("asked.async"), retry=TWICE)
    async def coroutine(io: JobIO, ctx: Context) -> list[str]:
        sent = await io.send_events("many", events)
        assert await io.send_events("none", []) == []
        if ctx.run.attempt == 1:
            raise ValueError
        return [each.id for each in sent]

    @app.job(id="plain", trigger=event_trigger("asked.plain"), retry=TWICE)
    def plain(io: SyncJobIO, ctx: Context) -> list[str]:
        sent = io.send_events("many", events)
        assert io.send_events("none", []) == []
        if ctx.run.attempt == 1:
            raise ValueError
        return [each.id for each in sent]

    run_id = f"{client.send_event(Event(f'asked.{job}')).id}:app/{job}"
    await host.settle(app)
    ids = [_derived(run_id, "many"), _derived(run_id, "many\0" + "1"), "own"]
    assert client.get_run(run_id).output == ids
    assert sorted(seen) == sorted([(ids[0], "told", 0), (ids[1], "told.too", 1), (ids[2], "told", 2)])


async def test_different_runs_and_keys_send_different_events(host: WorkerHost, client: Client) -> None:
    """The same key in two jobs, or for two events, is no duplicate."""
    app = App("app")
    seen: list[Any] = []
    _listener(app, seen)
    for job in ("one", "two"):

        @app.job(id=job, trigger=event_trigger("asked"))
        async def send(io: JobIO, payload: int) -> None:
            await io.send_event("a", Event("told", payload=payload))
            await io.send_event("b", Event("told", payload=payload))

    client.send_events([Event("asked", payload=1), Event("asked", payload=2)])
    await host.settle(app)
    assert len(seen) == len({event_id for event_id, *_ in seen}) == 8
    assert all(event_id.startswith("d_") and len(event_id) == 28 for event_id, *_ in seen)


async def test_a_chain_of_events_never_grows_in_its_ids(host: WorkerHost, client: Client) -> None:
    """Each run of the chain sends the next one, under an id of the same length."""
    app, ids = App("app"), []

    @app.job(id="next", trigger=event_trigger("step"))
    async def step(payload: int, io: JobIO, ctx: Context) -> None:
        ids.append(ctx.event.id)
        if payload:
            await io.send_event("next", Event("step", payload=payload - 1))

    client.send_event(Event("step", payload=10))
    await host.settle(app)
    assert len(set(ids)) == 11
    assert {len(event_id) for event_id in ids[1:]} == {28}


async def test_options_of_a_send_reach_the_event(host: WorkerHost, client: Client) -> None:
    """Times and account; they count from the first attempt on."""
    app, seen, answers = App("app"), [], []

    @app.job(id="sender", trigger=event_trigger("asked"), retry=TWICE)
    async def send(io: JobIO, ctx: Context) -> None:
        at = datetime.now(UTC) + timedelta(milliseconds=500)
        answers.append(await io.send_event("at", Event("told"), deliver_at=at, account_id="acme"))
        answers.extend(await io.send_events("after", [Event("told")], deliver_after=timedelta(milliseconds=500)))
        if ctx.run.attempt == 1:
            raise ValueError

    @app.job(id="listener", trigger=event_trigger("told"))
    async def listen(ctx: Context) -> None:
        seen.append(ctx.account and ctx.account.id)

    client.send_event(Event("asked"))
    await host.settle(app)
    assert sorted(seen, key=str) == [None, "acme"]
    assert all(answer.deliver_at is not None for answer in answers)


@pytest.mark.parametrize("key", ["", None, 7, "with\0nul"])
async def test_a_key_is_a_text(host: WorkerHost, client: Client, key: Any) -> None:
    """An empty one, and one that could be taken for a place in a list, is refused before anything is sent."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"), retry=Retry(max_attempts=1))
    async def job(io: JobIO) -> None:
        await io.send_event(key, Event("told"))

    sent = client.send_event(Event("asked"))
    await host.settle(app)
    (run,) = client.get_event(sent.id).runs
    assert run.error is not None
    assert run.error.type == "headrace.errors.InvalidEvent"
    assert "key: must be a string that is not empty" in run.error.message


async def test_the_logger_names_run_job_and_event(host: WorkerHost, client: Client) -> None:
    """Once bound, on every line, in async and plain functions."""
    app = App("app")
    app.job(id="plain", trigger=event_trigger("asked"))(lambda io: io.logger.info("from a thread", more=1))

    @app.job(id="async", trigger=event_trigger("asked"))
    async def job(io: JobIO) -> None:
        io.logger.warning("from the loop")

    sent = client.send_event(Event("asked"))
    with capture_logs() as lines:
        await host.settle(app)
    ours = {line["event"]: line for line in lines if line["event"].startswith("from")}
    assert ours["from a thread"] == {
        "event": "from a thread", "log_level": "info", "more": 1,
        "run": f"{sent.id}:app/plain", "job": "app/plain", "event_id": sent.id,
    }  # fmt: skip
    assert ours["from the loop"]["run"] == f"{sent.id}:app/async"


async def test_payloads_are_in_no_log_line_above_debug(host: WorkerHost, client: Client) -> None:
    """Whatever the outcomes of their runs."""
    app = App("app")

    @app.job(id="fails", trigger=event_trigger("asked"), retry=TWICE)
    async def fails(payload: Any) -> None:
        raise ValueError(f"no, {len(payload)} times")

    app.job(id="invalid", trigger=event_trigger("asked"), schema=int)(lambda payload: payload)
    app.job(id="returns", trigger=event_trigger("asked"))(lambda payload: payload)
    app.job(id="slow", trigger=event_trigger("asked"), timeout=0.02, retry=Retry(max_attempts=1))(_slow)
    client.send_event(Event("asked", payload={"password": "hunter2"}, context="hunter2"))
    with capture_logs() as lines:
        await host.settle(app)
    assert len(lines) > 5
    assert "hunter2" not in str([line for line in lines if line["log_level"] != "debug"])


async def _slow(payload: Any) -> None:  # noqa: ARG001 - it holds the payload while it is cancelled
    await asyncio.sleep(60)


async def test_io_sends_from_another_event_loop_too(host: WorkerHost, client: Client) -> None:
    """As where a job calls asyncio.run in a thread: the worker's own connections stay with its loop."""
    app = App("app")

    @app.job(id="job", trigger=event_trigger("asked"))
    async def job(io: JobIO) -> list[bool]:
        first = await io.send_event("a", Event("told"))
        second = await asyncio.to_thread(lambda: asyncio.run(io.send_event("a", Event("told"))))
        third = await io.send_event("a", Event("told"))
        return [each.duplicate for each in (first, second, third)]

    async with host.working(app):
        sent = await asyncio.to_thread(client.send_event, Event("asked"))
        record = await asyncio.to_thread(client.wait_for_event, sent.id, 20)
    assert [run.output for run in record.runs] == [[False, True, True]]
