"""A slot is free again when its run is settled and has ended, in whatever order."""

from __future__ import annotations

import asyncio

from headrace.formats.codec import RunState
from headrace_worker.membership.in_flight import InFlight, InFlightRun, Stage
from headrace_worker.protocol.delivery import Delivery, Stream

QUEUE = Stream("queue:app/default", "workers", "wake-up:app", "app", "default")


def _held(entry: str, in_flight: InFlight) -> InFlightRun:
    held = InFlightRun(Delivery(QUEUE, entry, "event", "job", RunState(), b"body", 0), "worker-1", 10.0)
    in_flight.take(held)
    return held


def test_a_slot_is_free_when_its_run_is_settled_and_has_ended() -> None:
    """One of both is not enough, and the order does not matter."""
    in_flight = InFlight(2)
    first, second = _held("1-0", in_flight), _held("2-0", in_flight)
    assert in_flight.free == 0
    in_flight.mark_recorded(first)
    in_flight.mark_ended(second)
    assert in_flight.free == 0
    in_flight.mark_ended(first)
    assert in_flight.free == 1
    in_flight.mark_recorded(second)
    assert (in_flight.free, in_flight.runs) == (2, {})


def test_the_same_entry_again_is_another_in_flight_run() -> None:
    """What happens to the earlier one does not take the later one out."""
    in_flight = InFlight(2)
    earlier = _held("1-0", in_flight)
    later = _held("1-0", in_flight)
    in_flight.mark_recorded(earlier)
    in_flight.mark_ended(earlier)
    assert list(in_flight.runs.values()) == [later]


def test_a_run_is_open_until_its_outcome_is_recorded() -> None:
    """Whether its function has ended or not."""
    in_flight = InFlight(2)
    held = _held("1-0", in_flight)
    assert (in_flight.has_unrecorded, in_flight.is_unrecorded(held.key), in_flight.is_unrecorded(("queue", "9-9"))) == (
        True,
        True,
        False,
    )
    in_flight.mark_recorded(held)
    assert (in_flight.has_unrecorded, in_flight.is_unrecorded(held.key), len(in_flight.runs)) == (False, False, 1)


async def test_a_wait_ends_with_the_next_change() -> None:
    """Not with an earlier one; a notification is a change, and ends every wait."""
    in_flight = InFlight(1)
    held = _held("1-0", in_flight)
    in_flight.notify()
    waits = [asyncio.ensure_future(in_flight.wait_change()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    in_flight.mark_recorded(held)
    await asyncio.wait_for(asyncio.gather(*waits), 5)
    wait = asyncio.ensure_future(in_flight.wait_change())
    await asyncio.sleep(0)
    assert not wait.done()
    in_flight.mark_ended(held)
    await asyncio.wait_for(wait, 5)
    wait = asyncio.ensure_future(in_flight.wait_change())
    await asyncio.sleep(0)
    in_flight.notify()
    await asyncio.wait_for(wait, 5)


def test_a_run_whose_function_ends_first_waits_for_its_record() -> None:
    """The stages in their usual order."""
    in_flight = InFlight(1)
    run = _held("1-0", in_flight)
    assert run.stage is Stage.TAKEN
    run.stage = Stage.REPORTED
    in_flight.mark_ended(run)
    assert (run.stage, in_flight.has_unrecorded, in_flight.free) == (Stage.ENDED, True, 0)
    in_flight.mark_recorded(run)
    assert (run.stage, in_flight.free) == (Stage.OVER, 1)


def test_a_run_whose_function_goes_on_keeps_its_slot() -> None:
    """Its outcome is recorded meanwhile."""
    in_flight = InFlight(1)
    run = _held("1-0", in_flight)
    run.stage = Stage.REPORTED
    in_flight.mark_recorded(run)
    assert (run.stage, in_flight.has_unrecorded, in_flight.free) == (Stage.RECORDED, False, 0)
    in_flight.mark_ended(run)
    assert (run.stage, in_flight.free) == (Stage.OVER, 1)


def test_time_since_the_start_is_whole_milliseconds() -> None:
    """It is what the scripts count back from the server's time."""
    assert _held("1-0", InFlight(1)).elapsed_ms(10.0126) == 13
