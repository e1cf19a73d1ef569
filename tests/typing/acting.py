"""What an operator does by the clients: cancellations, replays, retries, the audit, apps, workers and queues."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from headrace import (
    AsyncClient,
    AuditEntry,
    CancelAnswer,
    CanceledRun,
    Client,
    ContentsGone,
    EventRecord,
    HeadraceError,
    Page,
    RunNotQueued,
    RunRecord,
    SentEvent,
    StillExecuting,
)
from headrace_worker import App, Context, RunCanceled
from headrace_worker.doctor.finding import Diagnosis
from headrace_worker.inspect.apps import AppInfo
from headrace_worker.inspect.explanation import Explanation
from headrace_worker.inspect.jobs import JobDetail, RegisteredJob
from headrace_worker.inspect.queues import QueueInfo
from headrace_worker.inspect.tallies import Stats
from headrace_worker.inspect.workers import WorkerDetail, WorkerInfo
from headrace_worker.operate.app_client import AppClient, AsyncAppClient
from headrace_worker.operate.forget_app import ForgottenApp
from headrace_worker.operate.instruct_workers import Instructed
from headrace_worker.operate.register_app import RegisteredApp
from headrace_worker.operate.switch_job import SwitchedJob


def act(client: Client) -> None:
    canceled = client.cancel_run("e_1:shop/welcome", reason="a mistake")
    assert_type(canceled, CanceledRun)
    assert_type(canceled.run, RunRecord)
    answer: CancelAnswer = canceled.answer
    assert_type(answer, Literal["canceled", "asked", "stopped", "already_finished"])
    assert_type(client.cancel_event("e_1", runs=True), EventRecord)
    assert_type(client.reschedule_event("e_1", deliver_at=datetime.now(UTC)), EventRecord)
    assert_type(client.reschedule_event("e_1", deliver_after=timedelta(hours=1)), EventRecord)
    assert_type(client.cancel_runs(["e_1:shop/welcome"], queued=True), list[CanceledRun | HeadraceError])
    assert_type(client.cancel_events(["e_1"]), list[EventRecord | HeadraceError])
    assert_type(client.retry_runs(["e_1:shop/welcome"], canceled=True), list[RunRecord | HeadraceError])
    assert_type(client.discard_dead_letters(["1-0"]), list[HeadraceError | None])
    assert_type(client.replay_events(["e_1"]), list[SentEvent | HeadraceError | None])
    try:
        assert_type(client.replay_event("e_1", if_no_runs=True), SentEvent | None)
    except (ContentsGone, RunNotQueued) as exc:
        assert_type(exc, ContentsGone | RunNotQueued)
    try:
        client.cancel_run("e_1:shop/welcome", wait=timedelta(seconds=10))
    except StillExecuting as exc:
        assert_type(exc.run_id, str)
        assert_type(exc.wait_s, float)
    client.cancel_run(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def look(client: AsyncClient) -> None:
    await client.audit("by hand", {"what": "it"}, done=3)
    page = await client.list_audit(limit=10)
    assert_type(page, Page[AuditEntry])
    assert_type(page.items[0].asked, dict[str, Any])


def operate(client: AppClient, app: App) -> None:
    assert_type(client.register_app(app, timeout=5), RegisteredApp)
    assert_type(client.forget_app("shop", timeout=timedelta(seconds=5)), ForgottenApp)
    assert_type(client.list_apps(timeout=5), Page[AppInfo])
    assert_type(client.list_jobs(timeout=5), Page[RegisteredJob])
    assert_type(client.get_job("shop/mail", timeout=5), JobDetail)
    assert_type(client.find_job("shop/mail", timeout=5), RegisteredJob)
    assert_type(client.disable_job("shop/mail", "a mistake", timeout=5), SwitchedJob)
    assert_type(client.enable_job("shop/mail", timeout=5), SwitchedJob)
    assert_type(client.trigger_job("shop/mail", {"id": 1}, timeout=5), SentEvent)
    assert_type(client.replay_event("e_1", job="shop/mail", timeout=5), SentEvent | None)
    assert_type(client.explain_event("e_1", timeout=5), Explanation)
    assert_type(client.explain_send({"name": "a"}, timeout=5), Explanation)
    assert_type(client.diagnose(timeout=5), Diagnosis)
    assert_type(client.list_workers(limit=10, timeout=5), Page[WorkerInfo])
    assert_type(client.iter_workers(timeout=5), Iterator[WorkerInfo])
    assert_type(client.get_worker("w1", timeout=5), WorkerDetail)
    assert_type(client.quiet_workers({"w1"}, timeout=5), list[Instructed])
    assert_type(client.stop_workers(["w1"], timeout=5), list[Instructed])
    assert_type(client.list_queues(timeout=5), Page[QueueInfo])
    assert_type(client.get_queue("shop/mail", timeout=5), QueueInfo)
    assert_type(client.get_stats(timedelta(hours=1), timeout=5), Stats)
    client.get_stats("1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def operate_awaited(client: AsyncAppClient) -> None:
    assert_type(await client.list_workers(), Page[WorkerInfo])
    assert_type(client.iter_workers(), AsyncIterator[WorkerInfo])
    assert_type((await client.get_worker("w1")).worker, WorkerInfo)
    assert_type(await client.quiet_workers(["w1"]), list[Instructed])
    assert_type(await client.stop_workers(["w1"], timeout=5), list[Instructed])
    assert_type((await client.list_queues()).items, list[QueueInfo])
    assert_type(await client.get_queue("shop/mail"), QueueInfo)
    assert_type(await client.find_job("shop/mail"), RegisteredJob)
    assert_type(await client.get_stats(3600), Stats)
    client.stop_workers(["w1"])  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]


def export(ctx: Context) -> None:
    assert_type(ctx.is_canceled, bool)
    try:
        ctx.raise_if_canceled()
    except RunCanceled as exc:
        assert_type(exc.cause, str)
