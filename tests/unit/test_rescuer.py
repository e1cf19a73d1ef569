"""Only the leader rescues, each name by itself, and no live worker: what the scripts would refuse is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace import ServerError
from headrace.calls.call import Call
from headrace_worker.leader.rescuer import Rescuer
from tests.support.calls import arguments_of, argv_of
from tests.support.scripted_server import ScriptedServer, member_over


class _Server(ScriptedServer):
    """Knows some workers and consumers without pending entries, and keeps what its scripts were asked."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {"rescue": 0, "leave": 1, "drop_dispatcher": 1}
        self.refused: set[str] = set()
        self.workers: list[bytes] = []
        self.consumers: list[tuple[bytes, int, int]] = []
        self.on_rescue: Callable[[], None] | None = None
        self.unseat_ms: list[int] = []

    def _answer(self, call: Call[Any]) -> Any:
        if call.script is None:
            return call.read(self._look(str(call.args[0])))
        argv, verb = argv_of(call), call.script.name
        name = str(arguments_of(call)["worker"] if verb == "rescue" else argv[0])
        self.asked.append((verb, name))
        if verb == "drop_dispatcher":
            self.unseat_ms.append(int(argv[1]))
        if verb == "rescue" and self.on_rescue is not None:
            self.on_rescue()
        return ServerError("no") if name in self.refused else call.read(self.answers[verb])

    def _look(self, command: str) -> Any:
        rows = [[b"name", name, b"pending", held, b"idle", idle_ms] for name, held, idle_ms in self.consumers]
        replies = {"HMGET": [b"app", b""], "XINFO": rows, "ZRANGE": self.workers}
        return replies.get(command, [])


class _Setup:
    """A rescuer that leads, over a server that only answers."""

    def __init__(self) -> None:
        self.server = _Server()
        self.member = member_over(self.server, lease=10, block=5)
        self.member.identity.is_leader.set()
        self.rescuer = Rescuer(self.member)

    async def tick(self, dead: Sequence[str] = (), expired: Sequence[str] = ()) -> None:
        """Notify the rescuer of these names, and let it work."""
        self.rescuer.notify(dead, expired)
        await asyncio.wait_for(self.rescuer.tick(), 20)


async def test_what_has_ended_is_rescued_and_forgotten() -> None:
    """A dispatcher slot goes first, and only once its worker can get no entry any more."""
    setup = _Setup()
    await setup.tick(["dead"], ["stuck"])
    assert setup.server.asked == [
        ("rescue", "stuck"), ("drop_dispatcher", "stuck"), ("rescue", "dead"), ("leave", "dead"),
    ]  # fmt: skip
    assert setup.server.unseat_ms == [15_000]


@pytest.mark.parametrize("answer", [-1, -2])
async def test_a_worker_whose_lease_holds_is_not_forgotten(answer: int) -> None:
    """Nor one of which nothing is known yet, as all were silent."""
    setup = _Setup()
    setup.server.answers["rescue"] = answer
    await setup.tick(["alive"])
    assert setup.server.asked == [("rescue", "alive")]


async def test_a_worker_that_loses_leadership_stops_rescuing() -> None:
    """Also in the middle of a round."""
    setup = _Setup()
    setup.server.on_rescue = setup.member.identity.is_leader.clear
    await setup.tick(["first", "second"])
    assert {name for _, name in setup.server.asked} == {"first"}


async def test_one_that_cant_be_rescued_keeps_no_other_from_it() -> None:
    """The failure is raised once all names have had their turn."""
    setup = _Setup()
    setup.server.refused = {"first"}
    with pytest.raises(ServerError):
        await setup.tick(["first", "second"])
    assert ("leave", "second") in setup.server.asked


async def test_strays_are_consumers_without_a_lease() -> None:
    """A worker that has just registered may read already and not be in the list of workers yet."""
    setup = _Setup()
    setup.server.workers = [b"living"]
    setup.server.consumers = [
        (b"living", 3, 90_000), (b"holding", 1, 0), (b"silent", 0, 15_001), (b"new", 0, 14_999),
    ]  # fmt: skip
    await setup.tick()
    assert {name for _, name in setup.server.asked} == {"holding", "silent"}


async def test_a_rescue_that_failed_is_tried_again_without_being_told() -> None:
    """The next answer of the lease is a third of a lease away."""
    setup = _Setup()
    setup.server.refused = {"dead"}
    with pytest.raises(ServerError):
        await setup.tick(["dead"])
    setup.server.refused = set()
    await setup.rescuer.recover(None)
    await asyncio.wait_for(setup.rescuer.tick(), 20)
    assert setup.server.asked[-1] == ("leave", "dead")
