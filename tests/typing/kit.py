"""Tests of jobs as users write them: the function with stand-ins, and the whole on the fixtures' server."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, assert_type

import pytest

from headrace import Client, EventRecord, RunRecord
from headrace_worker import Context, Job, WorkerConfig
from headrace_worker.testing import (
    Attempt,
    AttemptOptions,
    EmbeddedServer,
    FakeIO,
    Headrace,
    Runs,
    Sent,
    SyncFakeIO,
    SyncHeadrace,
    a_context,
    a_run,
    acall_job,
    call_job,
    examples,
    run_until_settled,
)
from tests.typing.events import NewUser, OrderPlaced, Refunded
from tests.typing.jobs import app, count, mail, welcome


async def test_function() -> None:
    io = FakeIO(run_id="e_1:shop/welcome")
    ctx = a_context(run_id="e_1:shop/welcome", attempt=2, event="user.new", context={"by": "support"}, account_id="a")
    assert_type(ctx, Context)
    assert_type(await welcome(NewUser("u_1"), io, ctx), str)
    assert_type(io.sent[0], Sent)
    assert_type(io.sent[0:2], list[Sent])
    assert_type(io.sent["welcomed"], Any)
    assert_type([each.key for each in io.sent], list[str | None])
    assert_type(len(io.sent), int)


def test_plain_function() -> None:
    io = SyncFakeIO()
    assert_type(mail({"user_id": "u_1"}, io), int)
    assert count(NewUser("u_1")) == 1
    assert_type(io.sent[-1].received, Any)


def test_attempt() -> None:
    options: AttemptOptions = {"attempt": 2, "jitter": 0.5, "state": None}
    attempt = call_job(app, "welcome", NewUser("u_1"), **options)
    assert_type(attempt, Attempt)
    assert_type(attempt.retry_after, timedelta | None)
    assert_type(attempt.exception, BaseException | None)
    assert_type(attempt.sent["welcomed"], Any)
    call_job(app, "welcome", NewUser("u_1"), attempts=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(a_run(run_id="e_1:shop/welcome"), RunRecord)


@pytest.mark.parametrize(("job", "payload"), examples(app))
def test_example(job: Job, payload: Any) -> None:
    assert_type(job.name, str)


async def test_attempt_on_a_loop() -> None:
    assert_type(await acall_job(app, "welcome", NewUser("u_1")), Attempt)


async def test_whole(headrace: Headrace) -> None:
    assert_type(headrace.client, Client)
    assert_type(headrace.url, str)
    runs = await headrace.run(app, failures="keep", timeout=5)
    assert_type(runs, Runs)
    assert_type(runs["welcome"], RunRecord)
    assert_type(runs[0], RunRecord)
    assert_type(runs[:2], list[RunRecord])
    assert_type(runs.of("welcome"), list[RunRecord])
    assert_type([run.status == "failed" for run in runs], list[bool])
    assert_type(headrace.assert_sent(NewUser, plan="pro", times=1), list[EventRecord])
    headrace.assert_sent("user.left", payload={"user_id": "u_1"})
    headrace.assert_sent(OrderPlaced, id="o_1")
    headrace.assert_sent(NewUser("u_1"))
    assert_type(headrace.sent(Refunded), list[EventRecord])
    assert_type(headrace.sent(), list[EventRecord])
    await headrace.travel(days=1)
    await headrace.travel(timedelta(hours=1))
    await headrace.travel(60)
    headrace.assert_nothing_left()


def test_whole_without_await(headrace_sync: SyncHeadrace) -> None:
    assert_type(headrace_sync.run(app), Runs)
    headrace_sync.travel(hours=2)
    headrace_sync.assert_sent(NewUser)
    headrace_sync.assert_nothing_left()


@pytest.fixture
def server_url() -> Iterator[str]:
    with EmbeddedServer() as server:
        assert_type(server.url, str)
        yield server.url


async def test_without_the_plugin(server_url: str) -> None:
    await run_until_settled(app, server_url, namespace="test", config=WorkerConfig(grace=1), timeout=5)


async def mistakes(headrace: Headrace, headrace_sync: SyncHeadrace) -> None:
    headrace.run(app)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    headrace.travel(days=1)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await headrace_sync.run(app)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await headrace.run(app, failures="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await headrace.run("shop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    headrace.assert_sent(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await welcome(NewUser("u_1"), SyncFakeIO(), a_context())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mail({"user_id": "u_1"}, FakeIO())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    a_context("e_1:shop/welcome")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run_until_settled(app)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
