"""The last release and the working tree on one system or deployment, and the work that each of them does."""

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
from tests.faults.chaos.system import Post, System
from tests.faults.deployment import Deployment
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
    """One of the two versions on a system: the line between its workers and the server, and what went over it."""

    def __init__(self, system: System, release: Release | None) -> None:
        self.release = release
        self.line = Proxy(system.server.url)
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

    def note_pids(self, system: System) -> None:
        """Note the side's new workers."""
        self.pids |= {post.pid for post in system.posts if post.proxy is self.line and post.process is not None}

    def post(self) -> Post:
        """Return a place for a worker of this version."""
        return Post(NAME, self.line, release=self.release)

    def has_worked(self, times: int = ENOUGH) -> bool:
        """Return whether the side's workers have dispatched and settled so many batches."""
        return min(self.seen["dispatched"], self.seen["settled"]) >= times


class Versions:
    """Both versions' clients and commands on one deployment."""

    def __init__(self, deployment: Deployment, release: Release) -> None:
        self._deployment = deployment
        self._release = release
        self._env = deployment.environment()

    def ask_new(self, *calls: Call) -> list[Any]:
        """Return what the working tree's client answers, as JSON has it."""
        answers = [getattr(self._deployment.client, method)(*args, **options) for method, args, options in calls]
        plain: list[Any] = msgspec.json.decode(msgspec.json.encode(answers))
        return plain

    def ask(self, version: str, *calls: Call) -> list[Any]:
        """Return what the client of that version answers."""
        return self.ask_old(*calls) if version == "old" else self.ask_new(*calls)

    def ask_old(self, *calls: Call) -> list[Any]:
        """Return what the release's client answers."""
        return self._release.ask(self._env, *calls)

    def show(self, processes: Processes, *args: str) -> tuple[list[Any], list[Any]]:
        """Return the machine-readable lines that a command of each version prints."""
        command = [*args, "--json"]
        old = self._release.run("-m", "headrace_worker.cli", *command, env=self._env)
        process = processes.cli(*command, env=self._env)
        assert process.wait() == 0, process.output
        return [[msgspec.json.decode(line) for line in text.splitlines()] for text in (old, process.output)]  # type: ignore[return-value]


def env_of(release: Release, version: str) -> dict[str, str]:
    """Return the environment of a process of that version."""
    return release.env if version == "old" else {}


@contextmanager
def mixed_system(folder: Path, binary: Path | None, release: Release) -> Iterator[tuple[System, Side, Side]]:
    """A system without workers yet, with a producer of each version, and the two sides, the old one first."""
    system = System(folder, 7, 60.0, binary)
    sides = Side(system, release), Side(system, None)
    system.producer_releases = (release, None)
    try:
        yield system, *sides
    finally:
        system.close()
        for side in sides:
            side.line.close()


def tend(system: System, *sides: Side, until: Callable[[], bool], what: str) -> None:
    """Return when the condition is true; replace ended processes and write down settled runs meanwhile."""

    def is_so() -> bool:
        system.mind()
        system.listing.follow()
        for side in sides:
            side.note_pids(system)
        return until()

    wait_until(is_so, 90, what=what, interval=0.02)


def hand_over(system: System, post: Post, side: Side) -> None:
    """Stop the worker of the post, and start one of this side in its place."""
    assert post.process is not None
    leaving = post.process
    post.is_terminated = True
    leaving.terminate()
    moment = now()
    system.diary.add(Injected(**moment, kind=TERMINATED, until=moment["at"], pids=(leaving.pid,)))
    post.proxy, post.release = side.line, side.release
    tend(system, side, until=lambda: post.process is not leaving and post.is_up, what="its successor")
