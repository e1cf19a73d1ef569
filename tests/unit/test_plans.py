"""The plans of a client ask for what they need, check again what they found, and tell failures apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace import (
    ConfigurationError,
    DeadLetterNotFound,
    Event,
    EventConflict,
    EventNotFound,
    InvalidArgument,
    PermissionMissing,
    Retention,
    RunNotFound,
    SentEvent,
    ServerError,
    ServerFull,
    ServerUnreachable,
    UnsupportedServer,
)
from headrace.calls.queues import Queued
from headrace.calls.records import FoundRun
from headrace.calls.sending import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, batches
from headrace.formats import records
from headrace.formats.outgoing import Outgoing
from headrace.formats.partitions import Partitions
from headrace.lists import dead_letters, delayed, events, runs
from headrace.lists.dead_letters import DeadLetterFilter
from headrace.lists.events import EventFilter
from headrace.lists.runs import RunFilter
from headrace.plans import cancel, read, retry, send, wait
from headrace.plans.checks import check_server
from headrace.plans.plan import Plan
from headrace.plans.prepare import Replicas, SendOptions, prepare
from tests.support.calls import arguments_of

PARTITIONS = Partitions("prod")
KEYS = PARTITIONS.first
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def prepared(count: int, payload: object = None) -> list[Outgoing]:
    events = [Event("a", payload, id=f"e{n}") for n in range(count)]
    return prepare(events, SendOptions(), now=lambda: NOW, max_event_bytes=10**8)


def run_plan(plan: Plan[Any], *answers: list[Any]) -> Any:
    """Return the plan's result, given the answers to what it asks, which must be as many as it asks for."""
    given = iter(answers)
    try:
        next(plan)
        while True:
            plan.send(next(given))
    except StopIteration as done:
        assert next(given, None) is None
        return done.value


# The server.


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "6.2.0"},
        {"redis_version": "7.4.1"},
        {"redis_version": "10.0.0"},
        {"redis_version": "255.255.255"},
        {"redis_version": "7.2.4", "valkey_version": "7.2.0"},
        {"redis_version": "7.2.4", "valkey_version": "9.1.2"},
    ],
    ids=str,
)
def test_a_server_that_is_new_enough_is_taken(info: dict[str, str]) -> None:
    """Redis from 6.2 on, Valkey from 7.2 on, and what is not there yet."""
    assert run_plan(check_server(PARTITIONS), [info, 1]) is True


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"redis_version": "6.0.16"}, "the server is redis 6.0.16; Headrace needs redis 6.2 or newer"),
        ({"redis_version": "5"}, "the server is redis 5; Headrace needs redis 6.2 or newer"),
        (
            {"redis_version": "7.2.4", "valkey_version": "7.1.9"},
            "the server is valkey 7.1.9; Headrace needs valkey 7.2 or newer",
        ),
        ({"redis_version": "unknown"}, "the server is redis unknown"),
        ({"uptime_in_seconds": "5"}, "does not say which version it has; Headrace runs on Redis and Valkey"),
        ({}, "does not say which version it has"),
    ],
    ids=str,
)
def test_a_server_that_is_too_old_or_another_is_refused(info: dict[str, str], says: str) -> None:
    """The error says what the server is and what is needed."""
    with pytest.raises(UnsupportedServer) as caught:
        run_plan(check_server(PARTITIONS), [info, 1])
    assert says in str(caught.value)


# Sending.


def test_sending_nothing_asks_nothing() -> None:
    """An empty list needs no server."""
    assert run_plan(send.send(PARTITIONS, [], "token")) == []


def test_a_batch_ends_at_its_number_of_events() -> None:
    """The order is kept, and no batch is empty."""
    events = prepared(2 * MAX_BATCH_EVENTS + 1)
    groups = batches(events)
    assert [len(group) for group in groups] == [MAX_BATCH_EVENTS, MAX_BATCH_EVENTS, 1]
    assert [event for group in groups for event in group] == events
    assert [len(group) for group in batches(prepared(MAX_BATCH_EVENTS))] == [MAX_BATCH_EVENTS]


def test_a_batch_ends_at_its_number_of_bytes() -> None:
    """None is larger, unless one event alone is."""
    events = prepared(5, "x" * (MAX_BATCH_BYTES // 2 - 100)) + prepared(2, "x" * (MAX_BATCH_BYTES + 1))
    groups = batches(events)
    assert [len(group) for group in groups] == [2, 2, 1, 1, 1]
    assert all(sum(len(event.body) for event in group) <= MAX_BATCH_BYTES for group in groups[:3])


def test_every_batch_of_a_call_has_its_own_token() -> None:
    """So that a place in one is not taken for the same place in another."""
    asked = next(send.send(PARTITIONS, prepared(MAX_BATCH_EVENTS + 1), "token"))
    tokens = [arguments_of(call)["token"] for call in asked]
    assert len(set(tokens)) == len(asked) == 2


def sent(event_id: str) -> SentEvent:
    return SentEvent(
        id=event_id, name="a", payload=None, context=None, timestamp=NOW, deliver_at=None, delivered_at=NOW
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ServerFull("full"), ServerFull),
        (ServerError("other"), ServerError),
        ([EventConflict("e500")], EventConflict),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_one_batch_tells_what_the_others_became(answer: Any, kind: type[ServerError]) -> None:
    """Its `sent` holds the events that are with the server all the same."""
    first = [sent(f"e{n}") for n in range(MAX_BATCH_EVENTS)]
    with pytest.raises(kind) as caught:
        run_plan(send.send(PARTITIONS, prepared(MAX_BATCH_EVENTS + 1), "token"), [first, answer])
    assert caught.value.sent == first


def test_a_server_that_was_full_from_the_start_took_nothing() -> None:
    """Then the error is the server's own, and `sent` is empty."""
    with pytest.raises(ServerFull, match=r"^full$") as caught:
        run_plan(send.send(PARTITIONS, prepared(1), "token"), [ServerFull("full")])
    assert not caught.value.sent


ORDERED = [*(["a"] * 1200), *([""] * 300), *(["b"] * 200)]
"""The ordering keys of four batches: of a, of a, of a and none, of none and b."""


def ordered(*ordering_keys: str) -> list[Outgoing]:
    items = [(Event("a", id=f"e{n}"), SendOptions(ordering_key=key or None)) for n, key in enumerate(ordering_keys)]
    return prepare(items, SendOptions(), now=lambda: NOW)


def answers_to(events: list[Outgoing], *sizes: int) -> list[list[SentEvent]]:
    ids = iter(event.event_id for event in events)
    return [[sent(next(ids)) for _ in range(size)] for size in sizes]


def test_batches_of_one_ordering_key_are_never_sent_together() -> None:
    """All others are; and none is sent before one that stands before it."""
    events = ordered(*ORDERED)
    first, second, third, fourth = answers_to(events, 500, 500, 500, 200)
    plan = send.send(PARTITIONS, events, "token")
    asked = [next(plan), plan.send([first]), plan.send([second])]
    assert [len(calls) for calls in asked] == [1, 1, 2]
    assert len({arguments_of(call)["token"] for calls in asked for call in calls}) == 4
    with pytest.raises(StopIteration) as done:
        plan.send([third, fourth])
    assert [each.id for each in done.value.value] == [event.event_id for event in events]


@pytest.mark.parametrize("count", [1, 1_200])
def test_events_of_different_keys_go_in_one_round_trip(count: int) -> None:
    """A key that is in one batch alone holds none up."""
    asked = next(send.send(PARTITIONS, ordered(*(f"key {n}" for n in range(count))), "token"))
    assert len(asked) == -(-count // MAX_BATCH_EVENTS)


def test_what_follows_a_failed_batch_of_a_key_is_not_sent() -> None:
    """The error holds what was sent before."""
    events = ordered(*ORDERED)
    (first,) = answers_to(events, 500)
    with pytest.raises(ServerFull) as caught:
        run_plan(send.send(PARTITIONS, events, "token"), [first], [ServerFull("full")])
    assert caught.value.sent == first
    assert "after 500 of 1700 events" in str(caught.value)


def test_a_line_cut_between_two_batches_of_a_key_tells_what_was_sent() -> None:
    """The round trip failed as a whole, behind one that did not."""
    events = ordered(*ORDERED)
    (first,) = answers_to(events, 500)
    plan = send.send(PARTITIONS, events, "token")
    next(plan)
    plan.send([first])
    with pytest.raises(ServerUnreachable) as caught:
        plan.throw(ServerUnreachable("cut"))
    assert caught.value.sent == first


def test_each_batch_of_a_key_is_asked_for_its_replicas() -> None:
    """They share the time; each event's number is that of its own batch. A failure sends no later batch."""
    events = ordered(*["a"] * 700)
    first, second = answers_to(events, 500, 200)
    plan = send.send(PARTITIONS, events, "token", replicas=Replicas(2, 1_000))
    assert next(plan)[-1].args == ("WAIT", 2, 500)
    assert plan.send([first, 2])[-1].args == ("WAIT", 2, 500)
    with pytest.raises(StopIteration) as done:
        plan.send([second, 1])
    assert [each.replicas for each in done.value.value] == [2] * 500 + [1] * 200
    with pytest.raises(PermissionMissing) as caught:
        run_plan(send.send(PARTITIONS, events, "t", replicas=Replicas(2, 9)), [first, PermissionMissing("WAIT")])
    assert caught.value.sent == first


def test_partitions_send_their_batches_of_a_key_side_by_side() -> None:
    """A round trip has the next batch of each; a partition whose batch failed sends no more, others do."""
    partitions = Partitions("prod", 2)
    keys = {partitions.of(key): key for key in ("a", "b", "c", "d")}
    assert len(keys) == 2
    events = ordered(*[key for _ in range(700) for key in keys.values()])
    own = [[event for event in events if event.terms.ordering_key == key] for key in keys.values()]
    (one, *_), (other, rest) = (answers_to(each, 500, 200) for each in own)
    plan = send.send(partitions, events, "token")
    assert len(next(plan)) == 2
    assert len(plan.send([ServerError("refused"), other])) == 1
    with pytest.raises(ServerError) as caught:
        plan.send([rest])
    assert caught.value.sent == [*other, *rest]
    plan = send.send(partitions, events, "token")
    assert len(next(plan)) == 2
    assert len(plan.send([one, other])) == 2
    with pytest.raises(ServerUnreachable) as cut:
        plan.throw(ServerUnreachable("cut"))
    assert [each.id for each in cut.value.sent] == [event.event_id for event in events[:1000]]


# Asking.


@pytest.mark.parametrize("missing", ["", None, 7, b"id", "\ud800"], ids=repr)
@pytest.mark.parametrize(
    "plan",
    [
        read.get_event,
        read.get_run,
        retry.retry_run,
        dead_letters.get_dead_letter,
        lambda partitions, event_id: wait.watch(partitions.first, event_id),
        lambda partitions, event_id: cancel.cancel_event(partitions, event_id, Retention()),
    ],
)
def test_an_id_is_a_text(plan: Callable[[Partitions, Any], Plan[Any]], missing: object) -> None:
    """Anything else is refused before the server is asked."""
    with pytest.raises(InvalidArgument) as caught:
        next(plan(PARTITIONS, missing))
    assert caught.value.field == "id"


@pytest.mark.parametrize("run_id", ["e", "e:app", ":app/job", "e:app/job/x"])
def test_what_is_no_run_id_is_not_found(run_id: str) -> None:
    """No server needs to be asked for it."""
    with pytest.raises(RunNotFound):
        next(read.get_run(PARTITIONS, run_id))


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 1.5, "5", None], ids=repr)
def test_a_limit_is_1_to_1000(limit: Any) -> None:
    """In every listing."""
    for plan in (
        runs.list_runs(PARTITIONS, RunFilter(), None, limit),
        events.list_events(PARTITIONS, EventFilter(), None, limit),
        delayed.list_delayed(PARTITIONS, None, None, None, limit),
        dead_letters.list_dead_letters(PARTITIONS, DeadLetterFilter(), None, limit),
    ):
        with pytest.raises(InvalidArgument, match=r"^limit: must be 1 to 1000, not "):
            next(plan)


def test_a_status_is_one_of_those_there_are() -> None:
    """The error names them."""
    for status in ("done", ["queued", "done"]):
        asked = RunFilter(status=status)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match=r"^status: 'done' is none of queued, executing, .*invalid_payload"):
            next(runs.list_runs(PARTITIONS, asked, None, 10))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"status": 7}, "^status: must be one of queued, .* or several of them, not 7"),
        ({"status": []}, "^status: must be one of"),
        ({"job": "one"}, "^job: must be <app>/<job id>"),
        ({"event_name": 7}, "^event_name: must be a string"),
        ({"worker": 7}, "^worker: must be a string"),
        ({"queue": "mail"}, "^queue: must be <app>/<queue>"),
        ({"older_than": 5}, "^older_than: is for runs that execute"),
        ({"older_than": -5, "status": "executing"}, "^older_than: must be seconds >= 0"),
        ({"since": datetime(2026, 1, 1)}, "^since: is a naive datetime"),  # noqa: DTZ001 - that is what is refused
        ({"until": "yesterday"}, "^until: must be a datetime"),
        ({"event_id": "e", "event_name": "n"}, "^event_name: was given together with event_id"),
        ({"event_id": "e", "since": datetime(2026, 1, 1, tzinfo=UTC)}, "^since: was given together with event_id"),
    ],
    ids=str,
)
def test_what_narrows_a_listing_is_checked(asked: dict[str, Any], said: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidArgument, match=said):
        next(runs.list_runs(PARTITIONS, RunFilter(**asked), None, 10))


CURSORS = ["", "x", "1", "1-", "-1", "1-2-3", "1-\u0661", "1-²", "1-18446744073709551616", "$", "(1-1"]


@pytest.mark.parametrize("cursor", [*CURSORS, *(f"{cursor}~0" for cursor in CURSORS), "1-1~", "1-1~x", "1-1~-1"])
def test_a_cursor_of_runs_is_one_that_was_returned(cursor: str) -> None:
    """Anything else is refused here, and not by the server in its own words."""
    for status in (None, "failed", "executing", "queued", "waiting"):
        with pytest.raises(InvalidArgument, match=r"^cursor: "):
            next(runs.list_runs(PARTITIONS, RunFilter(status=status), cursor, 10))
    with pytest.raises(InvalidArgument, match=r"^cursor: "):
        next(events.list_events(PARTITIONS, EventFilter(), cursor, 10))
    with pytest.raises(InvalidArgument, match=r"^cursor: "):
        next(delayed.list_delayed(PARTITIONS, None, None, cursor, 10))


@pytest.mark.parametrize("cursor", [*CURSORS, "1-1~0"])
def test_a_cursor_of_dead_letters_is_one_that_was_returned(cursor: str) -> None:
    """It is the id of an entry."""
    with pytest.raises(InvalidArgument, match=r"^cursor: "):
        next(dead_letters.list_dead_letters(PARTITIONS, DeadLetterFilter(), cursor, 10))


@pytest.mark.parametrize("entry_id", [cursor for cursor in CURSORS if cursor])
def test_what_is_no_id_of_a_dead_letter_is_not_found(entry_id: str) -> None:
    """No server needs to be asked for it."""
    with pytest.raises(DeadLetterNotFound):
        next(dead_letters.get_dead_letter(PARTITIONS, entry_id))


@pytest.mark.parametrize(
    ("timeout", "expected"), [(0, 0.0), (1.5, 1.5), (timedelta(minutes=1), 60.0), (float("inf"), float("inf"))]
)
def test_a_timeout_is_seconds_or_a_timedelta(timeout: float | timedelta, expected: float) -> None:
    """Zero only looks, and one may wait without end."""
    assert wait.seconds(timeout) == expected


@pytest.mark.parametrize("timeout", [-1, timedelta(seconds=-1), float("nan"), "5", None, True], ids=repr)
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    """Waiting for NaN seconds would never end."""
    with pytest.raises(InvalidArgument, match=r"^timeout: must be seconds >= 0 or a timedelta"):
        wait.seconds(timeout)


# What happens between look and do.


def test_a_waiter_needs_the_record_and_not_the_mark() -> None:
    """A full server refuses the mark that asks for a message; the record is read again by itself anyway."""
    assert run_plan(wait.watch(KEYS, "e"), [ServerFull("full"), "record"]) == "record"
    with pytest.raises(ServerFull):
        run_plan(wait.watch(KEYS, "e"), [None, ServerFull("full")])


def test_a_record_that_goes_between_two_looks_is_not_found() -> None:
    """Retention may take it at any time."""
    with pytest.raises(EventNotFound):
        run_plan(wait.watch(KEYS, "e"), [None, None])
    with pytest.raises(EventNotFound):
        run_plan(cancel.cancel_event(PARTITIONS, "e", Retention()), [None, None, None])
    found = FoundRun(records.decode_run("e", b"r:app/job", b"f 1 0 0 0 default 1-0 host-1 1 2"))
    with pytest.raises(RunNotFound):
        run_plan(retry.retry_run(PARTITIONS, "e:app/job"), [found], [("missing", ""), None])


@pytest.mark.parametrize(("answer", "status"), [("queued", "queued"), ("waits", "waiting")])
def test_a_retried_run_that_is_not_kept_reads_as_queued(answer: str, status: str) -> None:
    """Where retention leaves nothing of it, the answer says what the retry did."""
    found = FoundRun(records.decode_run("e", b"r:app/job", b"f 3 1 0 0 default 1-0 host-1 1 2"))
    run = run_plan(retry.retry_run(PARTITIONS, "e:app/job"), [found], [(answer, ""), None])
    assert (run.id, run.status, run.attempt, run.queue) == ("e:app/job", status, 1, "default")
    assert (run.lost, run.worker, run.started_at, run.finished_at, run.error) == (0, None, None, None, None)


# Retention.


@pytest.mark.parametrize("field", Retention.__struct_fields__)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**12, "5", None], ids=repr)
def test_a_retention_is_seconds(field: str, value: Any) -> None:
    """Anything else would be an error of the server in the middle of a script."""
    with pytest.raises(ConfigurationError, match=f"^retention: {field} must be 0 to 100 years of seconds"):
        Retention(**{field: value})


def test_a_retention_is_told_in_milliseconds() -> None:
    """Derived ids are remembered as long as failures."""
    assert Retention(0, 1.5, 2, 3).millis() == (0, 1500, 2000, 3000, 1500)


@pytest.mark.parametrize(
    "answers",
    [
        ([["app/q"], ServerUnreachable("away")],),
        ([["app/q"], 1_000], [[Queued("5-0", "e", "job", "key")]], [ServerUnreachable("away")]),
        ([["app/q"], 1_000], [[Queued("5-0", "e", "job", "key")]], [3], [ServerUnreachable("away")]),
    ],
    ids=["the time", "a length", "a line"],
)
def test_a_server_that_goes_away_leaves_no_line_out(answers: tuple[list[Any], ...]) -> None:
    """A list of what waits behind others fails with its error: it does not take a line for empty."""
    asked = RunFilter(status="waiting", behind=True)
    with pytest.raises(ServerUnreachable):
        run_plan(runs.list_runs(PARTITIONS, asked, None, 10), *answers)
