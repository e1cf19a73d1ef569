"""A failed attempt is tried again after its wait, unless another attempt can't help."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import redis as redis_py

from headrace import Client, Event
from headrace_worker import Abort, App, Context, Retry, RetryAfter
from tests.support.single_run import SOON, TRIGGER, never, never_asked, run_of, run_one
from tests.support.waiting import await_until
from tests.support.workers import WorkerHost

# What a function gets.


class _User(msgspec.Struct):
    name: str


# Invalid payloads.


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "Object missing required field `name` - at `payload`"),
        ({"name": 1}, "Expected `str`, got `int` - at `payload.name`"),
    ],
)
async def test_a_payload_that_does_not_fit_is_not_tried_again(
    host: WorkerHost, client: Client, payload: Any, message: str
) -> None:
    """The run ends with the paths at fault, the function is not called, and a dead letter says so."""
    run = await run_one(host, client, never, payload, schema=_User, retry=SOON)
    assert (run.status, run.attempt) == ("invalid_payload", 1)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("InvalidPayload", message)
    (dead,) = client.list_dead_letters().items
    assert (dead.run_id, dead.reason, dead.job) == (run.id, "invalid_payload", "app/job")
    assert message in dead.error


async def test_a_schema_without_payload_is_checked_all_the_same(host: WorkerHost, client: Client) -> None:
    """The function takes no payload, and is still not called for one that does not fit."""
    run = await run_one(host, client, never_asked, 7, schema=_User)
    assert run.status == "invalid_payload"


# Retries.


async def test_attempts_wait_in_due_and_then_go_on(host: WorkerHost, client: Client, redis: redis_py.Redis) -> None:
    """Between attempts the run waits, with its error in the record; when they are used up it is failed and dead."""
    app, seen = App("app"), []

    @app.job(id="job", trigger=TRIGGER, retry=Retry(max_attempts=2, min_delay=60, jitter=False))
    async def job(ctx: Context) -> None:
        seen.append(ctx.run.attempt)
        raise ValueError(f"attempt {ctx.run.attempt}")

    sent = client.send_event(Event("asked"))
    due = f"headrace:{{{host.namespace}:0}}:due"
    async with host.working(app):
        await await_until(lambda: redis.zcard(due))
        run = run_of(client, sent.id)
        assert (run.status, run.attempt, run.finished_at) == ("waiting", 2, None)
        assert run.error is not None
        assert run.error.message == "attempt 1"
        assert 'raise ValueError(f"attempt' in run.error.traceback
        member = f"r:default:{run.id}"
        redis.zadd(due, {member: 1})
        redis.lpush(f"headrace:{{{host.namespace}:0}}:wake", "1")
        await await_until(lambda: client.get_event(sent.id).is_settled)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, seen) == ("failed", 2, [1, 2])
    assert run.error is not None
    assert run.error.message == "attempt 2"
    (dead,) = client.list_dead_letters().items
    assert (dead.run_id, dead.reason, dead.error) == (run.id, "failed", "ValueError: attempt 2")


async def test_the_wait_is_the_servers_time_and_the_retrys(
    host: WorkerHost, client: Client, redis: redis_py.Redis
) -> None:
    """RetryAfter sets it for one attempt."""
    app = App("app")

    @app.job(id="job", trigger=TRIGGER, retry=Retry(min_delay=20, jitter=False))
    async def job(payload: float | None) -> None:
        if payload is not None:
            raise RetryAfter(payload)
        raise ValueError

    by_retry, by_itself = client.send_events([Event("asked"), Event("asked", payload=500)])
    due = f"headrace:{{{host.namespace}:0}}:due"
    async with host.working(app):
        await await_until(lambda: redis.zcard(due) == 2)
        seconds, micros = redis.time()
        now_ms = seconds * 1000 + micros // 1000
        members = [f"r:default:{sent.id}:app/job" for sent in (by_retry, by_itself)]
        waits = [(score or 0) - now_ms for score in redis.zmscore(due, members)]
    assert 10_000 < waits[0] <= 20_000
    assert 490_000 < waits[1] <= 500_000
    redis.delete(due)
    redis.delete(*redis.keys(f"headrace:{{{host.namespace}:0}}:event:*"))


async def test_abort_ends_a_run_whatever_attempts_are_left(host: WorkerHost, client: Client) -> None:
    """With its reason."""

    async def job() -> None:
        raise Abort("the account is closed")

    run = await run_one(host, client, job, retry=SOON)
    assert (run.status, run.attempt) == ("failed", 1)
    assert run.error is not None
    assert run.error.message == "the account is closed"


async def test_a_failed_run_runs_again_from_its_first_attempt(host: WorkerHost, client: Client) -> None:
    """As a replay, with all its attempts. Its dead letter is gone, and its record has the new outcome."""
    app, seen, mended = App("app"), [], False

    @app.job(id="job", trigger=TRIGGER, retry=SOON)
    async def job(payload: str, ctx: Context) -> str:
        seen.append((ctx.run.attempt, ctx.run.is_replay, ctx.run.is_retry))
        if not mended or ctx.run.attempt < 2:
            raise ValueError("not mended")
        return payload

    sent = client.send_event(Event("asked", payload="again"))
    await host.settle(app)
    assert run_of(client, sent.id).status == "failed"
    mended = True
    again = client.retry_run(f"{sent.id}:app/job")
    assert (again.status, again.attempt) == ("queued", 1)
    assert client.list_dead_letters().items == []
    assert not client.get_event(sent.id).is_settled
    await host.settle(app)
    run = run_of(client, sent.id)
    assert (run.status, run.attempt, run.output, run.error) == ("succeeded", 2, "again", None)
    assert seen == [(1, False, False), (2, False, True), (3, False, True), (1, True, False), (2, True, True)]
