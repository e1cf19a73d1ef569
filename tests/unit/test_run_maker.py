"""Each answer of the server to a dispatch has its remedy, and what a remedy leaves is asked for next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace import ServerError, ServerFull, ServerUnreachable
from headrace.calls.call import Call
from headrace.formats.codec import decode_event, encode_event
from headrace.formats.keys import Keys
from headrace_worker import App, event_trigger
from headrace_worker.app.routes import subscriptions_of
from headrace_worker.dispatch import run_maker
from headrace_worker.dispatch.matcher import Matcher
from headrace_worker.dispatch.route_table import RouteTable
from headrace_worker.dispatch.run_maker import RunMaker
from headrace_worker.membership.watch import Pulse
from headrace_worker.protocol.delivery import EventEntry
from headrace_worker.protocol.dispatching import Dispatched, EventsBehind, QueuesFull, RoutesStale
from tests.support.calls import arguments_of, keys_of
from tests.support.scripted_server import ScriptedServer, member_over, name_of, stored_routes

BODY = encode_event("asked", "trigger.dev", 0, 1, None, None)
REFUSAL = ServerError("WRONGTYPE")


def an_app() -> App:
    app = App("app")
    app.job(id="job", trigger=event_trigger("asked"))(lambda: None)
    return app


class _Server(ScriptedServer):
    """Answers a dispatch by what a test says of the events' ids; has routes, records and the lists of ordering keys."""

    def __init__(self) -> None:
        super().__init__(lambda call: self._dispatch(call) if name_of(call) == "dispatch" else self._look(call))
        self.keys = Keys("test")
        self.version = 1
        self.orders: dict[str, list[str]] = {}
        self.foreign: set[str] = set()
        self.asked: list[list[str]] = []
        self.scripts: list[str] = []
        self.reads = 0
        self.on_dispatch: Callable[[list[str], str], Any] = lambda _ids, _first: None
        self._routes = stored_routes(subscriptions_of(an_app()))

    def _dispatch(self, call: Call[Any]) -> Any:
        arguments, prefix = arguments_of(call), self.keys.event_prefix
        ids = [key.removeprefix(prefix) for key in keys_of(call) if key.startswith(prefix)]
        self.asked.append(ids)
        assert len(self.asked) < 60, "it asks without end"
        if arguments["version"] != str(self.version):
            return RoutesStale()
        given = self.on_dispatch(ids, "free" if arguments["free_first"] else "add")
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


class _Setup:
    """A run maker over a server that only answers."""

    def __init__(self) -> None:
        self.server = _Server()
        self.member = member_over(self.server, an_app())
        self.pulse = Pulse("dispatcher")
        self.maker = RunMaker(self.member, RouteTable(self.member.server), Matcher(self.member), self.pulse)

    async def dispatch(self, *ids: str, key: str = "") -> list[list[str]]:
        """Dispatch events, and returns the ids that were asked for, call by call."""
        events = [
            EventEntry(f"{place}-0", event_id, len(BODY), decode_event(BODY), key)
            for place, event_id in enumerate(ids, 1)
        ]
        await self.maker.dispatch(events)
        return self.server.asked


async def test_a_dispatched_batch_leaves_nothing() -> None:
    """One call does it, and the routes are read once."""
    setup = _Setup()
    assert await setup.dispatch("a", "b") == [["a", "b"]]
    assert await setup.dispatch("c") == [["a", "b"], ["c"]]
    assert setup.server.reads == 1


async def test_batches_are_bounded_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's pulse beats for each."""
    setup, beats = _Setup(), list[None]()
    monkeypatch.setattr(run_maker, "MAX_BATCH_RUNS", 2)
    monkeypatch.setattr(Pulse, "beat", lambda _: beats.append(None))
    assert await setup.dispatch(*"abcde") == [["a", "b"], ["c", "d"], ["e"]]
    assert len(beats) == 3


async def test_stale_routes_are_read_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is matched anew, and none overtakes one before it."""
    setup = _Setup()
    monkeypatch.setattr(run_maker, "MAX_BATCH_RUNS", 2)
    await setup.dispatch("first")
    setup.server.asked.clear()
    setup.server.version = 2
    assert await setup.dispatch(*"abcd") == [["a", "b"], ["a", "b"], ["c", "d"], ["c", "d"]]
    assert setup.server.reads == 2


async def test_earlier_events_of_a_key_go_first() -> None:
    """They are read from their records, whichever worker has read their entries; then the batch is asked for again."""
    setup = _Setup()
    server = setup.server
    order = server.keys.order("k")
    server.orders[order] = ["x", "y", "b"]

    def answer(ids: list[str], _first: str) -> Any:
        if "b" in ids and server.orders[order][0] != "b":
            return EventsBehind([ids.index("b")])
        server.orders[order] = [each for each in server.orders[order] if each not in ids]
        return None

    server.on_dispatch = answer
    assert await setup.dispatch("a", "b", key="k") == [["a", "b"], ["x", "y"], ["a", "b"]]
    assert server.scripts == []


async def test_an_event_that_still_cant_go_first_is_put_off() -> None:
    """It is re-queued, and the rest of its batch is dispatched."""
    setup = _Setup()
    setup.server.on_dispatch = lambda ids, _first: EventsBehind([ids.index("b")]) if "b" in ids else None
    assert await setup.dispatch(*"abc", key="k") == [["a", "b", "c"], ["a", "b", "c"], ["a", "c"]]
    assert setup.server.scripts == ["release"]


async def test_a_refused_batch_is_halved_until_its_culprit_is_alone() -> None:
    """An event whose record is foreign is dead-lettered; the rest is dispatched in its order."""
    setup = _Setup()
    setup.server.foreign = {"c"}
    setup.server.on_dispatch = lambda ids, _first: REFUSAL if "c" in ids else None
    assert await setup.dispatch(*"abcd") == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]
    assert setup.server.scripts == ["dead_letter"]


async def test_a_refusal_that_no_record_explains_is_raised() -> None:
    """It is no event's fault, and nothing is dead-lettered."""
    setup = _Setup()
    setup.server.on_dispatch = lambda _ids, _first: REFUSAL
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await setup.dispatch("a", "b")
    assert setup.server.scripts == []


async def test_an_outage_is_raised_at_once() -> None:
    """The loop waits for the server and looks at what is pending."""
    setup = _Setup()
    setup.server.on_dispatch = lambda _ids, _first: ServerUnreachable("gone")
    with pytest.raises(ServerUnreachable):
        await setup.dispatch("a", "b")
    assert len(setup.server.asked) == 1


async def test_a_full_server_takes_single_events_into_empty_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that find no empty queue for long are re-queued; one with a foreign record is dead-lettered."""
    setup, full = _Setup(), [2]
    monkeypatch.setattr(run_maker, "_LONGEST_FULL_PAUSE_S", 0.05)
    setup.server.foreign = {"c"}

    def answer(ids: list[str], first: str) -> Any:
        if first == "add":
            return ServerFull("OOM")
        if ids == ["c"]:
            return REFUSAL
        full[0] -= 1
        return None if full[0] >= 0 else QueuesFull()

    setup.server.on_dispatch = answer
    asked = await setup.dispatch(*"abcde")
    assert asked[:5] == [["a", "b", "c", "d", "e"], ["a"], ["b"], ["c"], ["d"]]
    assert {tuple(ids) for ids in asked[5:]} == {("d",)}
    assert setup.server.scripts == ["dead_letter", "release"]


async def test_routes_that_change_at_a_full_server_are_read_anew() -> None:
    """What is left is matched against them."""
    setup = _Setup()

    def answer(ids: list[str], first: str) -> Any:
        if first == "free" and ids == ["a"] and setup.server.version == 1:
            setup.server.version = 2
        return None if first == "free" else ServerFull("OOM")

    setup.server.on_dispatch = answer
    asked = await setup.dispatch("a", "b")
    assert asked == [["a", "b"], ["a"], ["b"], ["a", "b"], ["a"], ["b"]]
    assert setup.server.reads == 2
