"""When each attempt of a run with an ordering key began and ended, in one file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """One line of the log: an attempt begins or ends; `is_last` if the attempt settles its run."""

    event: str
    job: str
    is_last: bool


class TurnLog:
    """Write each line to the file before the function goes on."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "turns"

    def add(self, event: str, job: str, *, is_last: bool = False) -> None:
        """Write that the attempt has begun, or is about to end."""
        line = f"{event}\t{job}\t{int(is_last)}\n".encode()
        file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.write(file, line)
        os.close(file)

    def read(self) -> list[Turn]:
        """Return all lines so far, in their order."""
        rows = (line.split("\t") for line in self._path.read_text().splitlines())
        return [Turn(event, job, is_last == "1") for event, job, is_last in rows]

    def count(self) -> int:
        """Return how many attempts have ended for good."""
        return self._path.read_bytes().count(b"\t1\n") if self._path.exists() else 0
