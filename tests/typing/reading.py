"""What a client reads: records, listings, dead letters, by call and awaited."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict, assert_type

from headrace import (
    AsyncClient,
    Attempt,
    AttemptKind,
    Client,
    DamagedEntry,
    DeadLetter,
    DeadLetterGroup,
    DelayedEntry,
    EventRecord,
    EventState,
    EventTree,
    ListedEvent,
    ListIndex,
    Page,
    QueueControls,
    RunError,
    RunRecord,
    Sealed,
    Searched,
)
from tests.typing.events import NewUser, Refunded, UserLeft

RunStatus = Literal["queued", "executing", "waiting", "succeeded", "failed", "timed_out", "canceled", "invalid_payload"]


class Row(TypedDict):
    user_id: str


def records(client: Client) -> None:
    record = client.get_event("e_1")
    assert_type(record, EventRecord)
    assert_type(client.wait_for_event("e_1", timeout=timedelta(seconds=3)), EventRecord)
    assert_type(client.cancel_event("e_1"), EventRecord)
    assert_type(record.status, Literal["delayed", "pending", "dispatched", "settled", "canceled"])
    assert_type(record.runs, list[RunRecord])
    assert_type(record.is_settled, bool)
    for run in record.runs:
        assert_type(run.status, RunStatus)
        assert_type(run.output, Any)
        assert_type(run.error, RunError | None)
        assert_type(run.finished_at, datetime | None)
        assert_type(run.sent_events, list[str])
        for attempt in run.attempts:
            assert_type(attempt, Attempt)
            kind: AttemptKind = attempt.kind
            assert_type(kind == "lost", bool)
            assert_type(attempt.ended_at, datetime)
    tree = client.get_tree("e_1", depth=2)
    assert_type(tree, EventTree)
    assert_type(tree.record, EventRecord | None)
    assert_type(tree.sent["e_1:shop/welcome"], list[EventTree])
    assert_type(client.get_run("e_1:shop/welcome"), RunRecord)
    assert_type(client.retry_run("e_1:shop/welcome").is_settled, bool)


def queues(client: Client) -> None:
    controls = client.limit_queue("shop/default", 5)
    assert_type(controls, QueueControls)
    assert_type(client.limit_queue("shop/default", None).limit, int | Literal["declared"] | None)
    assert_type(client.limit_queue("shop/default", "declared").paused_at, datetime | None)
    assert_type(client.pause_queue("shop/default"), QueueControls)
    assert_type(client.resume_queue("shop/default").reason, str)
    assert_type(client.list_queue_controls(), list[QueueControls])
    assert_type(client.get_list_index(), ListIndex)
    assert_type(client.keep_listed(20_000).events_since, datetime | None)
    client.limit_queue("shop/default", "none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def payloads(record: EventRecord) -> None:
    assert_type(record.payload_as(NewUser), NewUser)
    assert_type(record.payload_as(Refunded).id, str)
    assert_type(record.payload_as(Row), Row)
    assert_type(record.payload_as(dict[str, int]), dict[str, int])
    if isinstance(record.payload, Sealed):
        assert_type(record.payload.reason, str)


def listings(client: Client) -> None:
    page = client.list_runs(
        job="shop/welcome", status=["failed", "timed_out"], event_name="user.new", since=datetime.now(UTC), limit=10
    )
    assert_type(page, Page[RunRecord])
    assert_type(page.damaged, list[DamagedEntry])
    assert_type(client.list_runs(status="failed", cursor=page.cursor).items, list[RunRecord])
    assert_type(client.iter_runs(event_id="e_1"), Iterator[RunRecord])
    assert_type(page.searched, Searched)
    assert_type(page.searched.back_to, datetime | None)
    assert_type(client.list_runs(status="executing", queue="shop/mail", older_than=60).items, list[RunRecord])
    state: EventState = "unmatched"
    assert_type(client.list_events(name="user.new", state=[state, "pending"]), Page[EventRecord])
    assert_type(client.iter_events(source="shop"), Iterator[EventRecord])
    assert_type(client.list_delayed(until=datetime.now(UTC)), Page[DelayedEntry])
    assert_type(client.dead_letter_groups(job="shop/mail").items, list[DeadLetterGroup])
    assert_type(client.follow_events(name="user.new"), Iterator[ListedEvent])
    assert_type(client.wait_for_run("e_1:shop/welcome", timeout=3), RunRecord)
    letters = client.list_dead_letters(limit=5)
    assert_type(letters, Page[DeadLetter])
    assert_type(letters.items, list[DeadLetter])
    assert_type(client.get_dead_letter("1-0").raw, dict[str, bytes])
    assert_type(client.iter_dead_letters(), Iterator[DeadLetter])


async def awaited(client: AsyncClient) -> None:
    assert_type(await client.get_event("e_1"), EventRecord)
    assert_type(await client.wait_for_event("e_1", timeout=3), EventRecord)
    assert_type(await client.cancel_event("e_1"), EventRecord)
    assert_type(await client.get_run("e_1:shop/welcome"), RunRecord)
    assert_type(await client.retry_run("e_1:shop/welcome"), RunRecord)
    assert_type(await client.list_runs(status="failed"), Page[RunRecord])
    assert_type(await client.list_dead_letters(), Page[DeadLetter])
    assert_type(await client.pause_queue("shop/default"), QueueControls)
    assert_type(await client.get_dead_letter("1-0"), DeadLetter)
    assert_type(client.iter_runs(job="shop/welcome"), AsyncIterator[RunRecord])
    assert_type(client.iter_dead_letters(), AsyncIterator[DeadLetter])
    assert_type(client.iter_delayed(), AsyncIterator[DelayedEntry])
    assert_type(client.follow_events(), AsyncIterator[ListedEvent])
    async for run in client.iter_runs():
        assert_type(run, RunRecord)
    assert_type([letter.id async for letter in client.iter_dead_letters()], list[str])


def mistakes(client: Client, record: EventRecord) -> None:
    wrong: UserLeft = record.payload_as(NewUser)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    record.payload_as(NewUser).email  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    record.payload_as("user.new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.list_runs(status="broken")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.list_runs("shop/welcome")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.wait_for_event("e_1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.get_event(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(wrong)


async def mistakes_awaited(client: AsyncClient) -> None:
    client.cancel_event("e_1")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    client.get_event("e_1").status  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    for _ in client.iter_runs():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        ...
    async for _ in client.list_runs():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        ...
