"""Only the leader rescues, each name by itself, and nobody who lives: what the scripts would refuse is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace import HeadraceError, ServerError
from headrace.calls.call import Call
from headrace.formats.partitions import Partitions
from headrace_worker import App, WorkerConfig
from headrace_worker.leader.rescuer import Rescuer
from headrace_worker.membership.state import WorkerState


class _Server:
    """Knows some workers and consumers, has nothing in anyone's hands, and keeps what its scripts were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {"rescue": 0, "leave": 1, "drop_dispatcher": 1}
        self.refused: set[str] = set()
        self.workers: list[bytes] = []
        self.consumers: list[tuple[bytes, int, int]] = []
        self.on_rescue: Callable[[], None] | None = None
        self.unseat_ms: list[int] = []

    async def run(self, calls: Sequence[Call[Any]], *, partial: bool = False) -> list[Any]:
        answers = [self._answer(call) for call in calls]
        for answer in answers:
            if isinstance(answer, HeadraceError) and not partial:
                raise answer
        return answers

    def _answer(self, call: Call[Any]) -> Any:
        if call.script is None:
            return call.read(self._look(str(call.args[0])))
        argv = call.args[3 + int(call.args[2]) :]
        name, verb = str(argv[0]), call.script.name
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


class _Scene:
    """A rescuer that leads, over a server that only answers."""

    def __init__(self) -> None:
        config = WorkerConfig(lease=10, block=5)
        self.state = WorkerState(App("app"), Partitions("test"), "redis://localhost:1", config)
        self.state.commands = self.server = _Server()  # type: ignore[assignment]
        self.state.is_leader.set()
        self.rescuer = Rescuer(self.state)

    async def tick(self, dead: Sequence[str] = (), expired: Sequence[str] = ()) -> None:
        """It is told of these, and does what is to be done."""
        self.rescuer.notify(dead, expired)
        await asyncio.wait_for(self.rescuer.tick(), 20)


async def test_what_has_ended_is_rescued_and_forgotten() -> None:
    """A seat goes first, and only once nothing can turn up in its worker's hands any more."""
    scene = _Scene()
    await scene.tick(["dead"], ["stuck"])
    assert scene.server.asked == [
        ("rescue", "stuck"), ("drop_dispatcher", "stuck"), ("rescue", "dead"), ("leave", "dead"),
    ]  # fmt: skip
    assert scene.server.unseat_ms == [15_000]


@pytest.mark.parametrize("answer", [-1, -2])
async def test_a_worker_whose_lease_holds_is_not_forgotten(answer: int) -> None:
    """Nor one of which nothing is known yet, as all were silent."""
    scene = _Scene()
    scene.server.answers["rescue"] = answer
    await scene.tick(["alive"])
    assert scene.server.asked == [("rescue", "alive")]


async def test_who_does_not_lead_any_more_leaves_the_rest_to_the_leader() -> None:
    """Also in the middle of a round."""
    scene = _Scene()
    scene.server.on_rescue = scene.state.is_leader.clear
    await scene.tick(["first", "second"])
    assert {name for _, name in scene.server.asked} == {"first"}


async def test_one_that_cant_be_rescued_keeps_no_other_from_it() -> None:
    """The failure is told once all have had their turn."""
    scene = _Scene()
    scene.server.refused = {"first"}
    with pytest.raises(ServerError):
        await scene.tick(["first", "second"])
    assert ("leave", "second") in scene.server.asked


async def test_a_stray_is_who_holds_something_or_has_been_silent_and_has_no_lease() -> None:
    """Who has begun to read just now has registered, and may not be in the list of the living yet."""
    scene = _Scene()
    scene.server.workers = [b"living"]
    scene.server.consumers = [
        (b"living", 3, 90_000), (b"holding", 1, 0), (b"silent", 0, 15_001), (b"new", 0, 14_999),
    ]  # fmt: skip
    await scene.tick()
    assert {name for _, name in scene.server.asked} == {"holding", "silent"}


async def test_a_rescue_that_failed_is_tried_again_without_being_told() -> None:
    """The next answer of the lease is a third of a lease away."""
    scene = _Scene()
    scene.server.refused = {"dead"}
    with pytest.raises(ServerError):
        await scene.tick(["dead"])
    scene.server.refused = set()
    await scene.rescuer.recover(None)
    await asyncio.wait_for(scene.rescuer.tick(), 20)
    assert scene.server.asked[-1] == ("leave", "dead")
