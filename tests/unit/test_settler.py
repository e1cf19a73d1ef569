"""Outcomes go in batches; what a server makes of a batch decides which runs are settled, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

import headrace_worker.run.outcome_memory
from headrace import PermissionMissing, RunError, ServerError, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace_worker.membership.in_flight import InFlight, InFlightRun, Stage
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Recorded
from headrace_worker.run.outcome import Failed, Outcome, Released, RetryLater, Succeeded, Unreadable
from headrace_worker.run.settler import Settler
from tests.support.calls import arguments_of, members_of
from tests.support.scripted_server import ScriptedServer, member_over

KEYS = Keys("test")
QUEUE = reading.queue_stream(KEYS, "app", "default")
ERROR = RunError("ValueError", "no")
LATER = RetryLater(ERROR, 1, RunState(2))


class _Server(ScriptedServer):
    """Keeps the names of the scripts of each round trip."""

    def __init__(self, answer: Callable[[Call[Any]], Any]) -> None:
        super().__init__(answer)
        self.rounds: list[list[str]] = []

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        self.rounds.append([call.script.name for call in calls if call.script])
        return await super().run(calls, partial=partial)


class _Setup:
    """A settler and its in-flight runs, over a server that only answers."""

    def __init__(self, answer: Callable[[Call[Any]], Any] = lambda _: Recorded([]), **settings: Any) -> None:
        self.in_flight = InFlight(1_000)
        self.server = _Server(answer)
        self.settler = Settler(member_over(self.server, **settings), self.in_flight)

    def start(self, number: int) -> InFlightRun:
        """Run `number` is in flight."""
        held = InFlightRun(Delivery(QUEUE, f"{number}-0", f"e{number}", "job", RunState(), b"", 0), "w", 0.0)
        self.in_flight.take(held)
        return held

    def put(self, *outcomes: Outcome) -> list[InFlightRun]:
        """Run have ended with these outcomes."""
        runs = [self.start(number) for number in range(1, len(outcomes) + 1)]
        for held, outcome in zip(runs, outcomes, strict=True):
            self.settler.put(held, outcome)
            self.in_flight.mark_ended(held)
        return runs

    async def tick(self) -> None:
        """One batch is tried."""
        await asyncio.wait_for(self.settler.tick(), 20)


async def test_a_batch_is_one_round_trip() -> None:
    """One call for what ends and one for what is tried again; then every slot is free."""
    setup = _Setup()
    setup.put(Succeeded(1), LATER, Failed(ERROR), Succeeded(None))
    before = setup.settler.is_idle
    await setup.tick()
    assert setup.server.rounds == [["settle", "retry"]]
    assert (before, setup.settler.is_idle) == (False, True)
    assert setup.in_flight.runs == {}


async def test_a_released_run_is_not_recorded() -> None:
    """Its entry goes back some other way."""
    setup = _Setup()
    setup.put(Released())
    assert setup.settler.is_idle
    assert setup.in_flight.runs == {}


async def test_a_batch_ends_at_its_bounds() -> None:
    """500 runs, or 4 MB; the rest goes with the next."""
    setup = _Setup(max_output_bytes=10_000_000)
    setup.put(*[Succeeded(None)] * 501)
    await setup.tick()
    assert len(setup.in_flight.runs) == 1
    await setup.tick()
    assert setup.in_flight.runs == {}
    setup.put(*[Succeeded("x" * 1_500_000)] * 4)
    await setup.tick()
    assert len(setup.in_flight.runs) == 2


async def test_a_batch_that_did_not_arrive_is_first_in_line_again() -> None:
    """In its order, with what came meanwhile behind it; no slot is free before."""
    answers = iter([ServerUnreachable("gone"), Recorded([]), Recorded([])])
    setup = _Setup(lambda _: next(answers))
    setup.put(Succeeded(1), Succeeded(2))
    with pytest.raises(ServerUnreachable):
        await setup.tick()
    assert len(setup.in_flight.runs) == 2
    later = setup.start(3)
    setup.settler.put(later, Succeeded(3))
    setup.in_flight.mark_ended(later)
    assert [run.delivery.event_id for run in setup.settler._waiting] == ["e1", "e2", "e3"]
    await setup.tick()
    assert setup.in_flight.runs == {}


async def test_a_bounded_number_of_outcomes_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many as are remembered at least; what turns up again is recorded again, and does not execute."""
    monkeypatch.setattr(headrace_worker.run.outcome_memory, "REMEMBERED_RUNS", 4)
    setup = _Setup(lambda _: Recorded([]))
    (first,) = setup.put(Succeeded(1))
    await setup.tick()
    for number in (2, 3, 4):
        held = setup.start(number)
        setup.settler.put(held, Succeeded(number))
        setup.in_flight.mark_ended(held)
        await setup.tick()
    again = InFlightRun(first.delivery, "w", 0.0)
    assert again.key in setup.settler.memory
    assert setup.settler.settle_again(again)
    await setup.tick()
    assert setup.in_flight.runs == {}


async def test_it_is_not_idle_while_a_batch_is_under_way() -> None:
    """A stop waits for its answer before it releases what is in flight."""
    seen: list[bool] = []

    def answer(_: Call[Any]) -> Any:
        seen.append(setup.settler.is_idle)
        return Recorded([])

    setup = _Setup(answer)
    setup.put(Succeeded(1))
    await setup.tick()
    assert (seen, setup.settler.is_idle) == ([False], True)


async def test_the_outcome_of_another_run_is_none_of_an_entry() -> None:
    """A server that was emptied may give an entry's id once more."""
    setup = _Setup(lambda _: Recorded([]))
    (first,) = setup.put(Succeeded(1))
    await setup.tick()
    other = msgspec.structs.replace(first.delivery, event_id="other")
    assert other.key in setup.settler.memory
    assert not setup.settler.settle_again(InFlightRun(other, "w", 0.0))
    assert setup.in_flight.runs == {}


async def test_a_refused_batch_is_halved_until_the_culprit_is_alone() -> None:
    """That one is dead-lettered, and all other runs are recorded."""

    def answer(call: Call[Any]) -> Any:
        if call.script and call.script.name == "settle" and KEYS.event("e3") in call.args:
            return ServerError("the server refused")
        return Recorded([])

    setup = _Setup(answer)
    setup.put(*[Succeeded(None)] * 5)
    await setup.tick()
    assert setup.in_flight.runs == {}
    assert [name for names in setup.server.rounds for name in names].count("dead_letter") == 1


async def test_recorded_outcomes_count_when_others_are_refused() -> None:
    """They are not sent again, and a missing right stops nothing but what needs it."""

    def answer(call: Call[Any]) -> Any:
        return PermissionMissing("no") if call.script and call.script.name == "settle" else Recorded([])

    setup = _Setup(answer)
    settled, retried = setup.put(Succeeded(1), LATER)
    with pytest.raises(PermissionMissing):
        await setup.tick()
    assert (settled.stage, retried.stage) == (Stage.ENDED, Stage.OVER)
    assert list(setup.settler._waiting) == [settled]


async def test_started_marks_go_with_the_next_batch() -> None:
    """If it still executes then."""
    answers = iter([ServerUnreachable("gone"), ServerUnreachable("gone"), Recorded([]), 1])
    setup = _Setup(lambda _: next(answers))
    going, ended = setup.start(8), setup.start(9)
    setup.settler.started.add(going)
    setup.settler.started.add(ended)
    setup.in_flight.mark_ended(ended)
    setup.put(Succeeded(1))
    with pytest.raises(ServerUnreachable):
        await setup.tick()
    await setup.settler.recover(None)
    await setup.tick()
    assert setup.server.rounds == [["settle", "started"], ["settle", "started"]]
    assert setup.settler.started.take() == []


async def test_started_marks_survive_an_outage() -> None:
    """After the recovery there is a next batch, be it an empty one."""
    answers = iter([ServerUnreachable("gone"), 1])
    setup = _Setup(lambda _: next(answers))
    setup.settler.started.add(setup.start(8))
    setup.settler.stop()
    with pytest.raises(ServerUnreachable):
        await setup.tick()
    await setup.settler.recover(None)
    await setup.tick()
    assert setup.server.rounds == [["started"], ["started"]]


async def test_an_unreadable_entry_is_dead_lettered() -> None:
    """With the error."""
    calls: list[Call[Any]] = []

    def answer(call: Call[Any]) -> int:
        calls.append(call)
        return 1

    setup = _Setup(answer)
    setup.put(Unreadable("these bytes are not an event"))
    await setup.tick()
    (call,) = calls
    assert arguments_of(call)["reason"] == "unreadable"
    assert arguments_of(call)["error"] == "these bytes are not an event"
    assert setup.in_flight.runs == {}


async def test_nothing_to_record_asks_nothing() -> None:
    """A stop wakes the settler without a batch."""
    setup = _Setup()
    setup.settler.stop()
    await setup.tick()
    assert setup.server.rounds == []


async def test_the_next_runs_of_ordering_keys_are_promoted_at_once() -> None:
    """With all of a batch in one call, once its slots are free; where that is refused the leader does it."""
    in_turn = [f"o:1:k:default:e{number}:app/job" for number in (7, 8)]
    promoted: list[str | bytes | float] = []

    def answer(call: Call[Any]) -> Any:
        if call.script and call.script.name == "promote":
            promoted.extend(member for member in in_turn if member in members_of(call))
            assert setup.in_flight.runs == {}
            return ServerError("the server refused")
        return Recorded([], in_turn)

    setup = _Setup(answer)
    setup.put(Succeeded(1), Succeeded(2))
    await setup.tick()
    assert setup.server.rounds == [["settle"], ["promote"]]
    assert promoted == in_turn
