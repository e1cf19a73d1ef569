"""What is measured, as it is kept in JSON: every round as it was; medians are made when it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


class Counts(msgspec.Struct, frozen=True):
    """What does not depend on the machine, a job: from a drain under MONITOR.

    Attributes:
        commands: commands over the wire.
        script_commands: commands that scripts called inside the server.
        idle_commands_s: commands over the wire a second while there is nothing to do.
        by_command: the most frequent commands over the wire, in all.
    """

    commands: float
    script_commands: float
    idle_commands_s: float
    by_command: dict[str, int]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one peer.

    Attributes:
        jobs: how many were sent and drained.
        send_one_s: jobs sent a second, each after the reply to the one before.
        send_many_s: jobs sent a second in batches of 500; None where the peer has no such call.
        drain_s: no-op jobs that one worker process drained a second.
        p50_ms: median time from before a send to the first line of its job, with nothing else to do.
        p99_ms: the same for the slowest of a hundred.
        probes_lost: probes that were not answered within 5 s.
        server_cpu_send_us: CPU time of the server a job while they were sent.
        server_cpu_drain_us: the same while they were drained.
        worker_cpu_us: CPU time of the process that the jobs ran in, a job.
        bytes_in: bytes to the server a job while they were drained.
        bytes_out: bytes from it a job.
        memory_job: bytes on the server a job that waits.
        memory_left: bytes on the server a job after the drain: results and records that are kept.
        rss: resident bytes of the process that the jobs ran in, after the drain.
    """

    jobs: int
    send_one_s: float
    send_many_s: float | None
    drain_s: float
    p50_ms: float
    p99_ms: float
    probes_lost: int
    server_cpu_send_us: float
    server_cpu_drain_us: float
    worker_cpu_us: float
    bytes_in: float
    bytes_out: float
    memory_job: float
    memory_left: float
    rss: int


class PeerResult(msgspec.Struct, kw_only=False):
    """All rounds of one peer, or why there are none."""

    name: str
    title: str
    settings: str = ""
    runtime: str = ""
    versions: dict[str, str] = {}
    counts: Counts | None = None
    rounds: list[Round] = []
    skipped: str = ""
    failed: str = ""

    def median(self, field: str) -> float | None:
        """Return the median of one figure over the rounds; None where it was not measured."""
        values = [value for each in self.rounds if (value := getattr(each, field)) is not None]
        return statistics.median(values) if values else None


class Figure(msgspec.Struct, frozen=True):
    """One measured figure of Headrace alone.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: of what it is a number.
        target: what the design asks for, in words; empty if nothing.
        met: whether it does; None where there is no target.
        note: what else one should know.
    """

    name: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    server: str
    load_before: float


class Taken(msgspec.Struct, frozen=True):
    """When something was measured, of which commit, how, and where."""

    taken_at: str
    command: str
    commit: str
    machine: Machine


class Scenario(msgspec.Struct):
    """What was measured of Headrace alone under one heading; `series` has what changes over time.

    Attributes:
        taken: None for a scenario that was measured with the rest of its results.
    """

    name: str
    title: str
    figures: list[Figure] = []
    series: dict[str, list[float]] = {}
    failed: str = ""
    taken: Taken | None = None


class Results(msgspec.Struct, kw_only=True):
    """One run of the bench."""

    taken_at: str
    command: str
    commit: str
    machine: Machine
    plan: dict[str, Any]
    peers: list[PeerResult] = []
    scenarios: list[Scenario] = []

    @property
    def taken(self) -> Taken:
        """When all but those scenarios were measured that say it themselves."""
        return Taken(self.taken_at, self.command, self.commit, self.machine)


def renewed(kept: Results, some: Results, order: Sequence[str]) -> Results:
    """Return the kept results with some scenarios as they were measured since; those that failed stay as they were.

    Args:
        order: the names of all scenarios there are, as they follow each other.
    """
    since = {each.name: msgspec.structs.replace(each, taken=some.taken) for each in some.scenarios if not each.failed}
    known = {each.name: each for each in kept.scenarios} | since
    return msgspec.structs.replace(kept, scenarios=[known[name] for name in order if name in known])


def write(results: Results, path: Path) -> None:
    """The results are in the file, readable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read(path: Path) -> Results:
    """Return the results in the file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
