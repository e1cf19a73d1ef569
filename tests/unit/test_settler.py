"""Outcomes go in batches; what a server makes of a batch decides which runs are settled, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

import headrace_worker.run.outcome_memory
from headrace import HeadraceError, PermissionMissing, RunError, ServerError, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.codec import RunState
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig
from headrace_worker.membership.in_flight import InFlight, InFlightRun, Stage
from headrace_worker.membership.state import WorkerState
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Delivery
from headrace_worker.protocol.settling import Recorded
from headrace_worker.run.outcome import Failed, Outcome, Released, RetryLater, Succeeded, Unreadable
from headrace_worker.run.settler import Settler

KEYS = Keys("test")
QUEUE = reading.queue_stream(KEYS, "app", "default")
ERROR = RunError("ValueError", "no")
LATER = RetryLater(ERROR, 1, RunState(2))


class _Server:
    """Answers each round trip with what a function makes of its calls, and keeps the names of their scripts."""

    def __init__(self, answer: Callable[[Call[Any]], Any]) -> None:
        self.rounds: list[list[str]] = []
        self._answer = answer

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        self.rounds.append([call.script.name for call in calls if call.script])
        answers = [self._answer(call) for call in calls]
        for answer in answers:
            if isinstance(answer, HeadraceError) and (isinstance(answer, ServerUnreachable) or not partial):
                raise answer
        return answers


class _Scene:
    """A settler and its in-flight runs, over a server that only answers."""

    def __init__(self, answer: Callable[[Call[Any]], Any] = lambda _: Recorded([]), **settings: Any) -> None:
        self.in_flight = InFlight(1_000)
        state = WorkerState(App("app"), Partitions("test"), "redis://localhost:1", WorkerConfig(**settings))
        self.server = _Server(answer)
        state.commands = self.server  # type: ignore[assignment]
        self.settler = Settler(state, self.in_flight)

    def start(self, number: int) -> InFlightRun:
        """Run `number` is in flight."""
        held = InFlightRun(Delivery(QUEUE, f"{number}-0", f"e{number}", "job", RunState(), b"", 0), "w", 0.0)
        self.in_flight.take(held)
        return held

    def put(self, *outcomes: Outcome) -> list[InFlightRun]:
        """Runs have ended with these outcomes."""
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
    scene = _Scene()
    scene.put(Succeeded(1), LATER, Failed(ERROR), Succeeded(None))
    before = scene.settler.is_idle
    await scene.tick()
    assert scene.server.rounds == [["settle", "retry"]]
    assert (before, scene.settler.is_idle) == (False, True)
    assert scene.in_flight.runs == {}


async def test_a_released_run_is_not_recorded() -> None:
    """Its entry goes back some other way."""
    scene = _Scene()
    scene.put(Released())
    assert scene.settler.is_idle
    assert scene.in_flight.runs == {}


async def test_a_batch_ends_at_its_bounds() -> None:
    """500 runs, or 4 MB; the rest goes with the next."""
    scene = _Scene(max_output_bytes=10_000_000)
    scene.put(*[Succeeded(None)] * 501)
    await scene.tick()
    assert len(scene.in_flight.runs) == 1
    await scene.tick()
    assert scene.in_flight.runs == {}
    scene.put(*[Succeeded("x" * 1_500_000)] * 4)
    await scene.tick()
    assert len(scene.in_flight.runs) == 2


async def test_a_batch_that_did_not_arrive_is_first_in_line_again() -> None:
    """In its order, with what came meanwhile behind it; no slot is free before."""
    answers = iter([ServerUnreachable("gone"), Recorded([]), Recorded([])])
    scene = _Scene(lambda _: next(answers))
    scene.put(Succeeded(1), Succeeded(2))
    with pytest.raises(ServerUnreachable):
        await scene.tick()
    assert len(scene.in_flight.runs) == 2
    later = scene.start(3)
    scene.settler.put(later, Succeeded(3))
    scene.in_flight.mark_ended(later)
    assert [run.delivery.event_id for run in scene.settler._waiting] == ["e1", "e2", "e3"]
    await scene.tick()
    assert scene.in_flight.runs == {}


async def test_an_outcome_is_remembered_beyond_those_that_came_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many as are remembered at least; what turns up again is recorded again, and does not execute."""
    monkeypatch.setattr(headrace_worker.run.outcome_memory, "REMEMBERED_RUNS", 4)
    scene = _Scene(lambda _: Recorded([]))
    (first,) = scene.put(Succeeded(1))
    await scene.tick()
    for number in (2, 3, 4):
        held = scene.start(number)
        scene.settler.put(held, Succeeded(number))
        scene.in_flight.mark_ended(held)
        await scene.tick()
    again = InFlightRun(first.delivery, "w", 0.0)
    assert again.key in scene.settler.memory
    assert scene.settler.settle_again(again)
    await scene.tick()
    assert scene.in_flight.runs == {}


async def test_it_is_not_idle_while_a_batch_is_under_way() -> None:
    """A stop waits for its answer before it gives back what is in hand."""
    seen: list[bool] = []

    def answer(_: Call[Any]) -> Any:
        seen.append(scene.settler.is_idle)
        return Recorded([])

    scene = _Scene(answer)
    scene.put(Succeeded(1))
    await scene.tick()
    assert (seen, scene.settler.is_idle) == ([False], True)


async def test_the_outcome_of_another_run_is_none_of_an_entry() -> None:
    """A server that was emptied may give an entry's id once more."""
    scene = _Scene(lambda _: Recorded([]))
    (first,) = scene.put(Succeeded(1))
    await scene.tick()
    other = msgspec.structs.replace(first.delivery, event_id="other")
    assert other.key in scene.settler.memory
    assert not scene.settler.settle_again(InFlightRun(other, "w", 0.0))
    assert scene.in_flight.runs == {}


async def test_a_refused_batch_is_halved_until_the_culprit_is_alone() -> None:
    """That one is set aside, and all the others are recorded."""

    def answer(call: Call[Any]) -> Any:
        if call.script and call.script.name == "settle" and KEYS.event("e3") in call.args:
            return ServerError("the server refused")
        return Recorded([])

    scene = _Scene(answer)
    scene.put(*[Succeeded(None)] * 5)
    await scene.tick()
    assert scene.in_flight.runs == {}
    assert [name for names in scene.server.rounds for name in names].count("dead_letter") == 1


async def test_outcomes_that_were_recorded_count_when_others_are_refused() -> None:
    """They are not sent again, and a missing right stops nothing but what needs it."""

    def answer(call: Call[Any]) -> Any:
        return PermissionMissing("no") if call.script and call.script.name == "settle" else Recorded([])

    scene = _Scene(answer)
    settled, retried = scene.put(Succeeded(1), LATER)
    with pytest.raises(PermissionMissing):
        await scene.tick()
    assert (settled.stage, retried.stage) == (Stage.ENDED, Stage.OVER)
    assert list(scene.settler._waiting) == [settled]


async def test_what_has_started_is_told_with_the_next_batch_and_after_an_outage_too() -> None:
    """If it still executes then."""
    answers = iter([ServerUnreachable("gone"), ServerUnreachable("gone"), Recorded([]), 1])
    scene = _Scene(lambda _: next(answers))
    going, ended = scene.start(8), scene.start(9)
    scene.settler.started.add(going)
    scene.settler.started.add(ended)
    scene.in_flight.mark_ended(ended)
    scene.put(Succeeded(1))
    with pytest.raises(ServerUnreachable):
        await scene.tick()
    await scene.settler.recover(None)
    await scene.tick()
    assert scene.server.rounds == [["settle", "started"], ["settle", "started"]]
    assert scene.settler.started.take() == []


async def test_what_started_before_an_outage_is_told_though_nothing_ends() -> None:
    """After the recovery there is a next batch, be it an empty one."""
    answers = iter([ServerUnreachable("gone"), 1])
    scene = _Scene(lambda _: next(answers))
    scene.settler.started.add(scene.start(8))
    scene.settler.stop()
    with pytest.raises(ServerUnreachable):
        await scene.tick()
    await scene.settler.recover(None)
    await scene.tick()
    assert scene.server.rounds == [["started"], ["started"]]


async def test_an_entry_that_cant_be_read_is_buried() -> None:
    """With the error."""
    calls: list[Call[Any]] = []

    def answer(call: Call[Any]) -> int:
        calls.append(call)
        return 1

    scene = _Scene(answer)
    scene.put(Unreadable("these bytes are not an event"))
    await scene.tick()
    (call,) = calls
    assert "unreadable" in call.args
    assert "these bytes are not an event" in call.args
    assert scene.in_flight.runs == {}


async def test_nothing_to_record_asks_nothing() -> None:
    """A stop wakes the settler without a batch."""
    scene = _Scene()
    scene.settler.stop()
    await scene.tick()
    assert scene.server.rounds == []


async def test_the_next_runs_of_ordering_keys_are_promoted_at_once() -> None:
    """With all of a batch in one call, once its slots are free; where that is refused the leader does it."""
    in_turn = [f"o:1:k:default:e{number}:app/job" for number in (7, 8)]
    promoted: list[str | bytes | float] = []

    def answer(call: Call[Any]) -> Any:
        if call.script and call.script.name == "promote":
            promoted.extend(member for member in in_turn if member in call.args)
            assert scene.in_flight.runs == {}
            return ServerError("the server refused")
        return Recorded([], in_turn)

    scene = _Scene(answer)
    scene.put(Succeeded(1), Succeeded(2))
    await scene.tick()
    assert scene.server.rounds == [["settle"], ["promote"]]
    assert promoted == in_turn
