"""What several partitions say of a queue is one answer, also where a call has reached some of them only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from headrace import QueueControls
from headrace.calls.controlling import QueueControl
from headrace.formats.partitions import Partitions
from headrace.plans import queues

PARTITIONS = Partitions("ns", 3)
NOTHING = QueueControl()


def listed(*found: QueueControl) -> QueueControls:
    """Return what is listed of a queue of which the partitions say this."""
    plan = queues.list_queue_controls(PARTITIONS)
    assert len(next(plan)) == 3
    with pytest.raises(StopIteration) as done:
        plan.send([{} if each is NOTHING else {"app/a": each} for each in found])
    (controls,) = done.value.value
    assert isinstance(controls, QueueControls)
    return controls


def test_a_limit_is_the_sum_of_its_parts() -> None:
    """Each partition has one."""
    found = (QueueControl(limit="2"), QueueControl(limit="2"), QueueControl(limit="1"))
    assert listed(*found) == QueueControls(queue="app/a", limit=5)


def test_no_limit_is_none() -> None:
    """It is not what the code declares."""
    assert listed(*[QueueControl(limit="none")] * 3).limit is None
    assert listed(*[QueueControl(1_000, "why")] * 3).limit == "declared"


def test_a_queue_that_is_paused_in_a_part_is_paused() -> None:
    """Since the first of them, with its reason."""
    found = (NOTHING, QueueControl(2_000, "why"), QueueControl(1_000, "why"))
    assert listed(*found) == QueueControls(
        queue="app/a", paused_at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), reason="why"
    )


def test_a_limit_is_divided() -> None:
    """The parts differ by one at most, and none is 0."""
    plan = queues.limit_queue(PARTITIONS, "app/a", 5)
    next(plan)
    calls: Any = plan.send([["app/a"], ["app/a"], []])
    assert [msgspec.msgpack.decode(call.args[-1])["limit"] for call in calls] == ["2", "2", "1"]
