"""The longest commands, by the server's own slow log, and its process put before others while they are noted."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Self

import msgspec

from bench.server import Server
from headrace import scripts

_MOST = 100_000
_USUAL_US = 10_000
_OWN = ("CONFIG", "SLOWLOG")


class Slow(msgspec.Struct, frozen=True):
    """A command that was in the log."""

    command: str
    ms: float


class SlowLog:
    """Notes each command that takes longer, from `__enter__` to `__exit__`.

    Attributes:
        noted: the slowest first.
        stolen_ms: how much of its processors' time the machine did not get from its host meanwhile.
    """

    def __init__(self, server: Server, over_us: int) -> None:
        """Note nothing yet.

        Args:
            over_us: the server's clock has to say more than so many microseconds; 0 for every command.
        """
        self._redis = server.client
        self._over_us = over_us
        self.noted: list[Slow] = []
        self.stolen_ms = 0

    def __enter__(self) -> Self:
        self._redis.config_set("slowlog-max-len", _MOST)
        self._redis.config_set("slowlog-log-slower-than", self._over_us)
        self._redis.slowlog_reset()
        self.stolen_ms = -_stolen_ms()
        return self

    def __exit__(self, *_: object) -> None:
        self.stolen_ms += _stolen_ms()
        self._redis.config_set("slowlog-log-slower-than", _USUAL_US)
        found = [Slow(_name(each["command"]), each["duration"] / 1000) for each in self._redis.slowlog_get(_MOST)]
        self.noted = sorted((each for each in found if each.command not in _OWN), key=lambda each: -each.ms)

    @property
    def slowest_ms(self) -> float:
        """How long the longest command took, or the time above which they are noted if none did."""
        return self.noted[0].ms if self.noted else self._over_us / 1000

    def note(self, target_ms: float) -> str:
        """Return which commands took longest, and how many took longer than the target."""
        if not self.noted:
            return f"none took longer than {self.slowest_ms:g} ms"
        over = Counter(each.command for each in self.noted if each.ms > target_ms)
        longer = ", ".join(f"{command} {count}" for command, count in over.most_common())
        if not over:
            return self.noted[0].command
        stolen = f"; the host took {self.stolen_ms:,} ms from the processors meanwhile" if self.stolen_ms else ""
        return f"{self.noted[0].command}; longer than {target_ms:g} ms: {longer}{stolen}"


def _stolen_ms() -> int:
    """Return the time that a host has not given to the processors of this machine, by `/proc/stat`; 0 if unknown."""
    try:
        ticks = int(Path("/proc/stat").read_text().split(maxsplit=9)[8])
    except (OSError, IndexError, ValueError):
        return 0
    return ticks * 1000 // os.sysconf("SC_CLK_TCK")


def _name(command: bytes) -> str:
    """Return the name of a logged command; of a script its verb."""
    name, _, rest = command.partition(b" ")
    script = _scripts().get(rest[:40].decode("ascii", "replace")) if name.upper() == b"EVALSHA" else None
    return script or name.decode("utf-8", "replace").upper()


@cache
def _scripts() -> dict[str, str]:
    names = [each.name.removesuffix(".lua") for each in files(scripts).iterdir() if each.name.endswith(".lua")]
    return {scripts.load(name).sha: f"{name}.lua" for name in names if not name.startswith("_")}


@contextlib.contextmanager
def before_others(server: Server) -> Iterator[bool]:
    """Let the server go before all usual programs, if system and user allow it; give whether it does.

    Its log counts the time of the clock: on a machine that is shared it tells of the server alone only where nothing
    takes the processor from it. A better nice value would not do: Linux compares those within a session only.
    """
    try:
        os.sched_setscheduler(server.pid, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, PermissionError):
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(server.pid, os.SCHED_OTHER, os.sched_param(0))
