"""Tells what came of many faults from inside: a table by kind, and each promise that does not hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.inside.fault import KINDS
from tests.faults.inside.scenario import Result

_COLUMNS = ("played", "struck", "worked on", "ended", "runs failed by it", "broken")


def table(results: Sequence[Result]) -> str:
    """Return how often each kind of fault was injected, and what the struck worker did."""
    rows: list[tuple[str, ...]] = [("fault", *_COLUMNS)]
    for kind in KINDS:
        of_kind = [result for result in results if result.case.kind == kind]
        if of_kind:
            rows.append((kind.name, *map(str, _counts(of_kind))))
    rows.append(("all", *map(str, _counts(results))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def line(result: Result) -> str:
    """Return what came of one fault."""
    case = result.case
    what = "worked on" if result.code == 0 else f"ended with {result.code}"
    if not result.is_struck:
        what = "not struck"
    reasons = "; ".join(result.broken) or what
    mark = "BROKEN " if result.broken else ""
    return f"{mark}{case.place} {case.kind.name}: {reasons} ({result.seconds:.1f} s)"


def _counts(results: Sequence[Result]) -> list[int]:
    struck = [result for result in results if result.is_struck]
    return [
        len(results),
        len(struck),
        sum(result.code == 0 for result in struck),
        sum(result.code != 0 for result in struck),
        sum(result.failed for result in struck),
        sum(bool(result.broken) for result in results),
    ]
