"""Which calls began although their queue was paused or full, and which events were dispatched without a job. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from tests.faults.chaos.calls import Call
from tests.faults.chaos.history import Closed, Disabled


class Entry(msgspec.Struct, frozen=True):
    """A call that began in a closed queue, and how many of its runs were in flight then, this one included."""

    call: Call
    in_flight: int


def entries(closed: Closed, calls: Sequence[Call], held_until: Callable[[Call], float]) -> Iterator[Entry]:
    """Yield the calls that began while the queue was closed, of runs that no worker had before.

    `held_until` says until when a call's run was in flight for sure.
    """
    here = [call for call in calls if call.job in closed.jobs and call.at < closed.until]
    held = set(closed.held) - {
        (f"{call.event}:{call.job}", call.worker)
        for call in here
        if call.at < closed.at and (call.until is None or call.until >= closed.at)
    }
    for call in sorted(here, key=lambda call: call.at):
        delivery = (f"{call.event}:{call.job}", call.worker)
        if call.at < closed.at:
            continue
        if delivery in held:
            held.remove(delivery)
        else:
            others = (other for other in here if other is not call and other.at <= call.at)
            yield Entry(call, 1 + sum(held_until(other) > call.at for other in others))


def may_meet(disabled: Disabled, since: float, until: float) -> bool:
    """Whether an event that was dispatched between the two may have been so while the job was disabled."""
    return since <= disabled.over and until >= disabled.asked


def meets(disabled: Disabled, since: float, until: float) -> bool:
    """Whether it was so for sure."""
    return disabled.at < since and until < disabled.until
