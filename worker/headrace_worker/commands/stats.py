"""`headrace stats` and `headrace top`: what became of runs, once or again and again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from headrace import HeadraceError
from headrace_worker.inspect.queues import QueueInfo
from headrace_worker.inspect.tallies import MAX_SINCE_S, Counts, Stats
from headrace_worker.inspect.workers import MAX_WORKERS, WorkerInfo
from headrace_worker.operate.app_client import AppClient
from headrace_worker.terminal.controls import set_at_run_time
from headrace_worker.terminal.options import json_option, option, parse_duration
from headrace_worker.terminal.output import is_dumb, print_json, print_table, printable
from headrace_worker.terminal.quantities import chart, duration, size
from headrace_worker.terminal.server import with_bare_client

_WIDTH = 60
_BESIDE_BARS = 20
"""Columns of a chart for its name and its sum."""
_COLUMNS = 80
_REFRESH_S = 2.0
_MOST = 12
"""So many jobs, queues and workers are shown, where there is room."""
_OTHER_LINES = 13
"""What a screen has beside the rows of its three tables."""


def _parse_since(text: str) -> float:
    seconds = parse_duration(text)
    if not 60 <= seconds <= MAX_SINCE_S:
        raise click.BadParameter(f"{text!r} is not from 1m to 1d")
    return seconds


@click.command()
@option(
    "--since",
    metavar="DURATION",
    type=_parse_since,
    default="1h",
    show_default=True,
    help="How far back: 90s, 30m, 6h, at most 1d.",
)
@with_bare_client
@json_option
def stats(client: AppClient, since: float, as_json: bool) -> None:
    """Show what became of runs, by job.

    Counts are about right: workers report them with each renewal of a lease, and one that was killed has
    not reported its last seconds. They are kept for a day.

    \b
    Example:
      headrace stats --since 6h
    """
    found = client.get_stats(since)
    if as_json:
        print_json(found)
        return
    print_table(
        ("job", "succeeded", "failed", "canceled", "retried", "mean"),
        ((each.job, *_cells(each.counts)) for each in found.jobs),
    )
    click.echo()
    for line in _charts(found, _columns()):
        click.echo(line)


def _columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _COLUMNS


def _cells(counts: Counts) -> tuple[int | str | None, ...]:
    return counts.succeeded, counts.failed, counts.canceled, counts.retried, duration(counts.mean_s)


def _charts(found: Stats, columns: int) -> list[str]:
    """Return a line for each kind of end: a bar a minute, as many as there is room for, and the sum of those shown."""
    width = max(min(_WIDTH, columns - _BESIDE_BARS), 1)
    lines = [f"last {min(len(found.minutes), width)} min"]
    for kind in ("succeeded", "failed", "retried"):
        numbers: list[int] = [getattr(minute.counts, kind) for minute in found.minutes][-width:]
        lines.append(f"{kind:9}|{chart(numbers, width)}|{sum(numbers):>9,}")
    return lines


class Snapshot(msgspec.Struct, frozen=True):
    """What `top` shows at one moment."""

    stats: Stats
    queues: list[QueueInfo]
    workers: list[WorkerInfo]


@click.command()
@with_bare_client
@json_option
def top(client: AppClient, as_json: bool) -> None:
    """Show workers, queues and runs, afresh every 2 s.

    Until Ctrl-C; off a terminal, on one whose screen can't be cleared (TERM=dumb), or as JSON, once.
    CONTROLS says which queues are paused or limited while they run.

    \b
    Example:
      headrace top
    """
    snapshot = _look(client)
    if as_json:
        print_json(snapshot)
    elif not sys.stdout.isatty() or is_dumb():
        click.echo("\n".join(_screen(snapshot, _columns())))
    else:
        _refresh(client, snapshot)


def _look(client: AppClient) -> Snapshot:
    workers = client.list_workers(limit=MAX_WORKERS)
    return Snapshot(client.get_stats(_WIDTH * 60), client.list_queues().items, workers.items)


def _refresh(client: AppClient, snapshot: Snapshot) -> None:
    """Show it, and a newer one every two seconds until Ctrl-C; a look that fails is said, and repeated."""
    show, end = _display()
    lines = _screen(snapshot, *shutil.get_terminal_size())
    try:
        while True:
            show(lines)
            time.sleep(_REFRESH_S)
            try:
                lines = _screen(_look(client), *shutil.get_terminal_size())
            except HeadraceError as exc:
                lines = [*lines[:-1], printable(f"can't be read now: {exc}")]
    finally:
        end()


def _display() -> tuple[Callable[[Sequence[str]], None], Callable[[], None]]:
    """Return what shows lines in place of those before, and what ends that."""
    try:
        from rich.live import Live
        from rich.text import Text
    except ModuleNotFoundError:

        def show_plain(lines: Sequence[str]) -> None:
            click.clear()
            columns = shutil.get_terminal_size().columns
            click.echo("\n".join(line[:columns] for line in lines))

        return show_plain, lambda: None
    live = Live(screen=True, auto_refresh=False)
    live.start()

    def show(lines: Sequence[str]) -> None:
        live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

    return show, live.stop


def _screen(seen: Snapshot, columns: int, lines: int = 99) -> list[str]:
    """Return what fits on a screen of so many columns and lines; the last line is for notes."""
    jobs = sorted(seen.stats.jobs, key=lambda each: -(each.counts.succeeded + each.counts.failed))
    queues = sorted(seen.queues, key=lambda each: (-each.waiting, each.name))
    most = min(_MOST, max((lines - _OTHER_LINES) // 3, 1))
    return [
        *_charts(seen.stats, columns),
        "",
        *_table(("job, last hour", "succeeded", "failed", "canceled", "retried", "mean"),
                [(each.job, *_cells(each.counts)) for each in jobs], most),
        "",
        *_table(("queue", "controls", "waiting", "in flight", "workers", "ended/min"),
                [(each.name, set_at_run_time(each.controls, brief=True), each.waiting, each.in_flight,
                  len(each.workers), f"{each.ended_per_minute:.1f}") for each in queues], most),
        "",
        *_table(("worker", "app", "state", "in flight", "slots", "memory"),
                [(each.name, each.app, each.state, each.in_flight, each.slots, size(each.memory_bytes))
                 for each in seen.workers], most),
        "",
    ]  # fmt: skip


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]], most: int) -> list[str]:
    """Return the lines of a table, of which the first rows fit on a screen."""
    texts = [["-" if value is None else printable(str(value)) for value in row] for row in rows[:most]]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    lines = [
        "  ".join(text.ljust(width) if place == 0 else text.rjust(width)
                  for place, (text, width) in enumerate(zip(row, widths, strict=True)))
        for row in ([head.upper() for head in heads], *texts)
    ]  # fmt: skip
    return [*lines, f"and {len(rows) - most} more"] if len(rows) > most else lines
