"""Shows the demo: a live table on a terminal, lines otherwise, and a summary at the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.expectations import JOBS
from examples.demo.play import Progress, Report, Viewer
from examples.demo.watch import Change, Tally, lateness_ms

_STATUS_COLOURS = {
    "succeeded": "green", "settled": "green", "dispatched": "cyan", "pending": "yellow", "executing": "cyan",
    "waiting": "yellow", "delayed": "yellow",
    "failed": "red", "timed_out": "red", "invalid_payload": "red", "lost": "red", "canceled": "magenta",
}  # fmt: skip
_LATEST = 7


@contextmanager
def open_viewer() -> Iterator[Viewer]:
    """Give the viewer that suits standard output."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines()
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield LiveTable(console, live)


class Lines:
    """Prints a line for each change."""

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._shown_sent = 0
        click.echo("Starting a Valkey server and a worker with the jobs of examples/github …")

    def show(self, changes: Sequence[Change], progress: Progress) -> None:
        """Print the changes."""
        elapsed = f"{time.monotonic() - self._began_at:6.2f} s"
        if progress.sent - self._shown_sent >= 20 or (progress.sent == progress.total > self._shown_sent):
            self._shown_sent = progress.sent
            click.echo(f"{elapsed}  {progress.sent} of {progress.total} events sent, {progress.settled} settled")
        for change in changes:
            if change.status not in {"queued", "executing"}:
                status = click.style(f"{change.status:10}", fg=_STATUS_COLOURS.get(change.status))
                click.echo(f"{elapsed}  {status} {_describe(change)}")


class LiveTable:
    """Draws the jobs with their runs, and the latest changes."""

    def __init__(self, console: Console, live: Live) -> None:
        self._began_at = time.monotonic()
        self._latest: deque[tuple[float, Change]] = deque(maxlen=max(min(_LATEST, console.height - 13), 1))
        self._live = live

    def show(self, changes: Sequence[Change], progress: Progress) -> None:
        """Draw the table again."""
        elapsed = time.monotonic() - self._began_at
        self._latest.extend((elapsed, change) for change in changes if change.status != "queued")
        self._live.update(self._drawn(elapsed, progress), refresh=True)

    def _drawn(self, elapsed: float, progress: Progress) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        words = f"{progress.sent}/{progress.total} events sent, {progress.settled} settled"
        bar = ProgressBar(progress.total, progress.sent, width=16)
        head.add_row(Text("Headrace demo", style="bold"), bar, Text(words), Text(f"{elapsed:.1f} s", style="dim"))
        jobs = Table(box=None, pad_edge=False, header_style="dim")
        jobs.add_column("JOB", no_wrap=True)
        for column in ("OPEN", "OK", "FAILED", "RETRIED"):
            jobs.add_column(column, justify="right", no_wrap=True)
        jobs.add_column("RUNS FOR", style="dim")
        for job, meaning in JOBS.items():
            tally = progress.tally.get(job, Tally())
            jobs.add_row(
                _short(job),
                Text(str(tally.open), style="cyan" if tally.open else "dim"),
                Text(str(tally.succeeded), style="green" if tally.succeeded else "dim"),
                Text(str(tally.failed), style="red" if tally.failed else "dim"),
                Text(str(tally.retried), style="yellow" if tally.retried else "dim"),
                Text(meaning, no_wrap=True, overflow="ellipsis"),
            )
        latest = Table.grid(padding=(0, 1))
        for width in (7, 9, None):
            latest.add_column(no_wrap=True, overflow="ellipsis", min_width=width)
        for at, change in self._latest:
            style = _STATUS_COLOURS.get(change.status, "")
            latest.add_row(Text(f"{at:5.1f} s", style="dim"), Text(change.status, style), Text(_describe(change)))
        return Group(head, "", jobs, "", latest)


def _describe(change: Change) -> str:
    whose = "event" if change.job is None else f"{_short(change.job)} for"
    words = f"{whose} {change.event}"
    return f"{words}: {change.text}" if change.text else words


def _short(job: str) -> str:
    return job.removeprefix("github/")


def print_summary(report: Report) -> None:
    """Print the runs of each job, what became of the special events, and all faults."""
    click.echo()
    width = max(map(len, map(_short, JOBS)))
    click.echo(f"{'JOB':{width}}  RUNS  OK  FAILED  RETRIED  RUNS FOR")
    for job, meaning in JOBS.items():
        tally = report.tally.get(job, Tally())
        counts = f"{tally.runs:4}  {tally.succeeded:2}  {tally.failed:6}  {tally.retried:7}"
        click.echo(f"{_short(job):{width}}  {counts}  {meaning}")
    click.echo()
    for line in _sentences(report):
        click.echo(line)
    click.echo()
    for fault in report.faults:
        click.echo(f"{click.style('wrong', fg='red')}  {fault}")
    if report.faults:
        click.echo(click.style(f"{len(report.faults)} things did not come out as they should.", fg="red"))
    else:
        click.echo(click.style(f"Everything came out as it should, in {report.took_s:.1f} s.", fg="green"))


def _sentences(report: Report) -> Iterator[str]:
    runs = [run for record in report.records for run in record.runs]
    unheard = sum(not record.runs and record.status == "settled" for record in report.records)
    yield (
        f"{len(report.records)} events, {report.webhooks} of them webhooks, became {len(runs)} runs; "
        f"{unheard} matched no job."
    )
    if report.delayed is not None and report.delayed.delivered_at is not None:
        lateness = f"{lateness_ms(report.delayed):.0f} ms after its time"
        yield f"{report.delayed.name} was sent ahead of time and delivered {lateness}."
    if report.canceled is not None and report.canceled.status == "canceled":
        yield f"A second {report.canceled.name} was canceled while it was delayed, and no job has seen it."
    for record in report.further:
        attempts = max((run.attempt for run in record.runs), default=0)
        yield f"{record.name} was sent by a job; its run needed {attempts} attempts."
