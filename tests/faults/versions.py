"""The last release and the working tree on one stage or scene, and what each of them is seen to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from headrace.scripts import load
from tests.faults.chaos.app import NAME
from tests.faults.chaos.calls import TERMINATED
from tests.faults.chaos.history import Injected, now
from tests.faults.chaos.stage import Post, Stage
from tests.faults.scene import Scene
from tests.support.processes import Processes
from tests.support.proxy import Proxy
from tests.support.release import Release
from tests.support.waiting import wait_until

_DONE = b"*4\r\n$4\r\ndone\r\n"
_SHAS = "from headrace.scripts import load; print(load('dispatch').sha, load('settle').sha)"
ENOUGH = 20
"""So many batches show that a version has worked."""

Call = tuple[str, list[Any], dict[str, Any]]
"""A method of a client, its arguments, its options."""


class Side:
    """One of the two versions on a stage: the line between its workers and the server, and what went over it."""

    def __init__(self, stage: Stage, release: Release | None) -> None:
        self.release = release
        self.line = Proxy(stage.server.url)
        self.seen: Counter[str] = Counter()
        self.pids: set[int] = set()
        shas = release.run("-c", _SHAS, env={}).split() if release else [load("dispatch").sha, load("settle").sha]
        self._count("dispatched", shas[0], lambda reply: reply.startswith(_DONE))
        self._count("settled", shas[1], lambda reply: not reply.startswith(b"-"))

    def _count(self, what: str, sha: str, is_done: Callable[[bytes], bool]) -> None:
        def is_to_be_lost(reply: bytes) -> bool:
            self.seen[what] += is_done(reply)
            return False

        self.line.cut_after_request(sha.encode(), only=is_to_be_lost)

    def post(self) -> Post:
        """Returns a place for a worker of this version."""
        return Post(NAME, self.line, release=self.release)

    def has_worked(self, times: int = ENOUGH) -> bool:
        """Whether its workers have dispatched and settled so many batches."""
        return min(self.seen["dispatched"], self.seen["settled"]) >= times


class Versions:
    """Both versions' clients and commands on one scene."""

    def __init__(self, scene: Scene, release: Release) -> None:
        self._scene = scene
        self._release = release
        self._env = scene.environment()

    def ask_new(self, *calls: Call) -> list[Any]:
        """Returns what the working tree's client answers, as JSON has it."""
        answers = [getattr(self._scene.client, method)(*args, **options) for method, args, options in calls]
        plain: list[Any] = msgspec.json.decode(msgspec.json.encode(answers))
        return plain

    def ask(self, version: str, *calls: Call) -> list[Any]:
        """Returns what the client of that version answers."""
        return self.ask_old(*calls) if version == "old" else self.ask_new(*calls)

    def ask_old(self, *calls: Call) -> list[Any]:
        """Returns what the release's client answers."""
        return self._release.ask(self._env, *calls)

    def show(self, processes: Processes, *args: str) -> tuple[list[Any], list[Any]]:
        """Returns the lines that a command of each version shows for machines."""
        command = [*args, "--json"]
        old = self._release.run("-m", "headrace_worker.cli", *command, env=self._env)
        process = processes.cli(*command, env=self._env)
        assert process.wait() == 0, process.output
        return [[msgspec.json.decode(line) for line in text.splitlines()] for text in (old, process.output)]  # type: ignore[return-value]


def env_of(release: Release, version: str) -> dict[str, str]:
    """Returns what a process of that version needs in its environment."""
    return release.env if version == "old" else {}


@contextmanager
def staged(folder: Path, binary: Path | None, release: Release) -> Iterator[tuple[Stage, Side, Side]]:
    """A stage without workers yet, whose producers are one of each version, and the two sides, the old one first."""
    stage = Stage(folder, 7, 60.0, binary)
    sides = Side(stage, release), Side(stage, None)
    stage.producer_releases = (release, None)
    try:
        yield stage, *sides
    finally:
        stage.close()
        for side in sides:
            side.line.close()


def tend(stage: Stage, *sides: Side, until: Callable[[], bool], what: str) -> None:
    """Returns when it is so; whoever has ended meanwhile is replaced, and what has settled is written down."""

    def is_so() -> bool:
        stage.mind()
        stage.listing.follow()
        for side in sides:
            side.pids |= {post.pid for post in stage.posts if post.proxy is side.line and post.process is not None}
        return until()

    wait_until(is_so, 90, what=what, interval=0.02)


def hand_over(stage: Stage, post: Post, side: Side) -> None:
    """The worker of the post is asked to stop, and one of this side takes its place."""
    assert post.process is not None
    leaving = post.process
    post.is_terminated = True
    leaving.terminate()
    moment = now()
    stage.diary.add(Injected(**moment, kind=TERMINATED, until=moment["at"], pids=(leaving.pid,)))
    post.proxy, post.release = side.line, side.release
    tend(stage, side, until=lambda: post.process is not leaving and post.is_up, what="its successor")
