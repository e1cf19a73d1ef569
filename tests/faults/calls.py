"""The calls of the jobs' functions, in a file that outlives the processes and servers that a test ends."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec


class Call(msgspec.Struct, frozen=True):
    """One call of a job's function: for which event, in which process, at which attempt."""

    event: str
    job: str
    pid: int
    attempt: int


class CallLog:
    """Write each call to the file before the function goes on: what is not there was not called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def add(self, event: str, job: str, attempt: int = 1) -> None:
        """Write a call to the file."""
        os.write(self._file, f"{event}\t{job}\t{os.getpid()}\t{attempt}\n".encode())

    def read(self) -> list[Call]:
        """Return all calls so far, in their order."""
        rows = (line.split("\t") for line in self._path.read_text().splitlines())
        return [Call(event, job, int(pid), int(attempt)) for event, job, pid, attempt in rows]

    def count(self) -> int:
        """Return how many calls there have been."""
        return self._path.read_bytes().count(b"\n")

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how often each (event, job) was called."""
        return Counter((call.event, call.job) for call in self.read())

    def of(self, event: str) -> list[Call]:
        """Return the calls for one event."""
        return [call for call in self.read() if call.event == event]

    def close(self) -> None:
        """Write nothing any more."""
        os.close(self._file)
