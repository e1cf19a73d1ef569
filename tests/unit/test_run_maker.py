"""Each answer of the server to a dispatch has its remedy, and what a remedy leaves is asked for next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace import HeadraceError, ServerError, ServerFull, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.codec import decode_event, encode_event
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig, event_trigger
from headrace_worker.app.routes import fingerprint_of, subscriptions_of
from headrace_worker.dispatch import run_maker
from headrace_worker.dispatch.matcher import Matcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.dispatch.run_maker import RunMaker
from headrace_worker.membership.state import WorkerState
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Dispatched, EventsBehind, QueuesFull, RoutesStale

BODY = encode_event("asked", "trigger.dev", 0, 1, None, None)
REFUSAL = ServerError("WRONGTYPE")


def an_app() -> App:
    app = App("app")
    app.job(id="job", trigger=event_trigger("asked"))(lambda: None)
    return app


class _Server:
    """Answers a dispatch by what a test says of the events' ids; has routes, records and the lists of ordering keys."""

    def __init__(self, state: WorkerState) -> None:
        self.keys = state.keys
        self.version = 1
        self.orders: dict[str, list[str]] = {}
        self.foreign: set[str] = set()
        self.asked: list[list[str]] = []
        self.scripts: list[str] = []
        self.reads = 0
        self.answer: Callable[[list[str], str], Any] = lambda _ids, _first: None
        blob = subscriptions_of(an_app())
        fingerprint = fingerprint_of(blob).encode()
        self._routes = [b"s:" + fingerprint, blob, b"n:" + fingerprint, b"1", b"w:w", fingerprint]

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        answers = [self._dispatch(call) if self._is_dispatch(call) else self._look(call) for call in calls]
        for answer in answers:
            if isinstance(answer, HeadraceError) and not partial:
                raise answer
        return answers

    def _is_dispatch(self, call: Call[Any]) -> bool:
        return call.script is not None and call.script.name == "dispatch"

    def _dispatch(self, call: Call[Any]) -> Any:
        count = int(call.args[2])
        names, argv = call.args[3 : 3 + count], call.args[3 + count :]
        prefix = self.keys.event_prefix
        ids = [str(name).removeprefix(prefix) for name in names if str(name).startswith(prefix)]
        self.asked.append(ids)
        assert len(self.asked) < 60, "it asks without end"
        if str(argv[6]) != str(self.version):
            return RoutesStale()
        given = self.answer(ids, "free" if argv[7] else "add")
        return Dispatched(len(ids), len(ids), 0) if given is None else given

    def _look(self, call: Call[Any]) -> Any:
        if call.script is not None:
            self.scripts.append(call.script.name)
            return 1
        command, key = str(call.args[0]), str(call.args[1])
        if command == "GET":
            self.reads += 1
            return call.read(str(self.version).encode())
        if command == "LRANGE":
            return call.read([each.encode() for each in self.orders.get(key, [])])
        if command == "HGET":
            return REFUSAL if key.removeprefix(self.keys.event_prefix) in self.foreign else call.read(BODY)
        return call.read({"SMEMBERS": [b"app/default"], "HGETALL": self._routes}[command])


class _Scene:
    """A run maker over a server that only answers."""

    def __init__(self) -> None:
        self.state = WorkerState(an_app(), Partitions("test"), "redis://localhost:1", WorkerConfig())
        self.state.commands = self.server = _Server(self.state)  # type: ignore[assignment]
        self.pulse = Pulse("dispatcher")
        self.maker = RunMaker(self.state, RouteTable(self.state), Matcher(self.state), self.pulse)

    async def dispatch(self, *ids: str, key: str = "") -> list[list[str]]:
        """Dispatches events, and returns the ids that were asked for, call by call."""
        events = [
            EventEntry(f"{place}-0", event_id, len(BODY), decode_event(BODY), key)
            for place, event_id in enumerate(ids, 1)
        ]
        await self.maker.dispatch(events)
        return self.server.asked


async def test_a_dispatched_batch_leaves_nothing() -> None:
    """One call does it, and the routes are read once."""
    scene = _Scene()
    assert await scene.dispatch("a", "b") == [["a", "b"]]
    assert await scene.dispatch("c") == [["a", "b"], ["c"]]
    assert scene.server.reads == 1


async def test_batches_are_bounded_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each the loop's pulse is told."""
    scene, beats = _Scene(), list[None]()
    monkeypatch.setattr(run_maker, "MAX_BATCH_RUNS", 2)
    monkeypatch.setattr(Pulse, "beat", lambda _: beats.append(None))
    assert await scene.dispatch(*"abcde") == [["a", "b"], ["c", "d"], ["e"]]
    assert len(beats) == 3


async def test_stale_routes_are_read_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is matched anew, and none overtakes one before it."""
    scene = _Scene()
    monkeypatch.setattr(run_maker, "MAX_BATCH_RUNS", 2)
    await scene.dispatch("first")
    scene.server.asked.clear()
    scene.server.version = 2
    assert await scene.dispatch(*"abcd") == [["a", "b"], ["a", "b"], ["c", "d"], ["c", "d"]]
    assert scene.server.reads == 2


async def test_earlier_events_of_a_key_go_first() -> None:
    """They are read from their records, whichever worker has read their entries; then the batch is asked for again."""
    scene = _Scene()
    server = scene.server
    order = server.keys.order("k")
    server.orders[order] = ["x", "y", "b"]

    def answer(ids: list[str], _first: str) -> Any:
        if "b" in ids and server.orders[order][0] != "b":
            return EventsBehind([ids.index("b")])
        server.orders[order] = [each for each in server.orders[order] if each not in ids]
        return None

    server.answer = answer
    assert await scene.dispatch("a", "b", key="k") == [["a", "b"], ["x", "y"], ["a", "b"]]
    assert server.scripts == []


async def test_an_event_that_still_cant_go_first_is_put_off() -> None:
    """It is re-queued, and the rest of its batch is dispatched."""
    scene = _Scene()
    scene.server.answer = lambda ids, _first: EventsBehind([ids.index("b")]) if "b" in ids else None
    assert await scene.dispatch(*"abc", key="k") == [["a", "b", "c"], ["a", "b", "c"], ["a", "c"]]
    assert scene.server.scripts == ["release"]


async def test_a_refused_batch_is_halved_until_its_culprit_is_alone() -> None:
    """An event whose record is foreign is dead-lettered; the rest is dispatched in its order."""
    scene = _Scene()
    scene.server.foreign = {"c"}
    scene.server.answer = lambda ids, _first: REFUSAL if "c" in ids else None
    assert await scene.dispatch(*"abcd") == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]
    assert scene.server.scripts == ["dead_letter"]


async def test_a_refusal_that_no_record_explains_is_raised() -> None:
    """It is no event's fault, and nothing is dead-lettered."""
    scene = _Scene()
    scene.server.answer = lambda _ids, _first: REFUSAL
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await scene.dispatch("a", "b")
    assert scene.server.scripts == []


async def test_an_outage_is_raised_at_once() -> None:
    """The loop waits for the server and looks at what is pending."""
    scene = _Scene()
    scene.server.answer = lambda _ids, _first: ServerUnreachable("gone")
    with pytest.raises(ServerUnreachable):
        await scene.dispatch("a", "b")
    assert len(scene.server.asked) == 1


async def test_a_full_server_takes_single_events_into_empty_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that find no empty queue for long are re-queued; one with a foreign record is dead-lettered."""
    scene, full = _Scene(), [2]
    monkeypatch.setattr(run_maker, "_LONGEST_FULL_PAUSE_S", 0.05)
    scene.server.foreign = {"c"}

    def answer(ids: list[str], first: str) -> Any:
        if first == "add":
            return ServerFull("OOM")
        if ids == ["c"]:
            return REFUSAL
        full[0] -= 1
        return None if full[0] >= 0 else QueuesFull()

    scene.server.answer = answer
    asked = await scene.dispatch(*"abcde")
    assert asked[:5] == [["a", "b", "c", "d", "e"], ["a"], ["b"], ["c"], ["d"]]
    assert {tuple(ids) for ids in asked[5:]} == {("d",)}
    assert scene.server.scripts == ["dead_letter", "release"]


async def test_routes_that_change_at_a_full_server_are_read_anew() -> None:
    """What is left is matched against them."""
    scene = _Scene()

    def answer(ids: list[str], first: str) -> Any:
        if first == "free" and ids == ["a"] and scene.server.version == 1:
            scene.server.version = 2
        return None if first == "free" else ServerFull("OOM")

    scene.server.answer = answer
    asked = await scene.dispatch("a", "b")
    assert asked == [["a", "b"], ["a"], ["b"], ["a", "b"], ["a"], ["b"]]
    assert scene.server.reads == 2
