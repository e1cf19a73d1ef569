"""Writes the result of a chaos run to `docs/reliability.md`, between the markers; the rest is written by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.document import fill
from tests.faults.chaos.report import ChaosResult
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_EVENTS = ("events", "acknowledged", "delayed", "canceled", "with an ordering key")
_CONTROLLED = (
    "runs that waited in a paused queue", "calls begun under a limit", "… that reached it",
    "events without a disabled job",
)  # fmt: skip
_OF_SERVER = (
    "server killed", "server killed for more than a lease", "power lost", "server stopped", "clients paused",
    "scripts flushed", "connections killed", "groups destroyed", "queue paused", "queue limited", "job disabled",
    "event replayed to a job", "server full",
)  # fmt: skip


def fill_page(result: ChaosResult, page: Path = PAGE) -> None:
    """Write this run to the part `chaos` of the page."""
    fill("chaos", lines_of(result), page)


def lines_of(result: ChaosResult) -> list[str]:
    """Return the run's tables, in Markdown."""
    report = result.report
    command = f"make chaos SEED={result.seed} DURATION={result.duration_s:g}"
    return [
        f"One run of `{command}` on {os.cpu_count()} cores, on {result.server}.",
        "",
        "| what | count |",
        "|---|---|",
        *(f"| {what} | {count} |" for what, count in _rows(result).items()),
        "",
        "| fault | times |",
        "|---|---:|",
        *(f"| {kind} | {count} |" for kind, count in sorted(report.faults.items(), key=_server_last)),
        f"| **all** | **{result.faults}** |",
    ]


def _rows(result: ChaosResult) -> dict[str, str]:
    report = result.report
    counts, excused = report.counts, report.excused
    broken = sum(rule != "called twice" for rule in (violation.rule for violation in report.violations))
    rows = {
        "events sent · acknowledged · delayed · canceled · with an ordering key": _of(counts, *_EVENTS),
        "runs settled · of those dead as they should be": _of(counts, "runs", "runs dead"),
        "runs canceled while they waited · while a worker had them": _of(
            counts, "runs canceled", "… that a worker had"
        ),
        "runs that waited in a paused queue · calls begun under a limit · of those that reached it · events without a "
        "disabled job": _of(counts, *_CONTROLLED),
        f"faults injected, of {len(report.faults)} kinds": f"{result.faults}",
        "worker processes · lost": _of(counts, "workers", "workers lost"),
        "every rule but the next: lost, not delivered, settled twice, early, too late, left over, …": f"**{broken}**",
        "called twice without a cause": f"**{report.broken('called twice')}**",
        f"calls beyond one, of {counts['calls']:,}": f"{counts['calls beyond one']:,}",
    }
    rows |= {f"… {cause}": f"{count:,}" for cause, count in report.repeats.items()}
    rows["leases of live workers that expired with no fault to keep them from renewing"] = _of(
        counts, "fenced without a fault"
    )
    rows["from the loss of a worker to the next call: p50 · p99 · worst"] = _spread(report.recovery_s, 1)
    late_s = {name: ms / 1000 for name, ms in report.lateness_ms.items()}
    rows["lateness of delayed events by the server's clock: p50 · p99 · worst"] = _spread(late_s, 3)
    names = ("events lost", "settled again", "called again", "sent anew")
    title = f"excused by {counts['losses of power']} losses of power: {' · '.join(names)}"
    rows[title] = _of({name: excused.get(name, 0) for name in names}, *names)
    rows["runs dead as three workers had died with them"] = f"{excused.get('runs that had lost too many workers', 0)}"
    return rows


def _of(counts: Mapping[str, int], *names: str) -> str:
    return " · ".join(f"{counts[name]:,}" for name in names)


def _spread(values: Mapping[str, float], digits: int) -> str:
    return " · ".join(f"{value:,.{digits}f} s" for value in values.values()) or "none"


def _server_last(of_kind: tuple[str, int]) -> tuple[bool, str]:
    return of_kind[0] in _OF_SERVER, of_kind[0]
