"""One fault in this process: at a place in the code, of a kind, once or for good. It strikes only once it is armed."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Literal, NoReturn

import msgspec

Effect = Literal["error", "memory", "base", "never", "late"]
EFFECTS: tuple[Effect, ...] = ("error", "memory", "base", "never", "late")
Life = Literal["quiet", "blocked", "troubled"]
LIVES: tuple[Life, ...] = ("quiet", "blocked", "troubled")
"""What befalls the worker besides its fault: nothing until it is stopped; a job that blocks it for good in the end; or
troubles, which it gets over, and two queues."""
TROUBLES = frozenset({
    "run.executor:Executor._attempt", "run.executor:Executor._finish", "run.fetcher:Fetcher._receive",
    "membership.lease:Lease._renew", "partition:Partition._on_lease_answer", "leader.promoter:Promoter._look",
    "leader.rescuer:Rescuer._rescue",
    "run.settler:Settler._settle",
})  # fmt: skip
"""Places of a troubled worker that raise once, whatever its fault is: so that what gets over that is reached."""
EVERYWHERE = "everywhere"
"""Stands for all places, where each is only reported when it is reached."""
ARMED, STRUCK, REACHED = "injector: armed", "injector: struck", "injector: reached "
"""What the process writes."""


class Injected(BaseException):
    """What is no Exception, as KeyboardInterrupt and SystemExit are none."""


class Kind(msgspec.Struct, frozen=True):
    """What a fault does at its place.

    Attributes:
        effect: what happens: a RuntimeError, a MemoryError, a BaseException, or it never returns; late: a RuntimeError
            once the function has done what it does.
        is_for_good: each time that the place is reached, and not only the first time.
    """

    effect: Effect
    is_for_good: bool

    @property
    def name(self) -> str:
        """The kind in a word, as the command takes it."""
        return f"{self.effect}-{'always' if self.is_for_good else 'once'}"


KINDS = tuple(Kind(effect, is_for_good) for effect in EFFECTS for is_for_good in (False, True))
BY_NAME = {kind.name: kind for kind in KINDS}


class Fault:
    """The fault of this process. Its methods use none of the worker's code."""

    def __init__(self, place: str, kind: Kind, life: Life = "quiet") -> None:
        self._place = place
        self._kind = kind
        self._troubles = set(TROUBLES if life == "troubled" else ())
        self._is_armed = False
        self._left = [1]
        self._reached: set[str] = set()
        self._forever: list[asyncio.Future[None]] = []

    def arm(self) -> None:
        """Let the fault strike from now on."""
        self._is_armed = True
        _tell(ARMED)

    def strike(self, place: str) -> None:
        """Do what the fault does, if this is its place; called first in every function that is not async."""
        if not self._is_armed:
            return
        if self._kind.effect != "late" and self._is_due(place):
            if self._kind.effect == "never":
                _stand_still()
            self._raise()
        self._trouble(place)

    def strike_late(self, place: str) -> None:
        """Do what the fault does, if this is its place and it strikes late; called last in every function."""
        if self._is_armed and self._kind.effect == "late" and self._is_due(place):
            self._raise()

    async def strike_awaited(self, place: str) -> None:
        """Do what the fault does, if this is its place; awaited first in every async function."""
        if not self._is_armed:
            return
        if self._kind.effect != "late" and self._is_due(place):
            if self._kind.effect == "never":
                forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._forever.append(forever)  # or the task that awaits it could be collected
                await forever
            self._raise()
        self._trouble(place)

    def _is_due(self, place: str) -> bool:
        if self._place == EVERYWHERE:
            if place not in self._reached:
                self._reached.add(place)
                _tell(REACHED + place)
            return False
        if place != self._place:
            return False
        try:
            self._left.pop()  # one thread gets it
        except IndexError:
            return self._kind.is_for_good
        _tell(f"{STRUCK} {place}")
        return True

    def _trouble(self, place: str) -> None:
        if place in self._troubles:
            self._troubles.discard(place)
            raise RuntimeError("a trouble from inside")

    def _raise(self) -> NoReturn:
        match self._kind.effect:
            case "memory":
                raise MemoryError
            case "base":
                raise Injected("a fault from inside")
            case _:
                raise RuntimeError("a fault from inside")


def _stand_still() -> NoReturn:
    while True:
        time.sleep(60)


def _tell(line: str) -> None:
    os.write(2, f"{line}\n".encode())
