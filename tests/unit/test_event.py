"""Events and records are plain values, and say of themselves what is settled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest

from headrace import (
    DeadLetter,
    DeadLetterGroup,
    DelayedEntry,
    Event,
    EventRecord,
    ListedEvent,
    Page,
    RunError,
    RunRecord,
    Searched,
    SentEvent,
)
from headrace.model.event import FAILED_STATUSES, FINAL_STATUSES, EventStatus, RunStatus

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def run(status: RunStatus) -> RunRecord:
    return RunRecord(id="e:app/job", event_id="e", job="app/job", status=status, attempt=1, queue="default")


def record(status: EventStatus) -> EventRecord:
    return EventRecord(
        id="e",
        name="user.created",
        payload=None,
        context=None,
        timestamp=NOW,
        source="trigger.dev",
        account_id=None,
        status=status,
        deliver_at=None,
        delivered_at=NOW,
        canceled_at=None,
        runs=[],
    )


def test_only_the_name_is_required() -> None:
    """Every other field of an event has the default of the contract."""
    event = Event("user.created")
    assert (event.payload, event.context, event.id, event.timestamp) == (None, None, None, None)
    assert event.source is None


def test_an_unknown_field_is_refused_where_the_event_is_made() -> None:
    """A misspelt field of an Event is an error in the line that has it."""
    with pytest.raises(TypeError, match="paylod"):
        Event(name="user.created", paylod={})  # type: ignore[call-arg]
    with pytest.raises(msgspec.ValidationError, match="paylod"):
        msgspec.convert({"name": "user.created", "paylod": {}}, Event)


@pytest.mark.parametrize(
    "kind",
    [
        Event,
        SentEvent,
        RunError,
        RunRecord,
        EventRecord,
        Page,
        Searched,
        DeadLetter,
        DeadLetterGroup,
        DelayedEntry,
        ListedEvent,
    ],
)
def test_nothing_can_be_changed(kind: type[msgspec.Struct]) -> None:
    """All of them are frozen."""
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("status", ["succeeded", "failed", "timed_out", "canceled", "invalid_payload"])
def test_a_run_in_a_final_state_is_settled(status: RunStatus) -> None:
    """Each of the five ends is one."""
    assert run(status).is_settled


@pytest.mark.parametrize("status", ["queued", "executing", "waiting"])
def test_a_run_that_goes_on_is_not_settled(status: RunStatus) -> None:
    """Neither before an attempt, nor in one, nor between two."""
    assert not run(status).is_settled


def test_the_states_of_a_failure_are_final() -> None:
    """What counts as failed has ended, and neither a success nor a cancellation counts as failed."""
    assert FINAL_STATUSES - {"succeeded", "canceled"} == FAILED_STATUSES


@pytest.mark.parametrize("status", get_args(EventStatus))
def test_an_event_is_settled_or_canceled_in_the_end(status: EventStatus) -> None:
    """Nothing more happens for it then."""
    assert record(status).is_settled == (status in {"settled", "canceled"})
