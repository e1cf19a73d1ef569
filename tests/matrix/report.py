"""Shows how the tests went everywhere: a line for each server and Python, the reasons, and the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.matrix.runs import Result

_HEAD = ("server", "version", "Python", "tests", "passed", "failed", "skipped", "seconds")


def table(results: Sequence[Result]) -> str:
    """Return the lines to print when all is done; the last one is the sum."""
    rows = [_HEAD, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [note for result in results for note in _notes(result)]
    return "\n".join([*lines, *([""] if notes else []), *notes, "", _sum(results)])


def _row(result: Result) -> tuple[str, ...]:
    meeting = result.meeting
    if not result.version:
        return (meeting.server, "none", meeting.python, meeting.scope, "-", "-", "-", "-")
    counts = (result.passed, len(result.failed), result.skipped.total())
    return (
        *(meeting.server, result.version, meeting.python, meeting.scope),
        *(str(count) for count in counts),
        f"{result.seconds:.0f}",
    )


def _notes(result: Result) -> Iterator[str]:
    where = f"{result.meeting.server}, Python {result.meeting.python}"
    if result.trouble:
        yield f"{where}: {result.trouble}"
    yield from (f"{where}: failed {test}" for test in result.failed)
    yield from (f"{where}: skipped {count}: {reason}" for reason, count in sorted(result.skipped.items()))


def _sum(results: Sequence[Result]) -> str:
    failed = sum(len(result.failed) + bool(result.trouble) for result in results)
    skipped = sum(result.skipped.total() for result in results)
    return f"matrix: {sum(result.passed for result in results)} passed, {failed} failed, {skipped} skipped"
