"""Drained runs of the working tree beside those of another commit, in turn on one server: what has a change cost?"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from bench.environments import PACKAGES, ROOT
from bench.server import Server

RUNS = 30_000


class NoCommit(Exception):
    """There is no such commit here, or its worker does not drain; the text says why."""


class Drained(msgspec.Struct, frozen=True):
    """What one drain took.

    Attributes:
        package: the file of the package that was imported.
        rate: runs a second.
        worker_us: microseconds of CPU a run, of the worker.
        server_us: microseconds of CPU a run, of the server.
    """

    package: str
    rate: float
    worker_us: float
    server_us: float


def beside(server: Server, commit: str, rounds: int, scale: float, say: Callable[[str], None]) -> Table:
    """Return a table of medians.

    Raises:
        NoCommit: the commit can't be measured.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-beside-") as folder:
        _unpack(commit, Path(folder))
        trees = {commit: Path(folder), "the working tree": ROOT}
        found: dict[str, list[Drained]] = {name: [] for name in trees}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for name in list(trees) if number % 2 else reversed(trees):
                server.reset()
                found[name].append(_drain(server, trees[name], max(round(RUNS * scale), 1_000)))
    return _table(found)


def _unpack(commit: str, folder: Path) -> None:
    command = ["git", "archive", "--format=tar", commit, *PACKAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise NoCommit(f"{commit} can't be had: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packages:
        packages.extractall(folder, filter="data")


def _drain(server: Server, tree: Path, runs: int) -> Drained:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(str(tree / package) for package in PACKAGES)}
    command = [sys.executable, str(ROOT / "bench" / "drained.py"), server.url, str(runs)]
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=300)
    if done.returncode != 0:
        raise NoCommit(f"the worker of {tree} has failed: {done.stderr.decode(errors='replace')[-1000:]}")
    drained = msgspec.json.decode(done.stdout.splitlines()[-1], type=Drained)
    if not Path(drained.package).is_relative_to(tree):
        raise NoCommit(f"{drained.package} was measured, not {tree}")
    return drained


def _table(found: dict[str, list[Drained]]) -> Table:
    rows = [(name, _medians(each)) for name, each in found.items()]
    (_, before), (_, now) = rows
    table = Table("medians", "runs a second", "worker's CPU a run, µs", "server's CPU a run, µs")
    for name, values in rows:
        table.add_row(name, f"{values[0]:,.0f}", f"{values[1]:.2f}", f"{values[2]:.2f}")
    table.add_row("change", *(f"{new / old - 1:+.1%}" for old, new in zip(before, now, strict=True)))
    table.caption = f"{min(map(len, found.values()))} rounds"
    return table


def _medians(drained: list[Drained]) -> tuple[float, float, float]:
    return (
        median(each.rate for each in drained),
        median(each.worker_us for each in drained),
        median(each.server_us for each in drained),
    )
