"""What an operator does by the clients: cancellations, replays, retries, the audit."""

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
from headrace_worker import Context, RunCanceled


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


def export(ctx: Context) -> None:
    assert_type(ctx.is_canceled, bool)
    try:
        ctx.raise_if_canceled()
    except RunCanceled as exc:
        assert_type(exc.cause, str)
